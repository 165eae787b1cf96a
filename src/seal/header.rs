//! The header of an age file: stanzas, each with the file key for one recipient, and a MAC.

use std::io::{IoSliceMut, Read};
use std::ops::Range;

use crate::crypt::secret::Secret;
use crate::crypt::{hash, kdf};

use super::Error;
use super::input::read_some;
use super::text::{base64, is_base64, unbase64};

/// The secret that every recipient gets, and that all other keys of a stream derive from.
pub type FileKey = Secret<16>;

/// The greatest header that is read unless the caller allows another.
pub const HEADER_BYTES_MAX: usize = 2 << 20;

const VERSION: &[u8] = b"age-encryption.org/v1";
/// No header is longer, whatever the caller allows.
const LONGEST: usize = 1 << 30;
const COLUMNS: usize = 64;
const READ_BYTES: usize = 16 << 10;

/// A header as it was received: checked against the grammar, not yet against the MAC.
#[derive(Debug)]
pub struct Header {
    bytes: Vec<u8>,
    stanzas: Vec<Span>,
    /// Where the MAC's coverage ends: after `---`.
    mac_at: usize,
    mac: [u8; 32],
}

/// A stanza's place in the header: a header can have very many, and is shorter than 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    /// Where its first line ends; the body follows the line end.
    line_end: u32,
    body_end: u32,
}

impl Span {
    const fn line(self) -> Range<usize> {
        self.start as usize..self.line_end as usize
    }

    const fn body(self) -> Range<usize> {
        self.line_end as usize + 1..self.body_end as usize
    }
}

/// A place in a header, which is never beyond the greatest header.
fn short(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// One stanza: who it is for, and the file key wrapped for them.
#[derive(Clone, Copy, Debug)]
pub struct Stanza<'a> {
    /// Where it begins in the header.
    pub offset: usize,
    line: &'a str,
    body: &'a [u8],
}

impl<'a> Stanza<'a> {
    /// Its type.
    pub fn kind(&self) -> &'a str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// Its arguments after the type, when there are exactly `N`.
    pub fn args<const N: usize>(&self) -> Option<[&'a str; N]> {
        let mut args = self.line.split(' ').skip(1);
        let found = [(); N].map(|()| args.next());
        if args.next().is_some() || found.contains(&None) {
            return None;
        }
        Some(found.map(Option::unwrap_or_default))
    }

    /// Its body when that is exactly `N` bytes, at most the 48 of one line.
    pub fn body<const N: usize>(&self) -> Option<[u8; N]> {
        unbase64(self.body.strip_suffix(b"\n")?)
    }

    /// An error that blames this stanza.
    pub(crate) fn wrong(&self, what: &'static str) -> Error {
        Error::Header {
            offset: self.offset,
            what,
        }
    }
}

impl Header {
    /// Reads a header of at most `max` bytes, or 1 GiB. Returns what was read beyond it, too.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::NotAge`], [`Error::HeaderTooLong`], [`Error::Header`],
    /// [`Error::Truncated`] and [`Error::Read`].
    pub fn read(input: &mut impl Read, max: usize) -> Result<(Self, Vec<u8>), Error> {
        let max = max.min(LONGEST);
        let mut parser = Parser::default();
        let mut bytes = Vec::new();
        let mut searched = 0;
        loop {
            while let Some(found) = bytes[searched..].iter().position(|b| *b == b'\n') {
                let end = searched + found;
                if end >= max {
                    return Err(Error::HeaderTooLong { max });
                }
                searched = end + 1;
                if let Some(mac) = parser.line(&bytes, end)? {
                    let rest = bytes.split_off(end + 1);
                    let header = Self {
                        mac_at: parser.line_at_last() + 3,
                        bytes,
                        stanzas: parser.stanzas,
                        mac,
                    };
                    return Ok((header, rest));
                }
            }
            searched = bytes.len();
            parser.check_start(&bytes)?;
            if bytes.len() >= max {
                return Err(Error::HeaderTooLong { max });
            }
            let len = bytes.len();
            bytes.resize(len + READ_BYTES, 0);
            let got = read_some(input, &mut [IoSliceMut::new(&mut bytes[len..])])?;
            bytes.truncate(len + got);
            if got == 0 {
                let offset = u64::try_from(len).unwrap_or(u64::MAX);
                return Err(match len {
                    0 => Error::Empty,
                    _ => Error::Truncated { offset },
                });
            }
        }
    }

