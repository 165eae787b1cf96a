//! Integration tests: one binary, a module a topic.

mod archive;
mod seal;
mod support;
mod tree;
