//! Options of `sealcast open`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::value;

/// Check the sender, decrypt.
///
/// Reads a sealed stream from standard input and writes the data that was sealed. Of a signed
/// stream nothing is written that was not checked to be the sender's, for this stream, and in its
/// place.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("trust").required(true).args(["from", "unsigned"]))]
pub(crate) struct OpenArgs {
    /// Open with the identities in FILE. Can be given many times.
    ///
    /// FILE is made by `sealcast keygen` or age-keygen(1), or is an unencrypted OpenSSH private key
    /// of type ed25519, such as /etc/ssh/ssh_host_ed25519_key.
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(crate) identity: Vec<PathBuf>,
    /// Take streams signed by SENDER: a public key, or a file of them. Can be given many times.
    ///
    /// A key is `sealsign1…` as printed by `sealcast keygen`, or `ssh-ed25519 AAAA…`. A file has
    /// one a line, perhaps followed by a name; blank lines and lines that begin with `#` are passed
    /// over. ssh keys may stand behind names, as in known_hosts or allowed_signers. Anything that
    /// does not begin like a key is taken for the name of a file.
    #[arg(short, long, value_name = "SENDER")]
    pub(crate) from: Vec<String>,
    /// Take streams without a signature, from whomever.
    ///
    /// Any age file can be opened so. Data is then written chunk by chunk, as age(1) does. A signed
    /// stream is refused: its sender is there to be checked.
    #[arg(long)]
    pub(crate) unsigned: bool,
    /// Insist on the label TEXT.
    #[arg(long, value_name = "TEXT", conflicts_with = "unsigned")]
    pub(crate) label: Option<String>,
    /// Refuse streams sealed longer than DURATION ago, such as 90s, 15m, 12h, 7d or 2w.
    ///
    /// The time is the one that the sender signed. A stream from more than five minutes in the
    /// future is refused, too.
    #[arg(long, value_name = "DURATION", conflicts_with = "unsigned",
          value_parser = value::seconds)]
    pub(crate) max_age: Option<u64>,
    /// Refuse streams with a serial number below N.
    #[arg(long, value_name = "N", conflicts_with = "unsigned")]
    pub(crate) min_serial: Option<u64>,
    /// Read headers of up to BYTES, such as 64K or 8M.
    ///
    /// The header grows by about 100 bytes a recipient, and all of it is read before the first
    /// byte can be checked.
    #[arg(long, value_name = "BYTES", default_value = "2M", value_parser = value::header_bytes)]
    pub(crate) max_header: usize,
    /// Write to FILE, which appears only when all of the stream was good.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}
