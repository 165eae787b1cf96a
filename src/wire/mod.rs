//! Datagrams: bytes to values and back.
//!
//! All integers are big endian. Every datagram begins with one byte, version in the high four bits
//! and kind in the low four, one byte of flags, two bytes that depend on the kind, and the session
//! tag, the first four bytes of the session id, which only sorts datagrams: the keys bind the rest.
//! The kind [`EXTENSION`] makes room for more: the byte of flags is then the sub-kind.
//!
//! Each type here has `parse` and `emit`, inverse to each other. Parsing never panics, allocates no
//! more than the datagram is long, and refuses what `emit` would not have written. Sealing bodies
//! is not done here but in `proto`. The byte tables are in `man/sealcast-protocol.7`.

mod announce;
mod bye;
mod control;
mod cursor;
mod error;
mod feedback;
mod handshake;
mod hashes;
mod hello;
mod member;
mod multicast;
mod show;

pub use announce::{ANNOUNCE_LEN_MAX, ANNOUNCE_PADDED_LEN, Announce, Protection, SessionStatus};
pub use bye::{Bye, ByeReason, DropReason};
pub use control::{Abort, AbortReason, End, Poll};
pub use error::Error;
pub use feedback::{ENTRIES_MAX, Feedback, LeaveReason, Need, Outcome, POLLUTED};
pub use handshake::{ACCEPT_NONCE_LEN, Accept, HandshakeHeader, Join, RejectReason};
pub use hashes::{SYMBOL_HASH_LEN, SymbolHashes};
pub use hello::{COOKIE_LEN, Cookie, HELLO_NONCE_LEN, Hello};
pub use member::MemberHeader;
pub use multicast::{AUTO_PARITY_MAX, DATA_OVERHEAD, HEADER_LEN, MulticastHeader};
pub use show::show;

/// The version of the protocol.
pub const VERSION: u8 = 3;
/// The kind whose second byte is a sub-kind. This version has no sub-kind: [`peek`] gives
/// [`Error::Unknown`] for each, so that a later program can add some.
pub const EXTENSION: u8 = 15;
/// Bytes of an authentication tag at the end of a datagram.
pub const TAG_LEN: usize = 16;
/// Bytes of a signature at the end of what a sender signs.
pub const SIGNATURE_LEN: usize = 64;
/// Bytes of a receiver's or session's name at most.
pub const NAME_LEN_MAX: usize = 64;
/// Bytes of the longest datagram that a receiver needs to take.
pub const DATAGRAM_LEN_MAX: usize = 9216;

/// A session: 128 random bits, drawn by the sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// The first four bytes, which sort datagrams.
    pub const fn tag(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DatagramKind {
    /// A symbol of a block, multicast.
    Data = 1,
    /// Where the sender stands, multicast.
    Poll = 2,
    /// The stream is complete, multicast.
    End = 3,
    /// The stream will never be complete, multicast.
    Abort = 4,
    /// There is a session, multicast.
    Announce = 5,
    /// A receiver wants to take part, to the sender.
    Join = 6,
    /// It may, to the receiver.
    Accept = 7,
    /// It may not, to the receiver.
    Reject = 8,
    /// Where a receiver stands and what it lacks, to the sender.
    Feedback = 9,
    /// The sender lets a receiver go, to the receiver.
    Bye = 10,
    /// Hashes of a block's symbols, signed.
    Hashes = 11,
    /// A receiver asks for a cookie, to the sender.
    Hello = 12,
    /// The cookie that its JOIN must show, to the receiver.
    Cookie = 13,
}

impl DatagramKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 13] = [
        Self::Data,
        Self::Poll,
        Self::End,
        Self::Abort,
        Self::Announce,
        Self::Join,
        Self::Accept,
        Self::Reject,
        Self::Feedback,
        Self::Bye,
        Self::Hashes,
        Self::Hello,
        Self::Cookie,
    ];

    /// The first byte of a datagram of this kind.
    const fn first_byte(self) -> u8 {
        VERSION << 4 | self as u8
    }
}

/// The kind and session tag of a datagram: all that is looked at before any key is.
///
/// # Errors
/// [`Error::Version`] for another version, [`Error::Unknown`] for an extension, and
/// [`Error::Malformed`] for anything else.
pub fn peek(bytes: &[u8]) -> Result<(DatagramKind, u32), Error> {
    let mut c = cursor::Cursor::new(bytes);
    let (first, second) = (c.u8()?, c.u8()?);
    c.take(2)?;
    let tag = c.u32()?;
    if first >> 4 != VERSION {
        return Err(Error::Version(first >> 4));
    }
    let code = usize::from(first & 15)
        .checked_sub(1)
        .ok_or(Error::Malformed)?;
    match DatagramKind::ALL.get(code) {
        Some(&kind) => Ok((kind, tag)),
        None if first & 15 == EXTENSION => Err(Error::Unknown { sub_kind: second }),
        None => Err(Error::Malformed),
    }
}

/// Checks the first byte of a datagram whose kind the caller knows.
fn expect_kind(c: &mut cursor::Cursor<'_>, kind: DatagramKind) -> Result<(), Error> {
    if c.u8()? == kind.first_byte() {
        Ok(())
    } else {
        Err(Error::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peek_tells_versions_from_junk() {
        for kind in DatagramKind::ALL {
            assert_eq!(
                peek(&[kind.first_byte(), 0, 0, 0, 1, 2, 3, 4]),
                Ok((kind, 0x0102_0304))
            );
        }
        assert_eq!(peek(&[0x21, 0, 0, 0, 0, 0, 0, 0]), Err(Error::Version(2)));
        assert_eq!(peek(&[0x30, 0, 0, 0, 0, 0, 0, 0]), Err(Error::Malformed));
        assert_eq!(peek(&[0x3e, 0, 0, 0, 0, 0, 0, 0]), Err(Error::Malformed));
        assert_eq!(peek(&[0x31, 0, 0, 0, 0, 0, 0]), Err(Error::Malformed));
    }

    #[test]
    fn an_extension_is_unknown_whatever_follows_its_sub_kind() {
        for sub_kind in 0..=255 {
            for len in [8, 20, 300] {
                let mut datagram = vec![0xa5; len];
                datagram[..2].copy_from_slice(&[VERSION << 4 | EXTENSION, sub_kind]);
                assert_eq!(peek(&datagram), Err(Error::Unknown { sub_kind }));
                assert!(MulticastHeader::parse(&datagram).is_err());
                assert!(MemberHeader::parse(&datagram).is_err());
                assert!(HandshakeHeader::parse(&datagram).is_err());
                assert!(Announce::parse(&datagram).is_err());
            }
        }
        assert_eq!(peek(&[VERSION << 4 | EXTENSION; 7]), Err(Error::Malformed));
    }
}
