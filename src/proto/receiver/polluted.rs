//! Blocks of which a member has sent a symbol in the sender's name: the hashes that the sender has
//! signed tell which symbols are true.

use crate::proto::block::symbol_hash;
use crate::wire::{SYMBOL_HASH_LEN, SymbolHashes};

/// What is known of a block's symbols beside themselves.
#[derive(Debug, Default)]
pub(super) enum Pollution {
    /// Nothing speaks against what came.
    #[default]
    Unsuspected,
    /// Symbols came that contradict each other or the block's signature: nothing counts until the
    /// hashes of the true ones are there.
    Suspected,
    /// The hashes that the sender has signed, of each source symbol, as far as they came: only what
    /// fits counts.
    Hashes(Vec<Option<[u8; SYMBOL_HASH_LEN]>>),
}

impl Pollution {
    /// Whether a block may hold symbols that a member made up.
    pub(super) fn is_suspected(&self) -> bool {
        !matches!(self, Self::Unsuspected)
    }

    /// Whether the hashes are waited for.
    pub(super) fn awaits_hashes(&self) -> bool {
        matches!(self, Self::Suspected)
    }

    /// Whether hashes came.
    pub(super) fn has_hashes(&self) -> bool {
        matches!(self, Self::Hashes(_))
    }

    /// Takes the sender's hashes in; `false` when nothing is suspected, or when they contradict
    /// those that came before: a block of such a signer will never check.
    pub(super) fn take(&mut self, signed: &SymbolHashes) -> bool {
        let k = usize::from(signed.k);
        if self.awaits_hashes() {
            *self = Self::Hashes(vec![None; k]);
        }
        let Self::Hashes(hashes) = self else {
            return false;
        };
        if hashes.len() != k {
            return false;
        }
        let known = hashes[usize::from(signed.first)..].iter_mut();
        for (hash, signed) in known.zip(&signed.hashes) {
            *hash = Some(*signed);
        }
        true
    }

    /// Whether a source symbol is the sender's, as far as that is in doubt.
    pub(super) fn fits(&self, number: u16, symbol: &[u8]) -> bool {
        match self {
            Self::Unsuspected => true,
            Self::Suspected => false,
            Self::Hashes(hashes) => {
                let hash = hashes.get(usize::from(number)).copied().flatten();
                hash.is_some_and(|hash| hash == symbol_hash(symbol))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_fits_once_a_block_is_suspected() {
        let (symbol, other) = ([1; 8], [2; 8]);
        let hashes = |k, first| SymbolHashes {
            block: 0,
            k,
            first,
            hashes: vec![symbol_hash(&symbol)],
        };
        let mut pollution = Pollution::default();
        assert!(!pollution.take(&hashes(2, 0)) && pollution.fits(0, &other));
        pollution = Pollution::Suspected;
        assert!(!pollution.fits(0, &symbol));
        assert!(pollution.take(&hashes(2, 1)));
        assert!(pollution.fits(1, &symbol) && !pollution.fits(1, &other));
        assert!(!pollution.fits(0, &symbol), "its hash did not come yet");
        assert!(!pollution.take(&hashes(3, 0)), "of another size");
    }
}
