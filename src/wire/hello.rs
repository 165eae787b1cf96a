//! HELLO and COOKIE: each side shows the other that datagrams to its address reach it, before
//! either sends more than it got or computes anything (DTLS, RFC 6347 section 4.2.1).

use super::cursor::Cursor;
use super::{DatagramKind, Error, expect_kind};

/// Bytes of a cookie.
pub const COOKIE_LEN: usize = 16;
/// Bytes that a receiver draws to recognise the answer.
pub const HELLO_NONCE_LEN: usize = 8;

/// A HELLO without its MAC: a receiver asks for a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The session.
    pub tag: u32,
    /// By which the receiver recognises the answer: the first bytes of its key of this session.
    pub nonce: [u8; HELLO_NONCE_LEN],
}

impl Hello {
    /// Reads a HELLO.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut c = Cursor::new(bytes);
        let tag = head(&mut c, DatagramKind::Hello)?;
        let hello = Self {
            tag,
            nonce: c.array()?,
        };
        c.end()?;
        Ok(hello)
    }

    /// Appends the HELLO.
    pub fn emit(&self, out: &mut Vec<u8>) {
        put_head(out, DatagramKind::Hello, self.tag);
        out.extend_from_slice(&self.nonce);
    }
}

/// A COOKIE without its MAC: the sender answers a HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// The session.
    pub tag: u32,
    /// That of the HELLO.
    pub nonce: [u8; HELLO_NONCE_LEN],
    /// What a JOIN from the same address must show.
    pub cookie: [u8; COOKIE_LEN],
}

impl Cookie {
    /// Reads a COOKIE.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut c = Cursor::new(bytes);
        let tag = head(&mut c, DatagramKind::Cookie)?;
        let cookie = Self {
            tag,
            nonce: c.array()?,
            cookie: c.array()?,
        };
        c.end()?;
        Ok(cookie)
    }

    /// Appends the COOKIE.
    pub fn emit(&self, out: &mut Vec<u8>) {
        put_head(out, DatagramKind::Cookie, self.tag);
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.cookie);
    }
}

fn head(c: &mut Cursor<'_>, kind: DatagramKind) -> Result<u32, Error> {
    expect_kind(c, kind)?;
    c.zero(3)?;
    c.u32()
}

fn put_head(out: &mut Vec<u8>, kind: DatagramKind, tag: u32) {
    out.extend_from_slice(&[kind.first_byte(), 0, 0, 0]);
    out.extend_from_slice(&tag.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parse_and_emit_are_inverse(tag: u32, nonce: [u8; 8], cookie: [u8; 16]) {
            let mut bytes = Vec::new();
            let hello = Hello { tag, nonce };
            hello.emit(&mut bytes);
            prop_assert_eq!(Hello::parse(&bytes), Ok(hello));
            prop_assert!(Cookie::parse(&bytes).is_err());
            bytes.clear();
            let cookie = Cookie { tag, nonce, cookie };
            cookie.emit(&mut bytes);
            prop_assert_eq!(Cookie::parse(&bytes), Ok(cookie));
            prop_assert!(Hello::parse(&bytes).is_err());
        }
    }
}
