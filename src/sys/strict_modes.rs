//! Who can change a file that decides what is trusted, or who is. The rule is that of StrictModes
//! in sshd_config(5): the file and each directory and link on the way to it belong to root or to
//! the user, and nobody else can write them.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{PROC_SUPER_MAGIC, fgetxattr, lgetxattr, statfs};
use rustix::process::geteuid;

use super::error::{Changeable, Error};
use super::user_names::{UserNames, group_has_only};
use crate::archive::acl;

/// Links on the way to a file, at most: as many as the system itself follows.
const LINKS_MAX: u32 = 40;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Refuses what others can exchange or change on the way to `path`. A descriptor that was handed
/// over, as `/dev/fd/3`, has no way: who started us has chosen it.
///
/// # Errors
/// [`Error::Changeable`], and [`Error::Open`] when there is nothing.
pub(super) fn check_way(path: &Path) -> Result<(), Error> {
    let open = |source| Error::Open {
        path: path.into(),
        source,
    };
    let way = Way::follow(path).map_err(open)?;
    match way.changeable.into_iter().next() {
        Some(changeable) => Err(Error::Changeable {
            path: path.into(),
            changeable,
        }),
        None => Ok(()),
    }
}

/// Refuses an open file that others can change. One without a name is the holders' of its
/// descriptor, as a pipe is.
///
/// # Errors
/// [`Error::Changeable`].
pub(super) fn check_file(path: &Path, file: &File, meta: &Metadata) -> Result<(), Error> {
    if !meta.is_file() || meta.nlink() == 0 {
        return Ok(());
    }
    let listed = || fgetxattr(file, acl::ACCESS, &mut [0_u8; 0]).is_ok();
    match changeable(path, meta, listed) {
        Some(changeable) => Err(Error::Changeable {
            path: path.into(),
            changeable,
        }),
        None => Ok(()),
    }
}

/// The way to a file, as the system goes it.
struct Way {
    at: PathBuf,
    /// What is still to be gone, the next last.
    rest: Vec<OsString>,
    links: u32,
    changeable: Vec<Changeable>,
}

impl Way {
    fn follow(path: &Path) -> io::Result<Self> {
        let mut way = Self {
            at: PathBuf::from("/"),
            rest: Vec::new(),
            links: 0,
            changeable: Vec::new(),
        };
        way.look(Path::new("/"), &fs::metadata("/")?);
        way.prepend(&std::path::absolute(path)?);
        let home = std::env::home_dir().and_then(|home| home.canonicalize().ok());
        while let Some(name) = way.rest.pop() {
            if way.step(&name)? {
                break;
            }
            if home.as_ref() == Some(&way.at) {
                // Who can exchange a home has its owner in hand anyway.
                let above = |c: &Changeable| c.object != way.at && way.at.starts_with(&c.object);
                way.changeable.retain(|c| !above(c));
            }
        }
        Ok(way)
    }

    fn prepend(&mut self, path: &Path) {
        let parts = path.components().rev();
        self.rest
            .extend(parts.map(|part| part.as_os_str().to_owned()));
    }

    /// Goes one step; `true` when what was reached is a descriptor.
    fn step(&mut self, name: &OsString) -> io::Result<bool> {
        match name.to_str() {
            Some("/") => self.at = PathBuf::from("/"),
            Some(".") => {}
            Some("..") => {
                self.at.pop();
            }
            _ => {
                let next = self.at.join(name);
                let meta = fs::symlink_metadata(&next)?;
                self.look(&next, &meta);
                if !meta.is_symlink() {
                    self.at = next;
                } else if self.rest.is_empty() && self.is_in_proc() {
                    return Ok(true);
                } else {
                    self.links += 1;
                    if self.links > LINKS_MAX {
                        return Err(rustix::io::Errno::LOOP.into());
                    }
                    self.prepend(&fs::read_link(&next)?);
                }
            }
        }
        Ok(false)
    }

    fn is_in_proc(&self) -> bool {
        statfs(&self.at).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC)
    }

    fn look(&mut self, object: &Path, meta: &Metadata) {
        let listed = || lgetxattr(object, acl::ACCESS, &mut [0_u8; 0]).is_ok();
        self.changeable.extend(changeable(object, meta, listed));
    }
}

/// Whether others than root and the user can change an object, which may have an access list.
fn changeable(object: &Path, meta: &Metadata, listed: impl Fn() -> bool) -> Option<Changeable> {
    let trusted = [0, geteuid().as_raw()];
    let (owner, mode) = (meta.uid(), meta.mode() & 0o7777);
    let foreign = !trusted.contains(&owner);
    let found = foreign || is_written(meta, trusted, listed);
    found.then(|| Changeable {
        object: object.into(),
        owner: match UserNames::load().user(owner) {
            [] => format!("user {owner}"),
            name => String::from_utf8_lossy(name).into_owned(),
        },
        mode,
        foreign,
    })
}

