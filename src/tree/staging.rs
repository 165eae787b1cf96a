//! How a tree that has grown in a stage becomes its target.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, Stat, openat, renameat, renameat_with};
use rustix::io::Errno;

use super::file_id::FileId;
use super::finish::{Finisher, Merged, Movable};
use super::merge::{Copy, Ground, LOST_AND_FOUND, check, cross, move_in};
use super::remove::remove;
use super::stage::{self, OLD, Stage, TREE};
use super::{Error, mounts, open_dir, walk};
use crate::sys::signals;

/// What happens to the contents of a target that has some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Existing {
    /// They are kept, and the archive is refused.
    #[default]
    Refuse,
    /// They are removed when the new tree is complete.
    Replace,
    /// They stay, except for what the archive has under the same names.
    Merge,
}

/// A private directory on the target's file system, which goes away unless it is committed.
pub(super) struct Staging {
    stage: Arc<Stage>,
    target: PathBuf,
    existing: Existing,
    place: Place,
    notes: Vec<String>,
    _guard: signals::Guard,
}

/// How the tree takes its place.
enum Place {
    /// It gets a name that nothing has.
    New(Vec<u8>),
    /// It is exchanged with a directory of that name.
    Over(Vec<u8>, OwnedFd),
    /// Its contents move into a directory that cannot be renamed, or shall stay.
    Into(OwnedFd),
}

impl Staging {
    /// Judges the target and makes a stage for it.
    pub(super) fn new(target: &Path, existing: Existing, keep: bool) -> Result<Self, Error> {
        let raw = target.as_os_str().as_bytes();
        // The path is the caller's own: links on the way are followed. From here on it is this
        // directory that counts, whatever its name leads to.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(CWD, target, flags, Mode::empty());
        let request = Request {
            target: match opened {
                Ok(_) => fs::canonicalize(target).map_err(Error::system("find", raw))?,
                Err(Errno::NOENT) => absent(target)?,
                Err(Errno::NOTDIR) => {
                    let path = fs::canonicalize(target).unwrap_or_else(|_| target.into());
                    return Err(Error::NotDirectory(path));
                }
                Err(e) => return Err(Error::system("open", raw)(e)),
            },
            existing,
            keep,
        };
        match opened {
            Ok(dir) => request.over(dir),
            Err(_) => request.beside(None),
        }
    }

    /// Opens the root of the tree while it grows.
    pub(super) fn tree(&self) -> Result<OwnedFd, Error> {
        open_dir(self.stage.dir(), TREE).map_err(Error::system("open", b""))
    }

    /// The directory in which everything happens, at the end as well.
    pub(super) fn around(&self) -> &OwnedFd {
        self.stage.parent()
    }

    /// The path of the tree while it grows, for people.
    pub(super) fn path(&self) -> PathBuf {
        self.stage.path().join("tree")
    }

    /// What people should know of what earlier runs have left.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What was at the target before, when the tree takes its place whole.
    pub(super) fn replaced(&self) -> Option<Stat> {
        match &self.place {
            Place::Over(_, old) => rustix::fs::fstat(old).ok(),
            Place::New(_) | Place::Into(_) => None,
        }
    }

    /// Makes the tree the target. `finisher` sets the metadata of its directories, and `copy`
    /// brings what cannot be moved to another file system.
    pub(super) fn commit(
        self,
        sync: bool,
        finisher: &mut Finisher,
        copy: Copy<'_>,
    ) -> Result<(), Error> {
        let stage = Arc::clone(&self.stage);
        let _busy = stage.busy();
        match &self.place {
            Place::New(name) => {
                finisher.new_directories(&Merged::new())?;
                self.flush(stage.dir(), sync)?;
                self.place(|| self.appear(name))?;
            }
            Place::Over(name, old) => {
                let above = self.target.parent().unwrap_or(Path::new("/"));
                mounts::refuse(stage.parent().as_fd(), name, above)?;
                finisher.new_directories(&Merged::new())?;
                self.flush(stage.dir(), sync)?;
                let placed = self.place(|| match self.existing {
                    Existing::Refuse => self.take_over(name, old),
                    Existing::Replace | Existing::Merge => self.exchange(name, old),
                });
                match placed {
                    // It cannot be renamed, which only the attempt tells.
                    Err(Error::System { source, .. }) if stays(&source) => {
                        self.fill(old, sync, finisher, copy)?;
                    }
                    placed => placed?,
                }
            }
            Place::Into(target) => self.fill(target, sync, finisher, copy)?,
        }
        if sync {
            rustix::fs::fsync(stage.parent())
                .map_err(Error::system("write out", self.raw_target()))?;
        }
        // What was replaced is in it by now.
        stage.remove().map_err(|e| match e {
            Errno::STALE => Error::Swapped(stage.path().as_os_str().as_bytes().to_vec()),
            e => Error::system("remove", stage.path().as_os_str().as_bytes())(e),
        })?;
        match &self.place {
            // All of this has changed the root once more.
            Place::Into(target) => finisher.time_of_root(target),
            Place::New(_) | Place::Over(..) => Ok(()),
        }
    }

