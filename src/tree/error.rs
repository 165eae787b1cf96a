//! What can go wrong between an archive and a real tree.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::archive;
use crate::archive::name::Shown;

/// A tree that could not be packed, restored or compared.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Error {
    /// The archive was refused.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// The archive could not be written to where it goes.
    #[error("cannot write the archive: {0}")]
    Output(#[source] io::Error),
    /// The system refused something on an object of the tree.
    #[error("cannot {what} {}: {source}", Shown(path))]
    System {
        /// What was attempted.
        what: &'static str,
        /// On which object.
        path: Vec<u8>,
        /// Why it failed.
        source: io::Error,
    },
    /// The system can do something only by way of `/proc`.
    #[error("cannot {what} {}: /proc is not mounted", Shown(path))]
    NoProc {
        /// What was attempted.
        what: &'static str,
        /// On which object.
        path: Vec<u8>,
    },
    /// Another process has moved an object away while we worked on it.
    #[error("{} is not the one that it was: another process has moved it", Shown(.0))]
    Swapped(Vec<u8>),
    /// An object cannot be given to its owner.
    #[error("cannot give {} to {}:{}: {source}", Shown(path), owner.0, owner.1)]
    SetOwner {
        /// The object.
        path: Vec<u8>,
        /// Its user and group in the archive, after they were mapped.
        owner: (u32, u32),
        /// Why it failed.
        source: io::Error,
    },
    /// An entry does not fit those before it.
    #[error("bad entry {}: {what}", Shown(path))]
    Entry {
        /// The entry's path.
        path: Vec<u8>,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A user or group has no number here.
    #[error(
        "{} belongs to {id} or names them, which is in no range of owners",
        Shown(path)
    )]
    Owner {
        /// The entry's path.
        path: Vec<u8>,
        /// The number in the archive.
        id: u32,
    },
    /// The archive exceeds a limit that was set.
    #[error("the archive has more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// To keep track of the archive would take more memory than is granted.
    #[error("the archive's entries and directories take more than {0} bytes of memory")]
    Memory(u64),
    /// An extended attribute, access list or label cannot be stored there.
    #[error("cannot store attribute {} of {}: {source}", Shown(name), Shown(path))]
    Attribute {
        /// The object.
        path: Vec<u8>,
        /// The attribute.
        name: Vec<u8>,
        /// Why it failed.
        source: io::Error,
    },
    /// A device node cannot be made.
    #[error("cannot make device {}: {source}", Shown(path))]
    Device {
        /// The node.
        path: Vec<u8>,
        /// Why it failed.
        source: io::Error,
    },
    /// The target has contents, and nothing was said about them.
    #[error("the target is not empty: {}", .0.display())]
    NotEmpty(PathBuf),
    /// The target is something else.
    #[error("the target is not a directory: {}", .0.display())]
    NotDirectory(PathBuf),
    /// Another run works in the target.
    #[error("another unpack is at work in {}", .0.display())]
    Busy(PathBuf),
    /// An object in the target stands in the way of a merge.
    #[error("cannot merge {}: {what}", path.display())]
    Conflict {
        /// The object in the target.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Something is mounted in a tree that is to be removed.
    #[error("cannot replace the tree: something is mounted on {}", .0.display())]
    Mount(PathBuf),
    /// The contents of a target could not all be replaced: it is neither the old tree nor the new.
    #[error("{source}; {} is incomplete, the rest of its new tree is in {}",
        target.display(), stage.display())]
    Halfway {
        /// What went wrong.
        source: Box<Self>,
        /// The target.
        target: PathBuf,
        /// Where the part of the new tree is that was not moved.
        stage: PathBuf,
    },
    /// An earlier run ended while it moved its tree into the target.
    #[error("{} is incomplete, the rest of its new tree is in {}",
        target.display(), stage.display())]
    Unfinished {
        /// The target.
        target: PathBuf,
        /// Where the part of the new tree is that was not moved.
        stage: PathBuf,
    },
    /// A path that cannot be packed under its own name.
    #[error("cannot pack {}: {what}", path.display())]
    Argument {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Something could not be packed as it was, and nothing less is wanted.
    #[error("{0}")]
    Strict(String),
}

impl Error {
    /// Makes an error of the system with its object.
    pub(super) fn system<E: Into<io::Error>>(
        what: &'static str,
        path: &[u8],
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_vec();
        move |source| Self::System {
            what,
            path,
            source: source.into(),
        }
    }

    /// The same where the system is asked by way of `/proc`.
    pub(super) fn by_proc(what: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Self {
        let path = path.to_vec();
        move |error| match error {
            Errno::NOENT if !super::have_proc() => Self::NoProc { what, path },
            error => Self::system(what, &path)(error),
        }
    }

    /// The same for a directory that is looked for where it was seen before.
    pub(super) fn found_again(path: &[u8]) -> impl FnOnce(Errno) -> Self {
        let path = path.to_vec();
        move |error| match error {
            Errno::STALE => Self::Swapped(path),
            error => Self::system("open", &path)(error),
        }
    }

    /// Makes an error of a thread that could not be started.
    pub(super) fn system_thread(source: io::Error) -> Self {
        Self::system("start a thread for", b"files")(source)
    }
}

/// Lets a stage be watched.
impl From<crate::sys::Error> for Error {
    fn from(error: crate::sys::Error) -> Self {
        Self::system("watch", b"the stage")(io::Error::other(error))
    }
}

/// Lets a pipe of threads carry errors of ours.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
