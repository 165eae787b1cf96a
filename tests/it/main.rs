//! Integration tests: one binary, a module a topic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    clippy::needless_pass_by_value,
    unreachable_pub,
    reason = "tests may be terse"
)]

mod archive;
mod byte_flips;
mod cctv;
mod constants;
mod fidelity;
mod fuzz_corpus;
mod hostile;
mod image;
mod interop;
mod interruption;
mod network;
mod options;
mod other_tools;
mod process;
mod published_archives;
mod racing;
mod script;
mod seal;
mod seal_cli;
mod secrecy;
mod support;
mod targets;
mod tree;
