//! Blocks of which a member has sent a symbol in the sender's name: the hashes that the sender
//! signed tell which are true.

use super::Gather;
use crate::wire::SymbolHashes;

impl Gather {
    /// A symbol of `block` has shown that a member lies: the sender's hashes decide. Nothing where
    /// the sender does not sign.
    pub(in crate::proto::receiver) fn doubt(&mut self, block: u32) {
        if self.can_refetch()
            && block >= self.first
            && let Some(slot) = self.slot(block)
        {
            slot.doubt();
            self.alarm = None;
        }
    }

    /// Takes the sender's hashes of a block in, which it has signed, if the block is in doubt.
    pub(in crate::proto::receiver) fn take_manifest(&mut self, manifest: &SymbolHashes) {
        let (k_max, len) = (self.k, usize::from(self.symbol_len));
        let in_doubt = manifest.block >= self.first && manifest.k <= k_max;
        let Some(slot) = self.slot(manifest.block).filter(|_| in_doubt) else {
            return;
        };
        let Some(hashes) = &mut slot.manifest else {
            return;
        };
        let k = usize::from(manifest.k);
        if !hashes.is_empty() && hashes.len() != k {
            // A signer who contradicts itself: the block will never check.
            return;
        }
        hashes.resize(k, None);
        for (hash, signed) in hashes[usize::from(manifest.first)..]
            .iter_mut()
            .zip(&manifest.hashes)
        {
            *hash = Some(*signed);
        }
        slot.k = Some(manifest.k);
        slot.bytes.resize(usize::from(k_max) * len, 0);
        slot.have.resize(usize::from(k_max).div_ceil(64), 0);
        // What is there already, whoever sent it, is good if it fits.
        for number in (manifest.first..manifest.k).take(manifest.hashes.len()) {
            if slot.fits(number, &slot.bytes[usize::from(number) * len..][..len]) {
                slot.mark(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LEN, announce, source, stream};
    use super::super::{Pulled, Taken};
    use super::*;
    use crate::crypt::sign::SigningKey;
    use crate::proto::block::symbol_hash;
    use crate::wire::{End, SYMBOL_HASH_LEN};

    #[test]
    fn a_signer_that_contradicts_itself_does_no_harm() {
        let key = SigningKey::from_seed([1; 32]).public();
        let mut g = Gather::new(&announce(1), 8, Some(key));
        let junk = vec![7; usize::from(LEN)];
        let (blocks, end) = stream();
        for symbol in 0..4 {
            let (header, _) = source(&blocks, 0, symbol);
            assert_eq!(g.take(&header, &junk), Taken::Kept);
        }
        assert!(matches!(g.pull(), Pulled::Nothing), "now in doubt");
        let hash = symbol_hash(&junk);
        let manifest = |k, first, hashes| SymbolHashes {
            block: 0,
            k,
            first,
            hashes,
        };
        g.take_manifest(&manifest(4, 2, vec![hash; 2]));
        g.take_manifest(&manifest(2, 0, vec![[0; SYMBOL_HASH_LEN]; 2]));
        assert!(matches!(g.pull(), Pulled::Nothing));
        let end = End {
            blocks: 1,
            last_k: 2,
            ..end
        };
        assert!(!g.finish(end), "another size than the manifest's");
    }
}
