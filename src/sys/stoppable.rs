//! Writing to a reader that may not read, in a way that another thread can stop.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::pipe::PIPE_BUF;
use rustix::termios::isatty;

use super::Error;
use super::wake::Wake;

/// A file whose blocked writes end with an error of kind `ConnectionAborted` once it is stopped.
#[derive(Debug)]
pub struct StoppableWriter {
    file: File,
    stop: Wake,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A disk, a tape or a null device takes what it is given.
    Device,
    /// The open file description is ours alone, and never blocks.
    NonBlocking,
    /// Others share the open file description, and must not find it changed: where poll(2) reports
    /// room, a pipe has at least this much.
    Shared,
}

impl StoppableWriter {
    /// Writes to `file`.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no descriptor left.
    pub fn new(file: File) -> Result<Self, Error> {
        let stop = Wake::new()?;
        let kind = file.metadata().map(|metadata| metadata.file_type());
        let (file, mode) = match kind {
            Ok(kind) if kind.is_file() || kind.is_block_device() => (file, Mode::Device),
            Ok(kind) if kind.is_char_device() && !isatty(&file) => (file, Mode::Device),
            Ok(kind) if kind.is_fifo() => match reopened(&file) {
                Ok(own) => (own, Mode::NonBlocking),
                Err(_) => (file, Mode::Shared),
            },
            _ => (file, Mode::Shared),
        };
        Ok(Self { file, stop, mode })
    }

    /// The handle that stops writes.
    pub fn stopper(&self) -> Wake {
        self.stop.clone()
    }

    /// Waits until there is room, or a reader that has gone.
    fn wait(&self) -> io::Result<()> {
        self.stop.or_ready(&self.file, PollFlags::OUT)
    }
}

/// The same pipe as an open file description of its own, which does not block.
fn reopened(file: &File) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

impl Write for StoppableWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = match self.mode {
            Mode::Device | Mode::NonBlocking => buf.len(),
            Mode::Shared => buf.len().min(PIPE_BUF),
        };
        if self.mode == Mode::Shared {
            self.wait()?;
        }
        loop {
            match self.file.write(&buf[..len]) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    fn pipe() -> (io::PipeReader, File) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, File::from(OwnedFd::from(writer)))
    }

    #[test]
    fn all_arrives_whatever_the_mode() {
        let data: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        for mode in [Mode::NonBlocking, Mode::Shared] {
            let (mut reader, file) = pipe();
            let mut writer = StoppableWriter::new(file).unwrap();
            assert_eq!(writer.mode, Mode::NonBlocking);
            if mode == Mode::Shared {
                let (other, file) = pipe();
                reader = other;
                writer = StoppableWriter {
                    file,
                    mode,
                    ..writer
                };
            }
            let mut read = Vec::new();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    writer.write_all(&data).unwrap();
                    drop(writer);
                });
                reader.read_to_end(&mut read).unwrap();
            });
            assert!(read == data);
        }
    }

    #[test]
    fn a_blocked_write_can_be_stopped() {
        for mode in [Mode::NonBlocking, Mode::Shared] {
            let (_reader, file) = pipe();
            let mut writer = StoppableWriter::new(file).unwrap();
            if mode == Mode::Shared {
                let (reader, file) = pipe();
                std::mem::forget(reader);
                writer = StoppableWriter {
                    file,
                    mode,
                    ..writer
                };
            }
            let stop = writer.stopper();
            let blocked = std::thread::spawn(move || writer.write_all(&[0; 1 << 20]));
            stop.wake();
            let error = blocked.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        }
    }

    #[test]
    fn a_reader_that_went_away_breaks_the_pipe() {
        let (reader, file) = pipe();
        let mut writer = StoppableWriter::new(file).unwrap();
        drop(reader);
        let error = writer.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
