//! Blocks that a receiver puts together, and hands out in order.

mod doubt;
mod once;

use std::collections::VecDeque;

use self::once::Once;
pub(super) use self::once::Outlook;
use super::slot::Slot;
use crate::crypt::sign::VerifyingKey;
use crate::fec;
use crate::proto::block::Chain;
use crate::proto::event::Delivery;
use crate::proto::limits::DEPTH_MAX;
use crate::units::{Duration, Instant};
use crate::wire::{Announce, End, MulticastHeader, Need, POLLUTED};

/// Buffers kept for the next blocks: a group's.
const SPARE_MAX: usize = DEPTH_MAX as usize;

/// What became of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was of use, or will be.
    Kept,
    /// It was here already, or its block is complete or gone.
    Needless,
    /// There is no room for its block.
    NoRoom,
    /// Its numbers are not of this session: only a member could have made it.
    Wrong,
    /// It gives its block another size than was known: one of the two is a member's lie.
    Clash,
}

/// What came out of [`Gather::pull`].
#[derive(Debug)]
pub(super) enum Pulled {
    Data { delivery: Delivery, repaired: bool },
    Nothing,
    Corrupt,
}

/// The blocks from the next one to hand out up to the end of the window.
#[derive(Debug)]
pub(super) struct Gather {
    k: u16,
    symbol_len: u16,
    depth: u32,
    blocks_max: u32,
    first: u32,
    slots: VecDeque<Slot>,
    /// The first pass of all blocks below it is over.
    over_below: u32,
    /// Blocks below it exist and are not the last, so that they have `k` symbols.
    full_below: u32,
    end: Option<End>,
    chain: Chain,
    signer: Option<VerifyingKey>,
    /// Nothing comes again, as it is a one-way session.
    once: Option<Once>,
    spare: Vec<Vec<u8>>,
    /// The end of the random delay before asking, while it lasts.
    ask_at: Option<Instant>,
    /// The earliest alarm, as long as nothing happened that may change it.
    alarm: Option<Option<Instant>>,
}

impl Gather {
    /// For the stream of a session, of which `blocks_max` blocks are kept.
    pub(super) fn new(
        announce: &Announce,
        blocks_max: usize,
        signer: Option<VerifyingKey>,
    ) -> Self {
        Self {
            k: announce.k,
            symbol_len: announce.symbol_len,
            depth: u32::from(announce.depth),
            blocks_max: u32::try_from(blocks_max).unwrap_or(u32::MAX),
            first: 0,
            slots: VecDeque::new(),
            over_below: 0,
            full_below: 0,
            end: None,
            chain: Chain::new(announce.series).in_session(announce.session),
            signer,
            once: announce.protection.one_way.then(Once::default),
            spare: Vec::new(),
            ask_at: None,
            alarm: None,
        }
    }

    /// Goes on with a stream of which this much was handed out already. Before anything came.
    pub(super) fn go_on(&mut self, so_far: Chain) {
        self.first = so_far.blocks();
        self.chain = so_far;
    }

    /// The stream so far.
    pub(super) fn chain(&self) -> Chain {
        self.chain
    }

    /// Symbols of a block, and bytes of a symbol.
    pub(super) fn shape(&self) -> (u16, u16) {
        (self.k, self.symbol_len)
    }

    /// The first block not handed out.
    pub(super) fn next(&self) -> u32 {
        self.first
    }

    /// The first block for which there is no room.
    pub(super) fn window_end(&self) -> u32 {
        self.first.saturating_add(self.blocks_max)
    }

    /// Bytes handed out.
    pub(super) fn length(&self) -> u64 {
        self.chain.length()
    }

    /// The digest, once everything was handed out and is what the sender said it would be.
    pub(super) fn complete(&self) -> Option<[u8; 32]> {
        let end = self.end.filter(|end| self.first == end.blocks)?;
        let genuine = end.blocks == 0
            || (end.digest == self.chain.digest() && end.length == self.chain.length());
        genuine.then(|| self.chain.digest())
    }

    /// Whether everything was handed out, but is not what the sender said it would be.
    pub(super) fn contradicts_end(&self) -> bool {
        self.end.is_some_and(|end| self.first >= end.blocks) && self.complete().is_none()
    }

