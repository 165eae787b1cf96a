//! By what an object is known again, whatever names others give it meanwhile.

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, Stat, fstat, fstatfs, statat};
use rustix::io::Result;

/// The device and inode of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl From<&Stat> for FileId {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

impl FileId {
    /// Of what is open.
    pub(super) fn of(fd: impl AsFd) -> Result<Self> {
        Ok(Self::from(&fstat(fd)?))
    }

    /// Of `name` in an open directory, not of what a symbolic link leads to.
    pub(super) fn of_name(dir: impl AsFd, name: &[u8]) -> Result<Self> {
        Ok(Self::from(&statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }
}

/// Whether inodes keep their numbers while nobody has them open. FAT has none and makes some up
/// each time that an object comes into memory; so may file systems that are programs. They have no
/// owners that could be taken in either.
pub(super) fn lasts(fd: impl AsFd) -> bool {
    const MADE_UP: [u64; 3] = [0x4d44, 0x2011_bab0, 0x6573_5546];
    let kind = fstatfs(fd).map_or(0, |fs| u64::try_from(fs.f_type).unwrap_or(0));
    !MADE_UP.contains(&kind)
}
