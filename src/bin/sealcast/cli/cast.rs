//! Options of `sealcast cast`.

use clap::Args;

/// Send standard input to many machines by multicast.
#[derive(Args, Debug)]
pub(crate) struct CastArgs {}
