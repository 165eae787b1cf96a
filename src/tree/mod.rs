//! Real trees: walked and read for an archive, restored from one, and compared. Everything that
//! touches a path below a root does so by descriptors of directories, one name at a time.

mod across;
mod compare;
mod dirs;
mod error;
mod extract;
mod file_id;
mod finish;
mod flush;
mod id_map;
mod merge;
mod metadata;
mod mounts;
mod new_file;
mod pack;
mod path_list;
mod path_table;
mod remove;
mod restore;
mod sample;
mod stage;
mod staging;
mod walk;
mod writers;

pub use compare::differences;
pub use error::Error;
pub use extract::{Limits, TreeRestored, TreeUnpackConfig, unpack};
pub use id_map::{IdMap, Overlap, Range};
pub use pack::{Note, TreePackConfig, pack};
pub use remove::remove_tree;
pub use sample::sample;
pub use staging::Existing;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RawMode};

/// How directories are opened whose descriptors only serve as starting points.
const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Permission bits with set-user-id, set-group-id and sticky.
const MODE_BITS: RawMode = 0o7777;

/// The path under which `/proc` shows `name` in an open directory; system calls that know no
/// descriptors reach it there without walking the tree again.
fn proc_path(dir: impl AsFd, name: &[u8]) -> Vec<u8> {
    let mut path = format!("{}/", proc_fd(&dir)).into_bytes();
    path.extend_from_slice(if name.is_empty() { b"." } else { name });
    path
}

/// The path under which `/proc` shows what a descriptor leads to, whatever its names are.
fn proc_fd(fd: &impl AsFd) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

fn have_proc() -> bool {
    rustix::fs::access("/proc/self/fd", rustix::fs::Access::EXISTS).is_ok()
}

/// Sets the mode of `name` in an open directory, never that of what a symbolic link leads to, which
/// an attacker may have put there.
fn set_mode(dir: impl AsFd, name: &[u8], mode: Mode) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    rustix::fs::chmodat(rustix::fs::CWD, proc_fd(&fd), mode, AtFlags::empty())
}

/// Opens a directory for reading, not through a symbolic link.
fn open_dir(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let name = if name.is_empty() { b"." } else { name };
    rustix::fs::openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
