//! Owner, mode, attributes and times, in the one order in which none undoes another: a change of
//! owner clears set-user-id bits and capabilities, a mode rewrites an access list, and every
//! change is newer than the time that the object shall have.

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
    chmodat, chownat, fchmod, fchown, fsetxattr, fstat, futimens, openat, setxattr, utimensat,
};
use rustix::io::Errno;

use super::{Error, MODE_BITS, have_proc, proc_fd};
use crate::archive::{Meta, Time, Xattr, acl};

const CAPABILITY: &[u8] = b"security.capability";
const SET_ID_BITS: u32 = 0o6000;

/// What an object has already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AlreadySet {
    Nothing,
    /// Owner and mode are right.
    Mode,
}

/// Restores metadata, and counts what this user may not restore.
pub(super) struct Restorer {
    pub(super) root: bool,
    pub(super) uid: u32,
    gid: u32,
    setuid: bool,
    same_owner: bool,
    skipped: Skipped,
}

/// How much this user was not allowed to restore.
#[derive(Clone, Copy, Default)]
pub(super) struct Skipped {
    pub(super) owners: u64,
    pub(super) xattrs: u64,
}

impl Skipped {
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            owners: self.owners + other.owners,
            xattrs: self.xattrs + other.xattrs,
        }
    }
}

