//! What can go wrong between the process and its surroundings.

use std::io;
use std::path::PathBuf;

/// Something that others than root and the user can change.
#[derive(Debug)]
pub struct Changeable {
    /// The file, directory or link.
    pub object: PathBuf,
    /// Whose it is: a name, or a number without one.
    pub owner: String,
    /// Its permissions.
    pub mode: u32,
    /// Whether it is changeable for its owner, who is neither, rather than for its mode.
    pub foreign: bool,
}

/// An edge that could not be opened or closed.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Error {
    /// Data would be read from a terminal.
    #[error("standard input is a terminal")]
    TerminalInput,
    /// Binary data would be written to a terminal.
    #[error("standard output is a terminal, and the output is binary")]
    TerminalOutput,
    /// Standard input cannot be the data and a key file at once.
    #[error("{} is standard input, which has the data", .0.display())]
    StdinTwice(PathBuf),
    /// Reading and writing the same file would destroy it.
    #[error("the output would overwrite {}, which is an input", .0.display())]
    SameFile(PathBuf),
    /// A file or standard stream could not be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// Others than root and the user can change a file that decides what is trusted.
    #[error("{} cannot be trusted: others can change {} (owner {}, mode {:04o})",
        path.display(), changeable.object.display(), changeable.owner, changeable.mode)]
    Changeable {
        /// The file, as it was named.
        path: PathBuf,
        /// What they can change: it, or something on the way to it.
        changeable: Changeable,
    },
    /// A new file could not be made.
    #[error("cannot make a file in {}: {source}", dir.display())]
    Create {
        /// The directory.
        dir: PathBuf,
        /// Why it could not.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it could not.
        source: io::Error,
    },
    /// A finished output could not be put in its place.
    #[error("cannot finish {}: {source}", path.display())]
    Commit {
        /// The place.
        path: PathBuf,
        /// Why it could not.
        source: io::Error,
    },
    /// A key file would be overwritten.
    #[error("{} is there already, and a key file is never overwritten", .0.display())]
    KeyFileExists(PathBuf),
    /// A key file has more bytes than any key file should.
    #[error("{} is too long for a key file", .0.display())]
    KeyFileTooLong(PathBuf),
    /// A key file is not text.
    #[error("{} is not a key file: it is not utf-8 text", .0.display())]
    KeyFileNotText(PathBuf),
    /// A service of the system failed.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// There is no terminal to ask on.
    #[error("cannot ask for a passphrase: there is no terminal ({0})")]
    NoTerminal(#[source] io::Error),
    /// A passphrase is no text.
    #[error("the passphrase in {} is not utf-8 text", .0.display())]
    PassphraseNotText(PathBuf),
    /// A passphrase is too long to be one.
    #[error("the passphrase has more than 4096 bytes")]
    PassphraseTooLong,
}
