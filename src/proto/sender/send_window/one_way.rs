//! What is different where nobody answers: groups wait for their blocks, are sent with all their
//! repair symbols, and then are over.

use super::SendWindow;
use crate::proto::config::OneWay;
use crate::proto::limits::ONE_WAY_COPIES;

impl SendWindow {
    /// Whether the first pass of a group has begun and is not over.
    pub(in super::super) fn in_group(&self) -> bool {
        self.edge < self.group_end
    }

    /// Blocks that are complete and belong to no group yet.
    pub(in super::super) fn ready(&self) -> u32 {
        self.end() - self.group_end.max(self.edge)
    }

    /// Whether no more blocks will come.
    pub(in super::super) fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// The first block of the newest group: nothing follows of those before it.
    pub(in super::super) fn group_start(&self) -> u32 {
        self.group_start
    }

    /// Owes a part of the last group once more, in repair symbols: all parts, one after each END
    /// but the last, make up for what it was shorter than the depth, as an outage hits few blocks
    /// harder than many.
    pub(in super::super) fn owe_again(&mut self, one_way: OneWay, depth: u32) {
        let (start, end) = (self.group_start, self.end());
        let short = u64::from(depth.saturating_sub(end - start));
        for number in start..end {
            let Some(block) = self.get(number).filter(|_| one_way.redundancy > 0) else {
                break;
            };
            let whole = u64::from(depth) * u64::from(ONE_WAY_COPIES - 1);
            let part = (u64::from(block.k) * short).div_ceil(whole);
            self.owe(number, u16::try_from(part).unwrap_or(u16::MAX));
        }
    }
}
