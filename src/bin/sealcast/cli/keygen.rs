//! Options of `sealcast keygen`.

use clap::Args;

/// Make keys.
#[derive(Args, Debug)]
pub(crate) struct KeygenArgs {}
