//! Exit statuses, and how each error of the library becomes one with hints.

use std::io;
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};

use crate::present::console::Console;

mod convert;

/// How a run ended; the manual's EXIT STATUS is rendered from this enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// The local system failed: file, socket, memory.
    Local = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Data refused: malformed, forged or truncated.
    Data = 3,
    /// No identity fits.
    NoIdentity = 4,
    /// The sender is not verified.
    Sender = 5,
    /// The transfer did not complete.
    Transfer = 6,
    /// The sender let this receiver go because it was too slow for the others.
    Evicted = 7,
    /// A bug in sealcast.
    Bug = 70,
    /// The reader downstream went away.
    ClosedPipe = 141,
}

impl ExitStatus {
    /// Every status with its meaning, for the manual.
    #[cfg(test)]
    pub(crate) const TABLE: [(u8, &'static str); 11] = [
        (
            0,
            "the whole input was processed and, where applicable, authenticated to its end",
        ),
        (1, "the local system failed: file, socket, memory"),
        (2, "usage"),
        (
            3,
            "data refused: malformed, forged or truncated; nothing unauthenticated was written",
        ),
        (4, "no identity fits"),
        (
            5,
            "the sender is not verified: unsigned, another signer, or label, age or serial against \
             policy",
        ),
        (
            6,
            "the transfer did not complete: no or lost sender, abort, deadline, a receiver \
             missing, a COMMAND that failed",
        ),
        (
            7,
            "the sender dropped this receiver, because it was too slow for the others",
        ),
        (70, "a bug in sealcast: please report it with the message"),
        (130, "interrupted (143: terminated)"),
        (141, "the reader downstream went away; nothing is said"),
    ];
}

/// Why a subcommand failed: a status, what failed on which object, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: ExitStatus,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
}

impl Failure {
    /// A failure with its fact; the facts are lower case without a full stop.
    pub(crate) fn new(status: ExitStatus, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// Adds what a person can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same, but silent when `source` says that the reader of our output went away.
    fn or_closed_pipe(self, source: &io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(ExitStatus::ClosedPipe, "");
        }
        self
    }

    /// A failure of the system on `object`, silent when the reader of our output went away.
    pub(crate) fn io(object: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(ExitStatus::ClosedPipe, "");
        }
        Self::new(ExitStatus::Local, format!("{object}: {error}"))
    }
}

/// Turns the outcome of a subcommand into the process's status and says what went wrong.
pub(crate) fn finish(result: Result<(), Failure>, console: &Console) -> ExitCode {
    let Err(failure) = result else {
        return ExitCode::SUCCESS;
    };
    if failure.status != ExitStatus::ClosedPipe {
        console.error(&failure.message);
        for hint in &failure.hints {
            console.hint(hint);
        }
    }
    ExitCode::from(failure.status as u8)
}

/// Prints help, the version or a complaint about the command line.
pub(crate) fn usage(mut error: clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::UnknownArgument {
        // What follows `--` would be run as a command.
        error.remove(ContextKind::Suggested);
    }
    // Help that cannot be printed, say into a closed pipe, has no one to complain to.
    let _ = error.print();
    if error.kind() == ErrorKind::UnknownArgument && !names_an_option(&error) {
        let hint = place_of_names(std::env::args());
        crate::present::console::line(&format!("sealcast: hint: {hint}\n"));
    }
    if error.use_stderr() {
        ExitCode::from(ExitStatus::Usage as u8)
    } else {
        ExitCode::SUCCESS
    }
}

/// Where a name belongs that stands where none does.
fn place_of_names(mut args: impl Iterator<Item = String>) -> &'static str {
    let command = args.find_map(|arg| match &*arg {
        "catch" => Some("-o FILE writes to a file, and > does"),
        "unpack" => Some("-C DIR restores to a directory, and --image FILE to an image"),
        "keygen" => Some("-o FILE makes a key file, and -y FILE reads one"),
        "seal" | "cast" | "open" => Some(FILTER),
        _ => None,
    });
    command.unwrap_or(FILTER)
}

const FILTER: &str = "data comes on standard input: redirect a file with `<`, or pipe it in";

fn names_an_option(error: &clap::Error) -> bool {
    let found = error.get(ContextKind::InvalidArg);
    found.is_none_or(|arg| arg.to_string().starts_with('-'))
}

/// A panic is a bug: say so, name the version, and leave with a status of its own.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        crate::present::console::line(&format!(
            "sealcast: bug: {info}\nsealcast: hint: please report this with the command line; \
             this is version {}\n",
            env!("CARGO_PKG_VERSION")
        ));
        std::process::exit(ExitStatus::Bug as i32);
    }));
}
