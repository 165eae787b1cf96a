//! Options of `sealcast seal`.

use clap::Args;

/// Encrypt to many recipients and sign.
#[derive(Args, Debug)]
pub(crate) struct SealArgs {}
