//! The last step of a restoration: directories get their metadata, which may close them, and their
//! times, which what comes into them would change.

use std::collections::BTreeMap;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawMode, Stat, chmodat, fchmod, fstat, openat};

use super::dirs::Dirs;
use super::file_id::FileId;
use super::path_table::{DirId, PathTable, ROOT};
use super::restore::{self, AlreadySet, Restorer};
use super::{DIRECTORY, Error, MODE_BITS, open_dir, proc_fd};
use crate::archive::name::split;

/// Directories of the archive that were in the target before, and which they are there.
pub(super) type Merged = BTreeMap<DirId, FileId>;

/// Sets what is left to be set when everything was made.
pub(super) struct Finisher {
    pub(super) table: PathTable,
    /// The tree as it was made, below its root.
    pub(super) made: Dirs,
    pub(super) restorer: Restorer,
    /// The device of the tree.
    pub(super) device: u64,
    /// What directories become of which the archive says nothing.
    pub(super) umask: Mode,
    /// What was at the place of the tree before, if its root takes its place.
    pub(super) replaced: Option<Stat>,
    /// Whether the new directories have their metadata.
    pub(super) done: bool,
}

/// A directory that its owner, who is not root, may move: with all rights to it.
pub(super) struct Movable {
    dir: OwnedFd,
    mode: RawMode,
}

impl Movable {
    /// Opens `name` in `dir`, if need be after giving ourselves the rights. Nothing is needed for
    /// root.
    pub(super) fn open(dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<Option<Self>> {
        if rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let flags = DIRECTORY.union(OFlags::NOFOLLOW);
        Self::of(&openat(dir, name, flags, Mode::empty())?)
    }

    /// The same for a directory that a descriptor leads to.
    pub(super) fn of(dir: &OwnedFd) -> rustix::io::Result<Option<Self>> {
        if rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let mode = fstat(dir)?.st_mode & MODE_BITS;
        if mode & OWNER_BITS != OWNER_BITS {
            let mode = Mode::from_raw_mode(mode | OWNER_BITS);
            chmodat(CWD, proc_fd(dir), mode, AtFlags::empty())?;
        }
        let dir = open_dir(dir, b".")?;
        Ok(Some(Self { dir, mode }))
    }

    /// Takes the rights back, when it has been moved.
    pub(super) fn close(self) -> rustix::io::Result<()> {
        match self.mode & OWNER_BITS == OWNER_BITS {
            true => Ok(()),
            false => fchmod(self.dir, Mode::from_raw_mode(self.mode)),
        }
    }
}

const OWNER_BITS: RawMode = 0o700;

impl Finisher {
    /// Sets the metadata of all directories but those that are `merged`, in the private place where
    /// they were made. What is in a directory comes before it.
    pub(super) fn new_directories(&mut self, merged: &Merged) -> Result<(), Error> {
        if self.done {
            return Ok(());
        }
        for id in self.table.directories().rev() {
            if merged.contains_key(&id) {
                continue;
            }
            let path = self.table.path(id);
            let dir = self.directory(id)?;
            match self.table.described(id) {
                Some(meta) => self
                    .restorer
                    .open(&dir, &path, &meta, AlreadySet::Nothing)?,
                None => self.unsaid(id, &dir, &path)?,
            }
        }
        self.done = true;
        Ok(())
    }

    /// Opens a directory in the place where it was made.
    pub(super) fn directory(&mut self, id: DirId) -> Result<OwnedFd, Error> {
        if id == ROOT {
            return open_dir(&*self.made.root(), b".").map_err(Error::system("open", b""));
        }
        let (path, parent) = (self.table.path(id), self.table.parent(id));
        let (above, name) = split(&path);
        let above_id = self.file_id(parent);
        let above = self
            .made
            .get(above, above_id)
            .map_err(Error::found_again(above))?;
        let dir = open_dir(&*above, name).map_err(Error::system("open", &path))?;
        let same = self.made.is_same(&dir, self.file_id(id));
        same.map_err(Error::found_again(&path)).map(|()| dir)
    }

    fn file_id(&self, id: DirId) -> FileId {
        FileId {
            device: self.device,
            inode: self.table.inode(id),
        }
    }

    /// A directory that the archive has things in, but says nothing about.
    fn unsaid(&self, id: DirId, dir: &OwnedFd, path: &[u8]) -> Result<(), Error> {
        let mode = match &self.replaced {
            Some(old) if id == ROOT => {
                let (uid, gid) = (restore::uid(old.st_uid), restore::gid(old.st_gid));
                // An ordinary user's own directory needs no new owner.
                let _ = rustix::fs::fchown(dir, Some(uid), Some(gid));
                Mode::from_raw_mode(old.st_mode & MODE_BITS)
            }
            _ => Mode::from_raw_mode(0o777) & !self.umask,
        };
        fchmod(dir, mode).map_err(Error::system("set the mode of", path))
    }

    /// Gives a directory that was there before what the archive says of it, or else takes back what
    /// was needed to fill it.
    pub(super) fn merged(
        &mut self,
        id: DirId,
        dir: &OwnedFd,
        path: &[u8],
        opened: Option<Movable>,
    ) -> Result<(), Error> {
        match self.table.described(id) {
            Some(meta) => self.restorer.open(dir, path, &meta, AlreadySet::Nothing),
            None => opened
                .map_or(Ok(()), Movable::close)
                .map_err(Error::system("set the mode of", path)),
        }
    }

    /// Sets the time of the root once more: whatever is done in it changes that.
    pub(super) fn time_of_root(&self, root: &OwnedFd) -> Result<(), Error> {
        match self.table.described(ROOT) {
            Some(meta) => {
                let times = restore::timestamps(meta.mtime);
                rustix::fs::futimens(root, &times).map_err(Error::system("set the time of", b""))
            }
            None => Ok(()),
        }
    }
}
