//! End to end over a simulated switch: a sender and receivers in network namespaces on a bridge
//! with IGMP snooping. Needs root; makes and deletes its own namespaces.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    clippy::cast_precision_loss,
    clippy::needless_pass_by_value,
    unreachable_pub,
    reason = "tests may be terse"
)]

mod addressing;
mod cast_files;
mod changes;
mod flood;
mod oneway;
mod pace;
mod passes;
mod rates;
mod repair;
mod session_lifecycle;
mod topology;
mod trees;
mod trouble;

use topology::Lab;

/// A lab, or nothing where it cannot be built: with a word, and in CI with a failure.
fn lab(receivers: usize) -> Option<Lab> {
    let root = rustix::process::geteuid().is_root();
    let tools = ["ip", "tc", "nft", "ethtool", "tcpdump"]
        .iter()
        .all(|tool| topology::have(tool));
    if root && tools {
        return Some(Lab::new(receivers));
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "network tests need root, iproute2, nft, ethtool and tcpdump"
    );
    eprintln!("SKIPPED: network tests need root, iproute2, nft, ethtool and tcpdump");
    None
}
