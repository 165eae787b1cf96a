//! Options of `sealcast unpack`.

use clap::Args;

/// Restore a tree from an archive.
#[derive(Args, Debug)]
pub(crate) struct UnpackArgs {}
