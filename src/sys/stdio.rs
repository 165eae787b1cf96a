//! Standard streams and output files: never binary to a terminal, never half a file, pipes as wide
//! as the system allows, and a reader that can be stopped.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use super::wake::Wake;
use super::{Error, entropy, signals};
use crate::archive::acl;
use crate::units::Duration;

/// Bytes asked for a pipe next to us, in turn until we get one: the first needs a privilege, the
/// second is what everyone gets by default at most.
pub const PIPE_BYTES: [usize; 2] = [2 << 20, 1 << 20];

/// Bytes looked at in a pipe that is not read: enough to know what it carries.
const PEEK_BYTES: usize = 64;

/// The data input of a filter.
#[derive(Debug)]
pub struct Input {
    file: File,
    cancel: Wake,
    may_block: bool,
    /// Where a file or block device was when we got it.
    start: Option<u64>,
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
        let kind = file.metadata().map(|m| m.file_type());
        let may_block = kind.as_ref().is_ok_and(|kind| !kind.is_file());
        let again = kind.is_ok_and(|kind| kind.is_file() || kind.is_block_device());
        let start = again.then(|| (&file).stream_position().ok()).flatten();
        Ok(Self {
            file,
            cancel: Wake::new()?,
            may_block,
            start,
        })
    }

    /// The handle that stops reads.
    pub fn stopper(&self) -> Wake {
        self.cancel.clone()
    }

    /// The same input, which this handle stops.
    #[must_use]
    pub fn stopped_by(self, cancel: Wake) -> Self {
        Self { cancel, ..self }
    }

    /// Whether the data can be read once more: it is a file's or a block device's.
    pub fn can_rewind(&self) -> bool {
        self.start.is_some()
    }

    /// Goes back to where it began, even if it was stopped.
    ///
    /// # Errors
    /// What the system says; always for a pipe.
    pub fn rewind(&mut self) -> io::Result<()> {
        let start = self.start.ok_or(io::ErrorKind::NotSeekable)?;
        self.cancel.clear();
        self.file.seek(SeekFrom::Start(start))?;
        Ok(())
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
        self.cancel.or_ready(&self.file, PollFlags::IN)
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
    place: Option<Placement>,
}

/// A file being written beside the name that it will have.
#[derive(Debug)]
struct Placement {
    temporary: PathBuf,
    path: PathBuf,
    /// Mode and group of a file that hands its mode on to this one.
    before: Option<(u32, u32)>,
    /// Whether a file that has the name is replaced.
    replace: bool,
    /// Removes the temporary file when a signal ends us; kept for that alone.
    _guard: Option<signals::Guard>,
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
            Some(path) => Self::at(path, None, false),
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
    /// [`Error::SameFile`] when `input` is that file, [`Error::Open`] and [`Error::Create`] when it
    /// cannot be made.
    pub fn file(path: &Path, input: Option<&Input>) -> Result<Self, Error> {
        Self::at(path, input, true)
    }

    /// A file of random access that takes the name `path` likewise; unless `replace`, only when
    /// nothing has that name even then. With `keep`, a signal leaves the unfinished file where it
    /// is.
    ///
    /// # Errors
    /// [`Error::Open`] and [`Error::Create`] when it cannot be made.
    pub fn image(path: &Path, replace: bool, keep: bool) -> Result<Self, Error> {
        Self::beside(path, replace, !keep)
    }

    /// What is at `path`, or a file beside it; with `guard`, one that a signal removes.
    fn at(path: &Path, input: Option<&Input>, guard: bool) -> Result<Self, Error> {
        let open = |source| Error::Open {
            path: path.into(),
            source,
        };
        if let Ok(there) = fs::metadata(path) {
            let same = |file: &File| file.metadata().is_ok_and(|m| same_file(&m, &there));
            if input.is_some_and(|i| same(&i.file)) {
                return Err(Error::SameFile(path.into()));
            }
            let stdout = Self::any_stdout()?;
            if same(&stdout.file) {
                // As /dev/stdout is, whatever it leads to.
                return Ok(stdout);
            }
            if !there.is_file() {
                // A device or fifo is written to directly: there is nothing to rename.
                let file = OpenOptions::new().write(true).open(path).map_err(open)?;
                widen(&file);
                return Ok(Self { file, place: None });
            }
        }
        Self::beside(path, true, guard)
    }

