//! How a tree comes into a target that stays: what is new is moved into place, and directories that
//! are in both get what is in the new one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Stat, fstat, renameat, statat};
use rustix::io::Errno;

use super::dirs::Dirs;
use super::file_id::FileId;
use super::finish::{Finisher, Merged, Movable};
use super::path_table::{DirId, ROOT};
use super::remove::{remove, remove_empty};
use super::{Error, MODE_BITS, mounts, open_dir, walk};
use crate::archive::name::{join, split};

/// A target that stays, and what of it stays.
pub(super) struct Ground<'a> {
    pub(super) target: &'a OwnedFd,
    /// Where it is, for people.
    pub(super) path: &'a Path,
    /// Whether everything is removed from it first, but for `kept`.
    pub(super) emptied: bool,
    /// A name in the target that nothing may take.
    pub(super) stage: &'a [u8],
}

/// What the root of a file system has by itself.
pub(super) const LOST_AND_FOUND: &[u8] = b"lost+found";

impl Ground<'_> {
    /// What is at `path` in the target, and stays there; `dir` is the directory that it is in.
    fn find(&self, dir: &OwnedFd, path: &[u8]) -> Result<Option<Stat>, Error> {
        let (above, name) = split(path);
        if above.is_empty() && name == self.stage {
            return Err(self.conflict(path, "the staging directory has that name"));
        }
        if above.is_empty() && self.emptied && name != LOST_AND_FOUND {
            return Ok(None);
        }
        match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(Error::system("examine", path)(e)),
        }
    }

    fn conflict(&self, path: &[u8], what: &'static str) -> Error {
        Error::Conflict {
            path: self.path.join(OsStr::from_bytes(path)),
            what,
        }
    }
}

/// What becomes of the directories of a tree that are in the target as well.
pub(super) struct MergePlan {
    /// They get what is in the new ones.
    pub(super) merged: Merged,
    /// Something is mounted on them: nothing can be moved there.
    pub(super) mounted: Vec<DirId>,
}

/// Finds the directories of the tree that are in the target as well, and refuses what could not be
/// merged, before anything is touched.
pub(super) fn check(finisher: &mut Finisher, ground: &Ground<'_>) -> Result<MergePlan, Error> {
    let mut dirs = below(ground.target, ground.path)?;
    let target = FileId::of(ground.target).map_err(Error::system("examine", b""))?;
    let mut plan = MergePlan {
        merged: Merged::from([(ROOT, target)]),
        mounted: Vec::new(),
    };
    for id in finisher.table.directories() {
        let path = finisher.table.path(id);
        if id != ROOT {
            let Some(&above_id) = plan.merged.get(&finisher.table.parent(id)) else {
                continue;
            };
            let above = split(&path).0;
            let above = dirs
                .get(above, above_id)
                .map_err(Error::found_again(above))?;
            let Some(old) = ground.find(&above, &path)? else {
                continue;
            };
            check_directory(finisher, ground, (id, &path), (&above, &old))?;
            finisher.table.pay_for_merge()?;
            if is_mount(&above, &path)? {
                // What is below belongs on another file system.
                plan.mounted.push(id);
                continue;
            }
            plan.merged.insert(id, FileId::from(&old));
        }
        let to = dirs
            .get(&path, plan.merged[&id])
            .map_err(Error::found_again(&path))?;
        check_others(&finisher.directory(id)?, &to, &path, ground)?;
    }
    Ok(plan)
}

fn is_mount(above: &OwnedFd, path: &[u8]) -> Result<bool, Error> {
    let mounted = mounts::is_mount(above.as_fd(), split(path).1);
    mounted.map_err(Error::system("examine", path))
}

/// Refuses a directory of the tree for what is in its place.
fn check_directory(
    finisher: &Finisher,
    ground: &Ground<'_>,
    (id, path): (DirId, &[u8]),
    (above, old): (&OwnedFd, &Stat),
) -> Result<(), Error> {
    let refuse = |what| Err(ground.conflict(path, what));
    if FileType::from_raw_mode(old.st_mode) != FileType::Directory {
        return refuse("it is no directory, but the archive's is");
    }
    // Whoever owns a directory may give any other in it this name, but shall not be given that.
    let holder = fstat(above).map_err(Error::system("examine", path))?.st_uid;
    let stranger = holder != finisher.restorer.uid && holder != old.st_uid;
    let changes = |meta: crate::archive::Meta| {
        (meta.mode, meta.uid, meta.gid) != (old.st_mode & MODE_BITS, old.st_uid, old.st_gid)
    };
    if stranger && finisher.table.described(id).is_some_and(changes) {
        return refuse("it belongs to another user than the directory that it is in");
    }
    Ok(())
}

