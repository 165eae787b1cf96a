//! Options about passphrases, of all commands that read secrets.

use std::path::PathBuf;

use clap::Args;
use sealcast::seal::passphrase::{WORK_LOG2_ALLOWED, WORK_LOG2_MAX};

/// Where passphrases come from, and how much work they may be.
#[derive(Args, Debug)]
pub(crate) struct PassphraseArgs {
    /// Take passphrases from the first line of FILE, not from the terminal.
    ///
    /// The passphrase is used for -p, and for key files that are encrypted with one. FILE may be a
    /// descriptor, such as /dev/fd/3.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Refuse what is encrypted with a passphrase and a work factor above N.
    ///
    /// The program that encrypts chooses the work factor. To decrypt then takes 2^N KiB of memory,
    /// before anything can be checked: 1 GiB for 20. The most is 22. sealcast itself writes 18.
    #[arg(long, value_name = "N", default_value_t = WORK_LOG2_ALLOWED,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(WORK_LOG2_MAX)))]
    pub(crate) max_work_factor: u8,
}
