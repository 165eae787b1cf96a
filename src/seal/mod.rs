//! The sealed stream: an age v1 file outside, a sender's signatures inside.
//!
//! The age layer is [`header`], [`Recipient`], [`Identity`] and [`stream`]; it stands on its own.
//! [`signed`] puts signatures into what the age layer encrypts, and [`sealer`] and [`opener`] join
//! both. Work comes in batches of 16 chunks, so that the caller can spread it over threads: cut
//! batches off the input in turn, work on them anywhere, write them in turn.
//!
//! Nothing here knows of files, clocks or randomness: seeds and times are arguments.

mod error;
pub mod header;
mod identity;
pub mod opener;
mod recipient;
pub mod sealer;
mod sender;
pub mod signed;
mod ssh;
pub mod stream;
mod text;

use std::io::{self, Read};

pub use error::Error;
pub use header::{FileKey, Header};
pub use identity::{Identity, Ring, check};
pub use recipient::{Recipient, parse_recipients};
pub use sender::{Sender, parse_senders, parse_signing_key, signing_key_line};

impl Error {
    /// The same complaint about a key, with the line where it stands.
    fn at_line(self, line: usize) -> Self {
        match self {
            Self::Key(what) => Self::KeyLine { line, what },
            other => other,
        }
    }
}

/// The lines of a key file that are neither blank nor a comment, with their numbers.
fn key_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().zip(1..);
    lines
        .map(|(text, line)| (line, text.trim_ascii()))
        .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
}

/// One read that is not disturbed by signals.
fn read_some(input: &mut impl Read, buf: &mut [u8]) -> Result<usize, Error> {
    loop {
        match input.read(buf) {
            Ok(got) => return Ok(got),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::Read(e)),
        }
    }
}

/// Reads until `buf` is full or the input ends; returns how much there is.
fn read_full(input: &mut impl Read, buf: &mut [u8]) -> Result<usize, Error> {
    let mut len = 0;
    while len < buf.len() {
        match read_some(input, &mut buf[len..])? {
            0 => break,
            got => len += got,
        }
    }
    Ok(len)
}
