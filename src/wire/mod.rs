//! Datagrams: bytes to values and back.
//!
//! All integers are big endian. Every datagram begins with one byte, version in the high four bits
//! and kind in the low four, one byte of flags, two bytes that depend on the kind, and the session
//! tag, the first four bytes of the session id, which only sorts datagrams: the keys bind the rest.
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
mod header;
mod join;
mod manifest;
mod show;

pub use announce::{ANNOUNCE_LEN_MAX, Announce, Policy, Protection};
pub use bye::{Bye, ByeHeader, ByeReason, DropReason};
pub use control::{Abort, AbortReason, End, Poll};
pub use error::Error;
pub use feedback::{DOUBT, ENTRIES_MAX, Feedback, FeedbackHeader, LeaveReason, Need, Outcome};
pub use header::{DATA_OVERHEAD, HEADER_LEN, Header, PLEDGE_MAX};
pub use join::{Accept, Join, RejectReason, ReplyHeader};
pub use manifest::{MANIFEST_HASH_LEN, Manifest};
pub use show::show;

/// The version of the protocol.
pub const VERSION: u8 = 2;
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
pub enum Kind {
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
    Manifest = 11,
}

impl Kind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 11] = [
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
        Self::Manifest,
    ];

    /// The first byte of a datagram of this kind.
    const fn first_byte(self) -> u8 {
        VERSION << 4 | self as u8
    }
}

/// The kind and session tag of a datagram: all that is looked at before any key is.
///
/// # Errors
/// [`Error::Version`] for another version, [`Error::Malformed`] for anything else.
pub fn peek(bytes: &[u8]) -> Result<(Kind, u32), Error> {
    let mut c = cursor::Cursor::new(bytes);
    let first = c.u8()?;
    c.take(3)?;
    let tag = c.u32()?;
    if first >> 4 != VERSION {
        return Err(Error::Version(first >> 4));
    }
    let code = usize::from(first & 15)
        .checked_sub(1)
        .ok_or(Error::Malformed)?;
    Ok((*Kind::ALL.get(code).ok_or(Error::Malformed)?, tag))
}

/// Checks the first byte of a datagram whose kind the caller knows.
fn expect_kind(c: &mut cursor::Cursor<'_>, kind: Kind) -> Result<(), Error> {
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
        for kind in Kind::ALL {
            assert_eq!(
                peek(&[kind.first_byte(), 0, 0, 0, 1, 2, 3, 4]),
                Ok((kind, 0x0102_0304))
            );
        }
        assert_eq!(peek(&[0x11, 0, 0, 0, 0, 0, 0, 0]), Err(Error::Version(1)));
        assert_eq!(peek(&[0x20, 0, 0, 0, 0, 0, 0, 0]), Err(Error::Malformed));
        assert_eq!(peek(&[0x2f, 0, 0, 0, 0, 0, 0, 0]), Err(Error::Malformed));
        assert_eq!(peek(&[0x21, 0, 0, 0, 0, 0, 0]), Err(Error::Malformed));
    }
}