/// Whether the mode lets others write.
fn is_written(meta: &Metadata, trusted: [u32; 2], listed: impl Fn() -> bool) -> bool {
    let (kind, mode) = (meta.file_type(), meta.mode());
    // Links have no mode, and what is written to a device is not what is read from it. In a sticky
    // directory, what belongs to root or the user can be exchanged by nobody else.
    if kind.is_symlink() || kind.is_char_device() || kind.is_dir() && mode & STICKY != 0 {
        return false;
    }
    // With an access list the bits of the group are the most that anybody in the list has.
    let others = || listed() || !group_has_only(meta.gid(), trusted);
    mode & OTHERS_WRITE != 0 || mode & GROUP_WRITES != 0 && others()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// What is at fault on the way to `path`, below `dir`.
    fn fault(path: &Path, dir: &Path) -> Option<String> {
        let Err(Error::Changeable { changeable, .. }) = check_way(path) else {
            return None;
        };
        let below = changeable.object.strip_prefix(dir).unwrap();
        Some(below.to_str().unwrap().to_owned())
    }

    #[test]
    fn every_step_of_the_way_counts() {
        let dir = tempfile::tempdir().unwrap();
        let dir = &dir.path().canonicalize().unwrap();
        let (open, own) = (dir.join("open"), dir.join("own"));
        let (file, link) = (own.join("key"), open.join("link"));
        fs::create_dir(&open).unwrap();
        fs::create_dir(&own).unwrap();
        fs::write(&file, "x").unwrap();
        symlink("../own/key", &link).unwrap();
        for (path, mode, wanted) in [
            (&file, 0o600, None),
            (&file, 0o644, None),
            (&file, 0o602, Some("own/key")),
            (&file, 0o644, None),
            (&own, 0o777, Some("own")),
            (&own, 0o1777, None),
            (&own, 0o755, None),
        ] {
            set(path, mode);
            assert_eq!(fault(&file, dir).as_deref(), wanted, "{path:?} {mode:o}");
            assert_eq!(fault(&link, dir).as_deref(), wanted, "{path:?} {mode:o}");
        }
        // The link leads to a file that is all right, and may lead elsewhere tomorrow.
        set(&open, 0o777);
        assert_eq!(fault(&file, dir), None);
        assert_eq!(fault(&link, dir), Some("open".into()));
        assert_eq!(
            fault(&own.join("../open/../own/key"), dir),
            Some("open".into())
        );
        assert!(matches!(
            check_way(&dir.join("none")),
            Err(Error::Open { .. })
        ));
        symlink("loop", dir.join("loop")).unwrap();
        assert!(matches!(
            check_way(&dir.join("loop")),
            Err(Error::Open { .. })
        ));
    }

    #[test]
    fn a_descriptor_is_the_choice_of_who_started_us() {
        let (reader, _writer) = io::pipe().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&reader);
        for way in ["/dev/fd", "/proc/self/fd"] {
            check_way(&Path::new(way).join(number.to_string())).unwrap();
        }
        let file = tempfile::tempfile().unwrap();
        file.set_permissions(Permissions::from_mode(0o666)).unwrap();
        check_file(Path::new("-"), &file, &file.metadata().unwrap()).unwrap();
        let named = tempfile::NamedTempFile::new().unwrap();
        set(named.path(), 0o666);
        let meta = named.as_file().metadata().unwrap();
        let error = check_file(Path::new("-"), named.as_file(), &meta).unwrap_err();
        assert!(matches!(error, Error::Changeable { .. }));
        check_way(Path::new("/dev/null")).unwrap();
    }

    #[test]
    fn an_access_list_lets_others_write() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let check = || {
            let meta = named.as_file().metadata().unwrap();
            let file = check_file(named.path(), named.as_file(), &meta);
            assert_eq!(check_way(named.path()).is_ok(), file.is_ok());
            file
        };
        for (list, wanted) in [("u:54321:r,m::r", true), ("u:54321:rw,m::rw", false)] {
            let list = format!("u::rw,{list},g::-,o::-");
            let list = acl::from_text(list.as_bytes(), &|_, _| None).unwrap();
            let flags = rustix::fs::XattrFlags::empty();
            if rustix::fs::setxattr(named.path(), acl::ACCESS, &list, flags).is_err() {
                return;
            }
            assert_eq!(check().is_ok(), wanted);
        }
    }

    #[test]
    fn another_owner_is_refused() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let dir = &dir.path().canonicalize().unwrap();
        let file = dir.join("sub/key");
        fs::create_dir(dir.join("sub")).unwrap();
        fs::write(&file, "x").unwrap();
        symlink("sub", dir.join("link")).unwrap();
        let chown = |path: &str, uid| {
            std::os::unix::fs::lchown(dir.join(path), Some(uid), None).unwrap();
        };
        for path in ["sub", "sub/key", "link"] {
            chown(path, 54_321);
            assert_eq!(fault(&dir.join("link/key"), dir), Some(path.into()));
            chown(path, 0);
        }
        assert_eq!(fault(&dir.join("link/key"), dir), None);
    }
}
