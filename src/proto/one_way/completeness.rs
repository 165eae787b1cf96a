//! Whether a one-way stream will be complete: nothing comes again, so that a block is lost once all
//! of it was sent.

use crate::proto::event::ReceiverEnd;
use crate::proto::limits::ONE_WAY_REORDER;
use crate::proto::receiver::Reassembler;
use crate::units::Instant;

/// How far a one-way session is.
#[derive(Debug, Default)]
pub(super) struct SentSoFar {
    /// All symbols of the blocks below it were sent.
    below: u32,
    /// So were those of all others.
    all: bool,
    /// There was no room for a symbol of this block, and perhaps of later ones, since the consumer
    /// had yet to take one that was complete.
    no_room_for: Option<u32>,
    /// The block that is next lacks something although all of it was sent, and is waited for until
    /// then.
    overdue: Option<(u32, Instant)>,
}

/// What is to be expected of a one-way session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completeness {
    /// Nothing speaks against its becoming complete.
    Expected,
    /// A block is lost if nothing more of it comes until then.
    Doubtful(Instant),
    /// It will not.
    Failed(Unrecoverable),
}

/// Why a one-way session does not become complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unrecoverable {
    /// This block lacks so many symbols for good.
    Lost { block: u32, lacks: u16 },
    /// This block found no room.
    Overrun { block: u32 },
}

impl From<Unrecoverable> for ReceiverEnd {
    fn from(why: Unrecoverable) -> Self {
        match why {
            Unrecoverable::Lost { block, lacks } => Self::Lost { block, lacks },
            Unrecoverable::Overrun { block } => Self::Overrun { block },
        }
    }
}

impl SentSoFar {
    /// All symbols of the blocks below `end` were sent.
    pub(super) fn on_sent(&mut self, end: u32) {
        self.below = self.below.max(end);
    }

    /// Everything was sent.
    pub(super) fn on_all_sent(&mut self) {
        self.all = true;
    }

    /// There was no room for a symbol of `block`.
    pub(super) fn on_no_room(&mut self, block: u32, reassembler: &Reassembler) {
        if reassembler.has_next() {
            let first = self.no_room_for.map_or(block, |b| b.min(block));
            self.no_room_for = Some(first);
        }
    }

    /// Looks at what is still lacking.
    pub(super) fn check(&mut self, now: Instant, reassembler: &Reassembler) -> Completeness {
        let first = reassembler.next();
        let end = reassembler.end().map_or(self.below, |end| end.blocks);
        // With the end in sight the consumer need not come to a block that is lost.
        let looked_at = match self.all {
            true => first..end,
            false => first..self.below.min(first.saturating_add(1)),
        };
        let mut lacking = looked_at.map(|block| (block, reassembler.lacks(block)));
        let Some((block, lacks)) = lacking.find(|&(_, lacks)| lacks > 0) else {
            return Completeness::Expected;
        };
        let overdue = self.overdue.filter(|&(b, _)| b == block);
        let until = overdue.map_or(now + ONE_WAY_REORDER, |(_, at)| at);
        if now < until {
            self.overdue = Some((block, until));
            return Completeness::Doubtful(until);
        }
        Completeness::Failed(self.why(block, lacks))
    }

    /// Why the stream is not complete, now that nothing more comes; nothing when not even its end
    /// is known.
    pub(super) fn shortfall(&self, reassembler: &Reassembler) -> Option<Unrecoverable> {
        let mut blocks = reassembler.next()..reassembler.end()?.blocks;
        let block = blocks.find(|&block| reassembler.lacks(block) > 0)?;
        Some(self.why(block, reassembler.lacks(block)))
    }

    fn why(&self, block: u32, lacks: u16) -> Unrecoverable {
        match self.no_room_for {
            Some(first) if first <= block => Unrecoverable::Overrun { block },
            _ => Unrecoverable::Lost { block, lacks },
        }
    }
}

/// Whether every block up to the end is here, though perhaps not handed out.
pub(super) fn has_all(reassembler: &Reassembler) -> bool {
    let end = reassembler.end();
    end.is_some_and(|end| (reassembler.next()..end.blocks).all(|b| reassembler.lacks(b) == 0))
}
