//! Options of `sealcast catch`.

use clap::Args;

/// Receive what a sender casts.
#[derive(Args, Debug)]
pub(crate) struct CatchArgs {}