    /// Makes a header of stanzas that [`super::Recipient::wrap`] made.
    pub fn emit(stanzas: &[String], file_key: &FileKey) -> Vec<u8> {
        let mut bytes = VERSION.to_vec();
        bytes.push(b'\n');
        for stanza in stanzas {
            bytes.extend_from_slice(stanza.as_bytes());
        }
        bytes.extend_from_slice(b"---");
        let mac = hash::mac(&mac_key(file_key), &bytes);
        bytes.extend_from_slice(format!(" {}\n", base64(&mac)).as_bytes());
        bytes
    }

    /// The header's bytes, from the version line to the end of the MAC line.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many stanzas there are.
    pub fn len(&self) -> usize {
        self.stanzas.len()
    }

    /// Whether there are none; no header that was read is empty.
    pub fn is_empty(&self) -> bool {
        self.stanzas.is_empty()
    }

    /// The stanzas with the given numbers, as far as there are such.
    pub fn stanzas(&self, range: Range<usize>) -> impl Iterator<Item = Stanza<'_>> {
        let spans = self.stanzas.iter().take(range.end).skip(range.start);
        spans.map(|span| Stanza {
            offset: span.line().start,
            // The grammar allows visible ASCII only.
            line: std::str::from_utf8(&self.bytes[span.line()][3..]).unwrap_or_default(),
            body: &self.bytes[span.body()],
        })
    }

    /// Checks that the holder of the file key wrote this header.
    ///
    /// # Errors
    /// [`Error::HeaderForged`].
    pub fn verify(&self, file_key: &FileKey) -> Result<(), Error> {
        hash::verify_mac(&mac_key(file_key), &self.bytes[..self.mac_at], &self.mac)
            .map_err(|_| Error::HeaderForged)
    }
}

fn mac_key(file_key: &FileKey) -> crate::crypt::aead::Key {
    kdf::derive(file_key.expose(), b"", b"header")
}

/// Takes a header line by line.
#[derive(Default)]
struct Parser {
    stanzas: Vec<Span>,
    /// Where the line to come begins, and the one before it began.
    line_at: usize,
    last_at: usize,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Version,
    Stanza,
    Body,
}

impl Parser {
    fn line_at_last(&self) -> usize {
        self.last_at
    }

    /// Tells a foreign input from its first bytes, before a line of it is complete.
    fn check_start(&self, bytes: &[u8]) -> Result<(), Error> {
        if self.state != State::Version {
            return Ok(());
        }
        let common = bytes.len().min(VERSION.len());
        if bytes[..common] == VERSION[..common] && bytes.len() <= VERSION.len() {
            return Ok(());
        }
        Err(Error::NotAge)
    }