#[derive(Clone, Copy)]
enum Object<'a> {
    Open(&'a OwnedFd),
    /// What cannot be opened without consequences, by a descriptor that only leads to it.
    Path(&'a OwnedFd, FileType),
}

pub(super) fn uid(raw: u32) -> Uid {
    Uid::from_raw(raw)
}

pub(super) fn gid(raw: u32) -> Gid {
    Gid::from_raw(raw)
}

impl Restorer {
    pub(super) fn new(setuid: bool, same_owner: bool) -> Self {
        Self {
            root: rustix::process::geteuid().is_root(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            setuid,
            same_owner,
            skipped: Skipped::default(),
        }
    }

    /// One like this for another thread, which has skipped nothing yet.
    pub(super) fn another(&self) -> Self {
        Self {
            skipped: Skipped::default(),
            ..*self
        }
    }

    /// What was skipped since this was asked before.
    pub(super) fn take_skipped(&mut self) -> Skipped {
        std::mem::take(&mut self.skipped)
    }

    /// Adds what another has skipped.
    pub(super) const fn add_skipped(&mut self, skipped: Skipped) {
        self.skipped = self.skipped.and(skipped);
    }

    /// Whether an object made by us with its mode has all of its metadata but the time.
    pub(super) fn is_plain(&self, meta: &Meta) -> bool {
        let owned = (meta.uid, meta.gid) == (self.uid, self.gid) || !self.same_owner;
        owned && meta.mode & 0o7000 == 0 && meta.xattrs.is_empty()
    }

    /// Restores the metadata of an open file or directory.
    pub(super) fn open(
        &mut self,
        fd: &OwnedFd,
        path: &[u8],
        meta: &Meta,
        given: AlreadySet,
    ) -> Result<(), Error> {
        self.restore(Object::Open(fd), path, meta, given)
    }

    /// Restores the metadata of `name`, which was made a moment ago, is of type `kind` and cannot
    /// be opened without consequences.
    pub(super) fn named(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        path: &[u8],
        meta: &Meta,
        kind: FileType,
    ) -> Result<(), Error> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(dir, name, flags, Mode::empty()).map_err(Error::system("open", path))?;
        let stat = fstat(&fd).map_err(Error::system("examine", path))?;
        if FileType::from_raw_mode(stat.st_mode) != kind || stat.st_nlink > 1 {
            return Err(Error::Swapped(path.to_vec()));
        }
        let object = Object::Path(&fd, kind);
        self.restore(object, path, meta, AlreadySet::Nothing)
    }

    fn restore(
        &mut self,
        object: Object<'_>,
        path: &[u8],
        meta: &Meta,
        given: AlreadySet,
    ) -> Result<(), Error> {
        if given == AlreadySet::Nothing {
            let owned = self.owner(object, path, meta)?;
            let keep_set_id = self.setuid && owned;
            let mode = meta.mode & if keep_set_id { 0o7777 } else { !SET_ID_BITS };
            self.mode(object, path, mode)?;
            self.attributes(object, path, &meta.xattrs)?;
        }
        let times = timestamps(meta.mtime);
        match object {
            Object::Open(fd) => futimens(fd, &times),
            Object::Path(fd, _) => match utimensat(fd, "", &times, AtFlags::EMPTY_PATH) {
                // Before Linux 5.8.
                Err(Errno::INVAL) => utimensat(CWD, proc_fd(fd), &times, AtFlags::empty()),
                set => set,
            },
        }
        .map_err(Error::system("set the time of", path))
    }

    /// True when owner and group are those of the archive.
    fn owner(&mut self, object: Object<'_>, path: &[u8], meta: &Meta) -> Result<bool, Error> {
        if (meta.uid, meta.gid) == (self.uid, self.gid) {
            return Ok(true);
        }
        if !self.same_owner {
            return Ok(false);
        }
        let chown = |owner: Option<Uid>, group: Option<Gid>| match object {
            Object::Open(fd) => fchown(fd, owner, group),
            Object::Path(fd, _) => chownat(fd, "", owner, group, AtFlags::EMPTY_PATH),
        };
        if self.root {
            return chown(Some(uid(meta.uid)), Some(gid(meta.gid)))
                .map(|()| true)
                .map_err(|source| Error::SetOwner {
                    path: path.to_vec(),
                    owner: (meta.uid, meta.gid),
                    source: source.into(),
                });
        }
        // An ordinary user may give things to groups of their own.
        let group = meta.gid == self.gid || chown(None, Some(gid(meta.gid))).is_ok();
        let owned = group && meta.uid == self.uid;
        self.skipped.owners += u64::from(!owned);
        Ok(owned)
    }

    fn mode(&self, object: Object<'_>, path: &[u8], mode: u32) -> Result<(), Error> {
        let mode = Mode::from_raw_mode(mode);
        match object {
            Object::Open(fd) => fchmod(fd, mode),
            Object::Path(_, FileType::Symlink) => Ok(()),
            // It was made with that mode, which a change of owner leaves alone as a rule.
            Object::Path(fd, _) if has_mode(fd, mode) => Ok(()),
            Object::Path(fd, _) => chmodat(CWD, proc_fd(fd), mode, AtFlags::empty()),
        }
        .map_err(Error::by_proc("set the mode of", path))
    }

    fn attributes(
        &mut self,
        object: Object<'_>,
        path: &[u8],
        xattrs: &[Xattr],
    ) -> Result<(), Error> {
        // Access lists come first, the capability last.
        let rank = |x: &Xattr| match &x.name[..] {
            acl::ACCESS => 0,
            acl::DEFAULT => 1,
            CAPABILITY => 3,
            _ => 2,
        };
        let mut order: Vec<&Xattr> = xattrs.iter().collect();
        order.sort_by_key(|x| rank(x));
        for Xattr { name, value } in order {
            if name == CAPABILITY && !self.setuid {
                continue;
            }
            let result = match object {
                Object::Open(fd) => fsetxattr(fd, &**name, value, XattrFlags::empty()),
                Object::Path(fd, _) => setxattr(proc_fd(fd), &**name, value, XattrFlags::empty()),
            };
            match result {
                Ok(()) => {}
                Err(Errno::PERM | Errno::ACCESS | Errno::NOTSUP) if !self.root => {
                    self.skipped.xattrs += 1;
                }
                Err(Errno::NOENT) if !have_proc() => {
                    return Err(Error::by_proc("set attributes of", path)(Errno::NOENT));
                }
                Err(source) => {
                    return Err(Error::Attribute {
                        path: path.to_vec(),
                        name: name.clone(),
                        source: source.into(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn has_mode(fd: &OwnedFd, mode: Mode) -> bool {
    fstat(fd).is_ok_and(|stat| stat.st_mode & MODE_BITS == mode.as_raw_mode())
}

/// A moment in the system's terms; the time of last access stays as it is.
pub(super) fn timestamps(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.secs,
            tv_nsec: mtime.nanos.into(),
        },
    }
}
