//! The header of what the sender multicasts under the session's key.

use super::cursor::{Cursor, put_u48};
use super::{DatagramKind, Error, TAG_LEN};

/// Bytes of a [`MulticastHeader`].
pub const HEADER_LEN: usize = 20;
/// Bytes that a DATA datagram has beyond its symbol.
pub const DATA_OVERHEAD: usize = HEADER_LEN + TAG_LEN;

/// The largest auto parity that a DATA can name.
pub const AUTO_PARITY_MAX: u8 = 127;

/// The header of a DATA, POLL, END, ABORT or HASHES, 20 bytes: authenticated, not encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MulticastHeader {
    /// One of the five kinds that the sender multicasts under the session's key.
    pub kind: DatagramKind,
    /// The session.
    pub tag: u32,
    /// DATA: it carries a repair symbol.
    pub repair: bool,
    /// DATA of a source symbol: repair symbols that follow its block without being asked for, from
    /// 0 to [`AUTO_PARITY_MAX`], which may stand for more.
    pub auto_parity: u8,
    /// DATA: the symbol: a source symbol counts up from 0, repair row j is 65,535 − j.
    pub symbol: u16,
    /// The sequence number, below 2^48: one more with each datagram of these kinds, never used
    /// twice, since it is the nonce.
    pub sequence: u64,
    /// DATA: symbols of this block that follow in this round. END of a one-way session: ENDs that
    /// follow.
    pub following: u16,
    /// DATA: the block.
    pub block: u32,
}

impl MulticastHeader {
    /// Reads the header of a datagram.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (kind, _) = super::peek(bytes)?;
        use DatagramKind::{Abort, Data, End, Hashes, Poll};
        if !matches!(kind, Data | Poll | End | Abort | Hashes) {
            return Err(Error::Malformed);
        }
        let mut c = Cursor::new(bytes.get(..HEADER_LEN).ok_or(Error::Malformed)?);
        c.u8()?;
        let flags = c.u8()?;
        let header = Self {
            kind,
            repair: flags & 1 != 0,
            auto_parity: flags >> 1,
            symbol: c.u16()?,
            tag: c.u32()?,
            sequence: c.u48()?,
            following: c.u16()?,
            block: c.u32()?,
        };
        let control = header.kind != Data;
        let used = flags != 0 || header.symbol != 0 || header.block != 0;
        let counts = matches!(kind, Data | End) || header.following == 0;
        if (header.repair && header.auto_parity != 0) || (control && used) || !counts {
            return Err(Error::Malformed);
        }
        Ok(header)
    }

    /// Appends the header.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.kind.first_byte());
        out.push(u8::from(self.repair) | self.auto_parity << 1);
        out.extend_from_slice(&self.symbol.to_be_bytes());
        out.extend_from_slice(&self.tag.to_be_bytes());
        put_u48(out, self.sequence);
        out.extend_from_slice(&self.following.to_be_bytes());
        out.extend_from_slice(&self.block.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parse_and_emit_are_inverse(
            auto_parity in 0..=AUTO_PARITY_MAX, numbers: [u16; 2], tag: u32, block: u32,
            sequence in 0..1u64 << 48,
        ) {
            let ([symbol, following], repair) = (numbers, auto_parity == 9);
            let auto_parity = if repair { 0 } else { auto_parity };
            let header = MulticastHeader {
                kind: DatagramKind::Data, tag, repair, auto_parity, symbol, sequence, following,
                block,
            };
            let mut bytes = Vec::new();
            header.emit(&mut bytes);
            prop_assert_eq!(bytes.len(), HEADER_LEN);
            prop_assert_eq!(MulticastHeader::parse(&bytes), Ok(header));
        }

        #[test]
        fn what_parses_is_what_emit_writes(
            kind in 1..16u8, mut bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Some(first) = bytes.first_mut() {
                *first = super::super::VERSION << 4 | kind;
            }
            if let Ok(header) = MulticastHeader::parse(&bytes) {
                let mut again = Vec::new();
                header.emit(&mut again);
                prop_assert_eq!(&again[..], &bytes[..HEADER_LEN]);
            }
        }
    }
}