    /// Whether a block in doubt can be had once more: the sender signs, and can be asked.
    fn can_refetch(&self) -> bool {
        self.signer.is_some() && self.once.is_none()
    }

    fn slot(&mut self, block: u32) -> Option<&mut Slot> {
        self.reach(block.checked_add(1)?);
        let at = usize::try_from(block.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(at)
    }

    /// Makes slots for the blocks below `end`, as far as there is room.
    fn reach(&mut self, end: u32) {
        let end = end.min(self.window_end());
        let count = usize::try_from(end.saturating_sub(self.first)).unwrap_or(0);
        if self.slots.len() < count {
            self.slots.resize_with(count, Slot::default);
            // There may have been no room for the last block when END told its size.
            if let Some(end) = self.end
                && let Some(last) = end.blocks.checked_sub(1)
                && let Some(at) = last.checked_sub(self.first)
                && let Some(slot) = self
                    .slots
                    .get_mut(usize::try_from(at).unwrap_or(usize::MAX))
            {
                slot.k.get_or_insert(end.last_k);
            }
        }
    }

    /// Takes a symbol in.
    pub(super) fn take(&mut self, header: &MulticastHeader, symbol: &[u8]) -> Taken {
        let source = header.symbol < self.k;
        let block_k = header
            .symbol
            .saturating_add(header.following)
            .saturating_add(1);
        let last = self.end.is_some_and(|end| header.block >= end.blocks);
        if symbol.len() != usize::from(self.symbol_len) || last || source == header.repair {
            return Taken::Wrong;
        }
        if source && block_k > self.k {
            return Taken::Wrong;
        }
        if header.block < self.first {
            return Taken::Needless;
        }
        if header.block >= self.window_end() {
            self.refused(header.block);
            return Taken::NoRoom;
        }
        if source {
            // Only one who has the keys and lies could say so; it must not lead any further.
            let known = self.slot(header.block).and_then(|s| s.k);
            if known.is_some_and(|known| known != block_k) {
                return Taken::Clash;
            }
            // Of full blocks that are mixed, the first is over first.
            let over = if header.following == 0 && block_k == self.k {
                header.block.saturating_add(1)
            } else {
                header.block.saturating_sub(self.depth - 1)
            };
            self.pass(over);
            self.fill_below(header.block);
        } else {
            // Repair symbols are sent only of blocks below the edge.
            self.pass(header.block.saturating_add(1));
        }
        // Whether it is to be asked for may change with each symbol of a block that is over.
        let over = header.block < self.over_below;
        let over = over || self.slot(header.block).is_some_and(|s| s.over);
        if over || (source && header.following == 0) {
            self.alarm = None;
        }
        self.store(header, symbol, source.then_some(block_k))
    }

    /// Keeps a symbol in its block's slot: a source symbol, of a block of `block_k`, or a repair
    /// symbol.
    fn store(&mut self, header: &MulticastHeader, symbol: &[u8], block_k: Option<u16>) -> Taken {
        let (k, len) = (self.k, symbol.len());
        let spare = if self.slot(header.block).is_some_and(|s| s.bytes.is_empty()) {
            self.spare.pop().unwrap_or_default()
        } else {
            Vec::new()
        };
        let Some(slot) = self.slot(header.block) else {
            return Taken::NoRoom;
        };
        if block_k.is_some() {
            slot.k = block_k;
            slot.pledge = u16::from(header.auto_parity);
            slot.over |= header.following == 0;
        }
        if slot.lacks() == Some(0) {
            return Taken::Needless;
        }
        if slot.bytes.is_empty() {
            slot.bytes = spare;
            slot.bytes.resize(usize::from(k) * len, 0);
            slot.have = vec![0; usize::from(k).div_ceil(64)];
        }
        if block_k.is_some() {
            if slot.has(header.symbol) || !slot.fits(header.symbol, symbol) {
                return Taken::Needless;
            }
            let at = usize::from(header.symbol);
            slot.bytes[at * len..][..len].copy_from_slice(symbol);
            slot.mark(header.symbol);
        } else if slot.manifest.is_some() {
            return Taken::Needless;
        } else {
            let row = u16::MAX - header.symbol;
            let enough = slot.repairs.len() >= usize::from(k - slot.count);
            if enough || slot.repairs.iter().any(|&(r, _)| r == row) {
                return Taken::Needless;
            }
            slot.repairs.push((row, symbol.to_vec()));
        }
        Taken::Kept
    }

    /// Blocks below `end` exist and are not the last.
    fn fill_below(&mut self, end: u32) {
        if end > self.full_below {
            self.full_below = end;
            self.alarm = None;
        }
    }

    /// The first pass of the blocks below `edge` is over, be it that there is no room for them yet.
    pub(super) fn pass(&mut self, edge: u32) {
        if edge > self.over_below {
            self.over_below = edge;
            self.alarm = None;
        }
    }

    /// The sender says that `edge` blocks were sent and are not the last.
    pub(super) fn pass_full(&mut self, edge: u32) {
        self.fill_below(edge);
        self.pass(edge);
    }

    /// The stream ends so. `false` when that contradicts what was said before.
    pub(super) fn finish(&mut self, end: End) -> bool {
        if self.end.is_some() {
            return true;
        }
        if end.last_k > self.k || end.blocks < self.first {
            return false;
        }
        let refetch = self.can_refetch();
        if let Some(last) = end.blocks.checked_sub(1)
            && let Some(slot) = self.slot(last)
        {
            if slot.k.is_some_and(|known| known != end.last_k) {
                if !refetch || slot.manifest.as_ref().is_some_and(|m| !m.is_empty()) {
                    return false;
                }
                slot.doubt();
            }
            slot.k = Some(end.last_k);
        }
        self.end = Some(end);
        self.fill_below(end.blocks.saturating_sub(1));
        self.alarm = None;
        self.pass(end.blocks);
        true
    }

    /// Sets alarms for the blocks that are over and lack something but have no alarm yet: late
    /// enough for what comes unasked where that is enough. Returns the earliest alarm of all.
    pub(super) fn schedule(
        &mut self,
        now: Instant,
        patience: Duration,
        mut backoff: impl FnMut() -> Duration,
    ) -> Option<Instant> {
        if let Some(alarm) = self.alarm {
            return alarm;
        }
        self.ask_at = self.ask_at.filter(|&at| at > now);
        self.reach(self.over_below);
        let mut earliest = None;
        let (k, full) = (self.k, self.full_below);
        for (block, slot) in (self.first..).zip(&mut self.slots) {
            if slot.k.is_none() && block < full {
                slot.k = Some(k);
            }
            let over = slot.over || block < self.over_below;
            let Some(lacks) = slot.lacks().filter(|&n| over && n > 0) else {
                slot.nack_at = None;
                continue;
            };
            let nack_at = *slot.nack_at.get_or_insert_with(|| {
                if slot.pledge >= lacks {
                    return now + patience;
                }
                // One delay for all blocks of a group: it ends in one FEEDBACK.
                *self.ask_at.get_or_insert_with(|| now + backoff())
            });
            earliest = Some(earliest.map_or(nack_at, |e: Instant| e.min(nack_at)));
        }
        self.alarm = Some(earliest);
        earliest
    }

    /// A repair symbol of `block` came and `left` more are promised: asking can wait, or, with none
    /// left, must begin anew.
    pub(super) fn promised(&mut self, block: u32, left: u16, wait_until: Instant) {
        self.alarm = None;
        let Some(slot) = self.slot(block) else { return };
        slot.pledge = 0;
        let Some(lacks) = slot.lacks() else { return };
        if left >= lacks {
            slot.nack_at = Some(slot.nack_at.map_or(wait_until, |at| at.max(wait_until)));
        } else if left == 0 {
            slot.nack_at = None;
            slot.retries = 0;
        }
    }

    /// What is to be asked for now, at most `max` entries; each is asked for again after
    /// `retry(times asked)`.
    pub(super) fn needs(
        &mut self,
        now: Instant,
        max: usize,
        retry: impl Fn(u32) -> Duration,
    ) -> Vec<Need> {
        self.alarm = None;
        let mut needs: Vec<Need> = Vec::new();
        for (block, slot) in (self.first..).zip(&mut self.slots) {
            let due = slot.nack_at.is_some_and(|at| at <= now);
            let Some(mut symbols) = slot.lacks().filter(|&n| due && n > 0) else {
                continue;
            };
            if slot.manifest.is_some() {
                symbols = POLLUTED;
            }
            let grows = |n: &&mut Need| {
                n.block + u32::from(n.run) == block && n.symbols == symbols && n.run < u16::MAX
            };
            if let Some(need) = needs.last_mut().filter(grows) {
                need.run += 1;
            } else if needs.len() == max {
                break;
            } else {
                needs.push(Need {
                    block,
                    run: 1,
                    symbols,
                });
            }
            slot.nack_at = Some(now + retry(slot.retries));
            slot.retries = slot.retries.saturating_add(1);
        }
        needs
    }

    /// Hands the next block out, if it is complete.
    pub(super) fn pull(&mut self) -> Pulled {
        let full = self.first < self.full_below;
        let Some(slot) = self.slots.front_mut() else {
            return Pulled::Nothing;
        };
        if slot.k.is_none() && full {
            slot.k = Some(self.k);
        }
        let (Some(0), Some(k)) = (slot.lacks(), slot.k) else {
            return Pulled::Nothing;
        };
        let Some(mut slot) = self.slots.pop_front() else {
            return Pulled::Nothing;
        };
        let len = usize::from(self.symbol_len);
        slot.bytes.truncate(usize::from(k) * len);
        let missing: Vec<u16> = (0..k).filter(|&n| !slot.has(n)).collect();
        let repaired = !missing.is_empty();
        if slot.repairs.len() < missing.len() {
            return Pulled::Corrupt;
        }
        if repaired {
            slot.repairs.truncate(missing.len());
            fec::recover(&mut slot.bytes, len, &missing, &mut slot.repairs);
        }
        let Some(data_len) = self.chain.check(&slot.bytes, self.signer.as_ref()) else {
            if !self.can_refetch() || slot.manifest.is_some() {
                return Pulled::Corrupt;
            }
            slot.doubt();
            self.slots.push_front(slot);
            self.alarm = None;
            return Pulled::Nothing;
        };
        self.first += 1;
        self.alarm = None;
        Pulled::Data {
            delivery: Delivery {
                buf: slot.bytes,
                len: data_len,
            },
            repaired,
        }
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, buf: Vec<u8>) {
        // Of a one-way session whole groups are handed out at once.
        let group = usize::try_from(self.depth).unwrap_or(SPARE_MAX);
        if self.spare.len() < SPARE_MAX.max(group) {
            // What is left in it counts for nothing, and to clear it would take time.
            self.spare.push(buf);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::wire::{DatagramKind, Protection, SessionId, SessionStatus};

    pub(in super::super) const SESSION: SessionId = SessionId([5; 16]);
    pub(in super::super) const LEN: u16 = 64;
    const PATIENCE: Duration = Duration::from_us(70);

    pub(in super::super) fn announce(depth: u16) -> Announce {
        Announce {
            session: SESSION,
            series: SESSION,
            sender_key: [1; 32],
            k: 4,
            symbol_len: LEN,
            depth,
            status: SessionStatus::default(),
            protection: Protection::default(),
            name: String::new(),
        }
    }

    fn gather(depth: u16, blocks: usize) -> Gather {
        Gather::new(&announce(depth), blocks, None)
    }

    /// Three blocks of four symbols and one of two, with their END.
    pub(in super::super) fn stream() -> (Vec<Vec<u8>>, End) {
        let mut chain = Chain::new(SESSION);
        let sizes = [208, 208, 208, 70];
        let blocks: Vec<Vec<u8>> = sizes
            .iter()
            .map(|&n| {
                let mut bytes = vec![n as u8; n];
                chain.close(&mut bytes, usize::from(LEN), None);
                bytes
            })
            .collect();
        let end = End {
            length: 694,
            blocks: 4,
            last_k: 2,
            digest: chain.digest(),
        };
        (blocks, end)
    }

    pub(in super::super) fn source(
        blocks: &[Vec<u8>],
        block: u32,
        symbol: u16,
    ) -> (MulticastHeader, Vec<u8>) {
        let bytes = &blocks[block as usize];
        let k = (bytes.len() / usize::from(LEN)) as u16;
        let left = k - symbol - 1;
        let header = MulticastHeader {
            kind: DatagramKind::Data,
            tag: 0,
            repair: false,
            auto_parity: 0,
            symbol,
            sequence: 0,
            following: left,
            block,
        };
        (header, bytes[usize::from(symbol) * 64..][..64].to_vec())
    }

    fn repair(blocks: &[Vec<u8>], block: u32, row: u16, left: u16) -> (MulticastHeader, Vec<u8>) {
        let mut out = vec![0; 64];
        fec::repair(&blocks[block as usize], row, &mut out);
        let symbol = u16::MAX - row;
        (
            MulticastHeader {
                kind: DatagramKind::Data,
                tag: 0,
                repair: true,
                auto_parity: 0,
                symbol,
                sequence: 0,
                following: left,
                block,
            },
            out,
        )
    }

    fn take(gather: &mut Gather, (header, symbol): (MulticastHeader, Vec<u8>)) -> Taken {
        gather.take(&header, &symbol)
    }

    fn pull(gather: &mut Gather) -> Option<usize> {
        match gather.pull() {
            Pulled::Data { delivery, .. } => Some(delivery.len),
            Pulled::Nothing => None,
            Pulled::Corrupt => panic!("corrupt"),
        }
    }

    #[test]
    fn lost_symbols_are_asked_for_and_repaired() {
        let (blocks, end) = stream();
        let mut g = gather(1, 8);
        let now = Instant::from_us(1_000);
        for (block, symbol) in [(0, 0), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (3, 0)] {
            assert_eq!(take(&mut g, source(&blocks, block, symbol)), Taken::Kept);
        }
        assert_eq!(take(&mut g, source(&blocks, 0, 0)), Taken::Needless);
        assert_eq!(pull(&mut g), None);
        assert_eq!(
            g.schedule(now, PATIENCE, || Duration::from_us(5)),
            Some(Instant::from_us(1_005))
        );
        let later = Instant::from_us(1_005);
        let needs = g.needs(later, 9, |_| Duration::from_ms(1));
        let need = |block, symbols| Need {
            block,
            run: 1,
            symbols,
        };
        // Block 2 was lost whole, block 3 is not over yet.
        assert_eq!(needs, [need(0, 2), need(2, 4)]);
        assert_eq!(g.needs(later, 9, |_| Duration::from_ms(1)), []);

        assert!(g.finish(end));
        g.schedule(later, PATIENCE, || Duration::ZERO);
        assert_eq!(g.needs(later, 9, |_| Duration::from_ms(1)), [need(3, 1)]);
        for (block, rows) in [(0, 7..9), (2, 0..4), (3, 50..51)] {
            for row in rows {
                assert_eq!(take(&mut g, repair(&blocks, block, row, 0)), Taken::Kept);
            }
        }
        let lens: Vec<_> = std::iter::from_fn(|| pull(&mut g)).collect();
        assert_eq!(lens, [208, 208, 208, 70]);
        assert_eq!(g.complete(), Some(end.digest));
    }

    #[test]
    fn a_promise_delays_the_question() {
        let (blocks, _) = stream();
        let mut g = gather(1, 8);
        take(&mut g, source(&blocks, 0, 0));
        take(&mut g, source(&blocks, 1, 0));
        let at = Instant::from_us;
        assert_eq!(
            g.schedule(at(10), PATIENCE, || Duration::from_us(5)),
            Some(at(15))
        );
        take(&mut g, repair(&blocks, 0, 0, 2));
        g.promised(0, 2, at(90));
        assert_eq!(
            g.schedule(at(11), PATIENCE, || Duration::ZERO),
            Some(at(90))
        );
        take(&mut g, repair(&blocks, 0, 2, 0));
        g.promised(0, 0, at(200));
        assert_eq!(
            g.schedule(at(12), PATIENCE, || Duration::from_us(7)),
            Some(at(15)),
            "the delay that runs is good for all"
        );
        let needs = g.needs(at(15), 9, |_| Duration::from_us(100));
        assert_eq!((needs.len(), needs[0].symbols), (1, 1));
        take(&mut g, repair(&blocks, 1, 0, 0));
        g.promised(1, 0, at(200));
        assert_eq!(
            g.schedule(at(16), PATIENCE, || Duration::from_us(7)),
            Some(at(23))
        );
        assert_eq!(g.needs(at(23), 9, |_| Duration::ZERO)[0].symbols, 2);
    }

    #[test]
    fn what_comes_unasked_is_waited_for_if_it_is_enough() {
        let (blocks, _) = stream();
        let mut g = gather(3, 8);
        let at = Instant::from_us;
        // Three blocks in turn: one lacks what is pledged, one more than that.
        for (block, symbol) in [(0, 0), (1, 0), (0, 1), (2, 1), (2, 2), (1, 3)] {
            let (mut header, symbol) = source(&blocks, block, symbol);
            header.auto_parity = 2;
            assert_eq!(g.take(&header, &symbol), Taken::Kept);
        }
        assert_eq!(
            g.schedule(at(10), PATIENCE, || Duration::from_us(5)),
            Some(at(80)),
            "blocks 0 and 1 are over, and block 2 is not"
        );
        take(&mut g, repair(&blocks, 2, 0, 0));
        g.promised(2, 0, at(99));
        assert_eq!(
            g.schedule(at(20), PATIENCE, || Duration::from_us(5)),
            Some(at(25))
        );
        let needs = g.needs(at(25), 9, |_| Duration::from_ms(1));
        assert_eq!((needs.len(), needs[0].block, needs[0].symbols), (1, 2, 1));
    }

    #[test]
    fn what_does_not_fit_is_dropped() {
        let (blocks, end) = stream();
        let mut g = gather(1, 2);
        assert_eq!(take(&mut g, source(&blocks, 2, 0)), Taken::NoRoom);
        let (mut header, symbol) = source(&blocks, 0, 1);
        assert_eq!(g.take(&header, &symbol[..63]), Taken::Wrong);
        header.following = 3;
        assert_eq!(
            g.take(&header, &symbol),
            Taken::Wrong,
            "five symbols in a block of four"
        );
        let mut g = gather(1, 8);
        assert!(g.finish(End { blocks: 2, ..end }));
        assert_eq!(take(&mut g, source(&blocks, 3, 0)), Taken::Wrong);
    }

    #[test]
    fn the_last_block_is_asked_for_when_there_is_room_for_it_at_last() {
        let (blocks, end) = stream();
        let mut g = gather(1, 2);
        for (block, symbols) in [(0, 0..4), (1, 0..4)] {
            for symbol in symbols {
                take(&mut g, source(&blocks, block, symbol));
            }
        }
        assert!(g.finish(end));
        let now = Instant::from_us(1_000);
        assert_eq!(g.schedule(now, PATIENCE, || Duration::ZERO), None);
        assert_eq!((pull(&mut g), pull(&mut g)), (Some(208), Some(208)));
        g.schedule(now, PATIENCE, || Duration::ZERO);
        let needs = g.needs(now, 9, |_| Duration::from_ms(1));
        let needs: Vec<_> = needs.iter().map(|n| (n.block, n.symbols)).collect();
        assert_eq!(needs, [(2, 4), (3, 2)]);
    }

    #[test]
    fn a_block_keeps_its_size() {
        let (blocks, end) = stream();
        let mut g = gather(1, 8);
        assert_eq!(take(&mut g, source(&blocks, 0, 3)), Taken::Kept);
        // A block of two, of which one is there: with a repair symbol it would seem complete.
        let (mut header, symbol) = source(&blocks, 0, 0);
        header.following = 1;
        assert_eq!(g.take(&header, &symbol), Taken::Clash);
        let last = |last_k| End {
            blocks: 1,
            last_k,
            ..end
        };
        assert!(!g.finish(last(2)) && !g.finish(last(5)) && g.finish(last(4)));
        assert_eq!(take(&mut g, repair(&blocks, 0, 0, 0)), Taken::Kept);
        assert_eq!(pull(&mut g), None);
    }

    #[test]
    fn a_false_end_is_noticed() {
        let (blocks, end) = stream();
        let mut g = gather(1, 8);
        for symbol in 0..4 {
            take(&mut g, source(&blocks, 0, symbol));
        }
        assert_eq!(pull(&mut g), Some(208));
        assert!(!g.contradicts_end());
        assert!(g.finish(End {
            blocks: 1,
            last_k: 4,
            ..end
        }));
        assert!(g.contradicts_end() && g.complete().is_none());
    }
}
