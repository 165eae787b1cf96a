//! JOIN, ACCEPT and REJECT: how a receiver comes in.

use super::cursor::{Cursor, put_text};
use super::{DatagramKind, Error, NAME_LEN_MAX, SessionId, expect_kind};

/// Bytes in an ACCEPT that no other has.
pub const ACCEPT_NONCE_LEN: usize = 16;

/// The sealed body of a JOIN. Before it stand the common eight bytes and the receiver's X25519 key;
/// after it and its tag a cookie and a MAC of all that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The session meant, in full.
    pub session: SessionId,
    /// Blocks that the receiver can hold.
    pub window_blocks: u32,
    /// Bytes of the receiver's socket buffer.
    pub socket_bytes: u32,
    /// Bytes of the longest IP packet that its interface takes; 0 when it does not know.
    pub mtu: u16,
    /// The receiver's name for people, at most [`NAME_LEN_MAX`] bytes.
    pub name: String,
    /// The X25519 key by which senders know the receiver, if it has one.
    pub identity: Option<[u8; 32]>,
}

impl Join {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut c = Cursor::new(bytes);
        let join = Self {
            session: SessionId(c.array()?),
            window_blocks: c.u32()?,
            socket_bytes: c.u32()?,
            mtu: c.u16()?,
            name: c.text(NAME_LEN_MAX)?,
            identity: match c.u8()? {
                0 => None,
                1 => Some(c.array()?),
                _ => return Err(Error::Malformed),
            },
        };
        c.end()?;
        if join.window_blocks == 0 {
            Err(Error::Malformed)
        } else {
            Ok(join)
        }
    }

    /// Appends the body.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.session.0);
        out.extend_from_slice(&self.window_blocks.to_be_bytes());
        out.extend_from_slice(&self.socket_bytes.to_be_bytes());
        out.extend_from_slice(&self.mtu.to_be_bytes());
        put_text(out, &self.name, NAME_LEN_MAX);
        out.push(u8::from(self.identity.is_some()));
        out.extend_from_slice(self.identity.as_ref().map_or(&[], <[u8; 32]>::as_slice));
    }
}

/// The header of a JOIN, ACCEPT or REJECT: authenticated, not encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeHeader {
    /// One of the three kinds.
    pub kind: DatagramKind,
    /// ACCEPT: the receiver's number in this session, part of the nonce; else 0.
    pub number: u16,
    /// The session.
    pub tag: u32,
    /// The receiver's X25519 key of this session, by which it recognises the reply.
    pub receiver_key: [u8; 32],
}

impl HandshakeHeader {
    /// Bytes of the header.
    pub const LEN: usize = 40;

    /// Reads the header of a datagram.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (kind, tag) = super::peek(bytes)?;
        if !matches!(
            kind,
            DatagramKind::Join | DatagramKind::Accept | DatagramKind::Reject
        ) {
            return Err(Error::Malformed);
        }
        let mut c = Cursor::new(bytes);
        expect_kind(&mut c, kind)?;
        c.zero(1)?;
        let number = c.u16()?;
        if number != 0 && kind != DatagramKind::Accept {
            return Err(Error::Malformed);
        }
        c.u32()?;
        Ok(Self {
            kind,
            number,
            tag,
            receiver_key: c.array()?,
        })
    }

    /// Appends the header.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.kind.first_byte(), 0]);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.tag.to_be_bytes());
        out.extend_from_slice(&self.receiver_key);
    }
}

/// The sealed body of an ACCEPT: constant for a receiver, since its nonce is.
#[derive(Clone, PartialEq, Eq)]
pub struct Accept {
    /// The secret from which the session's keys are made.
    pub session_secret: [u8; 32],
    /// What the keys of this receiver's FEEDBACKs and BYEs are made from, too: only a receiver that
    /// got this ACCEPT has it.
    pub nonce: [u8; ACCEPT_NONCE_LEN],
}

impl Accept {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut c = Cursor::new(bytes);
        let accept = Self {
            session_secret: c.array()?,
            nonce: c.array()?,
        };
        c.end()?;
        Ok(accept)
    }

    /// Appends the body.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.session_secret);
        out.extend_from_slice(&self.nonce);
    }
}

impl std::fmt::Debug for Accept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accept").finish_non_exhaustive()
    }
}

/// Why a receiver may not take part; the sealed body of a REJECT is its code in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RejectReason {
    /// The beginning of the stream is gone already.
    TooLate = 1,
    /// The session has as many receivers as it can take.
    Full = 2,
    /// Only receivers with a key may take part, and it came without one.
    KeyNeeded = 3,
    /// Its key is not one of those that may take part.
    NotListed = 4,
    /// The beginning of the stream is gone, but another session of the series will have it.
    NextPass = 5,
    /// The stream was broken off.
    BrokenOff = 6,
}

impl RejectReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::TooLate,
        Self::Full,
        Self::KeyNeeded,
        Self::NotListed,
        Self::NextPass,
        Self::BrokenOff,
    ];

    /// The reason with this code.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let [code] = bytes else {
            return Err(Error::Malformed);
        };
        Self::ALL
            .into_iter()
            .find(|&r| r as u8 == *code)
            .ok_or(Error::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parse_and_emit_are_inverse(
            session: [u8; 16], window_blocks in 1..=u32::MAX, socket_bytes: u32,
            name in "[a-z.é-]{0,32}", secret: [u8; 32], receiver: u32,
            identity: Option<[u8; 32]>, mtu: u16, nonce: [u8; 16],
        ) {
            let session = SessionId(session);
            let join = Join { session, window_blocks, socket_bytes, mtu, name, identity };
            let mut bytes = Vec::new();
            join.emit(&mut bytes);
            prop_assert_eq!(Join::parse(&bytes), Ok(join));

            let accept = Accept { session_secret: secret, nonce };
            bytes.clear();
            accept.emit(&mut bytes);
            prop_assert_eq!(Accept::parse(&bytes), Ok(accept));

            let (kind, number) = (DatagramKind::Accept, mtu);
            let header = HandshakeHeader { kind, number, tag: receiver, receiver_key: secret };
            bytes.clear();
            header.emit(&mut bytes);
            prop_assert_eq!(bytes.len(), HandshakeHeader::LEN);
            prop_assert_eq!(HandshakeHeader::parse(&bytes), Ok(header));
        }

        #[test]
        fn junk_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = (Join::parse(&bytes), Accept::parse(&bytes), HandshakeHeader::parse(&bytes));
        }
    }

    #[test]
    fn every_reason_has_its_code() {
        for reason in RejectReason::ALL {
            assert_eq!(RejectReason::parse(&[reason as u8]), Ok(reason));
        }
        assert_eq!(RejectReason::parse(&[0]), Err(Error::Malformed));
    }
}
