//! Packing on several threads: one walks and reads, some compress, and the caller's writes.

use std::io::{self, Write};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use crate::archive::{
    ANNOUNCEMENT_BYTES, FRAME_BYTES, FrameCompressor, LEVEL_DEFAULT, LONG_FRAME_BYTES,
    LevelController, Totals, own_frame,
};
use crate::image::{self, Image};
use crate::sys::clock::Clock;
use crate::tree::{self, Error, Note};

use super::frame::{FrameWriter, Slice};
use crate::parallel::{Pool, Workers, ordered};

/// At which level an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Effort {
    /// At one level, 1 to 19; the bytes do not depend on the threads.
    Level(i32),
    /// The same, in frames four times as long.
    Long(i32),
    /// At the level that brings each frame through the output soonest.
    Adapt,
}

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// At which level.
    pub effort: Effort,
    /// On so many threads, at least one; the bytes do not depend on that.
    pub threads: usize,
}

impl Default for Compression {
    /// At level 3 on all processors.
    fn default() -> Self {
        Self {
            effort: Effort::Level(LEVEL_DEFAULT),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl Effort {
    fn choice(self) -> Choice {
        match self {
            Self::Level(level) | Self::Long(level) => Choice::Fixed(level),
            Self::Adapt => Choice::Adapted(Box::default()),
        }
    }

    const fn frame_bytes(self) -> usize {
        match self {
            Self::Long(_) => LONG_FRAME_BYTES,
            Self::Level(_) | Self::Adapt => FRAME_BYTES,
        }
    }

    fn compressor(self) -> io::Result<FrameCompressor> {
        match self {
            Self::Long(_) => FrameCompressor::long(),
            Self::Level(_) | Self::Adapt => FrameCompressor::new(),
        }
    }
}

/// Who says at which level a frame is compressed, and hears how long that took.
enum Choice {
    Fixed(i32),
    Adapted(Box<Mutex<LevelController>>),
}

impl Choice {
    fn begin(&self, now_us: u64) -> (usize, i32) {
        match self {
            Self::Fixed(level) => (0, *level),
            Self::Adapted(controller) => lock(controller).begin(now_us),
        }
    }

    /// Compresses at the level that is chosen now.
    fn compress(
        &self,
        compressor: &mut FrameCompressor,
        data: &[u8],
        frame: &mut Vec<u8>,
        now_us: &impl Fn() -> u64,
    ) -> io::Result<[u8; ANNOUNCEMENT_BYTES]> {
        let begun = now_us();
        let (number, level) = self.begin(begun);
        let announcement = compressor.compress(data, level, frame)?;
        let taken = now_us() - begun;
        self.report(|controller| controller.compressed(number, data.len(), frame.len(), taken));
        Ok(announcement)
    }

    fn report(&self, tell: impl FnOnce(&mut LevelController)) {
        if let Self::Adapted(controller) = self {
            tell(&mut lock(controller));
        }
    }
}

/// Packs a tree as a compressed archive into `out`. `tell` hears of
/// objects that were left out or changed meanwhile.
///
/// # Errors
/// Those of [`tree::pack`].
pub fn pack(
    config: &tree::TreePackConfig,
    compression: Compression,
    out: impl Write + Send,
    tell: &(dyn Fn(&Note) + Sync),
) -> Result<Totals, Error> {
    compress(compression, out, |writer| tree::pack(config, writer, tell))
}

/// Packs a disk image likewise.
///
/// # Errors
/// Those of [`image::pack`].
pub fn pack_image(
    image: &Image,
    compression: Compression,
    out: impl Write + Send,
) -> Result<Totals, image::Error> {
    compress(compression, out, |writer| image::pack(image, writer))
}

/// Compresses what `produce` writes.
fn compress<E: From<io::Error> + Send>(
    Compression { effort, threads }: Compression,
    mut out: impl Write + Send,
    produce: impl for<'a> FnOnce(FrameWriter<'a>) -> Result<(FrameWriter<'a>, Totals), E> + Send,
) -> Result<Totals, E> {
    let choice = effort.choice();
    // A buffer is filled while the others are compressed, and more would only take memory.
    let (frames_in, frames_out) = sync_channel(0);
    // While one frame is written, which takes its time on a network, all others work, and one more
    // may be ready.
    let workers = Workers {
        count: threads,
        ahead: 2,
        dedicated_writer: true,
    };
    let (plain, frames, compressors) = (Pool::new(), Pool::new(), Pool::new());
    let clock = Clock::new();
    let now_us = || clock.now().as_us();
    std::thread::scope(|scope| {
        let writer = FrameWriter::new(effort.frame_bytes(), frames_in, &plain)?;
        let walker = Builder::new()
            .name("sc-walk".into())
            .spawn_scoped(scope, move || {
                let (writer, totals) = produce(writer)?;
                writer.finish()?;
                Ok(totals)
            })?;
        let compress_frame = |slice: Slice| {
            let buffer = match slice {
                Slice::Data(buffer) => buffer,
                Slice::OwnRecord(text) => return Ok((None, own_frame(&text))),
            };
            let mut compressor = match compressors.take() {
                Some(compressor) => compressor,
                None => effort.compressor()?,
            };
            let mut frame = frames.take().unwrap_or_default();
            let announcement =
                choice.compress(&mut compressor, buffer.bytes(), &mut frame, &now_us)?;
            compressors.put(compressor);
            plain.put(buffer);
            Ok((Some(announcement), frame))
        };
        let written: Result<(), E> = ordered(
            workers,
            move || Ok(frames_out.recv().ok()),
            compress_frame,
            |(announcement, frame): (Option<[u8; ANNOUNCEMENT_BYTES]>, Vec<u8>)| {
                let Some(announcement) = announcement else {
                    return Ok(out.write_all(&frame)?);
                };
                choice.report(|controller| controller.writing(now_us()));
                out.write_all(&announcement)?;
                out.write_all(&frame)?;
                choice.report(|controller| controller.written(frame.len(), now_us()));
                frames.put(frame);
                Ok(())
            },
            || {},
        );
        // When the output failed, the walker fails in its wake; the cause is what counts.
        let walked: Result<Totals, E> = walker
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
