//! The sealed stream: an age v1 file outside, a sender's signatures inside.
//!
//! The age layer is [`header`], [`Recipient`], [`Identity`] and [`stream`]; it stands on its own.
//! [`signed`] puts signatures into what the age layer encrypts, and [`sealer`] and [`opener`] join
//! both. Work comes in batches of 16 chunks, so that the caller can spread it over threads: cut
//! batches off the input in turn, work on them anywhere, write them in turn.
//!
//! Nothing here knows of files, clocks or randomness: seeds and times are arguments.

pub mod armor;
pub mod cut;
mod error;
pub mod header;
mod identity;
pub mod opener;
pub mod passphrase;
mod recipient;
pub mod sealer;
mod sender;
pub mod signed;
mod ssh;
pub mod stream;
mod text;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, IoSliceMut, Read};

use crate::crypt::sign::VerifyingKey;

pub use error::Error;
pub use header::{FileKey, Header};
pub use identity::{Identity, Ring, check};
pub use passphrase::Passphrase;
pub use recipient::{Recipient, check_mix, parse_recipients};
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

/// A public key in a list, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<K> {
    /// The key.
    pub key: K,
    /// What stands beside it: a comment or the names of a host; often nothing.
    pub name: String,
}

/// The keys of a file with a list of them.
#[derive(Clone, Debug)]
pub struct List<K> {
    /// Those that can be used, in their order, without those that the file says are revoked.
    pub keys: Vec<Named<K>>,
    /// How many lines with ssh keys cannot be used: revoked, of another type, or an authority.
    pub passed_over: usize,
}

/// What one line of a list holds.
enum Entry<K> {
    Key(Named<K>),
    Revoked(K),
    PassedOver,
}

/// Reads a list of keys; `parse` reads a line.
fn parse_list<K: Display>(
    text: &str,
    parse: impl Fn(&str) -> Result<Entry<K>, Error>,
) -> Result<List<K>, Error> {
    let (mut keys, mut revoked, mut passed_over) = (Vec::new(), BTreeSet::new(), 0);
    for (line, text) in key_lines(text) {
        match parse(text).map_err(|e| e.at_line(line))? {
            Entry::Key(key) => keys.push(key),
            Entry::Revoked(key) => {
                revoked.insert(key.to_string());
                passed_over += 1;
            }
            Entry::PassedOver => passed_over += 1,
        }
    }
    let listed = keys.len();
    if !revoked.is_empty() {
        keys.retain(|named: &Named<K>| !revoked.contains(&named.key.to_string()));
    }
    passed_over += listed - keys.len();
    Ok(List { keys, passed_over })
}

/// What a line with an ssh key holds, as a key of the kind that `wrap` makes of it.
fn ssh_entry<K>(line: &ssh::Line<'_>, wrap: impl Fn(VerifyingKey) -> K) -> Entry<K> {
    match *line {
        ssh::Line::Key(key, name) => Entry::Key(Named {
            key: wrap(key),
            name: name.to_string(),
        }),
        ssh::Line::Revoked(key) => Entry::Revoked(wrap(key)),
        ssh::Line::Skipped => Entry::PassedOver,
    }
}

/// Splits a line into its first word and the comment behind it.
fn word_and_comment(line: &str) -> (&str, &str) {
    let (word, comment) = line
        .split_once(|c: char| c.is_ascii_whitespace())
        .unwrap_or((line, ""));
    (
        word,
        comment
            .trim_ascii()
            .trim_start_matches('#')
            .trim_ascii_start(),
    )
}

/// The lines of a key file that are neither blank nor a comment, with their numbers.
fn key_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().zip(1..);
    lines
        .map(|(text, line)| (line, text.trim_ascii()))
        .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
}

/// One read that is not disturbed by signals.
fn read_some(input: &mut impl Read, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, Error> {
    loop {
        match input.read_vectored(bufs) {
            Ok(got) => return Ok(got),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(read_failed(e)),
        }
    }
}

/// The input failed, or its armor is malformed.
fn read_failed(error: io::Error) -> Error {
    let malformed = error.get_ref().and_then(|e| e.downcast_ref());
    match malformed {
        Some(malformed) => Error::Armor(*malformed),
        None => Error::Read(error),
    }
}

/// Reads until `buf` is full or the input ends; returns how much there is.
fn read_full(input: &mut impl Read, buf: &mut [u8]) -> Result<usize, Error> {
    let mut len = 0;
    while len < buf.len() {
        match read_some(input, &mut [IoSliceMut::new(&mut buf[len..])])? {
            0 => break,
            got => len += got,
        }
    }
    Ok(len)
}
