//! Threads between a reader and a writer: bounded, in order, first error wins.

mod courtesy;
mod ordered;
mod pack;
pub mod seal;
mod slice;
mod spare;
mod unpack;

pub use ordered::{Crew, ordered};
pub use pack::{Effort, pack, pack_image};
pub use unpack::{unpack, unpack_image};
