//! What the program says: words for people on standard error, events for programs in a file.

pub(crate) mod cast;
pub(crate) mod catch;
pub(crate) mod console;
mod event_log;
mod summary;

pub(crate) use console::{Console, bytes};
