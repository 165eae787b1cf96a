//! Integration tests: one binary, a module a topic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why"
)]

mod archive;
mod hostile;
mod seal;
mod support;
mod tree;
