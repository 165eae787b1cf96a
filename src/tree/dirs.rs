//! Directories below a root, opened once and kept while they are in use.

use std::collections::HashMap;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::{Errno, Result};

use super::DIRECTORY;
use super::file_id::{FileId, lasts};

/// How many directories are kept open.
const OPEN_MAX: usize = 64;

/// The longest path that is looked up at once; the system's limit is 4096.
const LOOKUP_BYTES_MAX: usize = 2048;

/// Opens directories below a root and never leaves it: not by `..`, nor by a symbolic link, nor
/// into another file system.
pub(super) struct Dirs {
    root: Arc<OwnedFd>,
    open: HashMap<Vec<u8>, (Arc<OwnedFd>, u64)>,
    clock: u64,
    /// Whether a directory can be known again by its inode.
    known: bool,
    /// Whether the system looks paths up under rules. A sandbox may forbid it.
    rules: bool,
}

impl Dirs {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self {
            known: lasts(&root),
            root: Arc::new(root),
            open: HashMap::new(),
            clock: 0,
            rules: true,
        }
    }

    /// The root, which no name leads to.
    pub(super) fn root(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.root)
    }

    /// The directory at `path`, a checked path, where `id` was seen before.
    ///
    /// # Errors
    /// [`Errno::STALE`] when there is another one by now.
    pub(super) fn get(&mut self, path: &[u8], id: FileId) -> Result<Arc<OwnedFd>> {
        self.clock += 1;
        if path.is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        if let Some((fd, used)) = self.open.get_mut(path) {
            *used = self.clock;
            return Ok(Arc::clone(fd));
        }
        // From the nearest ancestor that is open, in pieces that the system takes.
        let above = self.open.iter().filter(|(above, _)| is_in(path, above));
        let nearest = above.max_by_key(|(above, _)| above.len());
        let (mut fd, start) = match nearest {
            Some((above, (fd, _))) => (Arc::clone(fd), above.len() + 1),
            None => (Arc::clone(&self.root), 0),
        };
        let mut rest = &path[start..];
        while !rest.is_empty() {
            let piece = if rest.len() <= LOOKUP_BYTES_MAX {
                rest
            } else {
                let cut = rest[..LOOKUP_BYTES_MAX].iter().rposition(|&b| b == b'/');
                &rest[..cut.ok_or(Errno::NAMETOOLONG)?]
            };
            fd = Arc::new(self.below(&fd, piece)?);
            rest = rest.get(piece.len() + 1..).unwrap_or(&[]);
        }
        self.is_same(&fd, id)?;
        if self.open.len() == OPEN_MAX {
            let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(path, _)| path.clone()) {
                self.open.remove(&oldest);
            }
        }
        self.open
            .insert(path.to_vec(), (Arc::clone(&fd), self.clock));
        Ok(fd)
    }

    /// Whether an open directory is the one that was seen before.
    ///
    /// # Errors
    /// [`Errno::STALE`] when it is another.
    pub(super) fn is_same(&self, fd: &OwnedFd, id: FileId) -> Result<()> {
        match self.known && FileId::of(fd)? != id {
            true => Err(Errno::STALE),
            false => Ok(()),
        }
    }

    fn below(&mut self, dir: &OwnedFd, path: &[u8]) -> Result<OwnedFd> {
        if self.rules {
            let rules = ResolveFlags::BENEATH
                | ResolveFlags::NO_SYMLINKS
                | ResolveFlags::NO_MAGICLINKS
                | ResolveFlags::NO_XDEV;
            loop {
                match openat2(dir, path, DIRECTORY, Mode::empty(), rules) {
                    Err(Errno::NOSYS | Errno::PERM) => {
                        self.rules = false;
                        break;
                    }
                    // Something was renamed on the way; the rules could not be judged.
                    Err(Errno::AGAIN) => {}
                    opened => return opened,
                }
            }
        }
        one_by_one(dir, path)
    }
}

fn is_in(path: &[u8], above: &[u8]) -> bool {
    let rest = path.strip_prefix(above);
    rest.is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// Looks a path up name by name, none of which may be a link.
fn one_by_one(dir: &OwnedFd, path: &[u8]) -> Result<OwnedFd> {
    let mut at: Option<OwnedFd> = None;
    for name in path.split(|&b| b == b'/') {
        if matches!(name, b"" | b"." | b"..") {
            return Err(Errno::INVAL);
        }
        let from = at.as_ref().unwrap_or(dir);
        at = Some(openat(
            from,
            name,
            DIRECTORY | OFlags::NOFOLLOW,
            Mode::empty(),
        )?);
    }
    at.ok_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;

    const ANY: FileId = FileId {
        device: 0,
        inode: 0,
    };

    fn fixture() -> (tempfile::TempDir, Dirs) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("a/etc")).unwrap();
        let root = openat(CWD, dir.path(), DIRECTORY, Mode::empty()).unwrap();
        (dir, Dirs::new(root))
    }

    #[test]
    fn links_are_never_followed() {
        for rules in [true, false] {
            let (_dir, mut dirs) = fixture();
            (dirs.rules, dirs.known) = (rules, false);
            assert!(dirs.get(b"a/b", ANY).is_ok());
            for path in [&b"link"[..], b"link/b", b"a/etc", b"a/etc/ssl", b".."] {
                assert!(
                    dirs.get(path, ANY).is_err(),
                    "{rules} {}",
                    path.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn another_directory_by_the_same_name_is_seen() {
        let (dir, mut dirs) = fixture();
        let id = FileId::of_name(&*dirs.root, b"a").unwrap();
        std::fs::rename(dir.path().join("a"), dir.path().join("aside")).unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        assert_eq!(dirs.get(b"a", id).unwrap_err(), Errno::STALE);
        assert!(dirs.get(b"aside", id).is_ok());
    }

    #[test]
    fn many_and_deep_directories_need_few_descriptors() {
        let (_dir, mut dirs) = fixture();
        dirs.known = false;
        let mut path = Vec::new();
        for i in 0..300 {
            let parent = dirs.get(&path, ANY).unwrap();
            let name = format!("{i:03}{}", "d".repeat(30)).into_bytes();
            rustix::fs::mkdirat(&*parent, &*name, Mode::RWXU).unwrap();
            path = crate::archive::name::join(&path, &name);
        }
        assert!(dirs.open.len() <= OPEN_MAX);
        dirs.open.clear();
        assert!(path.len() > 4096 && dirs.get(&path, ANY).is_ok());
    }
}
