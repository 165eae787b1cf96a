//! HASHES: hashes of a block's source symbols, for receivers whose block does not check.

use super::cursor::Cursor;
use super::{Error, SIGNATURE_LEN};

/// Bytes of the hash of a symbol.
pub const SYMBOL_HASH_LEN: usize = 16;

/// Hashes of some source symbols of a block; the sealed body of HASHES without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolHashes {
    /// The block.
    pub block: u32,
    /// Its source symbols.
    pub k: u16,
    /// The first symbol whose hash is here.
    pub first: u16,
    /// The hashes, at least one, of symbols of the block.
    pub hashes: Vec<[u8; SYMBOL_HASH_LEN]>,
}

impl SymbolHashes {
    /// Bytes before the hashes.
    const HEAD_LEN: usize = 8;

    /// How many hashes fit in a body of `len` bytes with its signature.
    pub const fn fits(len: usize) -> usize {
        len.saturating_sub(Self::HEAD_LEN + SIGNATURE_LEN) / SYMBOL_HASH_LEN
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none, or has no hash, or one of a symbol that is not there.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut c = Cursor::new(bytes);
        let (block, k, first) = (c.u32()?, c.u16()?, c.u16()?);
        let count = bytes.len().saturating_sub(Self::HEAD_LEN) / SYMBOL_HASH_LEN;
        let hashes = (0..count)
            .map(|_| c.array())
            .collect::<Result<Vec<_>, _>>()?;
        c.end()?;
        if hashes.is_empty() || usize::from(first) + hashes.len() > usize::from(k) {
            return Err(Error::Malformed);
        }
        Ok(Self {
            block,
            k,
            first,
            hashes,
        })
    }

    /// Appends the body.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.block.to_be_bytes());
        out.extend_from_slice(&self.k.to_be_bytes());
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(self.hashes.as_flattened());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parse_and_emit_are_inverse(
            block: u32, first in 0..1_000u16, beyond in 0..1_000u16,
            hashes in proptest::collection::vec(any::<[u8; SYMBOL_HASH_LEN]>(), 1..90),
        ) {
            let k = first + hashes.len() as u16 + beyond;
            let hashed = SymbolHashes { block, k, first, hashes };
            let mut bytes = Vec::new();
            hashed.emit(&mut bytes);
            prop_assert_eq!(SymbolHashes::fits(bytes.len() + SIGNATURE_LEN), hashed.hashes.len());
            prop_assert_eq!(SymbolHashes::parse(&bytes), Ok(hashed));
            for end in 0..bytes.len() {
                let whole = end >= 24 && (end - 8) % SYMBOL_HASH_LEN == 0;
                prop_assert_eq!(SymbolHashes::parse(&bytes[..end]).is_ok(), whole);
            }
        }
    }

    #[test]
    fn hashes_of_no_symbol_are_refused() {
        let hashed = SymbolHashes {
            block: 1,
            k: 4,
            first: 3,
            hashes: vec![[0; SYMBOL_HASH_LEN]; 2],
        };
        let mut bytes = Vec::new();
        hashed.emit(&mut bytes);
        assert_eq!(SymbolHashes::parse(&bytes), Err(Error::Malformed));
        assert_eq!(SymbolHashes::fits(1_436), 85);
        assert_eq!(SymbolHashes::fits(50), 0);
    }
}