/// Refuses what is no directory in the tree, but is one in the target.
fn check_others(from: &OwnedFd, to: &OwnedFd, at: &[u8], ground: &Ground<'_>) -> Result<(), Error> {
    let mut found = Ok(());
    let look = |name: &[u8], kind: FileType| {
        let path = join(at, name);
        let is_dir = |stat: Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        found = match walk::is_dir(from, name, kind) {
            Ok(true) => Ok(()),
            Ok(false) => match ground.find(to, &path) {
                Ok(None) => Ok(()),
                Ok(Some(old)) if is_dir(old) => {
                    Err(ground.conflict(&path, "it is a directory, but the archive's is none"))
                }
                Ok(Some(_)) => match is_mount(to, &path) {
                    Ok(true) => Err(ground.conflict(&path, "something is mounted there")),
                    looked => looked.map(drop),
                },
                Err(e) => Err(e),
            },
            Err(e) => Err(Error::system("examine", &path)(e)),
        };
        found.is_ok()
    };
    walk::each(from, look).map_err(Error::system("read", at))?;
    found
}

/// Has `copy` bring what is in the new directories to what is mounted on the old ones, and takes it
/// out of the tree.
pub(super) fn cross(
    finisher: &mut Finisher,
    plan: &MergePlan,
    target: &OwnedFd,
    at: &Path,
    copy: Copy<'_>,
) -> Result<(), Error> {
    let mut dirs = below(target, at)?;
    for &id in &plan.mounted {
        let (path, parent) = (finisher.table.path(id), finisher.table.parent(id));
        let (above, name) = split(&path);
        let above = dirs
            .get(above, plan.merged[&parent])
            .map_err(Error::found_again(above))?;
        let to = open_dir(&*above, name).map_err(Error::system("open", &path))?;
        copy(&finisher.directory(id)?, &to)?;
        let above = finisher.directory(parent)?;
        remove(above.as_fd(), name).map_err(Error::system("remove", &path))?;
    }
    Ok(())
}

/// How the tree in one open directory is merged into another on a different file system.
pub(super) type Copy<'a> = &'a dyn Fn(&OwnedFd, &OwnedFd) -> Result<(), Error>;

/// Moves everything in the tree into the target, the deepest directories first.
pub(super) fn move_in(
    finisher: &mut Finisher,
    merged: &Merged,
    target: &OwnedFd,
    at: &Path,
) -> Result<(), Error> {
    let mut dirs = below(target, at)?;
    for (&id, &old) in merged.iter().rev() {
        let path = finisher.table.path(id);
        let from = finisher.directory(id)?;
        let to = dirs.get(&path, old).map_err(Error::found_again(&path))?;
        let opened = Movable::of(&to).map_err(Error::by_proc("open", &path))?;
        let to = open_dir(&*to, b".").map_err(Error::system("open", &path))?;
        move_names(&from, &to, &path)?;
        finisher.merged(id, &to, &path, opened)?;
        if id != ROOT {
            let above = finisher.directory(finisher.table.parent(id))?;
            let empty =
                FileId::of(&from).and_then(|id| remove_empty(above.as_fd(), split(&path).1, id));
            empty.map_err(Error::system("remove", &path))?;
        }
    }
    Ok(())
}

/// Moves everything that is left in a directory of the tree.
fn move_names(from: &OwnedFd, to: &OwnedFd, at: &[u8]) -> Result<(), Error> {
    loop {
        let names = walk::some(from).map_err(Error::system("read", at))?;
        if names.is_empty() {
            return Ok(());
        }
        for (name, kind) in names {
            let path = join(at, &name);
            let move_one = || -> rustix::io::Result<()> {
                let opened = match walk::is_dir(from, &name, kind)? {
                    true => Movable::open(from, &name)?,
                    false => None,
                };
                renameat(from, &*name, to, &*name)?;
                opened.map_or(Ok(()), Movable::close)
            };
            move_one().map_err(Error::system("move into place", &path))?;
        }
    }
}

/// The directories of a target.
fn below(target: &OwnedFd, at: &Path) -> Result<Dirs, Error> {
    let root = target.try_clone();
    let root = root.map_err(Error::system("open", at.as_os_str().as_bytes()))?;
    Ok(Dirs::new(root))
}
