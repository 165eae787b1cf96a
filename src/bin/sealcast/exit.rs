//! Exit statuses, and how each error of the library becomes one with hints.

use std::io;
use std::process::ExitCode;

use sealcast::archive;
use sealcast::edge::{self, tree};

use crate::report::Voice;

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
    /// A bug in sealcast.
    Bug = 70,
    /// The reader downstream went away.
    ClosedPipe = 141,
}

impl ExitStatus {
    /// Every status with its meaning, for the manual.
    #[cfg(test)]
    pub(crate) const TABLE: [(u8, &'static str); 10] = [
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
            "the sender is not verified: unsigned, another signer, or label, age or serial against policy",
        ),
        (
            6,
            "the transfer did not complete: no or lost sender, abort, deadline, a receiver missing",
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

    /// A failure of the system on `object`, silent when the reader of our output went away.
    pub(crate) fn io(object: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(ExitStatus::ClosedPipe, "");
        }
        Self::new(ExitStatus::Local, format!("{object}: {error}"))
    }
}

impl From<edge::Error> for Failure {
    fn from(error: edge::Error) -> Self {
        let message = error.to_string();
        match error {
            edge::Error::TerminalInput => Self::new(ExitStatus::Usage, message)
                .hint("this is a filter: pipe the data in, or redirect a file with `<`"),
            edge::Error::TerminalOutput => Self::new(ExitStatus::Usage, message)
                .hint("pipe it into the next filter, or redirect it into a file with `>`"),
            edge::Error::SameFile(_) => {
                Self::new(ExitStatus::Usage, message).hint("give the output another name")
            }
            edge::Error::Open { .. } | edge::Error::System { .. } => {
                Self::new(ExitStatus::Local, message)
            }
            edge::Error::Commit { .. } => Self::new(ExitStatus::Local, message)
                .hint("the file that was there before, if any, is untouched"),
        }
    }
}

impl From<archive::Error> for Failure {
    fn from(error: archive::Error) -> Self {
        let message = error.to_string();
        match error {
            archive::Error::Read(_) => Self::new(ExitStatus::Local, message),
            archive::Error::NotArchive(archive::Looks::Sealed) => {
                Self::new(ExitStatus::Data, message).hint("put `sealcast open` before this filter")
            }
            archive::Error::NotArchive(archive::Looks::Compressed(_)) => {
                Self::new(ExitStatus::Data, message).hint("decompress it before this filter")
            }
            archive::Error::Empty
            | archive::Error::Truncated { .. }
            | archive::Error::Totals(_) => Self::new(ExitStatus::Data, message)
                .hint("the filter before this one may have failed; the target is as it was"),
            archive::Error::Version(_) => {
                Self::new(ExitStatus::Data, message).hint("update this program")
            }
            archive::Error::NotArchive(archive::Looks::Unknown)
            | archive::Error::Trailing { .. }
            | archive::Error::Squeezed { .. }
            | archive::Error::Header { .. }
            | archive::Error::UnknownType { .. }
            | archive::Error::Name { .. } => Self::new(ExitStatus::Data, message),
        }
    }
}

impl From<tree::Error> for Failure {
    fn from(error: tree::Error) -> Self {
        let message = error.to_string();
        match error {
            tree::Error::Archive(e) => e.into(),
            tree::Error::Output(e) => Self::io("cannot write the archive", &e),
            tree::Error::System { source, .. } => {
                let failure = Self::new(ExitStatus::Local, message);
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        failure.hint("make room there; the target is as it was")
                    }
                    _ => failure,
                }
            }
            tree::Error::Entry { .. } => Self::new(ExitStatus::Data, message),
            tree::Error::Limit { .. } => Self::new(ExitStatus::Data, message)
                .hint("--max-entries and --max-bytes set the limits"),
            tree::Error::Attribute { .. } => Self::new(ExitStatus::Local, message)
                .hint("--no-xattrs leaves attributes, access lists and labels out"),
            tree::Error::Device { .. } => {
                Self::new(ExitStatus::Local, message).hint("--no-devices leaves device nodes out")
            }
            tree::Error::NotEmpty(_) => Self::new(ExitStatus::Usage, message)
                .hint("--replace removes what is there, --merge adds to it"),
            tree::Error::NotDirectory(_) | tree::Error::Argument { .. } => {
                Self::new(ExitStatus::Usage, message)
            }
            tree::Error::Busy(_) | tree::Error::Conflict { .. } | tree::Error::Strict(_) => {
                Self::new(ExitStatus::Local, message)
            }
        }
    }
}

/// Turns the outcome of a subcommand into the process's status and says what went wrong.
pub(crate) fn finish(result: Result<(), Failure>, voice: &Voice) -> ExitCode {
    let Err(failure) = result else {
        return ExitCode::SUCCESS;
    };
    if failure.status != ExitStatus::ClosedPipe {
        voice.error(&failure.message);
        for hint in &failure.hints {
            voice.hint(hint);
        }
    }
    ExitCode::from(failure.status as u8)
}

/// Prints help, the version or a complaint about the command line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Help that cannot be printed, say into a closed pipe, has no one to complain to.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(ExitStatus::Usage as u8)
    } else {
        ExitCode::SUCCESS
    }
}

/// A panic is a bug: say so, name the version, and leave with a status of its own.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        crate::report::line(&format!(
            "sealcast: bug: {info}\nsealcast: hint: please report this with the command line; \
             this is version {}\n",
            env!("CARGO_PKG_VERSION")
        ));
        std::process::exit(ExitStatus::Bug as i32);
    }));
}
