//! sealcast: pack, seal and multicast one tree to many machines.

use std::process::ExitCode;

use clap::Parser;

mod cast;
mod catch;
mod cli;
#[cfg(test)]
mod docgen;
#[cfg(test)]
mod examples;
mod exit;
mod journal;
mod keygen;
mod keys;
mod lists;
mod open;
mod pack;
mod report;
mod seal;
mod secret;
mod selftest;
mod streams;
mod unpack;

fn main() -> ExitCode {
    exit::report_panics();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return exit::usage(&e),
    };
    let voice = report::Voice::new(cli.command.name(), &cli.global);
    let result = streams::check(&cli.command).and_then(|()| run(&cli.command, &voice));
    exit::finish(result, &voice)
}

fn run(command: &cli::Command, voice: &report::Voice) -> Result<(), exit::Failure> {
    match command {
        cli::Command::Pack(args) => pack::run(args, voice),
        cli::Command::Unpack(args) => unpack::run(args, voice),
        cli::Command::Seal(args) => seal::run(args, voice),
        cli::Command::Open(args) => open::run(args, voice),
        cli::Command::Keygen(args) => keygen::run(args, voice),
        cli::Command::Cast(args) => cast::run(args, voice),
        cli::Command::Catch(args) => catch::run(args, voice),
        cli::Command::Selftest(args) => selftest::run(args, voice),
    }
}
