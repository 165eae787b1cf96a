//! Disk images: one block device or file, packed as the only entry of an archive, and restored to
//! a device or a file without what is not data.

mod canvas;
mod error;
mod pack;
mod unpack;

pub use error::Error;
pub use pack::{Image, pack};
pub use unpack::{Restored, Unpack, unpack};
