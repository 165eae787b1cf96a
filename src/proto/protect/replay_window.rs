//! The window that finds repeated datagrams: RFC 4303 section 3.4.3; in signed sessions held in
//! place by what the signer says.

use crate::proto::limits::SIGNED_AHEAD_MAX as AHEAD;

/// Sequence numbers further back than this are not told from replays, and dropped.
const BACK: u64 = 1 << 16;

/// What holds the window in place.
#[derive(Clone, Copy, Debug)]
enum Anchor {
    /// It slides with the highest number heard.
    Highest,
    /// It slides with the highest number that was signed, so that a member which makes up datagrams
    /// cannot move it.
    Signed(u64),
}

/// A bit for each of the numbers of a window, by its remainder.
#[derive(Clone, Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: u64) -> Self {
        Self(vec![0; usize::try_from(len / 64).unwrap_or(0)])
    }

    fn len(&self) -> u64 {
        self.0.len() as u64 * 64
    }

    fn place(&self, sequence: u64) -> (usize, u64) {
        let bit = sequence % self.len();
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    }

    fn get(&self, sequence: u64) -> bool {
        let (word, mask) = self.place(sequence);
        self.0[word] & mask != 0
    }

    fn set(&mut self, sequence: u64) {
        let (word, mask) = self.place(sequence);
        self.0[word] |= mask;
    }

    /// Clears the bits of the numbers from `start` up to `end`.
    fn clear(&mut self, start: u64, end: u64) {
        if end - start >= self.len() {
            self.0.fill(0);
            return;
        }
        for sequence in start..end {
            let (word, mask) = self.place(sequence);
            self.0[word] &= !mask;
        }
    }
}

/// The sequence numbers that were heard, so that no datagram counts twice.
#[derive(Clone, Debug)]
pub(in crate::proto) struct ReplayWindow {
    anchor: Anchor,
    /// One more than the highest number that may be told to the sender.
    end: u64,
    /// Numbers above the anchor that were heard since it moved.
    above: u64,
    heard: Bits,
    /// Those of datagrams that were signed: a member that uses such a number first must not keep
    /// out what the signer says under it.
    signed: Bits,
}

impl ReplayWindow {
    /// The window of a session that has no signer.
    pub(in crate::proto) fn new() -> Self {
        Self::with(Anchor::Highest, BACK)
    }

    /// The window of a session whose signer says that `sequence` is next.
    pub(in crate::proto) fn signed(sequence: u64) -> Self {
        Self::with(Anchor::Signed(sequence), (BACK + AHEAD).next_power_of_two())
    }

    fn with(anchor: Anchor, len: u64) -> Self {
        Self {
            anchor,
            end: 0,
            above: 0,
            heard: Bits::new(len),
            signed: Bits::new(len),
        }
    }

    /// One more than the highest sequence number heard, or 0. In a signed session a number that is
    /// not signed counts one, however high it is.
    pub(in crate::proto) fn end(&self) -> u64 {
        self.end
    }

    /// Whether a datagram of this number may still be new; `signed` if its signature is to be
    /// checked, or was found right.
    pub(in crate::proto) fn is_new(&self, sequence: u64, signed: bool) -> bool {
        let (top, end) = match self.anchor {
            Anchor::Highest => (self.end, u64::MAX),
            Anchor::Signed(top) if signed => (top, u64::MAX),
            Anchor::Signed(top) => (top, self.bits_end()),
        };
        let is_recent = sequence.saturating_add(BACK) >= top && sequence < end;
        let was_heard = || self.signed.get(sequence) || !signed && self.heard.get(sequence);
        is_recent && (sequence >= self.bits_end() || !was_heard())
    }

    /// Marks a number, which is authentic, as heard; `signed` if a signature says so. Returns
    /// whether it is the first datagram of this number.
    pub(in crate::proto) fn mark(&mut self, sequence: u64, signed: bool) -> bool {
        debug_assert!(self.is_new(sequence, signed), "{sequence} was heard before");
        let before = self.bits_end();
        let known = sequence < before && self.heard.get(sequence);
        match &mut self.anchor {
            Anchor::Highest => self.end = self.end.max(sequence + 1),
            Anchor::Signed(top) => {
                if signed && sequence > *top {
                    (*top, self.above) = (sequence, 0);
                } else if sequence > *top {
                    self.above += u64::from(!known);
                }
                self.end = self.end.max(sequence.min(*top) + 1 + self.above);
            }
        }
        let end = self.bits_end();
        self.heard.clear(before, end);
        self.signed.clear(before, end);
        match signed {
            true => self.signed.set(sequence),
            false => self.heard.set(sequence),
        }
        !known
    }

    /// The numbers from this one on have no bit yet.
    fn bits_end(&self) -> u64 {
        match self.anchor {
            Anchor::Highest => self.end,
            Anchor::Signed(top) => top.saturating_add(AHEAD + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Marks numbers that wander upwards; each must be new exactly once.
    fn wander(mut window: ReplayWindow, from: u64) -> ReplayWindow {
        let mut model = BTreeSet::new();
        let mut random = 1u64;
        for n in 0..20_000u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (sequence, signed) = (from + n * 20 + (random >> 33) % 3_000, n % 50 == 0);
            if window.is_new(sequence, signed) {
                let is_first = window.mark(sequence, signed);
                assert_eq!(is_first, model.insert(sequence), "{sequence}");
                assert!(is_first || signed, "{sequence} twice");
            } else {
                assert!(model.contains(&sequence), "{sequence} lost");
            }
        }
        window
    }

    #[test]
    fn a_sequence_number_counts_once() {
        let mut window = wander(ReplayWindow::new(), 0);
        window.mark(1 << 40, false);
        assert!(!window.is_new(1 << 40, false) && !window.is_new(5, false));
        assert!(window.is_new((1 << 40) - 1, false));
        wander(ReplayWindow::signed(0), 0);
        wander(ReplayWindow::signed(1 << 40), 1 << 40);
    }

    #[test]
    fn only_what_is_signed_moves_a_signed_window() {
        let mut window = wander(ReplayWindow::signed(0), 0);
        let top = 50 * 399 * 20;
        // A member says that everything is far ahead, as far as it can.
        assert!(!window.is_new((1 << 48) - 2, false));
        window.mark(top + AHEAD, false);
        let genuine = (400_000 - 1_000..400_000).rev();
        let heard = genuine.filter(|&sequence| window.is_new(sequence + 5_000, false));
        assert!(heard.count() > 900);
        // Numbers that a member used first are the signer's all the same.
        assert!(window.is_new(top + AHEAD, true) && !window.is_new(top + AHEAD, false));
        assert!(window.end() < 500_000, "{}", window.end());
        assert!(!window.clone().mark(top + AHEAD, true));
        // What the signer says is true however far it is.
        window.mark(1 << 40, true);
        assert!(!window.is_new(1 << 40, true) && !window.is_new(top, true));
        assert!(window.is_new((1 << 40) - 1, false) && window.is_new((1 << 40) + 1, false));
        assert!(!window.is_new((1 << 40) - BACK - 1, false));
    }
}
