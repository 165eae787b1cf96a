//! The header of what the sender multicasts under the session's key.

use super::cursor::{Cursor, put_u48};
use super::{Error, Kind, TAG_LEN};

/// Bytes of the header; they are authenticated, not encrypted.
pub const HEADER_LEN: usize = 20;
/// Bytes that a DATA datagram has beyond its symbol.
pub const DATA_OVERHEAD: usize = HEADER_LEN + TAG_LEN;

/// The most that a source symbol can pledge.
pub const PLEDGE_MAX: u8 = 127;

/// The header of a DATA, POLL, END or ABORT datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// One of the four kinds that the sender multicasts under the session's key.
    pub kind: Kind,
    /// The session.
    pub tag: u32,
    /// DATA: the symbol was sent before, or is a repair symbol sent on request.
    pub repair: bool,
    /// DATA of a source symbol: repair symbols that follow its block without being asked for, at
    /// most [`PLEDGE_MAX`].
    pub pledge: u8,
    /// DATA: the symbol: a source symbol counts up from 0, repair row j is 65,535 − j.
    pub symbol: u16,
    /// The transmission number, below 2^48: one more with each datagram, never used twice.
    pub tx: u64,
    /// DATA: symbols of this block that follow in this round. END of a one-way session: ENDs that
    /// follow.
    pub left: u16,
    /// DATA: the block.
    pub block: u32,
}

impl Header {
    /// Reads the header of a datagram.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (kind, _) = super::peek(bytes)?;
        use Kind::{Abort, Data, End, Manifest, Poll};
        if !matches!(kind, Data | Poll | End | Abort | Manifest) {
            return Err(Error::Malformed);
        }
        let mut c = Cursor::new(bytes.get(..HEADER_LEN).ok_or(Error::Malformed)?);
        c.u8()?;
        let flags = c.u8()?;
        let header = Self {
            kind,
            repair: flags & 1 != 0,
            pledge: flags >> 1,
            symbol: c.u16()?,
            tag: c.u32()?,
            tx: c.u48()?,
            left: c.u16()?,
            block: c.u32()?,
        };
        let control = header.kind != Data;
        let used = flags != 0 || header.symbol != 0 || header.block != 0;
        let counts = matches!(kind, Data | End) || header.left == 0;
        if (header.repair && header.pledge != 0) || (control && used) || !counts {
            return Err(Error::Malformed);
        }
        Ok(header)
    }

    /// Appends the header.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.kind.first_byte());
        out.push(u8::from(self.repair) | self.pledge << 1);
        out.extend_from_slice(&self.symbol.to_be_bytes());
        out.extend_from_slice(&self.tag.to_be_bytes());
        put_u48(out, self.tx);
        out.extend_from_slice(&self.left.to_be_bytes());
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
            pledge in 0..=PLEDGE_MAX, numbers: [u16; 2], tag: u32, tx in 0..1u64 << 48, block: u32,
        ) {
            let ([symbol, left], repair) = (numbers, pledge == 9);
            let pledge = if repair { 0 } else { pledge };
            let header = Header { kind: Kind::Data, tag, repair, pledge, symbol, tx, left, block };
            let mut bytes = Vec::new();
            header.emit(&mut bytes);
            prop_assert_eq!(bytes.len(), HEADER_LEN);
            prop_assert_eq!(Header::parse(&bytes), Ok(header));
        }

        #[test]
        fn what_parses_is_what_emit_writes(
            kind in 1..12u8, mut bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Some(first) = bytes.first_mut() {
                *first = 0x20 | kind;
            }
            if let Ok(header) = Header::parse(&bytes) {
                let mut again = Vec::new();
                header.emit(&mut again);
                prop_assert_eq!(&again[..], &bytes[..HEADER_LEN]);
            }
        }
    }
}
