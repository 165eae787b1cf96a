//! Options of `sealcast seal`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::PassphraseArgs;

/// Encrypt to many recipients and sign.
///
/// Reads data from standard input and writes a sealed stream: an age file that each recipient can
/// open, signed so that receivers can tell who sent it.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("for").required(true).multiple(true)
          .args(["recipient", "recipients_file", "passphrase"]))]
pub(crate) struct SealArgs {
    /// Seal for RECIPIENT: `age1…`, `age1pq1…` or `ssh-ed25519 AAAA…`. Can be given many times.
    #[arg(short, long, value_name = "RECIPIENT")]
    pub(crate) recipient: Vec<String>,
    /// Seal for all recipients in FILE. Can be given many times.
    ///
    /// FILE has one recipient a line, perhaps followed by a name. Blank lines and lines that begin
    /// with `#` are ignored. Public ssh keys, and lists of them such as known_hosts and the output
    /// of ssh-keyscan(1), are recipients files, too; of those only the ed25519 keys count.
    #[arg(short = 'R', long, value_name = "FILE")]
    pub(crate) recipients_file: Vec<PathBuf>,
    /// Seal with a passphrase in place of recipients.
    ///
    /// It is asked for twice on the terminal, or taken from --passphrase-file. A person who knows
    /// it can open the stream, and could have made it.
    #[arg(short, long, conflicts_with_all = ["recipient", "recipients_file"])]
    pub(crate) passphrase: bool,
    #[command(flatten)]
    pub(crate) passphrases: PassphraseArgs,
    /// Sign with the secret key in KEYFILE.
    ///
    /// KEYFILE is made by `sealcast keygen --sign`; an OpenSSH private key of type ed25519 serves
    /// as well. If it has a passphrase, that is asked for. Receivers give the public half to
    /// `sealcast open --from`.
    #[arg(short, long, value_name = "KEYFILE", conflicts_with = "unsigned")]
    pub(crate) sign: Option<PathBuf>,
    /// Do not sign, and do not warn about it.
    ///
    /// Without a signature a receiver cannot tell which sender sealed the stream: every program
    /// that knows a recipient's public key can make one. But age(1) then gives the input back as it
    /// was.
    #[arg(long)]
    pub(crate) unsigned: bool,
    /// Say what the stream is for; receivers can insist on it with `open --label`.
    ///
    /// TEXT has at most 255 bytes. It is signed and encrypted with the data.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "sign",
        conflicts_with = "unsigned"
    )]
    pub(crate) label: Option<String>,
    /// Number the stream; receivers can insist on a least number with `open --min-serial`.
    ///
    /// Give each stream a greater number than the one before it, so that receivers can refuse an
    /// old one. Zero means none.
    #[arg(long, value_name = "N", requires = "sign", conflicts_with = "unsigned")]
    pub(crate) serial: Option<u64>,
    /// Write armor: text in place of binary data, a third longer.
    #[arg(short, long)]
    pub(crate) armor: bool,
    /// Write to FILE, which appears only when it is complete.
    ///
    /// `-` is standard output, even when that is a terminal.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}
