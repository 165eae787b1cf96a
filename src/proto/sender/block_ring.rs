//! The closed blocks that a sender keeps.

use std::collections::VecDeque;

use crate::fec;
use crate::units::Instant;

/// A symbol that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct OutgoingSymbol {
    pub(in crate::proto) block: u32,
    /// A source symbol counts up from 0; repair row j is 65,535 − j.
    pub(in crate::proto) number: u16,
    /// Symbols of the block that follow in this round.
    pub(in crate::proto) following: u16,
    /// It is a repair symbol.
    pub(in crate::proto) repair: bool,
    /// Proactive repair symbols that will follow the block.
    pub(in crate::proto) auto_parity: u8,
}

/// A closed block.
#[derive(Debug)]
pub(in crate::proto) struct OutgoingBlock {
    /// Symbols one after the other.
    pub(in crate::proto) bytes: Vec<u8>,
    /// Source symbols.
    pub(in crate::proto) k: u16,
    /// Source symbols sent.
    pub(in crate::proto) sent: u16,
    /// The row of the code for the next repair symbol.
    pub(in crate::proto) next_row: u16,
    /// Repair symbols still to be sent.
    pub(in crate::proto) repair_pending: u16,
    /// Sequence numbers of its repair symbols that may be on their way, ascending.
    pub(in crate::proto) repairs_sent: VecDeque<u64>,
    /// When its hashes were sent, the last time.
    pub(in crate::proto) hashes_at: Option<Instant>,
    /// How often its hashes were sent.
    pub(in crate::proto) hashes_sent: u32,
    /// When its last source symbol was sent the first time.
    pub(in crate::proto) sent_at: Instant,
    /// Repair symbols that follow it without being asked for.
    pub(in crate::proto) proactive: u16,
    /// Symbols that its worst-off receiver needed beyond the first transmission, if they were more
    /// than the proactive ones.
    pub(in crate::proto) needed: Option<u16>,
}

/// Blocks with consecutive numbers.
#[derive(Debug, Default)]
pub(in crate::proto) struct BlockRing {
    blocks: VecDeque<OutgoingBlock>,
    first: u32,
}

impl BlockRing {
    /// The number of the first block.
    pub(in crate::proto) fn first(&self) -> u32 {
        self.first
    }

    /// The number after the last block.
    pub(in crate::proto) fn end(&self) -> u32 {
        self.first + u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    pub(in crate::proto) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Source symbols of the last block.
    pub(in crate::proto) fn last_k(&self) -> Option<u16> {
        self.blocks.back().map(|block| block.k)
    }

    pub(in crate::proto) fn get(&self, number: u32) -> Option<&OutgoingBlock> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.blocks.get(at)
    }

    pub(in crate::proto) fn get_mut(&mut self, number: u32) -> Option<&mut OutgoingBlock> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.blocks.get_mut(at)
    }

    /// Appends a block of `k` symbols.
    pub(in crate::proto) fn push(&mut self, bytes: Vec<u8>, k: u16) {
        self.blocks.push_back(OutgoingBlock {
            bytes,
            k,
            sent: 0,
            next_row: 0,
            repair_pending: 0,
            repairs_sent: VecDeque::new(),
            hashes_at: None,
            hashes_sent: 0,
            sent_at: Instant::ZERO,
            proactive: 0,
            needed: None,
        });
    }

    /// Takes the first block away.
    pub(in crate::proto) fn pop(&mut self) -> Option<OutgoingBlock> {
        let block = self.blocks.pop_front()?;
        self.first += 1;
        Some(block)
    }

    /// Pending repair symbols of all blocks.
    pub(in crate::proto) fn repair_pending(&self) -> usize {
        let pending = self.blocks.iter().map(|b| usize::from(b.repair_pending));
        pending.sum()
    }

    /// Appends the `len` bytes of a symbol.
    pub(in crate::proto) fn write(&self, symbol: OutgoingSymbol, len: usize, out: &mut Vec<u8>) {
        let Some(block) = self.get(symbol.block) else {
            return;
        };
        if symbol.repair {
            let start = out.len();
            out.resize(start + len, 0);
            fec::repair(&block.bytes, u16::MAX - symbol.number, &mut out[start..]);
        } else {
            let start = usize::from(symbol.number) * len;
            out.extend_from_slice(&block.bytes[start..start + len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_when_blocks_go() {
        let mut ring = BlockRing::default();
        for n in 0..3 {
            ring.push(vec![n; 8], 2);
        }
        assert_eq!(ring.pop().map(|block| block.bytes[0]), Some(0));
        assert_eq!((ring.first(), ring.end(), ring.len()), (1, 3, 2));
        assert!(ring.get(0).is_none() && ring.get(3).is_none());
        let symbol = OutgoingSymbol {
            block: 2,
            number: 1,
            following: 0,
            repair: false,
            auto_parity: 0,
        };
        let mut out = Vec::new();
        ring.write(symbol, 4, &mut out);
        ring.write(
            OutgoingSymbol {
                number: u16::MAX,
                repair: true,
                ..symbol
            },
            4,
            &mut out,
        );
        assert_eq!((out.len(), &out[..4]), (8, &[2; 4][..]));
    }
}
