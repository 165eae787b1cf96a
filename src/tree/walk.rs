//! A walk over a tree in the order of raw bytes, by descriptors of directories.

use std::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, OFlags, RawDir, Stat, fstat, openat, statat};
use rustix::io::{Errno, Result};

/// How deep a walk goes: much deeper than any tree that an archive can make.
const DEPTH_MAX: usize = 4096;

/// How many directories of one branch are kept open; those above are opened again on the way back.
const OPEN_MAX: usize = 64;

/// Names in an open directory with the types that the directory knows, sorted.
pub(super) fn list(dir: impl AsFd) -> Result<Vec<(Vec<u8>, FileType)>> {
    let dir = dir.as_fd();
    // A descriptor remembers how far it was read, and its copies with it.
    rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0))?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 32 << 10];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    // A name that is removed and made again meanwhile may be listed twice.
    names.dedup_by(|a, b| a.0 == b.0);
    Ok(names)
}

/// A branch of the tree from its root down to the directory at hand.
pub(super) struct Walk {
    levels: Vec<Level>,
    /// The path of the directory at hand, without a slash at the end.
    path: Vec<u8>,
}

struct Level {
    fd: Option<OwnedFd>,
    id: (u64, u64),
    names: std::vec::IntoIter<(Vec<u8>, FileType)>,
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
            path: Vec::new(),
        }
    }

    /// Goes into the open directory `fd`, whose path is `path`.
    pub(super) fn enter(&mut self, fd: OwnedFd, stat: &Stat, path: Vec<u8>) -> Result<()> {
        if self.levels.len() == DEPTH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let names = list(&fd)?.into_iter();
        if let Some(above) = self.levels.len().checked_sub(OPEN_MAX)
            && self.leads_back(above)
        {
            self.levels[above].fd = None;
        }
        self.levels.push(Level {
            fd: Some(fd),
            id: (stat.st_dev, stat.st_ino),
            names,
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
