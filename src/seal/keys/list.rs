//! Lists of public keys: a key a line, with names, comments and marks.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::ssh;
use crate::crypt::sign::VerifyingKey;
use crate::seal::Error;

impl Error {
    /// The same complaint about a key, with the line where it stands.
    pub(super) fn with_line(self, line: usize) -> Self {
        match self {
            Self::Key(what) | Self::NotKey(what) => Self::KeyLine { line, what },
            other => other,
        }
    }

    /// The same complaint about a key without its line, where there is only one.
    #[must_use]
    pub fn without_line(self) -> Self {
        match self {
            Self::KeyLine { what, .. } => Self::Key(what),
            other => other,
        }
    }
}

/// A public key in a list, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey<K> {
    /// The key.
    pub key: K,
    /// What stands beside it: a comment or the names of a host; often nothing.
    pub name: String,
}

/// The keys of a file with a list of them.
#[derive(Clone, Debug)]
pub struct KeyList<K> {
    /// Those that can be used, in their order, without those that the list says are revoked.
    pub keys: Vec<NamedKey<K>>,
    /// Those that are revoked, as text.
    pub revoked: BTreeSet<String>,
    /// How many lines cannot be used: of other types, authorities, and all about revoked keys.
    pub ignored: usize,
}

impl<K: Display> KeyList<K> {
    /// All that is in several lists. What one of them says is revoked counts in none.
    pub fn join(lists: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self {
            keys: Vec::new(),
            revoked: BTreeSet::new(),
            ignored: 0,
        };
        for list in lists {
            all.keys.extend(list.keys);
            all.revoked.extend(list.revoked);
            all.ignored += list.ignored;
        }
        let listed = all.keys.len();
        if !all.revoked.is_empty() {
            all.keys
                .retain(|named| !all.revoked.contains(&named.key.to_string()));
        }
        all.ignored += listed - all.keys.len();
        all
    }

    /// Refuses a list without any key.
    pub(super) fn require_nonempty(self, none: &'static str) -> Result<Self, Error> {
        if !self.keys.is_empty() || !self.revoked.is_empty() {
            return Ok(self);
        }
        Err(Error::Key(match self.ignored {
            0 => none,
            _ => "no key in the file can be used: an ssh key must be of type ed25519",
        }))
    }
}

/// What one line of a list holds.
pub(super) enum ListEntry<K> {
    Key(NamedKey<K>),
    Revoked(K),
    Ignored,
}

/// Reads a list of keys; `parse` reads a line without a mark.
pub(super) fn parse_list<K: Display>(
    text: &str,
    parse: impl Fn(&str) -> Result<ListEntry<K>, Error>,
) -> Result<KeyList<K>, Error> {
    let (mut keys, mut revoked, mut ignored) = (Vec::new(), BTreeSet::new(), 0);
    for (line, text) in key_lines(text) {
        match parse_entry(text, &parse).map_err(|e| e.with_line(line))? {
            ListEntry::Key(key) => keys.push(key),
            ListEntry::Revoked(key) => {
                revoked.insert(key.to_string());
                ignored += 1;
            }
            ListEntry::Ignored => ignored += 1,
        }
    }
    Ok(KeyList::join([KeyList {
        keys,
        revoked,
        ignored,
    }]))
}

/// Reads a line that must hold a key.
pub(super) fn parse_one<K>(
    text: &str,
    parse: impl Fn(&str) -> Result<ListEntry<K>, Error>,
) -> Result<K, Error> {
    match parse_entry(text, parse)? {
        ListEntry::Key(named) => Ok(named.key),
        ListEntry::Revoked(_) | ListEntry::Ignored => Err(Error::Key(
            "an ssh key of a type other than ssh-ed25519, or a revoked one",
        )),
    }
}

/// Reads a line that may begin with a mark, as those of known_hosts. One that is not known might
/// have meant a key to be revoked.
pub(super) fn parse_entry<K>(
    text: &str,
    parse: impl Fn(&str) -> Result<ListEntry<K>, Error>,
) -> Result<ListEntry<K>, Error> {
    if !text.starts_with('@') {
        return parse(text);
    }
    let (mark, rest) = text
        .split_once(|c: char| c.is_ascii_whitespace())
        .unwrap_or((text, ""));
    let rest = rest.trim_ascii_start();
    match mark {
        "@cert-authority" => return Ok(ListEntry::Ignored),
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
        ListEntry::Key(named) => ListEntry::Revoked(named.key),
        other => other,
    })
}

/// What a line with an ssh key holds, as a key of the kind that `wrap` makes of it.
pub(super) fn ssh_entry<K>(line: &ssh::Line<'_>, wrap: impl Fn(VerifyingKey) -> K) -> ListEntry<K> {
    match *line {
        ssh::Line::Key(key, name) => ListEntry::Key(NamedKey {
            key: wrap(key),
            name: name.to_string(),
        }),
        ssh::Line::Skipped => ListEntry::Ignored,
    }
}

/// Splits a line into its first word and the comment behind it.
pub(super) fn word_and_comment(line: &str) -> (&str, &str) {
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
pub(super) fn key_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().zip(1..);
    lines
        .map(|(text, line)| (line, text.trim_ascii()))
        .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
}
