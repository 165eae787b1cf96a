//! Reading big-endian fields from bytes that may end early.

use super::Error;

pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Error::Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| Error::Malformed)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u48(&mut self) -> Result<u64, Error> {
        let [a, b, c, d, e, f] = self.array()?;
        Ok(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A text with its length in one byte before it, of at most `max` bytes.
    pub(super) fn text(&mut self, max: usize) -> Result<String, Error> {
        let len = usize::from(self.u8()?);
        if len > max {
            return Err(Error::Malformed);
        }
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| Error::Malformed)?;
        Ok(text.to_owned())
    }

    /// Reserved bytes: zero, or this is another version's datagram.
    pub(super) fn zero(&mut self, n: usize) -> Result<(), Error> {
        if self.take(n)?.iter().all(|&b| b == 0) {
            Ok(())
        } else {
            Err(Error::Malformed)
        }
    }

    /// What was not read.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn end(self) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::Malformed)
        }
    }
}

/// Writes `n`'s low 48 bits.
pub(super) fn put_u48(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(&n.to_be_bytes()[2..]);
}

/// Writes a text with its length in one byte before it, cut to `max` bytes at a character.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str, max: usize) {
    let max = max.min(255);
    let end = (0..=max.min(text.len()))
        .rev()
        .find(|&i| text.is_char_boundary(i))
        .unwrap_or(0);
    out.push(u8::try_from(end).unwrap_or(u8::MAX));
    out.extend_from_slice(&text.as_bytes()[..end]);
}