    /// A file that grows beside `path`.
    fn beside(path: &Path, replace: bool, guard: bool) -> Result<Self, Error> {
        let before = mode_and_group(path);
        let temporary = temporary(path)?;
        let make = || create(&temporary, before.map_or(0o666, |_| 0o600));
        let doomed = temporary.clone();
        let clean_up = move || {
            let _ = fs::remove_file(doomed);
        };
        let (file, guard) = match guard {
            true => signals::on_interrupt_of(make, clean_up).map(|(f, g)| (f, Some(g)))?,
            false => (make()?, None),
        };
        Ok(Self {
            file,
            place: Some(Placement {
                temporary,
                path: path.into(),
                before,
                replace,
                _guard: guard,
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
    pub fn commit(self) -> Result<(), Error> {
        self.commit_with(true)
    }

    /// The same, but durably only if asked.
    ///
    /// # Errors
    /// [`Error::Commit`], as above.
    pub fn commit_with(mut self, sync: bool) -> Result<(), Error> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        self.put_in_place(place, sync)
            .map_err(|source| Error::Commit {
                path: place.path.clone(),
                source,
            })?;
        self.place = None;
        Ok(())
    }

    /// Leaves an unfinished file beside its place, and says where; nothing for standard output.
    pub fn keep(mut self) -> Option<PathBuf> {
        self.place.take().map(|place| place.temporary)
    }

    fn put_in_place(&self, place: &Placement, sync: bool) -> io::Result<()> {
        if let Some((mode, group)) = place.before {
            let same = self.file.metadata()?.gid() == group;
            let mode = mode & if same { 0o777 } else { 0o707 };
            // A list that came from the directory would have its say beside the mode.
            let _ = rustix::fs::fremovexattr(&self.file, acl::ACCESS);
            self.file
                .set_permissions(fs::Permissions::from_mode(mode))?;
        }
        if sync {
            self.file.sync_all()?;
        }
        if place.replace {
            fs::rename(&place.temporary, &place.path)?;
        } else {
            rename_new(&place.temporary, &place.path)?;
        }
        if !sync {
            return Ok(());
        }
        let parent = place.path.parent().filter(|p| !p.as_os_str().is_empty());
        // The data is in place; some file systems cannot say when the name is on the disk.
        let _ = File::open(parent.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all());
        Ok(())
    }

    /// An error of writing with the name of the file, if it is one.
    pub fn named_error(&self, error: io::Error) -> io::Error {
        match &self.place {
            Some(place) => {
                io::Error::new(error.kind(), format!("{}: {error}", place.path.display()))
            }
            None => error,
        }
    }

    /// What it is called in errors.
    pub fn name(&self) -> String {
        let place = self.place.as_ref();
        place.map_or("the output".into(), |place| {
            place.path.display().to_string()
        })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            let _ = fs::remove_file(&place.temporary);
        }
    }
}

impl Output {
    /// Writes with `write`, and waits where others have made the descriptor one that does not.
    fn patiently(&mut self, write: impl Fn(&mut File) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match write(&mut self.file) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], None)?;
                }
                done => return done,
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.patiently(|file| file.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.patiently(|file| file.write_vectored(bufs))
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

/// The name of a file beside `path`, which an attacker cannot foresee.
fn temporary(path: &Path) -> Result<PathBuf, Error> {
    let whole = path.as_os_str().as_bytes();
    // Others pass over a slash or a dot at the end, and the rename would be refused at last.
    let file = |name: &&OsStr| whole.ends_with(name.as_bytes());
    let Some(name) = path.file_name().filter(file) else {
        return Err(Error::Open {
            path: path.into(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "the name is a directory's"),
        });
    };
    // The whole must not be longer than a name may be.
    let start = &name.as_bytes()[..name.len().min(200)];
    let random = hex::encode(&entropy::seed()?[..8]);
    let hidden = [b".", start, b".", random.as_bytes(), b".partial"].concat();
    Ok(path.with_file_name(OsStr::from_bytes(&hidden)))
}

/// Makes a new file.
fn create(path: &Path, mode: u32) -> Result<File, Error> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    file.map_err(|source| {
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = parent.unwrap_or(Path::new(".")).into();
        Error::Create { dir, source }
    })
}

/// Gives a file a name that nothing has.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it: a new link replaces nothing either.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// The first bytes in the pipe that is standard input, which stay there. Nothing where it is no
/// pipe, or none come within `wait`.
pub fn peek_stdin(wait: Duration) -> Option<Vec<u8>> {
    let stdin = rustix::stdio::stdin();
    let kind = FileType::from_raw_mode(rustix::fs::fstat(stdin).ok()?.st_mode);
    if kind != FileType::Fifo {
        return None;
    }
    let wait = Timespec {
        tv_sec: i64::try_from(wait.as_us() / 1_000_000).unwrap_or(0),
        tv_nsec: i64::try_from(wait.as_us() % 1_000_000 * 1_000).unwrap_or(0),
    };
    poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&wait)).ok()?;
    let (copy, into) = rustix::pipe::pipe().ok()?;
    let len = rustix::pipe::tee(stdin, &into, PEEK_BYTES, SpliceFlags::NONBLOCK).ok()?;
    if len == 0 {
        return None;
    }
    let mut bytes = vec![0; PEEK_BYTES];
    let read = rustix::io::read(&copy, bytes.as_mut_slice()).ok()?;
    bytes.truncate(read);
    Some(bytes)
}

