//! Options of `sealcast keygen`.

use std::path::PathBuf;

use clap::Args;

use super::PassphraseArgs;

/// Make keys, and show their public halves.
///
/// Without options, makes an identity: the key with which a receiver opens streams. With --sign,
/// makes a signing key, by which receivers know the sender. The public half of either is one line
/// of text that can be given to others.
#[derive(Args, Debug)]
pub(crate) struct KeygenArgs {
    /// Make a signing key for a sender, not an identity for a receiver.
    ///
    /// With -y, print an OpenSSH key in the form of a sender's key. It may be a public key.
    #[arg(short, long, conflicts_with = "list")]
    pub(crate) sign: bool,
    /// Make an identity that withstands quantum computers as well.
    ///
    /// Its public half has 1,959 characters. All recipients of a stream must be of this type, or
    /// none.
    #[arg(long, conflicts_with_all = ["sign", "public", "list"])]
    pub(crate) pq: bool,
    /// Encrypt the key with a passphrase, which is asked for twice.
    ///
    /// The key file is then an age file in armor. A program that reads it asks for the passphrase.
    /// With --passphrase-file a new key is encrypted, too.
    #[arg(short, long, conflicts_with_all = ["public", "list"])]
    pub(crate) passphrase: bool,
    #[command(flatten)]
    pub(crate) passphrases: PassphraseArgs,
    /// Write the secret key to FILE, and the public half to standard output.
    ///
    /// FILE is made readable for its owner only, and must not exist. Without this option the secret
    /// key goes to standard output and the public half to standard error.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print the public half of every key in FILE.
    ///
    /// FILE is a key file made by this command or by age-keygen, or an OpenSSH private key of type
    /// ed25519; `-` is standard input.
    #[arg(short = 'y', long, value_name = "FILE", conflicts_with = "output")]
    pub(crate) public: Option<PathBuf>,
    /// List the keys in FILE with their fingerprints, one a line.
    ///
    /// FILE has public or secret keys of any kind; `-` is standard input. A line has the
    /// fingerprint, `recipient` or `sender`, the type of the key, and the name that stands beside
    /// it. An ssh key can be both and has a line for each.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["public", "output"])]
    pub(crate) list: Option<PathBuf>,
}
