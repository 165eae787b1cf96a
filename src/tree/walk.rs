//! A walk over a tree in the order of raw bytes, by descriptors of directories.

use std::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, OFlags, RawDir, Stat, fstat, openat, statat};
use rustix::io::{Errno, Result};

/// How deep a walk goes: much deeper than any tree that an archive can make.
const DEPTH_MAX: usize = 8192;

/// How many directories of one branch are kept open; those above are opened again on the way back.
const OPEN_MAX: usize = 64;

/// How many names are read at once where their order does not matter.
const NAMES_MAX: usize = 1024;

/// A name in a directory, with the type that the directory knows.
pub(super) type Named = (Vec<u8>, FileType);

/// All names in an open directory, sorted.
pub(super) fn list(dir: impl AsFd) -> Result<Vec<Named>> {
    let mut names = read(dir, usize::MAX)?;
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    // A name that is removed and made again meanwhile may be listed twice.
    names.dedup_by(|a, b| a.0 == b.0);
    Ok(names)
}

/// Some names in an open directory, in no order: who takes them away finds the others next time.
pub(super) fn some(dir: impl AsFd) -> Result<Vec<Named>> {
    read(dir, NAMES_MAX)
}

/// Shows the names in an open directory one by one, as long as `show` says true.
pub(super) fn each(dir: impl AsFd, mut show: impl FnMut(&[u8], FileType) -> bool) -> Result<()> {
    let dir = dir.as_fd();
    // A descriptor remembers how far it was read, and its copies with it.
    rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0))?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 32 << 10];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && !show(name, entry.file_type()) {
            break;
        }
    }
    Ok(())
}

/// Whether a name is that of a directory, when the directory that it is in does not know.
pub(super) fn is_dir(dir: impl AsFd, name: &[u8], kind: FileType) -> Result<bool> {
    let kind = match kind {
        FileType::Unknown => {
            FileType::from_raw_mode(statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
        }
        kind => kind,
    };
    Ok(kind == FileType::Directory)
}

fn read(dir: impl AsFd, max: usize) -> Result<Vec<Named>> {
    let mut names = Vec::new();
    each(dir, |name, kind| {
        names.push((name.to_vec(), kind));
        names.len() < max
    })?;
    Ok(names)
}

/// A branch of the tree from its root down to the directory at hand.
pub(super) struct Walk {
    levels: Vec<Level>,
    sorted: bool,
    /// The path of the directory at hand, without a slash at the end.
    path: Vec<u8>,
}

struct Level {
    fd: Option<OwnedFd>,
    id: (u64, u64),
    names: std::vec::IntoIter<Named>,
    parent_len: usize,
}

/// The next thing on a walk.
pub(super) enum Step {
    /// A name in the directory at hand.
    Name(Vec<u8>, FileType),
    /// The directory at hand has no more names and was left.
    Leave,
}

impl Walk {
    pub(super) const fn new() -> Self {
        Self {
            levels: Vec::new(),
            sorted: true,
            path: Vec::new(),
        }
    }

    /// A walk that takes every name away: each directory is read until it is empty.
    pub(super) fn unsorted() -> Self {
        Self {
            sorted: false,
            ..Self::new()
        }
    }

    /// Goes into the open directory `fd`, whose path is `path`.
    pub(super) fn enter(&mut self, fd: OwnedFd, stat: &Stat, path: Vec<u8>) -> Result<()> {
        if self.levels.len() == DEPTH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let names = match self.sorted {
            true => list(&fd)?,
            false => some(&fd)?,
        };
        if let Some(above) = self.levels.len().checked_sub(OPEN_MAX)
            && self.leads_back(above)
        {
            self.levels[above].fd = None;
        }
        self.levels.push(Level {
            fd: Some(fd),
            id: (stat.st_dev, stat.st_ino),
            names: names.into_iter(),
            parent_len: self.path.len(),
        });
        self.path = path;
        Ok(())
    }

    /// Whether the way back to a level is its child's own: a walk that came by a symbolic link
    /// would find another directory there.
    fn leads_back(&self, level: usize) -> bool {
        let child = self
            .levels
            .get(level + 1)
            .and_then(|child| child.fd.as_ref());
        let back = child.map(|child| statat(child, "..", AtFlags::empty()));
        back.is_some_and(|back| back.is_ok_and(|s| (s.st_dev, s.st_ino) == self.levels[level].id))
    }

    /// Whether a directory is on the branch.
    pub(super) fn is_in(&self, stat: &Stat) -> bool {
        let id = (stat.st_dev, stat.st_ino);
        self.levels.iter().any(|level| level.id == id)
    }

    /// The next step, or nothing when the walk is over.
    pub(super) fn step(&mut self) -> Result<Option<Step>> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(None);
        };
        if !self.sorted
            && level.names.len() == 0
            && let Some(fd) = &level.fd
        {
            level.names = some(fd)?.into_iter();
        }
        if let Some((name, kind)) = level.names.next() {
            return Ok(Some(Step::Name(name, kind)));
        }
        let Some(level) = self.levels.pop() else {
            return Ok(None);
        };
        self.path.truncate(level.parent_len);
        if let (Some(parent), Some(child)) = (self.levels.last_mut(), &level.fd)
            && parent.fd.is_none()
        {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = openat(child, "..", flags, rustix::fs::Mode::empty())?;
            let stat = fstat(&fd)?;
            // Another process moved the directory: its names would be looked up elsewhere.
            if (stat.st_dev, stat.st_ino) != parent.id {
                return Err(Errno::STALE);
            }
            parent.fd = Some(fd);
        }
        Ok(Some(Step::Leave))
    }

    /// The directory at hand.
    pub(super) fn dir(&self) -> Result<BorrowedFd<'_>> {
        let fd = self.levels.last().and_then(|level| level.fd.as_ref());
        fd.map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    /// The path of the directory at hand.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }
}
