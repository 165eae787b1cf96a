//! ANNOUNCE: there is a session, and this is how to take part.

use super::cursor::{Cursor, put_text};
use super::{
    DATA_OVERHEAD, DATAGRAM_LEN_MAX, Error, Kind, NAME_LEN_MAX, SessionId, TAG_LEN, expect_kind,
};

/// Bytes of the longest ANNOUNCE, with its tag.
pub const ANNOUNCE_LEN_MAX: usize = 72 + 1 + NAME_LEN_MAX + TAG_LEN;

/// When the session starts, for people who wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Data flows already.
    pub started: bool,
    /// A receiver that joins now still gets everything.
    pub joinable: bool,
    /// Receivers that have joined.
    pub joined: u32,
    /// Receivers that the sender waits for; 0 when it waits for no number.
    pub wanted: u32,
}

/// What the sender tells everyone, every 200 ms before the start and each second after it. The tag
/// after it is not part of it: see `proto`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The session.
    pub session: SessionId,
    /// The sender's X25519 key of this session.
    pub sender_key: [u8; 32],
    /// Source symbols of a block; the last block may have fewer.
    pub k: u16,
    /// Bytes of a symbol, even.
    pub symbol_len: u16,
    /// Neighbouring blocks whose source symbols may be mixed on the wire.
    pub depth: u16,
    /// When it starts.
    pub policy: Policy,
    /// The session's name, at most [`NAME_LEN_MAX`] bytes; may be empty.
    pub name: String,
}

impl Announce {
    /// Reads an ANNOUNCE without its tag.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none or its numbers make no sense.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut c = Cursor::new(bytes);
        expect_kind(&mut c, Kind::Announce)?;
        let flags = c.u8()?;
        c.zero(2)?;
        let tag = c.u32()?;
        let session = SessionId(c.array()?);
        let sender_key = c.array()?;
        let (k, symbol_len, depth) = (c.u16()?, c.u16()?, c.u16()?);
        c.zero(2)?;
        let policy = Policy {
            started: flags & 1 != 0,
            joinable: flags & 2 != 0,
            joined: c.u32()?,
            wanted: c.u32()?,
        };
        let name = c.text(NAME_LEN_MAX)?;
        c.end()?;
        let fits = (2..=DATAGRAM_LEN_MAX - DATA_OVERHEAD).contains(&usize::from(symbol_len));
        let even = symbol_len.is_multiple_of(2);
        if flags & !3 != 0 || tag != session.tag() || k == 0 || !fits || !even || depth == 0 {
            return Err(Error::Malformed);
        }
        Ok(Self {
            session,
            sender_key,
            k,
            symbol_len,
            depth,
            policy,
            name,
        })
    }

    /// Appends the ANNOUNCE without its tag.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(Kind::Announce.first_byte());
        out.push(u8::from(self.policy.started) | u8::from(self.policy.joinable) << 1);
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.session.tag().to_be_bytes());
        out.extend_from_slice(&self.session.0);
        out.extend_from_slice(&self.sender_key);
        out.extend_from_slice(&self.k.to_be_bytes());
        out.extend_from_slice(&self.symbol_len.to_be_bytes());
        out.extend_from_slice(&self.depth.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.policy.joined.to_be_bytes());
        out.extend_from_slice(&self.policy.wanted.to_be_bytes());
        put_text(out, &self.name, NAME_LEN_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_announce() -> impl Strategy<Value = Announce> {
        let numbers = (
            1..=u16::MAX,
            1..=4_590u16,
            1..=64u16,
            any::<[bool; 2]>(),
            any::<[u32; 2]>(),
        );
        (
            any::<[u8; 16]>(),
            any::<[u8; 32]>(),
            numbers,
            "[a-zé ]{0,32}",
        )
            .prop_map(
                |(
                    session,
                    sender_key,
                    (k, half, depth, [started, joinable], [joined, wanted]),
                    name,
                )| {
                    Announce {
                        session: SessionId(session),
                        sender_key,
                        k,
                        symbol_len: half * 2,
                        depth,
                        policy: Policy {
                            started,
                            joinable,
                            joined,
                            wanted,
                        },
                        name,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn parse_and_emit_are_inverse(announce in any_announce()) {
            let mut bytes = Vec::new();
            announce.emit(&mut bytes);
            prop_assert!(bytes.len() + TAG_LEN <= ANNOUNCE_LEN_MAX);
            prop_assert_eq!(Announce::parse(&bytes), Ok(announce));
            for end in 0..bytes.len() {
                prop_assert_eq!(Announce::parse(&bytes[..end]), Err(Error::Malformed));
            }
        }
    }
}
