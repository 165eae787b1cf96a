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
pub mod edge;
pub mod fec;
pub mod net;
pub mod pipe;
pub mod proto;
pub mod seal;
pub mod units;
pub mod wire;