    /// Takes the line that ends before `end`; returns the MAC when it was the last one.
    fn line(&mut self, bytes: &[u8], end: usize) -> Result<Option<[u8; 32]>, Error> {
        let start = self.line_at;
        let line = &bytes[start..end];
        self.last_at = start;
        self.line_at = end + 1;
        let wrong = |what| Error::Header {
            offset: start,
            what,
        };
        match self.state {
            State::Version => {
                if line != VERSION {
                    return Err(Error::NotAge);
                }
                self.state = State::Stanza;
            }
            State::Stanza => {
                if let Some(args) = line.strip_prefix(b"-> ") {
                    check_args(args).map_err(wrong)?;
                    self.stanzas.push(Span {
                        start: short(start),
                        line_end: short(end),
                        body_end: short(end + 1),
                    });
                    self.state = State::Body;
                } else if line.starts_with(b"---") {
                    let mac = line
                        .strip_prefix(b"--- ")
                        .and_then(unbase64)
                        .ok_or_else(|| wrong("the mac is not 32 bytes of canonical base64"))?;
                    if self.stanzas.is_empty() {
                        return Err(wrong("there is no stanza"));
                    }
                    return Ok(Some(mac));
                } else {
                    return Err(wrong("neither a stanza nor the mac"));
                }
            }
            State::Body => {
                if !is_base64(line) {
                    return Err(wrong(
                        "a stanza's body is not canonical base64 in lines of 64 columns",
                    ));
                }
                if let Some(stanza) = self.stanzas.last_mut() {
                    stanza.body_end = short(end + 1);
                }
                if line.len() < COLUMNS {
                    self.state = State::Stanza;
                }
            }
        }
        Ok(None)
    }
}

