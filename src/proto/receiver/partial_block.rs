//! A block of which symbols are still to come.

use super::polluted::Pollution;
use crate::units::Instant;

/// One block as far as it came.
#[derive(Debug, Default)]
pub(super) struct PartialBlock {
    /// Symbols one after the other; empty until the first one comes.
    pub(super) bytes: Vec<u8>,
    /// Which source symbols are there, a bit each.
    pub(super) have: Vec<u64>,
    /// How many of them.
    pub(super) count: u16,
    /// The block's source symbols, once known.
    pub(super) k: Option<u16>,
    /// Repair symbols: the row of the code, and the bytes.
    pub(super) repairs: Vec<(u16, Vec<u8>)>,
    /// Proactive repair symbols that are to come, until one of them says how many follow.
    pub(super) auto_parity: u16,
    /// Its first transmission is over: what is missing was lost.
    pub(super) first_transmission_over: bool,
    /// When what it lacks is asked for.
    pub(super) nack_at: Option<Instant>,
    /// How often it was asked for.
    pub(super) retries: u32,
    pub(super) pollution: Pollution,
}

impl PartialBlock {
    pub(super) fn has(&self, number: u16) -> bool {
        let word = self.have.get(usize::from(number / 64));
        word.copied().unwrap_or(0) >> (number % 64) & 1 != 0
    }

    /// Symbols that are there, of either kind.
    fn there(&self) -> u16 {
        let repairs = u16::try_from(self.repairs.len()).unwrap_or(u16::MAX);
        self.count.saturating_add(repairs)
    }

    /// Symbols that it lacks; nothing as long as its size is not known.
    pub(super) fn lacks(&self) -> Option<u16> {
        if self.pollution.awaits_hashes() {
            return Some(1);
        }
        Some(self.k?.saturating_sub(self.there()))
    }

    /// Symbols that it lacks if it is of `k_max` symbols, should its size not be known.
    pub(super) fn lacks_at_most(&self, k_max: u16) -> u16 {
        let whole = k_max.saturating_sub(self.there());
        self.lacks().unwrap_or(whole)
    }

    /// Makes room for `k_max` symbols of `len` bytes, in `bytes` if it has no buffer yet.
    pub(super) fn reserve(&mut self, bytes: Vec<u8>, k_max: u16, len: usize) {
        if self.bytes.is_empty() {
            self.bytes = bytes;
        }
        self.bytes.resize(usize::from(k_max) * len, 0);
        self.have.resize(usize::from(k_max).div_ceil(64), 0);
    }

    /// Nothing in it counts until the sender's hashes are there.
    pub(super) fn suspect(&mut self) {
        if !self.pollution.is_suspected() {
            self.pollution = Pollution::Suspected;
            self.have.fill(0);
            self.count = 0;
            self.repairs = Vec::new();
            self.first_transmission_over = true;
            (self.nack_at, self.retries) = (None, 0);
        }
    }

    /// The bytes of a source symbol are there.
    pub(super) fn mark(&mut self, number: u16) {
        let at = usize::from(number);
        if !self.has(number) {
            self.have[at / 64] |= 1 << (at % 64);
            self.count += 1;
        }
        let have = || self.have.iter().map(|word| word.count_ones()).sum::<u32>();
        debug_assert_eq!(u32::from(self.count), have());
        debug_assert!(self.k.is_none_or(|k| self.count <= k));
    }
}
