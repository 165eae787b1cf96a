//! Where something else is mounted in a tree: what is behind it is not ours to remove.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, fstat, openat2,
    statat, statx,
};
use rustix::io::{Errno, Result};

use super::walk::{Step, Walk};
use super::{Error, open_dir};

/// Opens the directory `name` in `dir`, but nothing that is mounted on it.
///
/// # Errors
/// [`Errno::XDEV`] when something is mounted there.
pub(super) fn open_same(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let rules = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match openat2(dir, name, flags, Mode::empty(), rules) {
        // An old system, or a sandbox that forbids it.
        Err(Errno::NOSYS | Errno::PERM) => {
            if is_mount(dir, name)? {
                return Err(Errno::XDEV);
            }
            open_dir(dir, name)
        }
        opened => opened,
    }
}

/// Whether something is mounted on `name` in `dir`.
pub(super) fn is_mount(dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    if let Ok(x) = statx(dir, name, flags, StatxFlags::TYPE)
        && x.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
    {
        return Ok(x.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    }
    let there = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(there.st_dev != fstat(dir)?.st_dev)
}

/// Whether an open directory is the root of what is mounted there, also if that is a part of the
/// same file system. Before Linux 5.8 nobody knows.
pub(super) fn is_root(dir: &OwnedFd) -> Option<bool> {
    let x = statx(dir, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE).ok()?;
    let known = x.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    known.then(|| x.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Refuses a tree that is to be removed when something is mounted on `name` in `dir` or below it.
/// `at` is the path of `dir`, for people.
pub(super) fn refuse(
    dir: BorrowedFd<'_>,
    name: &[u8],
    at: &Path,
) -> std::result::Result<(), Error> {
    match find(dir, name) {
        Ok(None) => Ok(()),
        Ok(Some(path)) => Err(Error::Mount(at.join(OsStr::from_bytes(&path)))),
        Err(e) => Err(Error::system("examine", name)(e)),
    }
}

/// The path of the first mount point at `name` or below.
fn find(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut walk = Walk::new();
    if look(&mut walk, dir, name, name.to_vec())? {
        return Ok(Some(name.to_vec()));
    }
    while let Some(step) = walk.step()? {
        if let Step::Name(name, kind) = step {
            let path = crate::archive::name::join(walk.path(), &name);
            let at = rustix::io::fcntl_dupfd_cloexec(walk.dir()?, 0)?;
            let mounted = match kind {
                FileType::Directory | FileType::Unknown => {
                    look(&mut walk, at.as_fd(), &name, path.clone())?
                }
                _ => gone(is_mount(at.as_fd(), &name))?.unwrap_or(false),
            };
            if mounted {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

/// Goes into a directory, unless it is a mount point.
fn look(walk: &mut Walk, dir: BorrowedFd<'_>, name: &[u8], path: Vec<u8>) -> Result<bool> {
    match open_same(dir, name) {
        Ok(fd) => {
            let stat = fstat(&fd)?;
            walk.enter(fd, &stat, path)?;
            Ok(false)
        }
        Err(Errno::XDEV) => Ok(true),
        // Nothing to go into; what is closed to us is not entered later either if it is a mount.
        Err(_) => Ok(gone(is_mount(dir, name))?.unwrap_or(false)),
    }
}

fn gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}