    fn raw_target(&self) -> &[u8] {
        self.target.as_os_str().as_bytes()
    }

    fn flush(&self, dir: &OwnedFd, sync: bool) -> Result<(), Error> {
        match sync {
            true => rustix::fs::syncfs(dir).map_err(Error::system("write out", self.raw_target())),
            false => Ok(()),
        }
    }

    /// Moves the tree, which only root may do as long as it is closed to its owner.
    fn place(&self, how: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let error = || Error::system("open", self.raw_target());
        let opened = Movable::open(self.stage.dir(), TREE).map_err(|e| error()(e))?;
        let placed = how();
        let closed = opened.map_or(Ok(()), Movable::close);
        placed.and(closed.map_err(|e| error()(e)))
    }

    /// Gives the tree a name that nothing has.
    fn appear(&self, name: &[u8]) -> Result<(), Error> {
        rename_new(self.stage.dir(), TREE, self.stage.parent(), name)
            .map_err(Error::system("create", self.raw_target()))
    }

    /// Gives the tree the name of an empty directory, and never of anything else.
    fn take_over(&self, name: &[u8], old: &OwnedFd) -> Result<(), Error> {
        let (stage, parent) = (self.stage.dir(), self.stage.parent());
        self.judge(parent, name, old)?;
        renameat(stage, TREE, parent, name).map_err(|e| match e {
            Errno::NOTEMPTY | Errno::EXIST => Error::NotEmpty(self.target.clone()),
            e => Error::system("replace", self.raw_target())(e),
        })
    }

