//! Options of `sealcast open`.

use clap::Args;

/// Check the sender, decrypt.
#[derive(Args, Debug)]
pub(crate) struct OpenArgs {}
