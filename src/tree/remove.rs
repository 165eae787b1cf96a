//! Removing a tree, however deep and whatever its permissions, but nothing mounted in it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, fstat, statat, unlinkat};
use rustix::io::{Errno, Result};

use super::mounts::open_same;
use super::walk::{Step, Walk};
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
    let mut walk = Walk::new();
    let mut branch = Vec::new();
    enter(&mut walk, dir, name)?;
    branch.push(name.to_vec());
    while let Some(step) = walk.step()? {
        match step {
            Step::Leave => {
                let parent = walk.dir().unwrap_or(dir);
                if let Some(name) = branch.pop() {
                    gone(unlinkat(parent, &*name, AtFlags::REMOVEDIR))?;
                }
            }
            Step::Name(name, kind) => {
                let at = walk.dir()?;
                let is_dir = match kind {
                    FileType::Directory => true,
                    FileType::Unknown => {
                        let stat = statat(at, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
                        FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                    }
                    _ => false,
                };
                if is_dir {
                    let at = rustix::io::fcntl_dupfd_cloexec(at, 0)?;
                    enter(&mut walk, at.as_fd(), &name)?;
                    branch.push(name);
                } else {
                    gone(unlinkat(at, &*name, AtFlags::empty()))?;
                }
            }
        }
    }
    Ok(())
}

fn gone(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Goes into a directory, if need be after giving ourselves the permission to empty it.
fn enter(walk: &mut Walk, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let fd = match open_same(dir, name) {
        Err(Errno::ACCESS) => {
            set_mode(dir, name, Mode::RWXU)?;
            open_same(dir, name)?
        }
        opened => opened?,
    };
    let stat = fstat(&fd)?;
    if stat.st_mode & 0o700 != 0o700 {
        rustix::fs::fchmod(&fd, Mode::RWXU)?;
    }
    walk.enter(fd, &stat, Vec::new())
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
}
