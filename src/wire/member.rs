//! The header of what passes between the sender and one receiver: FEEDBACK and BYE.

use super::cursor::Cursor;
use super::{DatagramKind, Error};

/// The header of a FEEDBACK or BYE, 16 bytes: authenticated, not encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberHeader {
    /// FEEDBACK or BYE.
    pub kind: DatagramKind,
    /// The session.
    pub tag: u32,
    /// The receiver's number, as the ACCEPT gave it.
    pub receiver: u32,
    /// Counts the datagrams of this kind from or to this receiver, from 0: part of the nonce.
    pub number: u32,
}

impl MemberHeader {
    /// Bytes of the header.
    pub const LEN: usize = 16;

    /// Reads the header of a datagram.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (kind, tag) = super::peek(bytes)?;
        if !matches!(kind, DatagramKind::Feedback | DatagramKind::Bye) {
            return Err(Error::Malformed);
        }
        let mut c = Cursor::new(bytes);
        c.u8()?;
        c.zero(3)?;
        c.u32()?;
        Ok(Self {
            kind,
            tag,
            receiver: c.u32()?,
            number: c.u32()?,
        })
    }

    /// Appends the header.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.kind.first_byte(), 0, 0, 0]);
        out.extend_from_slice(&self.tag.to_be_bytes());
        out.extend_from_slice(&self.receiver.to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parse_and_emit_are_inverse(n: [u32; 3], bye: bool) {
            let kind = if bye { DatagramKind::Bye } else { DatagramKind::Feedback };
            let header = MemberHeader { kind, tag: n[0], receiver: n[1], number: n[2] };
            let mut bytes = Vec::new();
            header.emit(&mut bytes);
            prop_assert_eq!(bytes.len(), MemberHeader::LEN);
            prop_assert_eq!(MemberHeader::parse(&bytes), Ok(header));
            prop_assert_eq!(MemberHeader::parse(&bytes[..15]), Err(Error::Malformed));
            bytes[3] = 1;
            prop_assert_eq!(MemberHeader::parse(&bytes), Err(Error::Malformed));
        }

        #[test]
        fn junk_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = MemberHeader::parse(&bytes);
        }
    }
}