/// Whether both describe one file.
pub(super) fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Mode and group of a file at `path`, which hands its mode on to the one that takes its place: who
/// may read the old one may read the new one, and nobody else. A link and another user's file hand
/// nothing on. With an access list, the group's bits of the mode are no rights of the group's, but
/// the most that anyone in the list may have: they are left out.
fn mode_and_group(path: &Path) -> Option<(u32, u32)> {
    let there = fs::symlink_metadata(path).ok()?;
    let ours = there.is_file() && there.uid() == rustix::process::geteuid().as_raw();
    let listed = rustix::fs::lgetxattr(path, acl::ACCESS, &mut [0u8; 0]).is_ok();
    let mode = there.mode() & if listed { !0o070 } else { !0 };
    ours.then_some((mode, there.gid()))
}

/// Widens `file` if it is a pipe: a wide pipe between two filters is worth a factor of three. The
/// system may refuse, and then the pipe is slower but as good.
fn widen(file: &File) {
    let widened = |bytes| rustix::pipe::fcntl_setpipe_size(file, bytes).is_ok();
    let _ = PIPE_BYTES.into_iter().any(widened);
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

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
    fn a_file_hands_its_mode_on_but_no_privileges() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("out"), dir.path().join("link"));
        let replaced = |path: &Path| {
            let output = Output::file(path, None).unwrap();
            let early = output.file.metadata().unwrap().mode() & 0o7777;
            output.commit().unwrap();
            (early, fs::symlink_metadata(path).unwrap().mode() & 0o7777)
        };
        let usual = replaced(&path).1;
        for (mode, wanted) in [(0o600, 0o600), (0o640, 0o640), (0o6755, 0o755)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(replaced(&path), (0o600, wanted));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4711)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(replaced(&link).1, usual);
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o4711);
        let long = dir.path().join("x".repeat(255));
        assert_eq!(replaced(&long).1, usual);
    }

    #[test]
    fn a_file_can_be_read_once_more_from_where_it_stood() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        let mut input = Input::from_file(file).unwrap();
        assert!(input.can_rewind());
        for _ in 0..2 {
            let mut text = String::new();
            input.read_to_string(&mut text).unwrap();
            assert_eq!(text, "456789");
            input.stopper().wake();
            input.rewind().unwrap();
        }
        let (reader, _writer) = io::pipe().unwrap();
        let mut input = Input::from_file(File::from(OwnedFd::from(reader))).unwrap();
        assert!(!input.can_rewind() && input.rewind().is_err());
    }

    #[test]
    fn a_blocked_reader_can_be_stopped() {
        let (reader, _writer) = io::pipe().unwrap();
        let mut input = Input::from_file(File::from(OwnedFd::from(reader))).unwrap();
        let cancel = input.stopper();
        let stopper = std::thread::spawn(move || cancel.wake());
        let error = input.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        stopper.join().unwrap();
    }
}
