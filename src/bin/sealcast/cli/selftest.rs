//! Options of `sealcast selftest`.

use clap::Args;

/// Run the whole pipeline on this machine.
#[derive(Args, Debug)]
pub(crate) struct SelftestArgs {}
