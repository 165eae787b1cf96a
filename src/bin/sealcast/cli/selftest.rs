//! Options of `sealcast selftest`.

use std::path::PathBuf;

use clap::Args;

/// Test the whole pipeline on this machine.
///
/// Casts a tree to three receivers by multicast on the loopback interface. One of them drops
/// datagrams on purpose. Compares the restored trees with the original. Needs no privileges and no
/// configuration.
#[derive(Args, Debug)]
pub(crate) struct SelftestArgs {
    /// The tree to cast; without it a small one is generated.
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
