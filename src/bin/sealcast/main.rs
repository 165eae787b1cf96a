//! sealcast: pack, seal and multicast one tree to many machines.

use std::process::ExitCode;

use clap::Parser;

mod cli;
mod cmd;
#[cfg(test)]
mod docgen;
#[cfg(test)]
mod examples;
mod exit;
mod plan;
mod present;
mod streams;

fn main() -> ExitCode {
    exit::report_panics();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return exit::usage(e),
    };
    let console = present::Console::new(cli.command.name(), &cli.global);
    let ready = sealcast::sys::signals::survive_size_limits().map_err(exit::Failure::from);
    let ready = ready.and_then(|()| streams::check(&cli.command));
    let result = ready.and_then(|()| cmd::run(&cli.command, &console));
    let result = result.and_then(|()| streams::check_again(&cli.command));
    exit::finish(result, &console)
}