fn check_args(args: &[u8]) -> Result<(), &'static str> {
    for arg in args.split(|b| *b == b' ') {
        if arg.is_empty() {
            return Err("a stanza has an empty argument");
        }
        if !arg.iter().all(u8::is_ascii_graphic) {
            return Err("a stanza's argument has a character that is not visible ascii");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<(Header, Vec<u8>), Error> {
        Header::read(&mut &*bytes, HEADER_BYTES_MAX)
    }

    fn made() -> Vec<u8> {
        let stanzas = [
            "-> X25519 abc def\nAAAA\n".to_string(),
            format!("-> some !~ thing\n{}\n\n", "A".repeat(64)),
        ];
        Header::emit(&stanzas, &FileKey::new([1; 16]))
    }

    #[test]
    fn what_is_emitted_is_read() {
        let mut bytes = made();
        bytes.extend_from_slice(b"payload\n");
        let (header, rest) = read(&bytes).unwrap();
        assert_eq!(rest, b"payload\n");
        assert_eq!(header.bytes(), made());
        let stanzas: Vec<_> = header.stanzas(0..9).collect();
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0].kind(), "X25519");
        assert_eq!(stanzas[0].args(), Some(["abc", "def"]));
        assert_eq!(stanzas[0].args::<1>(), None);
        assert_eq!(stanzas[0].args::<3>(), None);
        assert_eq!(stanzas[0].body(), Some([0; 3]));
        assert_eq!(stanzas[1].body::<48>(), None, "a body of two lines");
        header.verify(&FileKey::new([1; 16])).unwrap();
        assert!(header.verify(&FileKey::new([2; 16])).is_err());
    }

    #[test]
    fn every_flip_is_noticed() {
        let bytes = made();
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[i] ^= 1 << bit;
                let result = read(&bad).and_then(|(h, rest)| {
                    assert!(rest.is_empty());
                    h.verify(&FileKey::new([1; 16]))
                });
                assert!(result.is_err(), "bit {bit} of byte {i}");
            }
        }
    }

    #[test]
    fn every_truncation_is_noticed() {
        let bytes = made();
        assert!(matches!(read(b""), Err(Error::Empty)));
        for len in 1..bytes.len() {
            assert!(
                matches!(
                    read(&bytes[..len]),
                    Err(Error::Truncated { offset }) if offset == len as u64
                ),
                "{len}"
            );
        }
    }

    #[test]
    fn the_grammar_is_strict() {
        let mac = "A".repeat(43);
        let check = |body: &str, wanted: bool| {
            let text = format!("age-encryption.org/v1\n{body}");
            assert_eq!(read(text.as_bytes()).is_ok(), wanted, "{body:?}");
        };
        check(&format!("-> a\n\n--- {mac}\n"), true);
        check(&format!("-> a b\nAAAA\n--- {mac}\n"), true);
        check(&format!("--- {mac}\n"), false);
        check(&format!("-> a\n--- {mac}\n"), false);
        check(&format!("-> \n\n--- {mac}\n"), false);
        check(&format!("->a\n\n--- {mac}\n"), false);
        check(&format!("-> a  b\n\n--- {mac}\n"), false);
        check(&format!("-> a \n\n--- {mac}\n"), false);
        check(&format!("-> \u{e9}\n\n--- {mac}\n"), false);
        check(&format!("-> a\r\n\r\n--- {mac}\r\n"), false);
        check(&format!("-> a\nAAAA=\n--- {mac}\n"), false);
        check(&format!("-> a\nAB\n--- {mac}\n"), false);
        check(&format!("-> a\nAAAA\nAAAA\n--- {mac}\n"), false);
        check(&format!("-> a\n{}\n--- {mac}\n", "A".repeat(64)), false);
        check(&format!("-> a\n{}\n--- {mac}\n", "A".repeat(68)), false);
        check(&format!("-> a\n\n---  {mac}\n"), false);
        check(&format!("-> a\n\n--- {mac} \n"), false);
        check(&format!("-> a\n\n--- {mac}=\n"), false);
        check("-> a\n\n---\n", false);
        check(&format!("-> a\n\n--- {}B\n", "A".repeat(42)), false);
    }

    #[test]
    fn foreign_input_is_refused_at_its_first_bytes() {
        /// A source that gives a start and must not be asked for more.
        struct Start(&'static [u8]);
        impl Read for Start {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                assert!(!self.0.is_empty(), "read on after foreign bytes");
                let len = self.0.len();
                buf[..len].copy_from_slice(self.0);
                self.0 = b"";
                Ok(len)
            }
        }
        let foreign = |start| Header::read(&mut Start(start), HEADER_BYTES_MAX).unwrap_err();
        assert!(matches!(foreign(b"\x28\xb5"), Error::NotAge));
        assert!(matches!(foreign(b"age-encryption.org/v2\n"), Error::NotAge));
        assert!(matches!(foreign(b"age-encryption.org/v12"), Error::NotAge));
    }

    #[test]
    fn the_cap_holds_for_lines_and_stanzas() {
        let endless = |start: &str, filler: &str| {
            let text = format!("{start}{}", filler.repeat(5000));
            Header::read(&mut text.as_bytes(), 8192).unwrap_err()
        };
        let version = "age-encryption.org/v1\n";
        assert!(matches!(
            endless(version, "-> a\n\n"),
            Error::HeaderTooLong { max: 8192 }
        ));
        assert!(matches!(
            endless(&format!("{version}-> "), "abcd"),
            Error::HeaderTooLong { max: 8192 }
        ));
        let whole = made();
        assert!(Header::read(&mut &*whole, whole.len()).is_ok());
        assert!(Header::read(&mut &*whole, whole.len() - 1).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(tail: Vec<u8>) {
            let mut bytes = b"age-encryption.org/v1\n".to_vec();
            bytes.extend(tail);
            let _ = read(&bytes);
        }

        #[test]
        fn any_stanzas_come_back(
            stanzas in prop::collection::vec(
                ("[!-~]{1,20}", "[!-~]{1,70}", any::<[u8; 32]>()),
                1..9,
            ),
        ) {
            let texts: Vec<_> = stanzas
                .iter()
                .map(|(kind, arg, body)| format!("-> {kind} {arg}\n{}\n", base64(body)))
                .collect();
            let bytes = Header::emit(&texts, &FileKey::new([9; 16]));
            let (header, rest) = read(&bytes).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(header.len(), stanzas.len());
            for (found, (kind, arg, body)) in header.stanzas(0..9).zip(&stanzas) {
                prop_assert_eq!(found.kind(), kind);
                prop_assert_eq!(found.args(), Some([arg.as_str()]));
                prop_assert_eq!(found.body(), Some(*body));
            }
            header.verify(&FileKey::new([9; 16])).unwrap();
        }
    }
}
