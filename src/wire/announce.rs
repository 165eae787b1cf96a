//! ANNOUNCE: there is a session, and this is how to take part.

use super::cursor::{Cursor, put_text, put_u48};
use super::{
    DATA_OVERHEAD, DATAGRAM_LEN_MAX, DatagramKind, Error, NAME_LEN_MAX, SIGNATURE_LEN, SessionId,
    TAG_LEN, expect_kind,
};

/// Bytes of the longest ANNOUNCE, with its signature and tag, without padding.
pub const ANNOUNCE_LEN_MAX: usize = 94 + 1 + NAME_LEN_MAX + 32 + SIGNATURE_LEN + TAG_LEN;
/// An ANNOUNCE that receivers answer is made this long: a third of what 28 receivers answer to one
/// that was forged, and no more than every path of IPv4 takes (RFC 791).
pub const ANNOUNCE_PADDED_LEN: usize = 548;

/// Flags of an ANNOUNCE.
mod flag {
    pub(super) const STARTED: u8 = 1;
    pub(super) const JOINABLE: u8 = 1 << 1;
    pub(super) const SIGNED: u8 = 1 << 2;
    pub(super) const LISTED: u8 = 1 << 3;
    pub(super) const SHARED: u8 = 1 << 4;
    pub(super) const ONE_WAY: u8 = 1 << 5;
    pub(super) const NEXT_PASS: u8 = 1 << 6;
    pub(super) const ALL: u8 = STARTED | JOINABLE | SIGNED | LISTED | SHARED | ONE_WAY | NEXT_PASS;
}

/// How far the session is, for people who wait; a part of its ANNOUNCE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStatus {
    /// Data flows already.
    pub started: bool,
    /// A receiver that joins now still gets everything.
    pub joinable: bool,
    /// One-way: another session follows when it is over.
    pub next_pass: bool,
    /// Receivers that have joined.
    pub joined: u32,
    /// Receivers that the sender waits for; 0 when it waits for no number.
    pub wanted: u32,
}

impl SessionStatus {
    /// Whether a receiver that hears of it now cannot have everything.
    pub fn is_late(&self) -> bool {
        self.started && !self.joinable
    }
}

/// What a receiver needs to take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// The sender's Ed25519 key, which has signed this, the end and each block.
    pub signer: Option<[u8; 32]>,
    /// Only receivers whose key the sender knows may take part.
    pub listed: bool,
    /// All sides have a secret in common, without which nothing can be read.
    pub shared: bool,
    /// Receivers send nothing: this and the secret in common give them the session's key. None is
    /// listed then.
    pub one_way: bool,
}

/// What the sender tells everyone, every 200 ms before the start and each second after it. The
/// signature, if there is one, and the tag after it are not part of it: see `proto`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The session.
    pub session: SessionId,
    /// The first session of the series that this one belongs to: sessions of one stream, each for
    /// those who came too late for the one before. It is its own if there was none before.
    pub series: SessionId,
    /// The sender's X25519 key of this session.
    pub sender_key: [u8; 32],
    /// Source symbols of a block; the last block may have fewer.
    pub k: u16,
    /// Bytes of a symbol, even.
    pub symbol_len: u16,
    /// Neighbouring blocks whose source symbols may be mixed on the wire.
    pub depth: u16,
    /// How far it is.
    pub status: SessionStatus,
    /// The sequence number of the next datagram that counts one.
    pub sequence: u64,
    /// Who may take part, and who it comes from.
    pub protection: Protection,
    /// The session's name, at most [`NAME_LEN_MAX`] bytes; may be empty.
    pub name: String,
}

impl Announce {
    /// Which keys a datagram that seems to be an ANNOUNCE needs to be checked: whether it is
    /// signed, and whether its tag is made with a shared secret.
    pub fn peek(bytes: &[u8]) -> (bool, bool) {
        let flags = bytes.get(1).copied().unwrap_or(0);
        (flags & flag::SIGNED != 0, flags & flag::SHARED != 0)
    }

