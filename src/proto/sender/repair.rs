//! Repair: from what receivers lack to the symbols that make up for it.

use std::collections::VecDeque;

use super::block_ring::{BlockRing, OutgoingSymbol};
use crate::fec;

/// What the sender knows of a receiver that asks for repair symbols.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct RepairRequest {
    /// It has reported on every transmission below this one.
    pub(in crate::proto) reported_end: u64,
    /// The share of datagrams that it loses.
    pub(in crate::proto) loss: f64,
    /// A second request would cost it time, or others a datagram each: it should need none.
    pub(in crate::proto) no_second_chance: bool,
}

impl RepairRequest {
    /// How many symbols to send so that `need` of them arrive: on average, or most probably.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small positive numbers"
    )]
    fn symbols_for(self, need: usize) -> u16 {
        let loss = self.loss.clamp(0.0, 0.5);
        let expected = need as f64 / (1.0 - loss);
        let symbols = if self.no_second_chance {
            (expected + 2.0 * (expected * loss).sqrt()).ceil()
        } else {
            expected.round()
        };
        symbols.min(f64::from(u16::MAX / 2)) as u16
    }
}

/// Repair symbols that are to be sent, and source symbols that are to be sent once more.
#[derive(Debug, Default)]
pub(in crate::proto) struct RepairQueue {
    /// Blocks with pending repair symbols, which take turns; some may be gone or have none any
    /// more.
    blocks: VecDeque<u32>,
    /// Pending repair symbols of all blocks.
    pending: usize,
    /// Blocks whose source symbols are sent once more, and the next of them.
    resend: VecDeque<(u32, u16)>,
    resent_last: bool,
    /// How often a block came to have pending symbols on request.
    rounds: u64,
}

impl RepairQueue {
    /// Whether nothing is to be sent.
    pub(in crate::proto) fn is_empty(&self) -> bool {
        self.pending == 0 && self.resend.is_empty()
    }

    /// Repair rounds so far: how often a block came to have pending symbols on request.
    pub(in crate::proto) fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Queues so many repair symbols of this block.
    pub(in crate::proto) fn push(&mut self, ring: &mut BlockRing, number: u32, more: u16) {
        let Some(block) = ring.get_mut(number).filter(|_| more > 0) else {
            return;
        };
        let before = block.repair_pending;
        block.repair_pending = before.saturating_add(more);
        self.pending += usize::from(block.repair_pending - before);
        if before == 0 {
            self.blocks.push_back(number);
        }
        debug_assert_eq!(self.pending, ring.repair_pending());
    }

    /// A receiver lacks `need` symbols of this block: queues as many as are not under way already.
    pub(in crate::proto) fn request(
        &mut self,
        ring: &mut BlockRing,
        number: u32,
        need: u16,
        request: RepairRequest,
    ) -> u16 {
        let Some(block) = ring.get_mut(number) else {
            return 0;
        };
        let sent = &block.repairs_sent;
        let reported = sent.partition_point(|&sequence| sequence < request.reported_end);
        let under_way = sent.len() - reported;
        let coming = under_way + usize::from(block.repair_pending);
        let lacking = usize::from(need.min(block.k)).saturating_sub(coming);
        if lacking == 0 {
            return 0;
        }
        // What it lacks, and what it had before.
        let had = usize::from(block.next_row).saturating_sub(under_way);
        let needed = u16::try_from(had).unwrap_or(u16::MAX).saturating_add(need);
        block.needed = block.needed.max(Some(needed));
        self.rounds += u64::from(block.repair_pending == 0);
        let symbols = request.symbols_for(lacking);
        self.push(ring, number, symbols);
        symbols
    }

    /// Whether the source symbols of this block are to be sent once more already.
    pub(in crate::proto) fn resends(&self, number: u32) -> bool {
        self.resend.iter().any(|&(block, _)| block == number)
    }

    /// Queues all source symbols of this block once more.
    pub(in crate::proto) fn push_resend(&mut self, number: u32) {
        self.resend.push_back((number, 0));
    }

    /// The symbol to send next; it will have this sequence number, and every receiver has reported
    /// on those below `reported_end`.
    pub(in crate::proto) fn next(
        &mut self,
        ring: &mut BlockRing,
        sequence: u64,
        reported_end: u64,
    ) -> Option<OutgoingSymbol> {
        // In turns: a member that asks for source symbols without end must not keep repair from
        // the others.
        self.resent_last = !self.resent_last;
        if (self.resent_last || self.pending == 0)
            && let Some(symbol) = self.next_resend(ring)
        {
            return Some(symbol);
        }
        while let Some(number) = self.blocks.pop_front() {
            let Some(block) = ring.get_mut(number).filter(|b| b.repair_pending > 0) else {
                continue;
            };
            let row = block.next_row;
            block.next_row = if usize::from(row) + usize::from(block.k) + 1 < fec::ROWS_MAX {
                row + 1
            } else {
                0
            };
            block.repair_pending -= 1;
            let sent = &mut block.repairs_sent;
            while sent.front().is_some_and(|&old| old < reported_end) {
                sent.pop_front();
            }
            debug_assert!(sent.back().is_none_or(|&last| last <= sequence));
            sent.push_back(sequence);
            let following = block.repair_pending;
            debug_assert!(self.pending > 0);
            self.pending -= 1;
            if following > 0 {
                self.blocks.push_back(number);
            }
            return Some(OutgoingSymbol {
                block: number,
                number: u16::MAX - row,
                following,
                repair: true,
                auto_parity: 0,
            });
        }
        None
    }

    fn next_resend(&mut self, ring: &BlockRing) -> Option<OutgoingSymbol> {
        loop {
            let (number, next) = *self.resend.front()?;
            let Some(k) = ring.get(number).map(|b| b.k).filter(|&k| next < k) else {
                self.resend.pop_front();
                continue;
            };
            if let Some((_, next)) = self.resend.front_mut() {
                *next += 1;
            }
            return Some(OutgoingSymbol {
                block: number,
                number: next,
                following: k - 1 - next,
                repair: false,
                auto_parity: 0,
            });
        }
    }

    /// A block with so many pending repair symbols is gone.
    pub(in crate::proto) fn on_released(&mut self, pending: u16) {
        debug_assert!(self.pending >= usize::from(pending));
        self.pending -= usize::from(pending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_allowed_for() {
        let symbols = |no_second_chance, need, loss| {
            let request = RepairRequest {
                reported_end: 0,
                loss,
                no_second_chance,
            };
            request.symbols_for(need)
        };
        assert_eq!((symbols(true, 1, 0.0), symbols(true, 10, 0.0)), (1, 10));
        assert_eq!(
            (symbols(true, 10, 0.05), symbols(false, 10, 0.05)),
            (12, 11)
        );
        assert_eq!(symbols(false, 1, 0.05), 1);
        assert!(symbols(true, 10, 0.9) < 30);
    }

    #[test]
    fn blocks_take_turns_and_what_is_gone_is_passed_over() {
        let mut ring = BlockRing::default();
        let mut queue = RepairQueue::default();
        for _ in 0..3 {
            ring.push(vec![0; 40], 4);
        }
        for number in 0..3 {
            queue.push(&mut ring, number, 2);
        }
        let gone = ring.pop().unwrap();
        queue.on_released(gone.repair_pending);
        let sent = std::iter::from_fn(|| queue.next(&mut ring, 9, 0));
        let order: Vec<_> = sent.map(|s| (s.block, s.following)).collect();
        assert_eq!(order, [(1, 1), (2, 1), (1, 0), (2, 0)]);
        assert!(queue.is_empty());
    }
}
