#![doc = include_str!("ARCHITECTURE.md")]
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_lossless,
        reason = "tests may be terse"
    )
)]

pub mod archive;
pub mod crypt;
pub mod fec;
pub mod filters;
pub mod image;
pub mod net;
pub mod parallel;
pub mod proto;
pub mod seal;
pub mod sys;
pub mod tree;
pub mod units;
pub mod wire;
