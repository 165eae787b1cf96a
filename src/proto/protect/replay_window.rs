//! The window that finds repeated datagrams: RFC 4303 section 3.4.3.

/// Sequence numbers further back than this are not told from replays, and dropped.
const WINDOW_LEN: u64 = 1 << 16;

/// The sequence numbers that were heard: a window that slides with the highest of them, so that no
/// datagram counts twice.
#[derive(Clone, Debug)]
pub(in crate::proto) struct ReplayWindow {
    end: u64,
    /// A bit each for the last [`WINDOW_LEN`] numbers, by their remainder.
    bits: Vec<u64>,
}

impl ReplayWindow {
    pub(in crate::proto) fn new() -> Self {
        Self {
            end: 0,
            bits: vec![0; usize::try_from(WINDOW_LEN / 64).unwrap_or(0)],
        }
    }

    /// One more than the highest sequence number heard, or 0.
    pub(in crate::proto) fn end(&self) -> u64 {
        self.end
    }

    /// Whether `sequence` may still be new.
    pub(in crate::proto) fn is_new(&self, sequence: u64) -> bool {
        sequence >= self.end || (self.end - sequence <= WINDOW_LEN && !self.bit(sequence))
    }

    /// Marks `sequence`, which is authentic, as heard.
    pub(in crate::proto) fn mark(&mut self, sequence: u64) {
        debug_assert!(self.is_new(sequence), "{sequence} was heard before");
        if sequence >= self.end {
            if sequence - self.end >= WINDOW_LEN {
                self.bits.fill(0);
            } else {
                for skipped in self.end..=sequence {
                    self.set(skipped, false);
                }
            }
            self.end = sequence + 1;
        }
        self.set(sequence, true);
    }

    fn place(&self, sequence: u64) -> (usize, u64) {
        let bit = sequence % WINDOW_LEN;
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    }

    fn bit(&self, sequence: u64) -> bool {
        let (word, mask) = self.place(sequence);
        self.bits[word] & mask != 0
    }

    fn set(&mut self, sequence: u64, on: bool) {
        let (word, mask) = self.place(sequence);
        if on {
            self.bits[word] |= mask;
        } else {
            self.bits[word] &= !mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_sequence_number_counts_once() {
        let mut window = ReplayWindow::new();
        let mut model = BTreeSet::new();
        let mut sequence = 1u64;
        for n in 0..20_000u64 {
            sequence = sequence
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let candidate = n * 20 + (sequence >> 33) % 3_000;
            if window.is_new(candidate) {
                assert!(model.insert(candidate), "{candidate} twice");
                window.mark(candidate);
            } else {
                assert!(model.contains(&candidate), "{candidate} lost");
            }
        }
        window.mark(1 << 40);
        assert!(!window.is_new(1 << 40) && !window.is_new(5));
        assert!(window.is_new((1 << 40) - 1));
    }
}
