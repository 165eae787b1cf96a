//! Options of `sealcast selftest`.

use std::path::PathBuf;

use clap::Args;

/// Run the whole pipeline on this machine and see that it works.
///
/// Casts a tree to three receivers over multicast on the loopback interface, with one of them
/// dropping datagrams on purpose, and compares what they restored with the original. Needs no
/// privileges and no configuration.
#[derive(Args, Debug)]
pub(crate) struct SelftestArgs {
    /// The tree to cast; without it a small one is generated.
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
