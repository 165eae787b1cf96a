//! Standard streams and output files: never binary to a terminal, never half a file, pipes as wide
//! as the system allows, and a reader that can be stopped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::{Error, interrupt};

/// Bytes asked for a pipe next to us, in turn until we get one: the first needs a privilege, the
/// second is what everyone gets by default at most.
pub const PIPE_BYTES: [usize; 2] = [2 << 20, 1 << 20];

/// Stops an [`Input`] from another thread: its reads then fail at once with an error of kind
/// `ConnectionAborted`. Drivers use it to be woken up, too.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<OwnedFd>);

impl Cancel {
    /// A handle that nobody listens to yet.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no descriptor left.
    pub fn new() -> Result<Self, Error> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(|fd| Self(Arc::new(fd)))
            .map_err(|e| Error::System {
                what: "cannot make an event descriptor",
                source: e.into(),
            })
    }

    /// Forgets that it was called: for those who use it to be woken up.
    pub fn clear(&self) {
        // A counter that is zero already would block, were it not told not to.
        let _ = rustix::io::read(&*self.0, &mut [0u8; 8]);
    }

    /// Stops the reader now and for ever.
    pub fn cancel(&self) {
        // A counter that is already full has been heard.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

impl AsFd for Cancel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The data input of a filter.
#[derive(Debug)]
pub struct Input {
    file: File,
    cancel: Cancel,
    may_block: bool,
}

impl Input {
    /// Standard input as a stream of data.
    ///
    /// # Errors
    /// [`Error::TerminalInput`] when it is a terminal, [`Error::Open`] when it is closed.
    pub fn stdin() -> Result<Self, Error> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Err(Error::TerminalInput);
        }
        let open = |source| Error::Open {
            path: "standard input".into(),
            source,
        };
        Self::from_file(File::from(
            stdin.as_fd().try_clone_to_owned().map_err(open)?,
        ))
    }

    /// Data from an open file or pipe.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no descriptor left.
    pub fn from_file(file: File) -> Result<Self, Error> {
        widen(&file);
        let may_block = file.metadata().is_ok_and(|m| !m.is_file());
        Ok(Self {
            file,
            cancel: Cancel::new()?,
            may_block,
        })
    }

    /// The handle that stops reads.
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Whether reads may block, as those from a pipe.
    pub fn may_block(&self) -> bool {
        self.may_block
    }

    /// Waits for data or the end of it, or to be stopped.
    fn wait(&self) -> io::Result<()> {
        if !self.may_block {
            return Ok(());
        }
        let mut fds = [
            PollFd::new(&self.file, PollFlags::IN),
            PollFd::new(&self.cancel, PollFlags::IN),
        ];
        while let Err(e) = poll(&mut fds, None) {
            if e != rustix::io::Errno::INTR {
                return Err(e.into());
            }
        }
        if fds[1].revents().is_empty() {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "stopped"))
        }
    }

    /// The length when the input is a regular file read from its start.
    pub fn regular_len(&self) -> Option<u64> {
        self.file
            .metadata()
            .ok()
            .filter(fs::Metadata::is_file)
            .map(|m| m.len())
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.wait()?;
        self.file.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        self.wait()?;
        self.file.read_vectored(bufs)
    }
}

/// The data output of a filter: standard output, or a file that appears only when it is complete.
#[derive(Debug)]
pub struct Output {
    file: File,
    place: Option<Place>,
}

/// A file being written beside the name that it will have.
struct Place {
    temporary: PathBuf,
    path: PathBuf,
    /// Removes the temporary file when a signal ends us; kept for that alone.
    guard: Option<interrupt::Guard>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// Opens `path`, or standard output when there is none. `-` is standard output, too, and a
    /// terminal then, which nobody else gets binary data on.
    ///
    /// # Errors
    /// See [`Output::stdout`] and [`Output::file`].
    pub fn open(path: Option<&Path>, input: Option<&Input>) -> Result<Self, Error> {
        match path {
            Some(path) if path == Path::new("-") => Self::any_stdout(),
            Some(path) => Self::file(path, input),
            None => Self::stdout(),
        }
    }

    /// The same for text, which a terminal may have.
    ///
    /// # Errors
    /// See [`Output::stdout`] and [`Output::file`].
    pub fn open_text(path: Option<&Path>, input: Option<&Input>) -> Result<Self, Error> {
        match path {
            Some(path) if path != Path::new("-") => Self::file(path, input),
            _ => Self::any_stdout(),
        }
    }

    /// The same for those who watch for signals themselves, and drop the output before they die.
    ///
    /// # Errors
    /// See [`Output::stdout`] and [`Output::file`].
    pub fn open_watched(path: Option<&Path>) -> Result<Self, Error> {
        match path {
            Some(path) if path == Path::new("-") => Self::any_stdout(),
            Some(path) => Self::unguarded(path, None),
            None => Self::stdout(),
        }
    }

