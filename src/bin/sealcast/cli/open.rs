//! Options of `sealcast open`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::{PassphraseArgs, value};

/// Check the sender, decrypt.
///
/// Reads a sealed stream from standard input and writes the data that was sealed. Data of a signed
/// stream is written only after a check that it is the sender's, for this stream, and in its place.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("trust").required(true).args(["from", "unsigned"]))]
#[command(group = ArgGroup::new("with").required(true).multiple(true)
          .args(["identity", "passphrase", "inner"]))]
pub(crate) struct OpenArgs {
    /// Open with the identities in FILE. Can be given many times.
    ///
    /// FILE is made by `sealcast keygen` or age-keygen(1), or is an OpenSSH private key of type
    /// ed25519, such as /etc/ssh/ssh_host_ed25519_key. If it has a passphrase, that is asked for
    /// when no identity without one fits.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) identity: Vec<PathBuf>,
    /// Open a stream that is sealed with a passphrase.
    ///
    /// It is asked for on the terminal, or taken from --passphrase-file.
    #[arg(short, long, conflicts_with = "identity")]
    pub(crate) passphrase: bool,
    #[command(flatten)]
    pub(crate) passphrases: PassphraseArgs,
    /// Check a payload that another program has decrypted from SEALED.
    ///
    /// Standard input is the output of the other program for the sealed stream in the file SEALED,
    /// for example of age(1) with a hardware key. `open` reads only the header of SEALED, and
    /// checks the signatures.
    #[arg(
        long,
        value_name = "SEALED",
        conflicts_with_all = ["identity", "passphrase", "unsigned"]
    )]
    pub(crate) inner: Option<PathBuf>,
    /// Accept streams signed by SENDER: a public key, or a file of them. Can be given many times.
    ///
    /// A key is `sealsign1…` as printed by `sealcast keygen`, or `ssh-ed25519 AAAA…`. Any other
    /// text is the name of a file. A file has one key a line, perhaps followed by a name. ssh keys
    /// may stand after names, as in known_hosts or allowed_signers. Blank lines and lines that
    /// begin with `#` are ignored.
    #[arg(short, long, value_name = "SENDER")]
    pub(crate) from: Vec<String>,
    /// Accept streams without a signature, from any sender.
    ///
    /// This opens any age file. Data is written chunk by chunk, as age(1) does. A signed stream is
    /// refused, because its sender can be checked.
    #[arg(long)]
    pub(crate) unsigned: bool,
    /// Insist on the label TEXT.
    #[arg(long, value_name = "TEXT", conflicts_with = "unsigned")]
    pub(crate) label: Option<String>,
    /// Refuse streams sealed longer than DURATION ago, such as 90s, 15m, 12h, 7d or 2w.
    ///
    /// A number alone is seconds. The time is the one that the sender signed. A stream from more
    /// than five minutes in the future is refused, too.
    #[arg(long, value_name = "DURATION", conflicts_with = "unsigned",
          value_parser = value::seconds)]
    pub(crate) max_age: Option<u64>,
    /// Refuse streams with a serial number below N.
    #[arg(long, value_name = "N", conflicts_with = "unsigned")]
    pub(crate) min_serial: Option<u64>,
    /// Read headers of up to BYTES, such as 64K or 8M.
    ///
    /// The header grows by about 100 bytes a recipient, and all of it is read before the first byte
    /// can be checked.
    #[arg(long, value_name = "BYTES", default_value = "2M", value_parser = value::header_bytes)]
    pub(crate) max_header: usize,
    /// Write to FILE, which appears only when all of the stream was accepted.
    ///
    /// `-` is standard output, even when that is a terminal.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}