    /// Exchanges the tree and what is at `name`, which must be `old`: who can rename it can put
    /// something else there, and that is not ours to remove. Inside of the stage nobody can.
    fn exchange(&self, name: &[u8], old: &OwnedFd) -> Result<(), Error> {
        let (stage, parent) = (self.stage.dir(), self.stage.parent());
        let error = || Error::system("replace", self.raw_target());
        let swap = || renameat_with(stage, TREE, parent, name, RenameFlags::EXCHANGE);
        let opened = Movable::open(parent, name).map_err(|e| error()(e))?;
        let exchanged = match swap() {
            Ok(()) => self.judge(stage, TREE, old).inspect_err(|_| {
                let _ = swap();
            }),
            // A file system that cannot do it in one step.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let aside = renameat(parent, name, stage, OLD).map_err(|e| error()(e));
                let judged = aside.and_then(|()| self.judge(stage, OLD, old));
                judged.and_then(|()| self.appear(name)).inspect_err(|_| {
                    let _ = rename_new(stage, OLD, parent, name);
                })
            }
            Err(e) => Err(error()(e)),
        };
        exchanged.inspect_err(|_| {
            let _ = opened.map(Movable::close);
        })
    }

    /// Refuses what is at `name`, if it is not what was at the target when we began.
    fn judge(&self, dir: &OwnedFd, name: &[u8], old: &OwnedFd) -> Result<(), Error> {
        let there = FileId::of_name(dir, name);
        let same = there.and_then(|there| Ok(there == FileId::of(old)?));
        match same.map_err(Error::system("examine", self.raw_target()))? {
            true => Ok(()),
            false => Err(Error::Swapped(self.raw_target().to_vec())),
        }
    }

    /// Moves what is in the stage into a target that stays.
    fn fill(
        &self,
        target: &OwnedFd,
        sync: bool,
        finisher: &mut Finisher,
        copy: Copy<'_>,
    ) -> Result<(), Error> {
        let ground = Ground {
            target,
            path: &self.target,
            emptied: self.existing == Existing::Replace,
            stage: self.stage.name(),
        };
        let plan = check(finisher, &ground)?;
        let old = match ground.emptied {
            true => self.old(target)?,
            false => Vec::new(),
        };
        for name in &old {
            mounts::refuse(target.as_fd(), name, &self.target)?;
        }
        finisher.new_directories(&plan.merged)?;
        cross(finisher, &plan, target, &self.target, copy)?;
        self.flush(self.stage.dir(), sync)?;
        // It tells a later run that this stage is not only a leftover.
        let recorded = self.stage.moving();
        recorded.map_err(Error::system(
            "write to",
            self.stage.path().as_os_str().as_bytes(),
        ))?;
        let mut move_all = || {
            for name in &old {
                remove(target.as_fd(), name).map_err(Error::system("remove", name))?;
            }
            move_in(finisher, &plan.merged, target, &self.target)?;
            self.flush(target, sync)
        };
        move_all().map_err(|source| Error::Halfway {
            source: Box::new(source),
            target: self.target.clone(),
            stage: self.path(),
        })
    }

    /// The names that were in the target before.
    fn old(&self, target: &OwnedFd) -> Result<Vec<Vec<u8>>, Error> {
        let names = walk::list(target).map_err(Error::system("read", self.raw_target()))?;
        let names = names.into_iter().map(|(name, _)| name);
        Ok(names
            .filter(|name| name != self.stage.name() && name != LOST_AND_FOUND)
            .collect())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.stage.clean();
    }
}

/// A target that is to be judged.
struct Request {
    /// Without links.
    target: PathBuf,
    existing: Existing,
    keep: bool,
}

impl Request {
    fn raw(&self) -> &[u8] {
        self.target.as_os_str().as_bytes()
    }

    /// A stage for a target that is there.
    fn over(self, dir: OwnedFd) -> Result<Staging, Error> {
        let mount = is_mount(&dir, &self.target);
        let stages = stage::find(&dir, &self.target).map_err(Error::system("read", self.raw()))?;
        let mut full = false;
        let count = |name: &[u8], _| {
            let ours = stages
                .iter()
                .any(|s| s.path.file_name().is_some_and(|n| n.as_bytes() == name));
            full |= !(ours || mount && name == LOST_AND_FOUND);
            !full
        };
        walk::each(&dir, count).map_err(Error::system("read", self.raw()))?;
        if full && self.existing == Existing::Refuse {
            return Err(Error::NotEmpty(self.target));
        }
        // While they are open, they count as in use.
        let left = !stages.is_empty();
        drop(stages);
        let here = FileId::of_name(CWD, b".").ok() == FileId::of(&dir).ok();
        // A stage in it is of a run that could not rename it either.
        if mount || here || left || self.existing == Existing::Merge {
            return self.inside(dir);
        }
        self.beside(Some(dir))
    }

    /// A stage in the directory of the target, or in the target if nothing can be made there.
    fn beside(self, old: Option<OwnedFd>) -> Result<Staging, Error> {
        let (Some(parent), Some(name)) = (self.target.parent(), self.target.file_name()) else {
            return Err(Error::NotDirectory(self.target));
        };
        let (parent, name) = (parent.to_path_buf(), name.as_bytes().to_vec());
        let opened = open_dir(CWD, parent.as_os_str().as_bytes());
        let fd = match (opened, old) {
            (Ok(fd), Some(old)) => {
                let there = FileId::of_name(&fd, &name);
                if there.ok() != FileId::of(&old).ok() {
                    return Err(Error::Swapped(self.raw().to_vec()));
                }
                match self.try_beside(fd, &parent) {
                    Ok((stage, notes, guard)) => {
                        return Ok(self.staging(stage, guard, Place::Over(name, old), notes));
                    }
                    Err(Error::System { source, .. }) if stays(&source) => {
                        return self.inside(old);
                    }
                    Err(e) => return Err(e),
                }
            }
            (Err(Errno::ACCESS), Some(old)) => return self.inside(old),
            (Ok(fd), None) => fd,
            (Err(e), _) => return Err(Error::system("open", parent.as_os_str().as_bytes())(e)),
        };
        let (stage, notes, guard) = self.try_beside(fd, &parent)?;
        Ok(self.staging(stage, guard, Place::New(name), notes))
    }

