//! Packing on several threads: one walks and reads, the others compress and write.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use crate::archive::{FRAME_BYTES, Squeezer, Totals};
use crate::edge::tree::{self, Error, Note};

use super::ordered;

/// Packs a tree as a compressed archive into `out`, at the given level on the given number of
/// threads. The bytes do not depend on the threads.
///
/// # Errors
/// Those of [`tree::pack`].
pub fn pack(
    config: &tree::Pack,
    level: i32,
    threads: usize,
    mut out: impl Write + Send,
    tell: &(dyn Fn(&Note) + Sync),
) -> Result<Totals, Error> {
    let (slices_in, slices_out) = sync_channel(1);
    let (plain, squeezed) = (Spare::default(), Spare::default());
    let squeezers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let slicer = Slicer {
            slice: plain.take(),
            slices: slices_in,
            spare: &plain,
        };
        let walker = Builder::new()
            .name("sc-walk".into())
            .spawn_scoped(scope, move || {
                let (slicer, totals) = tree::pack(config, slicer, tell)?;
                slicer.finish()?;
                Ok(totals)
            })?;
        let squeeze = |slice: Vec<u8>| {
            let idle = lock(&squeezers).pop();
            let mut squeezer = match idle {
                Some(squeezer) => squeezer,
                None => Squeezer::new(level)?,
            };
            let mut frame = squeezed.take();
            squeezer.squeeze(&slice, &mut frame)?;
            lock(&squeezers).push(squeezer);
            plain.give(slice);
            Ok(frame)
        };
        let written: Result<(), Error> = ordered(
            threads,
            move || Ok(slices_out.recv().ok()),
            squeeze,
            |frame: Vec<u8>| {
                out.write_all(&frame)?;
                squeezed.give(frame);
                Ok(())
            },
            || {},
        );
        // When the output failed, the walker fails in its wake; the cause is what counts.
        let walked: Result<Totals, Error> = walker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written?;
        let totals = walked?;
        out.flush()?;
        Ok(totals)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Buffers that have served and will again: fresh memory costs more than it seems.
#[derive(Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn take(&self) -> Vec<u8> {
        lock(&self.0).pop().unwrap_or_default()
    }

    fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        lock(&self.0).push(buffer);
    }
}

/// Cuts a stream into slices of the length of a frame.
struct Slicer<'a> {
    slice: Vec<u8>,
    slices: SyncSender<Vec<u8>>,
    spare: &'a Spare,
}

impl Slicer<'_> {
    fn send(&mut self) -> io::Result<()> {
        let slice = std::mem::replace(&mut self.slice, self.spare.take());
        self.slices
            .send(slice)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn finish(mut self) -> io::Result<()> {
        if self.slice.is_empty() {
            return Ok(());
        }
        self.send()
    }
}

impl Write for Slicer<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.slice.capacity() < FRAME_BYTES {
            self.slice.reserve_exact(FRAME_BYTES - self.slice.len());
        }
        let len = buf.len().min(FRAME_BYTES - self.slice.len());
        self.slice.extend_from_slice(&buf[..len]);
        if self.slice.len() == FRAME_BYTES {
            self.send()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
