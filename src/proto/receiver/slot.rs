//! A block in the making.

use crate::proto::block::symbol_hash;
use crate::units::Instant;
use crate::wire::SYMBOL_HASH_LEN;

/// One block in the making.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Symbols one after the other; empty until the first one comes.
    pub(super) bytes: Vec<u8>,
    /// Which source symbols are there, a bit each.
    pub(super) have: Vec<u64>,
    pub(super) count: u16,
    /// The block's source symbols, once known.
    pub(super) k: Option<u16>,
    pub(super) repairs: Vec<(u16, Vec<u8>)>,
    /// Repair symbols that are to come unasked, until one of them says how many are left.
    pub(super) pledge: u16,
    /// Its first pass is over: what is missing was lost.
    pub(super) over: bool,
    pub(super) nack_at: Option<Instant>,
    pub(super) retries: u32,
    /// What the sender signed about each symbol, as far as it is known: set once the block was put
    /// together and is not what the sender made. Only symbols that fit count then.
    pub(super) manifest: Option<Vec<Option<SymbolHash>>>,
}

pub(super) type SymbolHash = [u8; SYMBOL_HASH_LEN];

impl Slot {
    pub(super) fn has(&self, number: u16) -> bool {
        let word = self
            .have
            .get(usize::from(number / 64))
            .copied()
            .unwrap_or(0);
        word >> (number % 64) & 1 != 0
    }

    /// Symbols that it lacks; nothing as long as its size is not known.
    pub(super) fn lacks(&self) -> Option<u16> {
        if self.manifest.as_ref().is_some_and(Vec::is_empty) {
            return Some(1);
        }
        let there = usize::from(self.count) + self.repairs.len();
        Some(
            self.k?
                .saturating_sub(u16::try_from(there).unwrap_or(u16::MAX)),
        )
    }
}

impl Slot {
    /// Nothing in it counts until the sender's hashes are there.
    pub(super) fn doubt(&mut self) {
        if self.manifest.is_none() {
            self.manifest = Some(Vec::new());
            self.forget();
            self.over = true;
            (self.nack_at, self.retries) = (None, 0);
        }
    }

    pub(super) fn forget(&mut self) {
        self.have.fill(0);
        self.count = 0;
        self.repairs = Vec::new();
    }

    pub(super) fn mark(&mut self, number: u16) {
        let at = usize::from(number);
        if !self.has(number) {
            self.have[at / 64] |= 1 << (at % 64);
            self.count += 1;
        }
    }

    /// Whether a source symbol is the sender's, as far as that is in doubt.
    pub(super) fn fits(&self, number: u16, symbol: &[u8]) -> bool {
        self.manifest.as_ref().is_none_or(|hashes| {
            let hash = hashes.get(usize::from(number)).copied().flatten();
            hash.is_some_and(|hash| hash == symbol_hash(symbol))
        })
    }
}
