//! Directories below a root, opened once and kept while they are in use.

use std::collections::HashMap;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::{Errno, Result};

use super::DIRECTORY;
use crate::archive::name::split;

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
    /// Whether the system looks paths up under rules. A sandbox may forbid it.
    rules: bool,
}

impl Dirs {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self {
            root: Arc::new(root),
            open: HashMap::new(),
            clock: 0,
            rules: true,
        }
    }

    /// The directory at `path`, a checked path.
    pub(super) fn get(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>> {
        self.clock += 1;
        if path.is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        if let Some((fd, used)) = self.open.get_mut(path) {
            *used = self.clock;
            return Ok(Arc::clone(fd));
        }
        // From the nearest ancestor that is open, in pieces that the system takes.
        let mut from = split(path).0;
        let mut fd = loop {
            match self.open.get(from) {
                _ if from.is_empty() => break Arc::clone(&self.root),
                Some((fd, _)) => break Arc::clone(fd),
                None => from = split(from).0,
            }
        };
        let mut rest = &path[if from.is_empty() { 0 } else { from.len() + 1 }..];
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
            dirs.rules = rules;
            assert!(dirs.get(b"a/b").is_ok());
            for path in [&b"link"[..], b"link/b", b"a/etc", b"a/etc/ssl", b".."] {
                assert!(dirs.get(path).is_err(), "{rules} {}", path.escape_ascii());
            }
        }
    }

    #[test]
    fn many_and_deep_directories_need_few_descriptors() {
        let (_dir, mut dirs) = fixture();
        let mut path = Vec::new();
        for i in 0..300 {
            let parent = dirs.get(&path).unwrap();
            let name = format!("{i:03}{}", "d".repeat(30)).into_bytes();
            rustix::fs::mkdirat(&*parent, &*name, Mode::RWXU).unwrap();
            path = crate::archive::name::join(&path, &name);
        }
        assert!(dirs.open.len() <= OPEN_MAX);
        dirs.open.clear();
        assert!(path.len() > 4096 && dirs.get(&path).is_ok());
    }
}
