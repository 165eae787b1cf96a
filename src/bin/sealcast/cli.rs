//! The command line: types and help text, no behaviour. Each filter's options are in a file of
//! their own under `cli/`; the manual pages and completions are generated from them.

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

mod cast;
mod catch;
mod keygen;
mod open;
mod pack;
mod passphrase;
mod seal;
mod selftest;
mod unpack;
pub(crate) mod value;
mod xattrs;

pub(crate) use cast::{CastArgs, Late, NetArgs, SharedKeyArgs, Slow};
pub(crate) use catch::CatchArgs;
pub(crate) use keygen::KeygenArgs;
pub(crate) use open::OpenArgs;
pub(crate) use pack::PackArgs;
pub(crate) use passphrase::PassphraseArgs;
pub(crate) use seal::SealArgs;
pub(crate) use selftest::SelftestArgs;
pub(crate) use unpack::UnpackArgs;
pub(crate) use xattrs::XattrArgs;

/// Pack, seal and multicast one tree to many machines.
#[derive(Debug, Parser)]
#[command(
    name = "sealcast",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every subcommand takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct GlobalArgs {
    /// Write only errors to standard error.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more; `cast` and `catch` say even more when it is given twice.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to show on standard error how far it is, and what is waited for.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) progress: When,
}

/// When to draw progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// Only when standard error is a terminal.
    Auto,
    /// Also into a file.
    Always,
    /// Never, nor what is waited for.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Pack(PackArgs),
    Seal(SealArgs),
    Cast(CastArgs),
    Catch(CatchArgs),
    Open(OpenArgs),
    Unpack(UnpackArgs),
    Keygen(KeygenArgs),
    Selftest(SelftestArgs),
}

impl Command {
    /// The subcommand's name, as typed.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Pack(_) => "pack",
            Self::Seal(_) => "seal",
            Self::Cast(_) => "cast",
            Self::Catch(_) => "catch",
            Self::Open(_) => "open",
            Self::Unpack(_) => "unpack",
            Self::Keygen(_) => "keygen",
            Self::Selftest(_) => "selftest",
        }
    }
}
