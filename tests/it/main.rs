//! Integration tests: one binary, a module a topic.

mod archive;
mod seal;
mod seal_cli;
mod support;
