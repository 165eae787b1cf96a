//! The six filters as library calls: each joins one kind of work with streams, threads and sockets.

use crate::sys::signals::SignalWatch;
use crate::sys::wake::Wake;

pub mod cast;
pub mod catch;
mod error;
mod frame;
mod pack;
pub mod seal;
mod unpack;

pub use error::Error;
pub use pack::{Effort, pack, pack_image};
pub use unpack::{unpack, unpack_image};

/// What a driver needs of its process.
#[derive(Clone, Copy, Debug)]
pub struct Control<'a> {
    /// Randomness for keys and delays, which must never serve twice.
    pub seed: [u8; 32],
    /// Wakes the driver up; the handle that `watch` was made with.
    pub wake: &'a Wake,
    /// Signals that were caught.
    pub watch: &'a SignalWatch,
}
