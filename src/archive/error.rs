//! What can be wrong with an archive.

use std::io;

use super::name::{Flaw, Shown};

/// An archive that cannot be read.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Error {
    /// The bytes could not be had; the archive may be good.
    #[error("cannot read the archive: {0}")]
    Read(#[source] io::Error),
    /// The input has no bytes at all.
    #[error("the input is empty")]
    Empty,
    /// The input is something else.
    #[error("the input is not an archive: {0}")]
    NotArchive(ForeignFormat),
    /// The input ends in the middle.
    #[error("the archive ends too early, at byte {at} of {layer}")]
    Truncated {
        /// Where it ended.
        at: u64,
        /// In which layer: the compressed stream or the tar stream.
        layer: &'static str,
    },
    /// Bytes follow the end of the archive.
    #[error("something follows the end of the archive, at byte {at} of {layer}")]
    Trailing {
        /// Where it begins.
        at: u64,
        /// In which layer.
        layer: &'static str,
    },
    /// The compressed stream is damaged.
    #[error("the compressed stream is damaged near byte {at}: {what}")]
    Compression {
        /// Near which byte of the input.
        at: u64,
        /// What the decompressor says.
        what: String,
    },
    /// A frame needs more memory than we grant.
    #[error(
        "the frame at byte {at} needs a window of {} MiB, and {} MiB is the most",
        .bytes.div_ceil(1 << 20), .bytes_max >> 20
    )]
    Window {
        /// Where it begins.
        at: u64,
        /// The window that it asks for.
        bytes: u64,
        /// The most that is granted.
        bytes_max: u64,
    },
    /// A header or record breaks the rules of its format.
    #[error("bad header at byte {at} of the tar stream: {what}")]
    Header {
        /// Where the header begins.
        at: u64,
        /// Which rule it breaks.
        what: &'static str,
    },
    /// A type of entry that has no meaning here.
    #[error(
        "entry of unknown type {} at byte {at} of the tar stream",
        Shown(std::slice::from_ref(kind))
    )]
    UnknownType {
        /// Where its header begins.
        at: u64,
        /// The byte that gives the type.
        kind: u8,
    },
    /// A name that could reach outside the tree, or cannot be a name at all.
    #[error("unsafe name {} at byte {at} of the tar stream: {flaw}", Shown(path))]
    Name {
        /// Where its header begins.
        at: u64,
        /// The name as it stands in the archive.
        path: Vec<u8>,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The archive was made by a later version.
    #[error("the archive has format version {0}; up to {last} is known", last = super::VERSION)]
    Version(u32),
    /// Our archives end with totals; this one's do not fit what was read.
    #[error("the archive is not whole: {0}")]
    Totals(&'static str),
}

impl From<io::Error> for Error {
    /// Takes back an error of ours that went through `Read`.
    fn from(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::Read)
    }
}

impl From<Error> for io::Error {
    /// Sends an error of ours through `Read`.
    fn from(error: Error) -> Self {
        match error {
            Error::Read(e) => e,
            other => Self::other(other),
        }
    }
}

/// What an input that is no archive looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum ForeignFormat {
    /// A sealed stream, or another file of age.
    Sealed,
    /// A file of another compressor.
    Compressed(&'static str),
    /// Nothing we know.
    Unknown,
}

impl std::fmt::Display for ForeignFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sealed => f.write_str("it is a sealed stream"),
            Self::Compressed(tool) => write!(f, "it is compressed with {tool}"),
            Self::Unknown => f.write_str("it is neither zstd nor tar"),
        }
    }
}
