//! Options of `sealcast keygen`.

use std::path::PathBuf;

use clap::Args;

/// Make keys.
///
/// Without options, makes an identity: the key with which a receiver opens streams. With --sign,
/// makes a signing key, by which receivers know the sender. The public half of either is one line
/// of text that can be given to others.
#[derive(Args, Debug)]
pub(crate) struct KeygenArgs {
    /// Make a signing key for a sender, not an identity for a receiver.
    #[arg(short, long, conflicts_with = "public")]
    pub(crate) sign: bool,
    /// Write the secret key to FILE, and the public half to standard output.
    ///
    /// FILE is made readable for its owner only, and must not exist. Without this option the secret
    /// key goes to standard output and the public half to standard error.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print the public half of every key in FILE.
    ///
    /// FILE is a key file made by this command or by age-keygen, or an unencrypted OpenSSH private
    /// key of type ed25519.
    #[arg(short = 'y', long, value_name = "FILE", conflicts_with = "output")]
    pub(crate) public: Option<PathBuf>,
}
