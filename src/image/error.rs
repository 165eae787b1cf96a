//! What can go wrong between an archive and a disk image.

use std::io;
use std::path::PathBuf;

use crate::archive;
use crate::archive::name::Shown;
use crate::sys;

/// An image that could not be packed or restored.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Error {
    /// The archive was refused.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// The archive could not be written to where it goes.
    #[error("cannot write the archive: {0}")]
    Output(#[source] io::Error),
    /// The file of the image could not be made or finished.
    #[error(transparent)]
    Edge(#[from] sys::Error),
    /// The system refused something on a file or device.
    #[error("cannot {what} {}: {source}", path.display())]
    System {
        /// What was attempted.
        what: &'static str,
        /// On which file or device.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Bytes of an image could not be read: without them it is none.
    #[error("cannot read {} near byte {at}: {source}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// Where the part begins that could not be read.
        at: u64,
        /// Why it failed.
        source: io::Error,
    },
    /// The image is not what it was when its size was taken.
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
    /// What is to be packed holds no image, or has no name.
    #[error("{} is neither a regular file nor a block device", .0.display())]
    NotImage(PathBuf),
    /// The archive would overwrite the image.
    #[error("the output would overwrite {}, which is the image", .0.display())]
    SameFile(PathBuf),
    /// An image cannot be restored to such a thing.
    #[error("cannot restore an image to {}: it is neither a block device nor a file", .0.display())]
    NotTarget(PathBuf),
    /// The target has contents, and nothing was said about them.
    #[error("the target is there already: {}", .0.display())]
    Exists(PathBuf),
    /// The device is mounted, or belongs to something.
    #[error("{} is in use: it is mounted, has such a part, or belongs to a volume", .0.display())]
    Busy(PathBuf),
    /// The device takes no data.
    #[error("{} is read-only", .0.display())]
    ReadOnly(PathBuf),
    /// The device cannot hold the image.
    #[error("{} has {has} bytes, and the image has {needs}", path.display())]
    TooSmall {
        /// The device.
        path: PathBuf,
        /// Its size.
        has: u64,
        /// The size of the image.
        needs: u64,
    },
    /// An archive that holds nothing.
    #[error("the archive holds no disk image: it has no entry")]
    NoEntry,
    /// An archive that holds anything but one regular file.
    #[error("the archive holds no disk image: {} {what}", Shown(path))]
    NotOneFile {
        /// The entry that says so.
        path: Vec<u8>,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The archive exceeds the limit that was set.
    #[error("the archive has more than {0} bytes of content")]
    Limit(u64),
    /// The restoring had begun: the device is neither what it was nor the image.
    #[error("{source}; {} is incomplete", path.display())]
    Incomplete {
        /// What went wrong.
        source: Box<Self>,
        /// The device.
        path: PathBuf,
    },
}

impl Error {
    /// Makes an error of the system with its object.
    pub(super) fn system<E: Into<io::Error>>(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::System {
            what,
            path,
            source: source.into(),
        }
    }
}

/// Lets a pipe of threads carry errors of ours.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
