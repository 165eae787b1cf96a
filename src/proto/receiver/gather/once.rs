//! What is different where nothing comes again: when a block is lost, and why.

use super::Gather;
use crate::proto::event::ReceiverEnd;
use crate::proto::limits::ONE_WAY_REORDER;
use crate::units::Instant;

/// How far a one-way session is.
#[derive(Debug, Default)]
pub(super) struct Once {
    /// All symbols of the blocks below it were sent.
    sent_below: u32,
    /// So were those of all others.
    all_sent: bool,
    /// There was no room for a symbol of this block, and perhaps of later ones, since the consumer
    /// had yet to take one that was complete.
    no_room_for: Option<u32>,
    /// The block that is next lacks something although all of it was sent, and is waited for until
    /// then.
    overdue: Option<(u32, Instant)>,
}

/// What is to be expected of a one-way session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto::receiver) enum Outlook {
    /// Nothing speaks against its becoming complete.
    Good,
    /// A block is lost if nothing more of it comes until then.
    Doubtful(Instant),
    /// It will not.
    Short(Shortfall),
}

/// Why a one-way session does not become complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto::receiver) enum Shortfall {
    /// This block lacks so many symbols for good.
    Lost { block: u32, lacks: u16 },
    /// This block found no room.
    Overrun { block: u32 },
}

impl From<Shortfall> for ReceiverEnd {
    fn from(why: Shortfall) -> Self {
        match why {
            Shortfall::Lost { block, lacks } => Self::Lost { block, lacks },
            Shortfall::Overrun { block } => Self::Overrun { block },
        }
    }
}

impl Gather {
    /// All symbols of the blocks below `end` were sent.
    pub(in crate::proto::receiver) fn sent(&mut self, end: u32) {
        if let Some(once) = &mut self.once {
            once.sent_below = once.sent_below.max(end);
        }
    }

    /// All blocks of a group but the first ones may be under way when a symbol of `block` comes;
    /// those that are a whole group before it are over.
    pub(in crate::proto::receiver) fn sent_before(&mut self, block: u32) {
        let depth = self.depth;
        self.sent(block.saturating_add(1).saturating_sub(depth));
    }

    /// Everything was sent.
    pub(in crate::proto::receiver) fn sent_all(&mut self) {
        if let Some(once) = &mut self.once {
            once.all_sent = true;
        }
    }

    /// There was no room for a symbol of `block`.
    pub(super) fn refused(&mut self, block: u32) {
        let waits = self.slots.front().is_some_and(|s| s.lacks() == Some(0));
        if let Some(once) = self.once.as_mut().filter(|_| waits) {
            let first = once.no_room_for.map_or(block, |b| b.min(block));
            once.no_room_for = Some(first);
        }
    }

    /// Whether every block up to the end is here, though perhaps not handed out.
    pub(in crate::proto::receiver) fn has_all(&self) -> bool {
        let Some(end) = self.end else { return false };
        (self.first..end.blocks).all(|block| self.lacks_of(block) == 0)
    }

    /// What a block of those that are not handed out lacks.
    fn lacks_of(&self, block: u32) -> u16 {
        let at = usize::try_from(block.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let Some(slot) = self.slots.get(at) else {
            return self.k;
        };
        // Of a size that nobody has told, it is taken for whole.
        let there = u16::try_from(slot.repairs.len()).unwrap_or(u16::MAX);
        let whole = || self.k.saturating_sub(slot.count).saturating_sub(there);
        slot.lacks().unwrap_or_else(whole)
    }

    /// Looks at what a one-way session still lacks; nothing is lacking in any other.
    pub(in crate::proto::receiver) fn outlook(&mut self, now: Instant) -> Outlook {
        let Some(once) = &self.once else {
            return Outlook::Good;
        };
        let (all_sent, below, overdue) = (once.all_sent, once.sent_below, once.overdue);
        let end = self.end.map_or(below, |end| end.blocks);
        // With the end in sight the consumer need not come to a block that is lost.
        let looked_at = if all_sent {
            self.first..end
        } else {
            self.first..below.min(self.first.saturating_add(1))
        };
        let mut lacking = looked_at.map(|block| (block, self.lacks_of(block)));
        let Some((block, lacks)) = lacking.find(|&(_, lacks)| lacks > 0) else {
            return Outlook::Good;
        };
        let until = overdue
            .filter(|&(b, _)| b == block)
            .map_or(now + ONE_WAY_REORDER, |(_, at)| at);
        if now < until {
            if let Some(once) = &mut self.once {
                once.overdue = Some((block, until));
            }
            return Outlook::Doubtful(until);
        }
        Outlook::Short(self.verdict(block, lacks))
    }

    /// Why a one-way session is not complete, now that nothing more comes; nothing when not even
    /// its end is known.
    pub(in crate::proto::receiver) fn shortfall(&self) -> Option<Shortfall> {
        let end = self.end.filter(|_| self.once.is_some())?;
        let mut blocks = self.first..end.blocks;
        let block = blocks.find(|&block| self.lacks_of(block) > 0)?;
        Some(self.verdict(block, self.lacks_of(block)))
    }

    fn verdict(&self, block: u32, lacks: u16) -> Shortfall {
        let no_room = self.once.as_ref().and_then(|once| once.no_room_for);
        if no_room.is_some_and(|first| first <= block) {
            Shortfall::Overrun { block }
        } else {
            Shortfall::Lost { block, lacks }
        }
    }
}
