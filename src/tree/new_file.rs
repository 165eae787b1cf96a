//! One new file: made below an open directory, filled, and given its metadata.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::{Error, restore};
use crate::archive::name::split;
use crate::archive::{Meta, Xattr};

/// What one file counts at least: it holds its directory open, of which a process may have 1024.
pub(super) const JOB_BYTES: usize = 16 << 10;

/// What an attribute counts beside its bytes.
const XATTR_BYTES: usize = size_of::<Xattr>() + 32;

/// A file to be made.
pub(super) struct Job {
    pub(super) dir: Arc<OwnedFd>,
    pub(super) path: Vec<u8>,
    pub(super) meta: Meta,
    pub(super) body: Body,
}

/// The content of a file.
pub(super) enum Body {
    Whole(Bytes),
    /// So many bytes, as they come; when fewer come, the file is not wanted any more.
    Parts(u64, Receiver<Bytes>),
}

impl Job {
    /// Bytes that the job keeps, all but its content.
    pub(super) fn cost(&self) -> usize {
        let Meta { uname, gname, .. } = &self.meta;
        let xattrs = self.meta.xattrs.iter();
        JOB_BYTES
            + self.path.len()
            + uname.len()
            + gname.len()
            + xattrs
                .map(|x| XATTR_BYTES + x.name.len() + x.value.len())
                .sum::<usize>()
    }
}

/// Makes a file; with nothing special about it, with its mode, so that it needs no more calls.
pub(super) fn create(
    dir: &OwnedFd,
    name: &[u8],
    path: &[u8],
    meta: &Meta,
    restorer: &restore::Restorer,
) -> Result<(OwnedFd, restore::AlreadySet), Error> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (mode, given) = if restorer.is_plain(meta) {
        (meta.mode, restore::AlreadySet::Mode)
    } else {
        (0o600, restore::AlreadySet::Nothing)
    };
    openat(dir, name, flags, Mode::from_raw_mode(mode))
        .map(|fd| (fd, given))
        .map_err(Error::system("create", path))
}

/// Makes a file of what is lent for it.
pub(super) fn make_file(job: Job, restorer: &mut restore::Restorer) -> Result<(), Error> {
    let (path, name) = (&job.path, split(&job.path).1);
    let (fd, given) = create(&job.dir, name, path, &job.meta, restorer)?;
    let write = |data: &[u8]| write_all(&fd, data).map_err(Error::system("write", path));
    match job.body {
        Body::Whole(data) => write(&data)?,
        Body::Parts(mut remaining, parts) => {
            while remaining > 0 {
                let Ok(data) = parts.recv() else {
                    return Ok(());
                };
                write(&data)?;
                remaining = remaining.saturating_sub(data.len() as u64);
            }
        }
    }
    restorer.open(&fd, path, &job.meta, given)
}

/// Writes all of `data`.
pub(super) fn write_all(fd: &OwnedFd, mut data: &[u8]) -> Result<(), Errno> {
    while !data.is_empty() {
        match rustix::io::write(fd, data) {
            Ok(n) => data = &data[n..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
