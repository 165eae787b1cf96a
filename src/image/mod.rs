//! Disk images: one block device or file, packed as the only entry of an archive, and restored to
//! a device or a file without what is not data.

mod error;
mod pack;
mod unpack;
mod writer;

pub use error::Error;
pub use pack::{Image, pack};
pub use unpack::{ImageRestored, ImageUnpackConfig, unpack};
