//! Threads between a reader and a writer: bounded, in order, first error wins.

mod ordered;

pub use ordered::ordered;
