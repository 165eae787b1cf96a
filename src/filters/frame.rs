//! A stream in full, each of which becomes a frame or comes out of one.

use std::io::{self, Write};
use std::sync::mpsc::SyncSender;

use memmap2::{Advice, MmapMut};

use crate::archive::BufWrite;

use crate::parallel::Pool;

/// What a stream is cut into.
pub(super) enum Slice {
    /// Bytes of the stream.
    Data(FrameBuffer),
    /// What the archive says of itself between them.
    OwnRecord(String),
}

/// A piece of a stream, in memory that serves again and again.
pub(super) struct FrameBuffer {
    memory: MmapMut,
    len: usize,
}

impl FrameBuffer {
    pub(super) fn new(bytes: usize) -> io::Result<Self> {
        let memory = MmapMut::map_anon(bytes)?;
        // Compressors look all over a buffer: large pages, if there are any, make that 2 % faster.
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

/// Cuts what is written to it into full of one length; the last has what is left.
pub(super) struct FrameWriter<'a> {
    frame_bytes: usize,
    /// The one that is filled; none only while the one before is handed over.
    buffer: Option<FrameBuffer>,
    full: SyncSender<Slice>,
    spare: &'a Pool<FrameBuffer>,
    /// What waits for the next slice: until there is one, nothing is written at all.
    own_record: Option<String>,
}

impl<'a> FrameWriter<'a> {
    /// Hands full of so many bytes to `full`, and takes those that have served from `spare`.
    pub(super) fn new(
        bytes: usize,
        full: SyncSender<Slice>,
        spare: &'a Pool<FrameBuffer>,
    ) -> io::Result<Self> {
        Ok(Self {
            frame_bytes: bytes,
            buffer: Some(FrameBuffer::new(bytes)?),
            full,
            spare,
            own_record: None,
        })
    }

    fn send(&mut self) -> io::Result<()> {
        match self.buffer.take() {
            Some(buffer) if buffer.len > 0 => self.hand_over(Slice::Data(buffer)),
            Some(buffer) => {
                self.spare.put(buffer);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn hand_over(&mut self, slice: Slice) -> io::Result<()> {
        let before = self.own_record.take().map(Slice::OwnRecord);
        let mut slices = before.into_iter().chain([slice]);
        slices.try_for_each(|slice| self.full.send(slice).map_err(|_| broken()))
    }

    /// A buffer to be filled. That the one before is under way by now keeps their number small.
    fn next(&mut self) -> io::Result<()> {
        let mut next = match self.spare.take() {
            Some(buffer) => buffer,
            None => FrameBuffer::new(self.frame_bytes)?,
        };
        next.len = 0;
        self.buffer = Some(next);
        Ok(())
    }

    /// Hands over what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.send()
    }
}

fn broken() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl BufWrite for FrameWriter<'_> {
    fn buffer(&mut self) -> &mut [u8] {
        match &mut self.buffer {
            Some(buffer) => &mut buffer.memory[buffer.len..],
            None => &mut [],
        }
    }

    fn advance(&mut self, len: usize) -> io::Result<()> {
        // Without one, the receiver is gone.
        let buffer = self.buffer.as_mut().ok_or_else(broken)?;
        buffer.len = (buffer.len + len).min(self.frame_bytes);
        if buffer.len == self.frame_bytes {
            self.send()?;
            self.next()?;
        }
        Ok(())
    }

    fn own_record(&mut self, text: &str) -> io::Result<()> {
        self.send()?;
        if let Some(before) = self.own_record.replace(text.into()) {
            self.full
                .send(Slice::OwnRecord(before))
                .map_err(|_| broken())?;
        }
        self.next()
    }
}

impl Write for FrameWriter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let room = self.buffer();
        let len = buf.len().min(room.len());
        room[..len].copy_from_slice(&buf[..len]);
        self.advance(len)?;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