    /// Reads an ANNOUNCE without its signature and tag.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none or its numbers make no sense.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (announce, rest) = Self::split(bytes)?;
        match rest {
            [] => Ok(announce),
            _ => Err(Error::Malformed),
        }
    }

    /// Reads the ANNOUNCE at the beginning of `bytes`; returns what follows, too: its signature, if
    /// it has a signer, and padding.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn split(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let mut c = Cursor::new(bytes);
        expect_kind(&mut c, DatagramKind::Announce)?;
        let flags = c.u8()?;
        c.zero(2)?;
        let tag = c.u32()?;
        let session = SessionId(c.array()?);
        let series = SessionId(c.array()?);
        let sender_key = c.array()?;
        let (k, symbol_len, depth) = (c.u16()?, c.u16()?, c.u16()?);
        c.zero(2)?;
        let status = SessionStatus {
            started: flags & flag::STARTED != 0,
            joinable: flags & flag::JOINABLE != 0,
            next_pass: flags & flag::NEXT_PASS != 0,
            joined: c.u32()?,
            wanted: c.u32()?,
        };
        let sequence = c.u48()?;
        let name = c.text(NAME_LEN_MAX)?;
        let signed = flags & flag::SIGNED != 0;
        let protection = Protection {
            signer: signed.then(|| c.array()).transpose()?,
            listed: flags & flag::LISTED != 0,
            shared: flags & flag::SHARED != 0,
            one_way: flags & flag::ONE_WAY != 0,
        };
        let rest = c.rest();
        let two_way = !protection.one_way;
        if protection.one_way && protection.listed || two_way && status.next_pass {
            return Err(Error::Malformed);
        }
        let fits = (2..=DATAGRAM_LEN_MAX - DATA_OVERHEAD).contains(&usize::from(symbol_len));
        let even = symbol_len.is_multiple_of(2);
        if flags & !flag::ALL != 0 || tag != session.tag() || k == 0 || !fits || !even || depth == 0
        {
            return Err(Error::Malformed);
        }
        let announce = Self {
            session,
            series,
            sender_key,
            k,
            symbol_len,
            depth,
            status,
            sequence,
            protection,
            name,
        };
        Ok((announce, rest))
    }

    /// Appends the ANNOUNCE without its signature and tag.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(DatagramKind::Announce.first_byte());
        out.push(self.flags());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.session.tag().to_be_bytes());
        out.extend_from_slice(&self.session.0);
        out.extend_from_slice(&self.series.0);
        out.extend_from_slice(&self.sender_key);
        out.extend_from_slice(&self.k.to_be_bytes());
        out.extend_from_slice(&self.symbol_len.to_be_bytes());
        out.extend_from_slice(&self.depth.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.status.joined.to_be_bytes());
        out.extend_from_slice(&self.status.wanted.to_be_bytes());
        put_u48(out, self.sequence);
        put_text(out, &self.name, NAME_LEN_MAX);
        if let Some(signer) = self.protection.signer {
            out.extend_from_slice(&signer);
        }
    }

    fn flags(&self) -> u8 {
        let (status, protection) = (&self.status, &self.protection);
        [
            (status.started, flag::STARTED),
            (status.joinable, flag::JOINABLE),
            (status.next_pass, flag::NEXT_PASS),
            (protection.signer.is_some(), flag::SIGNED),
            (protection.listed, flag::LISTED),
            (protection.shared, flag::SHARED),
            (protection.one_way, flag::ONE_WAY),
        ]
        .into_iter()
        .filter_map(|(on, flag)| on.then_some(flag))
        .sum()
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
            any::<[bool; 6]>(),
            any::<[u32; 2]>(),
            any::<Option<[u8; 32]>>(),
        );
        (
            any::<[[u8; 16]; 2]>(),
            any::<[u8; 32]>(),
            numbers,
            "[a-zé ]{0,32}",
        )
            .prop_map(
                |(
                    [session, series],
                    sender_key,
                    (k, half, depth, flags, [joined, wanted], signer),
                    name,
                )| {
                    let [started, joinable, again, listed, shared, one_way] = flags;
                    Announce {
                        session: SessionId(session),
                        series: SessionId(series),
                        sender_key,
                        k,
                        symbol_len: half * 2,
                        depth,
                        status: SessionStatus {
                            started,
                            joinable,
                            next_pass: again && one_way && !listed,
                            joined,
                            wanted,
                        },
                        sequence: 0,
                        protection: Protection {
                            signer,
                            listed,
                            shared,
                            one_way: one_way && !listed,
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
            prop_assert!(bytes.len() + SIGNATURE_LEN + TAG_LEN <= ANNOUNCE_LEN_MAX);
            let (signed, shared) = Announce::peek(&bytes);
            prop_assert_eq!(signed, announce.protection.signer.is_some());
            prop_assert_eq!(shared, announce.protection.shared);
            prop_assert_eq!(Announce::parse(&bytes), Ok(announce));
            for end in 0..bytes.len() {
                prop_assert_eq!(Announce::parse(&bytes[..end]), Err(Error::Malformed));
            }
        }
    }

    #[test]
    fn nobody_is_listed_who_cannot_answer() {
        let announce = Announce {
            session: SessionId([1; 16]),
            series: SessionId([1; 16]),
            sender_key: [2; 32],
            k: 4,
            symbol_len: 64,
            depth: 1,
            status: SessionStatus::default(),
            sequence: 0,
            protection: Protection {
                listed: true,
                one_way: true,
                ..Protection::default()
            },
            name: String::new(),
        };
        let mut bytes = Vec::new();
        announce.emit(&mut bytes);
        assert_eq!(Announce::parse(&bytes), Err(Error::Malformed));
    }
}
