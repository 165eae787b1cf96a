//! The archive: tar headers, PAX records and zstd frames; entries in, entries out.
//!
//! An archive is a PAX tar stream inside independent zstd frames, so that GNU tar, bsdtar and zstd
//! read it. Between the frames are two records that only we read: the first names our version, and
//! the last carries [`Totals`]. [`Reader`] takes no archive of ours for complete without them, and
//! none of another tool without its two zero blocks and the end of the stream.

pub mod acl;
mod adaptive;
mod compress;
mod decode;
mod entry;
mod error;
mod glob;
mod header;
pub mod name;
mod number;
mod own_record;
pub mod pax;
mod read_bytes;
mod reader;
mod sparse;
mod writer;
mod xattr;
mod xattr_choice;

pub use adaptive::{LevelController, level_for_rate};
pub use compress::{
    ANNOUNCEMENT_BYTES, FRAME_BYTES, FrameCompressor, LEVEL_DEFAULT, LONG_FRAME_BYTES,
};
pub use decode::{
    Announced, Decoder, Decompressor, SKIPPABLE_BYTES_MAX, WINDOW_BYTES_MAX, WINDOW_LOG_MAX,
};
pub use entry::{Content, Device, Entry, Kind, Meta, Segment, Time, Totals, Xattr};
pub use error::{Error, ForeignFormat};
pub use glob::{BadPattern, Glob};
pub use own_record::own_frame;
pub use read_bytes::ReadBytes;
pub use reader::Reader;
pub use sparse::SEGMENTS_MAX;
pub use writer::{BufWrite, Writer};
pub use xattr_choice::XattrChoice;

/// The version of the archive format that is written, and the greatest that is read.
pub const VERSION: u32 = 1;

/// The unit of a tar stream.
pub const BLOCK_BYTES: usize = 512;

/// The same, as a length in a stream.
const BLOCK: u64 = BLOCK_BYTES as u64;

/// Bytes that fill `len` up to a whole block.
const fn padding(len: u64) -> u64 {
    (BLOCK - len % BLOCK) % BLOCK
}
