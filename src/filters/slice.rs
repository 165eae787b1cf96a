//! A stream in slices, each of which becomes a frame or comes out of one.

use std::io::{self, Write};
use std::sync::mpsc::SyncSender;

use memmap2::{Advice, MmapMut};

use crate::archive::Sink;

use crate::parallel::Pool;

/// A piece of a stream, in memory that serves again and again.
pub(super) struct Slice {
    memory: MmapMut,
    len: usize,
}

impl Slice {
    pub(super) fn new(bytes: usize) -> io::Result<Self> {
        let memory = MmapMut::map_anon(bytes)?;
        // Compressors look all over a slice: large pages, if there are any, make that 2 % faster.
        let _ = memory.advise(Advice::HugePage);
        Ok(Self { memory, len: 0 })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    /// Holds from now on what `put` writes into its memory; it says how much that is.
    pub(super) fn fill<E>(
        &mut self,
        put: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        self.len = 0;
        self.len = put(&mut self.memory)?.min(self.memory.len());
        Ok(())
    }
}

/// Cuts what is written to it into slices of one length; the last has what is left.
pub(super) struct Slicer<'a> {
    slice_bytes: usize,
    /// The one that is filled; none only while the one before is handed over.
    slice: Option<Slice>,
    slices: SyncSender<Slice>,
    spare: &'a Pool<Slice>,
}

impl<'a> Slicer<'a> {
    /// Hands slices of so many bytes to `slices`, and takes those that have served from `spare`.
    pub(super) fn new(
        bytes: usize,
        slices: SyncSender<Slice>,
        spare: &'a Pool<Slice>,
    ) -> io::Result<Self> {
        Ok(Self {
            slice_bytes: bytes,
            slice: Some(Slice::new(bytes)?),
            slices,
            spare,
        })
    }

    fn send(&mut self) -> io::Result<()> {
        match self.slice.take() {
            Some(slice) => self.slices.send(slice).map_err(|_| broken()),
            None => Ok(()),
        }
    }

    /// A slice to be filled. That the one before is under way by now keeps their number small.
    fn next(&mut self) -> io::Result<()> {
        let mut next = match self.spare.take() {
            Some(slice) => slice,
            None => Slice::new(self.slice_bytes)?,
        };
        next.len = 0;
        self.slice = Some(next);
        Ok(())
    }

    /// Hands over what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.slice.as_ref().is_none_or(|slice| slice.len == 0) {
            return Ok(());
        }
        self.send()
    }
}

fn broken() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Sink for Slicer<'_> {
    fn room(&mut self) -> &mut [u8] {
        match &mut self.slice {
            Some(slice) => &mut slice.memory[slice.len..],
            None => &mut [],
        }
    }

    fn take(&mut self, len: usize) -> io::Result<()> {
        // Without one, the receiver is gone.
        let slice = self.slice.as_mut().ok_or_else(broken)?;
        slice.len = (slice.len + len).min(self.slice_bytes);
        if slice.len == self.slice_bytes {
            self.send()?;
            self.next()?;
        }
        Ok(())
    }
}

impl Write for Slicer<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let room = self.room();
        let len = buf.len().min(room.len());
        room[..len].copy_from_slice(&buf[..len]);
        self.take(len)?;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