    /// Standard output for binary data.
    ///
    /// # Errors
    /// [`Error::TerminalOutput`] when it is a terminal, [`Error::Open`] when it is closed.
    pub fn stdout() -> Result<Self, Error> {
        if io::stdout().is_terminal() {
            return Err(Error::TerminalOutput);
        }
        Self::any_stdout()
    }

    fn any_stdout() -> Result<Self, Error> {
        let stdout = io::stdout();
        let open = |source| Error::Open {
            path: "standard output".into(),
            source,
        };
        let file = File::from(stdout.as_fd().try_clone_to_owned().map_err(open)?);
        widen(&file);
        Ok(Self { file, place: None })
    }

    /// A file that takes the name `path` when [`Output::commit`] is called, with mode 0666
    /// less the umask.
    ///
    /// # Errors
    /// [`Error::SameFile`] when `input` is that file, [`Error::Open`] when it cannot be made.
    pub fn file(path: &Path, input: Option<&Input>) -> Result<Self, Error> {
        let mut output = Self::unguarded(path, input)?;
        if let Some(place) = &mut output.place {
            let doomed = place.temporary.clone();
            place.guard = Some(interrupt::on_interrupt(move || {
                let _ = fs::remove_file(doomed);
            })?);
        }
        Ok(output)
    }

    fn unguarded(path: &Path, input: Option<&Input>) -> Result<Self, Error> {
        let mut mode = None;
        let open = |source| Error::Open {
            path: path.into(),
            source,
        };
        if let Ok(there) = fs::metadata(path) {
            let same = |m: fs::Metadata| m.dev() == there.dev() && m.ino() == there.ino();
            if input.is_some_and(|i| i.file.metadata().is_ok_and(same)) {
                return Err(Error::SameFile(path.into()));
            }
            if !there.is_file() {
                // A device or fifo is written to directly: there is nothing to rename.
                let file = OpenOptions::new().write(true).open(path).map_err(open)?;
                widen(&file);
                return Ok(Self { file, place: None });
            }
            // Who may read the old file may read the new one, and nobody else.
            mode = Some(there.permissions());
        }
        let name = path
            .file_name()
            .ok_or_else(|| open(io::ErrorKind::InvalidInput.into()))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.partial", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&temporary)
            .map_err(open)?;
        if let Some(mode) = mode {
            file.set_permissions(mode).map_err(open)?;
        }
        Ok(Self {
            file,
            place: Some(Place {
                temporary,
                path: path.into(),
                guard: None,
            }),
        })
    }

    /// A second handle to the same place, for a thread that writes: it outlives this output, but
    /// does not commit.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no descriptor left.
    pub fn writer(&self) -> Result<File, Error> {
        self.file.try_clone().map_err(|source| Error::System {
            what: "cannot share the output",
            source,
        })
    }

    /// Puts a finished file in its place, durably; does nothing for standard output.
    ///
    /// # Errors
    /// [`Error::Commit`] when it cannot be written out or renamed.
    pub fn commit(mut self) -> Result<(), Error> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&place.temporary, &place.path))
            .map_err(|source| Error::Commit {
                path: place.path.clone(),
                source,
            })?;
        self.place = None;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            let _ = fs::remove_file(&place.temporary);
        }
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.file.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Widens `file` if it is a pipe: a wide pipe between two filters is worth a factor of three. The
/// system may refuse, and then the pipe is slower but as good.
fn widen(file: &File) {
    let widened = |bytes| rustix::pipe::fcntl_setpipe_size(file, bytes).is_ok();
    let _ = PIPE_BYTES.into_iter().any(widened);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_only_when_committed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut output = Output::file(&path, None).unwrap();
        output.write_all(b"half").unwrap();
        drop(output);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let mut output = Output::file(&path, None).unwrap();
        output.write_all(b"whole").unwrap();
        assert!(!path.exists());
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_input_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("both");
        fs::write(&path, b"x").unwrap();
        let input = Input::from_file(File::open(&path).unwrap()).unwrap();
        assert!(matches!(
            Output::file(&path, Some(&input)),
            Err(Error::SameFile(_))
        ));
    }

    #[test]
    fn a_blocked_reader_can_be_stopped() {
        let (reader, _writer) = io::pipe().unwrap();
        let mut input = Input::from_file(File::from(OwnedFd::from(reader))).unwrap();
        let cancel = input.cancel();
        let stopper = std::thread::spawn(move || cancel.cancel());
        let error = input.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        stopper.join().unwrap();
    }
}
