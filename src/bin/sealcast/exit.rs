//! Exit statuses, and how each error of the library becomes one with hints.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use sealcast::{edge, net, seal};

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
            edge::Error::KeyFileExists(_) => Self::new(ExitStatus::Local, message)
                .hint("give another name, or move the old key away yourself"),
            edge::Error::KeyFileTooLong(_) | edge::Error::KeyFileNotText(_) => {
                Self::new(ExitStatus::Usage, message)
            }
            edge::Error::Commit { .. } => Self::new(ExitStatus::Local, message)
                .hint("the file that was there before, if any, is untouched"),
        }
    }
}

impl From<net::Error> for Failure {
    fn from(error: net::Error) -> Self {
        let message = error.to_string();
        match error {
            net::Error::Group(_) => Self::new(ExitStatus::Usage, message)
                .hint("groups are 224.0.0.0 to 239.255.255.255"),
            net::Error::Interface { .. } => {
                Self::new(ExitStatus::Usage, message).hint("`ip link` lists the interfaces")
            }
            net::Error::NoRoute { .. } => Self::new(ExitStatus::Local, message)
                .hint("choose an interface with --interface; `ip link` lists them"),
            net::Error::PortInUse { .. } => Self::new(ExitStatus::Local, message)
                .hint("choose another --port on all sides, or stop that program"),
            net::Error::Mtu { .. } => {
                Self::new(ExitStatus::Usage, message).hint("choose a smaller --mtu on the sender")
            }
            net::Error::Socket { source, .. } | net::Error::Input(source) => {
                Self::new(ExitStatus::Local, message).or_closed_pipe(&source)
            }
            net::Error::Output(source) => Self::new(ExitStatus::Local, message)
                .or_closed_pipe(&source)
                .hint("what was written so far is not the whole stream"),
            net::Error::Producer(_) => Self::new(ExitStatus::Transfer, message)
                .hint("all receivers were told that the stream is not complete"),
            net::Error::Edge(error) => error.into(),
            net::Error::Interrupted(signal) => {
                edge::interrupt::die_of(signal);
                Self::new(ExitStatus::Local, message)
            }
        }
    }
}

impl Failure {
    /// A key on the command line that cannot be used; the text itself may be a secret, so that only
    /// its beginning is shown.
    pub(crate) fn key_text(text: &str, error: &seal::Error) -> Self {
        let start: String = text.chars().take(12).collect();
        Self::new(ExitStatus::Usage, format!("`{start}…`: {error}"))
    }

    /// A key file that cannot be used.
    pub(crate) fn key_file(path: &Path, error: &seal::Error) -> Self {
        Self::new(ExitStatus::Usage, format!("{}: {error}", path.display()))
    }
}

impl From<seal::Error> for Failure {
    fn from(error: seal::Error) -> Self {
        use seal::Error as E;
        let message = error.to_string();
        let data = |message| Self::new(ExitStatus::Data, message);
        match error {
            E::Read(e) => Self::io("cannot read standard input", &e),
            E::Write(e) => Self::io("cannot write the output", &e),
            E::System(e) => Self::io("cannot go on working", &e),
            E::NotAge => data(message).hint("is this what `sealcast seal` wrote?"),
            E::Armored => data(message).hint("armor is for text; decode it with age(1) first"),
            E::HeaderTooLong { .. } => {
                data(message).hint("if it is meant to have that many recipients, use --max-header")
            }
            E::Truncated { .. } => {
                data(message).hint("the transfer or the sender was cut off; get the stream again")
            }
            E::Header { .. }
            | E::HeaderForged
            | E::Chunk { .. }
            | E::EmptyChunk { .. }
            | E::Trailing { .. }
            | E::Preamble { .. }
            | E::Segment { .. } => data(message),
            E::NoIdentity { .. } => Self::new(ExitStatus::NoIdentity, message)
                .hint("`sealcast keygen -y` shows which recipients your identities are"),
            E::Passphrase => Self::new(ExitStatus::NoIdentity, message).hint("age(1) opens it"),
            E::Unsigned => Self::new(ExitStatus::Sender, message)
                .hint("if you do not mind who made it, use --unsigned in place of --from"),
            E::Signed => Self::new(ExitStatus::Sender, message)
                .hint("name its sender with --from, so that the signature is checked"),
            E::UnknownSender { .. } => Self::new(ExitStatus::Sender, message)
                .hint("if you trust that key, add its public half to --from"),
            E::Label { .. } | E::Stale { .. } | E::Serial { .. } => {
                Self::new(ExitStatus::Sender, message)
            }
            E::Future { .. } => {
                Self::new(ExitStatus::Sender, message).hint("check the clocks of both machines")
            }
            E::Ambiguous => data(message).hint("sign it with -s"),
            E::LabelTooLong { .. } | E::Key(_) | E::KeyLine { .. } => {
                Self::new(ExitStatus::Usage, message)
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
