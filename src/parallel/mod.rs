//! Threads between a reader and a writer: bounded, in order, first error wins.

mod ordered;
mod pool;
mod yielding;

pub use ordered::{Workers, ordered};
pub use pool::Pool;
pub use yielding::Yielder;
