//! Removing a tree, however deep and whatever its permissions, but nothing mounted in it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, fstat, unlinkat};
use rustix::io::{Errno, Result};

use super::file_id::FileId;
use super::mounts::open_same;
use super::walk::{Step, Walk, is_dir};
use super::{Error, open_dir, set_mode};

/// Removes the tree at `path`, however deep and whatever its permissions. What is not there is no
/// error. What is mounted in it is not entered, and so not removed.
///
/// # Errors
/// [`Error::System`] when something cannot be removed.
pub fn remove_tree(path: &Path) -> std::result::Result<(), Error> {
    let raw = path.as_os_str().as_bytes();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::system("remove", raw)(Errno::INVAL));
    };
    match open_dir(CWD, parent.as_os_str().as_bytes()) {
        Ok(parent) => remove(parent.as_fd(), name.as_bytes()),
        Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    }
    .map_err(Error::system("remove", raw))
}

/// Removes `name` in `dir` with everything below, up to the first mount point, which fails it with
/// [`Errno::XDEV`]: behind it is another tree, which was not to be removed. What is not there any
/// more is no error.
pub(super) fn remove(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    let fd = open(dir, name)?;
    let id = FileId::of(&fd)?;
    clear(fd)?;
    remove_empty(dir, name, id)
}

/// Removes everything in an open directory. Names that come meanwhile are removed as well.
pub(super) fn clear(dir: OwnedFd) -> Result<()> {
    let mut walk = Walk::unsorted();
    // The directories that are gone into, below the first.
    let mut branch: Vec<(Vec<u8>, FileId)> = Vec::new();
    let stat = fstat(&dir)?;
    walk.enter(dir, &stat, Vec::new())?;
    while let Some(step) = walk.step()? {
        match step {
            Step::Leave => {
                if let Some((name, id)) = branch.pop() {
                    remove_empty(walk.dir()?, &name, id)?;
                }
            }
            Step::Name(name, kind) => {
                let at = walk.dir()?;
                if is_dir(at, &name, kind)? {
                    let fd = open(at, &name)?;
                    let stat = fstat(&fd)?;
                    walk.enter(fd, &stat, Vec::new())?;
                    branch.push((name, FileId::from(&stat)));
                } else {
                    gone(unlinkat(at, &*name, AtFlags::empty()))?;
                }
            }
        }
    }
    Ok(())
}

/// Removes the empty directory `name` in `dir`, if it is still the one that was emptied.
///
/// # Errors
/// [`Errno::STALE`] when something else has its name.
pub(super) fn remove_empty(dir: BorrowedFd<'_>, name: &[u8], id: FileId) -> Result<()> {
    match FileId::of_name(dir, name) {
        Ok(there) if there == id => gone(unlinkat(dir, name, AtFlags::REMOVEDIR)),
        Ok(_) => Err(Errno::STALE),
        Err(e) => gone(Err(e)),
    }
}

fn gone(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Opens a directory, if need be after giving ourselves the permission to empty it.
fn open(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let fd = match open_same(dir, name) {
        Err(Errno::ACCESS) => {
            set_mode(dir, name, Mode::RWXU)?;
            open_same(dir, name)?
        }
        opened => opened?,
    };
    if fstat(&fd)?.st_mode & 0o700 != 0o700 {
        rustix::fs::fchmod(&fd, Mode::RWXU)?;
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkdirat;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn deep_and_locked_trees_go() {
        let dir = tempfile::tempdir().unwrap();
        let root = open_dir(CWD, dir.path().as_os_str().as_encoded_bytes()).unwrap();
        mkdirat(&root, "x", Mode::RWXU).unwrap();
        let mut at = open_dir(&root, b"x").unwrap();
        for _ in 0..400 {
            mkdirat(&at, "deeper-and-deeper", Mode::RWXU).unwrap();
            at = open_dir(&at, b"deeper-and-deeper").unwrap();
        }
        let locked = dir.path().join("x/locked");
        std::fs::create_dir(&locked).unwrap();
        std::fs::write(locked.join("f"), "f").unwrap();
        std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o000)).unwrap();
        remove(root.as_fd(), b"x").unwrap();
        remove(root.as_fd(), b"x").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn more_names_than_are_read_at_once_go() {
        let dir = tempfile::tempdir().unwrap();
        let many = dir.path().join("many");
        std::fs::create_dir(&many).unwrap();
        std::fs::write(many.join("file"), "").unwrap();
        for n in 0..3000 {
            std::fs::hard_link(many.join("file"), many.join(n.to_string())).unwrap();
        }
        remove_tree(&many).unwrap();
        assert!(!many.exists());
    }

    #[test]
    fn a_directory_that_took_the_name_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = open_dir(CWD, dir.path().as_os_str().as_encoded_bytes()).unwrap();
        mkdirat(&root, "ours", Mode::RWXU).unwrap();
        let id = FileId::of_name(&root, b"ours").unwrap();
        std::fs::rename(dir.path().join("ours"), dir.path().join("aside")).unwrap();
        mkdirat(&root, "ours", Mode::RWXU).unwrap();
        assert_eq!(remove_empty(root.as_fd(), b"ours", id), Err(Errno::STALE));
        assert!(dir.path().join("ours").is_dir());
    }
}
