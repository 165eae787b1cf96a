//! Armor: an age file as text (RFC 7468, strict form, under the label `AGE ENCRYPTED FILE`).
//!
//! Nothing but white space may stand before and after it, lines end in LF or CRLF, all but the last
//! have 64 columns, and base64 is canonical: a file has one armor, give or take the line ends.

use std::io::{self, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const END: &[u8] = b"-----END AGE ENCRYPTED FILE-----";
const COLUMNS: usize = 64;
/// Bytes that a full line stands for.
const LINE_BYTES: usize = 48;
const READ_BYTES: usize = 32 << 10;
/// No line is longer: the first has 34 columns, all others at most 64; and there is the line end.
const LINE_MAX: usize = COLUMNS + 2;

/// What is wrong with an armor; the cause of errors of kind `InvalidData` of a [`ArmorReader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("armor is malformed at line {line}: {what}")]
pub struct Malformed {
    /// The line, from one.
    pub line: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Reads an age file, and takes its armor off if it has one.
#[derive(Debug)]
pub struct ArmorReader<R> {
    input: R,
    state: State,
    /// What was read of the input and not yet used: from `at`.
    raw: Vec<u8>,
    at: usize,
    /// What was decoded and not yet handed out: from `given`.
    decoded: Vec<u8>,
    given: usize,
    /// Lines read so far.
    line: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Nothing was read yet but white space.
    Start,
    /// The input has no armor.
    Plain,
    Body,
    /// A line was short, so that only the end can follow.
    Short,
    End,
}

impl<R: Read> ArmorReader<R> {
    /// Reads from `input`, which stands at the start of a file with or without armor.
    pub const fn new(input: R) -> Self {
        Self {
            input,
            state: State::Start,
            raw: Vec::new(),
            at: 0,
            decoded: Vec::new(),
            given: 0,
            line: 0,
        }
    }

    /// Reads on behind what is there; false at the end of the input.
    fn fill(&mut self) -> io::Result<bool> {
        self.raw.drain(..self.at);
        self.at = 0;
        let len = self.raw.len();
        self.raw.resize(len + READ_BYTES, 0);
        let got = self.input.read(&mut self.raw[len..]);
        self.raw.truncate(len + got.as_ref().map_or(0, |got| *got));
        Ok(got? > 0)
    }

    /// Looks at the first bytes, which tell whether there is an armor.
    fn start(&mut self) -> io::Result<()> {
        let mut skipped = 0;
        loop {
            match self.raw[skipped..].iter().position(|b| !is_white(*b)) {
                Some(found) => {
                    skipped += found;
                    break;
                }
                None if self.raw.len() >= READ_BYTES => break,
                None => {
                    skipped = self.raw.len();
                    if !self.fill()? {
                        break;
                    }
                }
            }
        }
        if self.raw.get(skipped) != Some(&BEGIN[0]) {
            self.state = State::Plain;
            return Ok(());
        }
        self.at = skipped;
        let lines = self.raw[..skipped].iter().filter(|b| **b == b'\n').count();
        self.line = lines as u64;
        self.state = State::Body;
        match self.next_line()? {
            Some(range) if self.raw[range.clone()] == *BEGIN => Ok(()),
            _ => Err(self.wrong("it is not `-----BEGIN AGE ENCRYPTED FILE-----`")),
        }
    }

    /// The next line without its end; `None` at the end of the input.
    fn next_line(&mut self) -> io::Result<Option<std::ops::Range<usize>>> {
        loop {
            let there = &self.raw[self.at..];
            let end = there.iter().take(LINE_MAX).position(|b| *b == b'\n');
            if let Some(end) = end {
                let start = self.at;
                self.at += end + 1;
                self.line += 1;
                let line = &self.raw[start..start + end];
                let len = line.strip_suffix(b"\r").unwrap_or(line).len();
                return Ok(Some(start..start + len));
            }
            if there.len() >= LINE_MAX {
                self.line += 1;
                return Err(self.wrong("it is longer than 64 columns"));
            }
            if !self.fill()? {
                return self.last_line();
            }
        }
    }

    /// What precedes the end of the input, which may stand in for a line end.
    fn last_line(&mut self) -> io::Result<Option<std::ops::Range<usize>>> {
        let start = std::mem::replace(&mut self.at, self.raw.len());
        if start == self.at {
            return Ok(None);
        }
        self.line += 1;
        Ok(Some(start..self.at))
    }

    /// Decodes the lines that are there, at least one, or comes to the end.
    fn decode(&mut self) -> io::Result<()> {
        self.decoded.clear();
        self.given = 0;
        while self.decoded.is_empty() || self.raw[self.at..].len() >= LINE_MAX {
            let Some(line) = self.next_line()? else {
                self.line += 1;
                return Err(self.wrong("it is missing: the input ends before the last line"));
            };
            let line = &self.raw[line];
            if line == END {
                self.state = State::End;
                return self.finish();
            }
            if self.state == State::Short {
                return Err(self.wrong("it follows a short line and is not the last"));
            }
            if line.is_empty() || line.len() > COLUMNS {
                return Err(self.wrong("it is empty or longer than 64 columns"));
            }
            if line.len() < COLUMNS || line.ends_with(b"=") {
                self.state = State::Short;
            }
            let mut bytes = [0; LINE_BYTES];
            match STANDARD.decode_slice(line, &mut bytes) {
                Ok(len) => self.decoded.extend_from_slice(&bytes[..len]),
                Err(_) => return Err(self.wrong("it is not canonical base64")),
            }
            if self.state == State::Short {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Only white space may follow.
    fn finish(&mut self) -> io::Result<()> {
        loop {
            let there = &self.raw[self.at..];
            let white = there.iter().take_while(|b| is_white(**b)).count();
            let lines = there[..white].iter().filter(|b| **b == b'\n').count();
            self.line += lines as u64;
            if white < there.len() {
                self.line += 1;
                return Err(self.wrong("it follows the end of the armor"));
            }
            self.at = self.raw.len();
            if !self.fill()? {
                return Ok(());
            }
        }
    }

    fn wrong(&self, what: &'static str) -> io::Error {
        let line = self.line;
        io::Error::new(io::ErrorKind::InvalidData, Malformed { line, what })
    }
}

const fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl<R: Read> Read for ArmorReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.state == State::Start {
            self.start()?;
        }
        if self.state == State::Plain {
            if self.at == self.raw.len() {
                return self.input.read(buf);
            }
            let len = (&self.raw[self.at..]).read(buf)?;
            self.at += len;
            return Ok(len);
        }
        while self.given == self.decoded.len() && self.state != State::End {
            self.decode()?;
        }
        let len = (&self.decoded[self.given..]).read(buf)?;
        self.given += len;
        Ok(len)
    }
}

/// Puts an armor around what is written to it.
#[derive(Debug)]
pub struct ArmorWriter<W> {
    output: W,
    /// What does not fill a line yet.
    rest: Vec<u8>,
    text: Vec<u8>,
}

impl<W: Write> ArmorWriter<W> {
    /// Writes the armor to `output`.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn new(mut output: W) -> io::Result<Self> {
        output.write_all(BEGIN)?;
        output.write_all(b"\n")?;
        Ok(Self {
            output,
            rest: Vec::new(),
            text: Vec::new(),
        })
    }

    /// Writes the last lines. Without them the armor is not complete.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<()> {
        self.text.clear();
        if !self.rest.is_empty() {
            self.text.extend(STANDARD.encode(&self.rest).as_bytes());
            self.text.push(b'\n');
        }
        self.text.extend_from_slice(END);
        self.text.push(b'\n');
        self.output.write_all(&self.text)?;
        self.output.flush()
    }
}

impl<W: Write> Write for ArmorWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let take = buf.len().min(READ_BYTES);
        self.rest.extend_from_slice(&buf[..take]);
        let full = self.rest.len() / LINE_BYTES * LINE_BYTES;
        self.text.clear();
        let mut columns = [0; COLUMNS];
        for line in self.rest[..full].chunks_exact(LINE_BYTES) {
            // A full line needs neither more room nor padding.
            let _ = STANDARD.encode_slice(line, &mut columns);
            self.text.extend_from_slice(&columns);
            self.text.push(b'\n');
        }
        self.output.write_all(&self.text)?;
        self.rest.drain(..full);
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn armor(data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ArmorWriter::new(&mut out).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap();
        out
    }

    /// Reads in pieces of one byte or as large as they come.
    fn read(bytes: &[u8], pieces: bool) -> io::Result<Vec<u8>> {
        struct Pieces<'a>(&'a [u8]);
        impl Read for Pieces<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let len = buf.len().min(1);
                self.0.read(&mut buf[..len])
            }
        }
        let mut out = Vec::new();
        if pieces {
            ArmorReader::new(Pieces(bytes)).read_to_end(&mut out)?;
        } else {
            ArmorReader::new(bytes).read_to_end(&mut out)?;
        }
        Ok(out)
    }

    fn refused(bytes: &[u8]) -> String {
        let error = read(bytes, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(read(bytes, true).is_err());
        error.to_string()
    }

    #[test]
    fn what_has_no_armor_passes_as_it_is() {
        for plain in [&b""[..], b"x", b"  \n x", b"age-encryption.org/v1\n-> X"] {
            assert_eq!(read(plain, false).unwrap(), plain);
            assert_eq!(read(plain, true).unwrap(), plain);
        }
        let white = vec![b' '; 3 * READ_BYTES];
        assert_eq!(read(&white, false).unwrap(), white);
    }

    #[test]
    fn only_white_space_may_surround_it() {
        let text = armor(&[7; 100]);
        let around = [b" \r\n\t\n", &text[..], b"\n \r\n"].concat();
        assert_eq!(read(&around, false).unwrap(), [7; 100]);
        assert!(refused(&[&text[..], b"\nx"].concat()).contains("line 7"));
        let crlf = String::from_utf8(text).unwrap().replace('\n', "\r\n");
        assert_eq!(read(crlf.as_bytes(), true).unwrap(), [7; 100]);
        assert_eq!(read(crlf.trim_end().as_bytes(), true).unwrap(), [7; 100]);
    }

    #[test]
    fn what_breaks_the_form_is_named_with_its_line() {
        let text = String::from_utf8(armor(&[7; 100])).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let with = |at: usize, line: &str| {
            let mut lines = lines.clone();
            lines[at] = line;
            refused(lines.join("\n").as_bytes())
        };
        assert!(with(0, "-----BEGIN AGE ENCRYPTED FILE----").contains("line 1"));
        assert!(with(1, "").contains("line 2"));
        assert!(with(1, &"A".repeat(65)).contains("line 2"));
        assert!(with(1, &"A".repeat(63)).contains("line 2"));
        assert!(with(2, "AAAA").contains("line 4"));
        assert!(
            with(3, "BwcHBx==").contains("line 4"),
            "bits beyond the end"
        );
        assert!(with(3, "BwcHBw").contains("line 4"), "no padding");
        assert!(with(3, " BwcHBw==").contains("line 4"));
        assert!(with(4, "-----END AGE ENCRYPTED FILE----").contains("line 5"));
        assert!(refused(&vec![b'-'; 1 << 20]).contains("line 1"));
        for cut in 1..text.len() - 1 {
            refused(&text.as_bytes()[..cut]);
        }
    }

    proptest! {
        #[test]
        fn everything_comes_back(data: Vec<u8>, pieces: bool) {
            prop_assert_eq!(read(&armor(&data), pieces).unwrap(), data);
        }

        #[test]
        fn any_bytes_are_taken_or_refused(data: Vec<u8>, pieces: bool) {
            let text = [BEGIN, b"\n", &data[..]].concat();
            let _ = read(&text, pieces);
            let _ = read(&data, pieces);
        }
    }
}
