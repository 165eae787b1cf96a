//! Options of `sealcast pack`.

use clap::Args;

/// Stream a tree as a compressed archive.
#[derive(Args, Debug)]
pub(crate) struct PackArgs {}