    fn try_beside(
        &self,
        parent: OwnedFd,
        at: &Path,
    ) -> Result<(Arc<Stage>, Vec<String>, signals::Guard), Error> {
        let left = stage::find(&parent, at).unwrap_or_default();
        let left = left.iter().filter(|stage| !stage.live);
        let notes = left
            .map(|stage| format!("an earlier unpack left {}", stage.path.display()))
            .collect();
        let (stage, guard) = Stage::new(parent, at, self.keep)?;
        Ok((stage, notes, guard))
    }

    /// A stage in the target itself.
    fn inside(self, dir: OwnedFd) -> Result<Staging, Error> {
        let raw = self.raw();
        let parent = dir.try_clone().map_err(Error::system("open", raw))?;
        let (stage, guard) = Stage::new(parent, &self.target, self.keep)?;
        let mut staging = self.staging(stage, guard, Place::Into(dir), Vec::new());
        let Place::Into(dir) = &staging.place else {
            return Ok(staging);
        };
        let raw = staging.raw_target();
        let found = stage::find(dir, &staging.target).map_err(Error::system("read", raw))?;
        for left in found {
            if left.path == staging.stage.path() {
                continue;
            }
            if left.live {
                return Err(Error::Busy(staging.target.clone()));
            }
            if left.moving {
                return Err(Error::Unfinished {
                    target: staging.target.clone(),
                    stage: left.path.join("tree"),
                });
            }
            let path = left.path.clone();
            left.remove(dir)
                .map_err(Error::system("remove", path.as_os_str().as_bytes()))?;
            staging.notes.push(format!(
                "removed {}, which an earlier unpack left",
                path.display()
            ));
        }
        Ok(staging)
    }

    fn staging(
        self,
        stage: Arc<Stage>,
        guard: signals::Guard,
        place: Place,
        notes: Vec<String>,
    ) -> Staging {
        Staging {
            stage,
            target: self.target,
            existing: self.existing,
            place,
            notes,
            _guard: guard,
        }
    }
}

/// Whether an error says that a directory cannot be renamed, or nothing be made beside it; then its
/// contents may be replaced where it is.
fn stays(error: &std::io::Error) -> bool {
    let errors = [
        Errno::XDEV,
        Errno::BUSY,
        Errno::ACCESS,
        Errno::PERM,
        Errno::ROFS,
    ];
    errors
        .iter()
        .any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

/// A target that is not there: its directory must be.
fn absent(target: &Path) -> Result<PathBuf, Error> {
    let raw = target.as_os_str().as_bytes();
    if fs::symlink_metadata(target).is_ok() {
        // A link that leads nowhere.
        return Err(Error::NotDirectory(target.into()));
    }
    let name = target
        .file_name()
        .ok_or_else(|| Error::NotDirectory(target.into()))?;
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = fs::canonicalize(parent).map_err(Error::system("find the directory of", raw))?;
    Ok(parent.join(name))
}

fn is_mount(dir: &OwnedFd, target: &Path) -> bool {
    let device = |path: &Path| rustix::fs::stat(path).map(|s| s.st_dev).ok();
    let elsewhere = || {
        target
            .parent()
            .is_none_or(|parent| device(parent) != device(target))
    };
    mounts::is_root(dir).unwrap_or_else(elsewhere)
}

/// Renames to a name that must not exist.
fn rename_new(from: &OwnedFd, name: &[u8], to: &OwnedFd, new: &[u8]) -> rustix::io::Result<()> {
    match renameat_with(from, name, to, new, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it: a rename replaces nothing but an empty directory.
        Err(Errno::INVAL | Errno::NOSYS) => renameat(from, name, to, new),
        renamed => renamed,
    }
}
