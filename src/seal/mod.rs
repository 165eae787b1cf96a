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
mod inventory;
pub mod opener;
pub mod passphrase;
mod recipient;
pub mod sealer;
mod sender;
pub mod signed;
mod ssh;
mod stanza;
pub mod stream;
mod text;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, IoSliceMut, Read};

use crate::crypt::sign::VerifyingKey;

pub use error::Error;
pub use header::{FileKey, Header};
pub use identity::{Identity, Ring, check};
pub use inventory::{Found, inventory};
pub use passphrase::Passphrase;
pub use recipient::{Recipient, check_mix, parse_recipients};
pub use sender::{Sender, parse_senders, parse_signing_key, signing_key_line};

impl Error {
    /// The same complaint about a key, with the line where it stands.
    fn at_line(self, line: usize) -> Self {
        match self {
            Self::Key(what) | Self::NotKey(what) => Self::KeyLine { line, what },
            other => other,
        }
    }

    /// The same complaint about a key without its line, where there is only one.
    #[must_use]
    pub fn one(self) -> Self {
        match self {
            Self::KeyLine { what, .. } => Self::Key(what),
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
    /// Those that can be used, in their order, without those that the list says are revoked.
    pub keys: Vec<Named<K>>,
    /// Those that are revoked, as text.
    pub revoked: BTreeSet<String>,
    /// How many lines cannot be used: of other types, authorities, and all about revoked keys.
    pub passed_over: usize,
}

impl<K: Display> List<K> {
    /// All that is in several lists. What one of them says is revoked counts in none.
    pub fn join(lists: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self {
            keys: Vec::new(),
            revoked: BTreeSet::new(),
            passed_over: 0,
        };
        for list in lists {
            all.keys.extend(list.keys);
            all.revoked.extend(list.revoked);
            all.passed_over += list.passed_over;
        }
        let listed = all.keys.len();
        if !all.revoked.is_empty() {
            all.keys
                .retain(|named| !all.revoked.contains(&named.key.to_string()));
        }
        all.passed_over += listed - all.keys.len();
        all
    }

    /// Refuses a list without any key.
    fn some(self, none: &'static str) -> Result<Self, Error> {
        if !self.keys.is_empty() || !self.revoked.is_empty() {
            return Ok(self);
        }
        Err(Error::Key(match self.passed_over {
            0 => none,
            _ => "no key in the file can be used: an ssh key must be of type ed25519",
        }))
    }
}

/// What one line of a list holds.
enum Entry<K> {
    Key(Named<K>),
    Revoked(K),
    PassedOver,
}

/// Reads a list of keys; `parse` reads a line without a mark.
fn parse_list<K: Display>(
    text: &str,
    parse: impl Fn(&str) -> Result<Entry<K>, Error>,
) -> Result<List<K>, Error> {
    let (mut keys, mut revoked, mut passed_over) = (Vec::new(), BTreeSet::new(), 0);
    for (line, text) in key_lines(text) {
        match parse_entry(text, &parse).map_err(|e| e.at_line(line))? {
            Entry::Key(key) => keys.push(key),
            Entry::Revoked(key) => {
                revoked.insert(key.to_string());
                passed_over += 1;
            }
            Entry::PassedOver => passed_over += 1,
        }
    }
    Ok(List::join([List {
        keys,
        revoked,
        passed_over,
    }]))
}

/// Reads a line that may begin with a mark, as those of known_hosts. One that is not known might
/// have meant a key to be revoked.
fn parse_entry<K>(
    text: &str,
    parse: impl Fn(&str) -> Result<Entry<K>, Error>,
) -> Result<Entry<K>, Error> {
    if !text.starts_with('@') {
        return parse(text);
    }
    let (mark, rest) = text
        .split_once(|c: char| c.is_ascii_whitespace())
        .unwrap_or((text, ""));
    let rest = rest.trim_ascii_start();
    match mark {
        "@cert-authority" => return Ok(Entry::PassedOver),
        "@revoked" => {}
        _ => return Err(Error::Key("a mark other than @revoked and @cert-authority")),
    }
    // Names may stand before a key of any kind.
    let parsed =
        parse(rest).or_else(
            |e| match rest.split_once(|c: char| c.is_ascii_whitespace()) {
                Some((_, key)) => parse(key.trim_ascii_start()).map_err(|_| e),
                None => Err(e),
            },
        )?;
    Ok(match parsed {
        Entry::Key(named) => Entry::Revoked(named.key),
        other => other,
    })
}

/// What a line with an ssh key holds, as a key of the kind that `wrap` makes of it.
fn ssh_entry<K>(line: &ssh::Line<'_>, wrap: impl Fn(VerifyingKey) -> K) -> Entry<K> {
    match *line {
        ssh::Line::Key(key, name) => Entry::Key(Named {
            key: wrap(key),
            name: name.to_string(),
        }),
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
