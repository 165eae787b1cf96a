//! The subcommands: a plan, one library call, and what came of it.

mod cast;
mod catch;
mod keygen;
mod open;
mod pack;
mod seal;
mod selftest;
mod unpack;

use crate::cli::Command;
use crate::exit::Failure;
use crate::present::Console;

/// Runs a subcommand to its end.
pub(crate) fn run(command: &Command, console: &Console) -> Result<(), Failure> {
    match command {
        Command::Pack(args) => pack::run(args, console),
        Command::Unpack(args) => unpack::run(args, console),
        Command::Seal(args) => seal::run(args, console),
        Command::Open(args) => open::run(args, console),
        Command::Keygen(args) => keygen::run(args, console),
        Command::Cast(args) => cast::run(args, console),
        Command::Catch(args) => catch::run(args, console),
        Command::Selftest(args) => selftest::run(args, console),
    }
}
