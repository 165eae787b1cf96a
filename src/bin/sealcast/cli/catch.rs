//! Options of `sealcast catch`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{NetArgs, SharedKeyArgs, value};

/// Receive what a sender casts, and write it to standard output or a command.
///
/// Joins the first session that is announced, or the one that --name chooses. Writes each block, in
/// order, only after it was authenticated and checked. Ends with status 0 only if the sender's
/// authenticated end was reached and everything was written.
#[derive(Args, Debug)]
pub(crate) struct CatchArgs {
    #[command(flatten)]
    pub(crate) net: NetArgs,
    /// Join only the session called NAME, at most 64 bytes.
    #[arg(long, value_name = "NAME", value_parser = value::session_name)]
    pub(crate) name: Option<String>,
    /// Call this receiver NAME, 1 to 64 bytes, instead of the host's name.
    #[arg(long = "as", value_name = "NAME", value_parser = value::receiver_name)]
    pub(crate) own_name: Option<String>,
    /// Believe only SENDER: a public key, or a file of them. Can be given many times.
    ///
    /// A key is `sealsign1…` or `ssh-ed25519 AAAA…`, as for `sealcast open --from`. Any other text
    /// is the name of a file. Sessions that none of these senders signed are ignored.
    #[arg(short, long, value_name = "SENDER", help_heading = "Keys")]
    pub(crate) from: Vec<String>,
    /// Prove to the sender that this machine holds an identity in FILE. Can be given many times.
    ///
    /// A sender with `-R` admits only receivers with a listed identity. FILE is what `sealcast open
    /// -i` takes.
    #[arg(short, long, value_name = "FILE", help_heading = "Keys")]
    pub(crate) identity: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) shared: SharedKeyArgs,
    /// Send nothing, and join only sessions of `cast --one-way`.
    ///
    /// For networks on which receivers must not or cannot send. Without it such sessions are
    /// ignored.
    #[arg(long, conflicts_with = "identity")]
    pub(crate) one_way: bool,
    /// Give up when no session has admitted this receiver after this time; 0 means no limit.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = value::milliseconds)]
    pub(crate) start_timeout: u64,
    /// Give up when the sender was silent for this time.
    ///
    /// Give more where switches keep a link mute after it came up, as spanning tree does for 30 s.
    /// The sender needs the same for `cast`.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = value::silence)]
    pub(crate) silence_timeout: u64,
    /// Keep up to BYTES that wait for missing data or for the consumer; units are K, M and G.
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = value::bytes)]
    pub(crate) memory: u64,
    /// Write to FILE, which appears only when the stream is complete.
    ///
    /// `-` is standard output, even when that is a terminal.
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    pub(crate) output: Option<PathBuf>,
    /// Append a report to FILE: one JSON object a line for each event. FILE cannot be `-`.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Drop this share of the datagrams that arrive, to test the repair.
    #[arg(long, value_name = "PERCENT", value_parser = value::percent, default_value = "0")]
    pub(crate) test_loss: f64,
    /// Run COMMAND and write to its standard input, instead of standard output.
    ///
    /// `catch` waits for its exit status and reports it to the sender. Only status 0 is a success.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}
