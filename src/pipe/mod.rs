//! Threads between a reader and a writer: bounded, in order, first error wins.

mod ordered;
pub mod seal;

pub use ordered::ordered;
