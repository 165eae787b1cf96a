//! Options of `sealcast catch`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{NetArgs, SharedKeyArgs, value};

/// Receive what a sender casts, and write it to standard output or a command.
///
/// Takes part in the first session that is announced, or in the one that --name chooses. Writes
/// each block only after it was authenticated and checked, in order. Ends with status 0 only if the
/// sender's authenticated end was reached and everything was written.
#[derive(Args, Debug)]
pub(crate) struct CatchArgs {
    #[command(flatten)]
    pub(crate) net: NetArgs,
    /// Take part in the session called NAME only, at most 64 bytes.
    #[arg(long, value_name = "NAME", value_parser = value::session_name)]
    pub(crate) name: Option<String>,
    /// Tell the sender that we are NAME, 1 to 64 bytes, instead of the host's name.
    #[arg(long = "as", value_name = "NAME", value_parser = value::receiver_name)]
    pub(crate) own_name: Option<String>,
    /// Believe only SENDER: a public key, or a file of them. Can be given many times.
    ///
    /// As with `sealcast open --from`: a key is `sealsign1…` or `ssh-ed25519 AAAA…`, and what is no
    /// key is taken for the name of a file. Sessions that are not signed by one of them are passed
    /// over.
    #[arg(short, long, value_name = "SENDER", help_heading = "Keys")]
    pub(crate) from: Vec<String>,
    /// Show the sender that we hold an identity in FILE. Can be given many times.
    ///
    /// A sender that was given `-R` takes in nobody else. FILE is what `sealcast open -i` takes.
    #[arg(short, long, value_name = "FILE", help_heading = "Keys")]
    pub(crate) identity: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) shared: SharedKeyArgs,
    /// Send nothing, and take part in sessions of `cast --one-way` alone.
    ///
    /// For networks on which we must not or cannot send. Without it such sessions are passed over.
    #[arg(long, conflicts_with = "identity")]
    pub(crate) one_way: bool,
    /// Give up when no session took us in after this time; 0 waits for ever.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = value::milliseconds)]
    pub(crate) start_timeout: u64,
    /// Keep up to BYTES that wait for missing ones or for the consumer; K, M and G are understood.
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = value::bytes)]
    pub(crate) memory: u64,
    /// Write to FILE, which appears only when the stream is complete.
    ///
    /// `-` is standard output, even when that is a terminal.
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    pub(crate) output: Option<PathBuf>,
    /// Append a report to FILE, not to `-`: what happens, each as a JSON object in a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Drop this share of the datagrams that arrive, to see that nothing is lost by it.
    #[arg(long, value_name = "PERCENT", value_parser = value::percent, default_value = "0")]
    pub(crate) test_loss: f64,
    /// Run COMMAND and write to its standard input, instead of standard output.
    ///
    /// Its exit status is waited for and told to the sender: only with 0 do we have everything.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}
