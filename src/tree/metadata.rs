//! What the system says about an object beside its content.

use rustix::buffer::{SpareCapacity, spare_capacity};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Stat, fgetxattr, flistxattr, getxattr, lgetxattr, listxattr, llistxattr};
use rustix::io::{Errno, Result};

use super::{MODE_BITS, have_proc, proc_path};
use crate::archive::{Meta, Time, Xattr};
use crate::sys::user_names::UserNames;

/// Space for all names of attributes, and for one value: what Linux can hold.
const XATTR_BYTES_MAX: usize = 64 << 10;

/// The space that is offered first. The system takes as much of its own for each call, and has
/// little at once.
const XATTR_BYTES_FIRST: usize = 1 << 10;

/// Where attributes are read from: an open object, or a name in an open directory when the object
/// cannot be opened without consequences.
#[derive(Clone, Copy)]
pub(super) enum MetadataSource<'a> {
    Open(BorrowedFd<'a>),
    Named(BorrowedFd<'a>, &'a [u8]),
    /// Likewise, of what a symbolic link by that name leads to.
    Followed(BorrowedFd<'a>, &'a [u8]),
}

impl<'a> MetadataSource<'a> {
    pub(super) fn open(fd: &'a impl AsFd) -> Self {
        Self::Open(fd.as_fd())
    }
}

/// Reads attributes with space that is used again.
pub(super) struct Xattrs {
    list: Vec<u8>,
    value: Vec<u8>,
}

impl Xattrs {
    pub(super) fn new() -> Self {
        Self {
            list: Vec::new(),
            value: Vec::new(),
        }
    }

    /// All attributes that this process may read, in the order of their names.
    pub(super) fn read(&mut self, source: MetadataSource<'_>) -> Result<Vec<Xattr>> {
        let path = match source {
            MetadataSource::Open(_) => Vec::new(),
            MetadataSource::Named(dir, name) | MetadataSource::Followed(dir, name) => {
                proc_path(dir, name)
            }
        };
        let listed = ask(&mut self.list, |space| match source {
            MetadataSource::Open(fd) => flistxattr(fd, space),
            MetadataSource::Named(..) => llistxattr(&*path, space),
            MetadataSource::Followed(..) => listxattr(&*path, space),
        });
        match listed {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Ok(_) => {}
            // Without /proc there is no way to what cannot be opened.
            Err(Errno::NOENT) if !path.is_empty() && !have_proc() => return Ok(Vec::new()),
            Err(e) => return Err(e),
        }
        let mut xattrs = Vec::new();
        for name in self.list.split(|&b| b == 0).filter(|n| !n.is_empty()) {
            let got = ask(&mut self.value, |space| match source {
                MetadataSource::Open(fd) => fgetxattr(fd, name, space),
                MetadataSource::Named(..) => lgetxattr(&*path, name, space),
                MetadataSource::Followed(..) => getxattr(&*path, name, space),
            });
            match got {
                Ok(_) => xattrs.push(Xattr {
                    name: name.to_vec(),
                    value: self.value.clone(),
                }),
                // It went away, or is shown but not given to us.
                Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::NOTSUP) => {}
                Err(e) => return Err(e),
            }
        }
        xattrs.sort_unstable();
        Ok(xattrs)
    }
}

/// Has the system fill a buffer, with as much space as it wants.
fn ask(
    buffer: &mut Vec<u8>,
    mut call: impl FnMut(SpareCapacity<'_, u8>) -> Result<usize>,
) -> Result<usize> {
    buffer.clear();
    buffer.shrink_to(XATTR_BYTES_FIRST);
    buffer.reserve_exact(XATTR_BYTES_FIRST);
    let asked = call(spare_capacity(buffer));
    if asked != Err(Errno::RANGE) {
        return asked;
    }
    buffer.reserve_exact(XATTR_BYTES_MAX);
    call(spare_capacity(buffer))
}

/// What `stat` says, in the archive's terms.
pub(super) fn meta(stat: &Stat, xattrs: Vec<Xattr>, names: &UserNames) -> Meta {
    Meta {
        mode: stat.st_mode & MODE_BITS,
        uid: stat.st_uid,
        gid: stat.st_gid,
        uname: names.user(stat.st_uid).to_vec(),
        gname: names.group(stat.st_gid).to_vec(),
        mtime: mtime(stat),
        xattrs,
    }
}

/// When the content was last modified.
pub(super) fn mtime(stat: &Stat) -> Time {
    Time {
        secs: stat.st_mtime,
        nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    }
}
