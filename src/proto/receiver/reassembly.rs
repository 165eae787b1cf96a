//! Reassembly: the blocks that a receiver puts together, and hands out in order.

use std::collections::VecDeque;

use super::partial_block::PartialBlock;
use crate::crypt::sign::VerifyingKey;
use crate::fec;
use crate::proto::block::Chain;
use crate::proto::event::Delivery;
use crate::proto::limits::DEPTH_MAX;
use crate::units::{Duration, Instant};
use crate::wire::{Announce, End, MulticastHeader, Need, POLLUTED, SymbolHashes};

/// Buffers kept for the next blocks: those of blocks that are interleaved.
const SPARE_MAX: usize = DEPTH_MAX as usize;

/// What became of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Intake {
    /// It was of use, or will be.
    Stored,
    /// It was here already, or its block is complete or gone.
    Redundant,
    /// There is no room for its block.
    NoRoom,
    /// Its numbers are not of this session: only a member could have made it.
    Invalid,
    /// It gives its block another size than was known: one of the two is a member's lie.
    Conflict,
}

/// What came out of [`Reassembler::pull`].
#[derive(Debug)]
pub(in crate::proto) enum Pulled {
    /// A block, which may have needed repair symbols.
    Data { delivery: Delivery, repaired: bool },
    /// The next block is not complete.
    Nothing,
    /// The next block is not what the sender made.
    Corrupt,
}

/// The blocks from the next one to hand out up to the end of the window.
#[derive(Debug)]
pub(in crate::proto) struct Reassembler {
    k: u16,
    symbol_len: u16,
    depth: u32,
    blocks_max: u32,
    first: u32,
    blocks: VecDeque<PartialBlock>,
    /// The first transmission of all blocks below it is over, be it that there is no room for them
    /// yet.
    over_below: u32,
    /// Blocks below it exist and are not the last, so that they have `k` symbols.
    full_below: u32,
    end: Option<End>,
    chain: Chain,
    signer: Option<VerifyingKey>,
    /// A block that may hold a member's lies can be had once more: the sender signs, and hears.
    can_refetch: bool,
    spare: Vec<Vec<u8>>,
    /// The end of the random delay before asking, while it lasts.
    ask_at: Option<Instant>,
    /// The earliest moment to ask, as long as nothing happened that may change it.
    next_nack: Option<Option<Instant>>,
}

impl Reassembler {
    /// For the stream of a session, of which `blocks_max` blocks are kept; `hears` says whether
    /// the sender can be asked for anything.
    pub(in crate::proto) fn new(
        announce: &Announce,
        blocks_max: usize,
        signer: Option<VerifyingKey>,
        hears: bool,
    ) -> Self {
        Self {
            k: announce.k,
            symbol_len: announce.symbol_len,
            depth: u32::from(announce.depth),
            blocks_max: u32::try_from(blocks_max).unwrap_or(u32::MAX),
            first: 0,
            blocks: VecDeque::new(),
            over_below: 0,
            full_below: 0,
            end: None,
            chain: Chain::new(announce.series).in_session(announce.session),
            can_refetch: signer.is_some() && hears,
            signer,
            spare: Vec::new(),
            ask_at: None,
            next_nack: None,
        }
    }

    /// Resumes a stream of which this much was handed out already. To be called before the first
    /// symbol comes.
    pub(in crate::proto) fn resume(&mut self, so_far: Chain) {
        self.first = so_far.blocks();
        self.chain = so_far;
    }

    /// The stream so far.
    pub(in crate::proto) fn chain(&self) -> Chain {
        self.chain
    }

    /// Symbols of a block, and bytes of a symbol.
    pub(in crate::proto) fn shape(&self) -> (u16, u16) {
        (self.k, self.symbol_len)
    }

    /// The first block not handed out.
    pub(in crate::proto) fn next(&self) -> u32 {
        self.first
    }

    /// The first block for which there is no room.
    pub(in crate::proto) fn window_end(&self) -> u32 {
        self.first.saturating_add(self.blocks_max)
    }

    /// Bytes handed out.
    pub(in crate::proto) fn length(&self) -> u64 {
        self.chain.length()
    }

    /// The digest, once everything was handed out and is what the sender said it would be.
    pub(in crate::proto) fn complete(&self) -> Option<[u8; 32]> {
        let end = self.end.filter(|end| self.first == end.blocks)?;
        let genuine = end.blocks == 0
            || (end.digest == self.chain.digest() && end.length == self.chain.length());
        genuine.then(|| self.chain.digest())
    }

    /// Whether everything was handed out, but is not what the sender said it would be.
    pub(in crate::proto) fn contradicts_end(&self) -> bool {
        self.end.is_some_and(|end| self.first >= end.blocks) && self.complete().is_none()
    }

    /// The place of a block in the window, if it has one.
    fn place(&self, number: u32) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    fn block(&mut self, number: u32) -> Option<&mut PartialBlock> {
        self.reach(number.checked_add(1)?);
        let at = self.place(number)?;
        self.blocks.get_mut(at)
    }

    /// Makes places for the blocks below `end`, as far as there is room.
    fn reach(&mut self, end: u32) {
        let end = end.min(self.window_end());
        let count = usize::try_from(end.saturating_sub(self.first)).unwrap_or(0);
        if self.blocks.len() >= count {
            return;
        }
        self.blocks.resize_with(count, PartialBlock::default);
        // There may have been no room for the last block when END told its size.
        if let Some(end) = self.end
            && let Some(last) = end.blocks.checked_sub(1)
            && let Some(at) = self.place(last)
            && let Some(block) = self.blocks.get_mut(at)
        {
            block.k.get_or_insert(end.last_k);
        }
    }

    /// Takes a symbol in.
    pub(in crate::proto) fn take(&mut self, header: &MulticastHeader, symbol: &[u8]) -> Intake {
        let source = header.symbol < self.k;
        let block_k = header
            .symbol
            .saturating_add(header.following)
            .saturating_add(1);
        let last = self.end.is_some_and(|end| header.block >= end.blocks);
        if symbol.len() != usize::from(self.symbol_len) || last || source == header.repair {
            return Intake::Invalid;
        }
        if source && block_k > self.k {
            return Intake::Invalid;
        }
        if header.block < self.first {
            return Intake::Redundant;
        }
        if header.block >= self.window_end() {
            return Intake::NoRoom;
        }
        if source {
            // Only one who has the keys and lies could say so; it must not lead any further.
            let known = self.block(header.block).and_then(|b| b.k);
            if known.is_some_and(|known| known != block_k) {
                return Intake::Conflict;
            }
            // Of full blocks that are interleaved, the first is over first.
            let over = if header.following == 0 && block_k == self.k {
                header.block.saturating_add(1)
            } else {
                header.block.saturating_sub(self.depth - 1)
            };
            self.on_sent(over);
            self.fill_below(header.block);
        } else {
            // Repair symbols are sent only of blocks below the watermark.
            self.on_sent(header.block.saturating_add(1));
        }
        // Whether it is to be asked for may change with each symbol of a block that is over.
        let over = header.block < self.over_below;
        let over = over
            || self
                .block(header.block)
                .is_some_and(|b| b.first_transmission_over);
        if over || (source && header.following == 0) {
            self.next_nack = None;
        }
        self.store(header, symbol, source.then_some(block_k))
    }

    /// Stores a symbol in its block: a source symbol, of a block of `block_k`, or a repair symbol.
    fn store(&mut self, header: &MulticastHeader, symbol: &[u8], block_k: Option<u16>) -> Intake {
        let (k, len) = (self.k, symbol.len());
        let is_new = self.block(header.block).is_some_and(|b| b.bytes.is_empty());
        let spare = is_new.then(|| self.spare.pop()).flatten();
        let Some(block) = self.block(header.block) else {
            return Intake::NoRoom;
        };
        if block_k.is_some() {
            block.k = block_k;
            block.auto_parity = u16::from(header.auto_parity);
            block.first_transmission_over |= header.following == 0;
        }
        if block.lacks() == Some(0) {
            return Intake::Redundant;
        }
        block.reserve(spare.unwrap_or_default(), k, len);
        if block_k.is_some() {
            if block.has(header.symbol) || !block.pollution.fits(header.symbol, symbol) {
                return Intake::Redundant;
            }
            let at = usize::from(header.symbol);
            block.bytes[at * len..][..len].copy_from_slice(symbol);
            block.mark(header.symbol);
            return Intake::Stored;
        }
        let row = u16::MAX - header.symbol;
        let enough = block.repairs.len() >= usize::from(k - block.count);
        let known = || block.repairs.iter().any(|&(r, _)| r == row);
        if block.pollution.is_suspected() || enough || known() {
            return Intake::Redundant;
        }
        block.repairs.push((row, symbol.to_vec()));
        Intake::Stored
    }

    /// Blocks below `end` exist and are not the last.
    fn fill_below(&mut self, end: u32) {
        if end > self.full_below {
            self.full_below = end;
            self.next_nack = None;
        }
    }

    /// The first transmission of the blocks below `end` is over.
    fn on_sent(&mut self, end: u32) {
        if end > self.over_below {
            self.over_below = end;
            self.next_nack = None;
        }
    }

    /// The sender says that the blocks below this watermark were sent and are not the last.
    pub(in crate::proto) fn on_watermark(&mut self, watermark: u32) {
        self.fill_below(watermark);
        self.on_sent(watermark);
    }

    /// The stream ends so. `false` when that contradicts what was said before.
    pub(in crate::proto) fn finish(&mut self, end: End) -> bool {
        if self.end.is_some() {
            return true;
        }
        if end.last_k > self.k || end.blocks < self.first {
            return false;
        }
        let refetch = self.can_refetch;
        if let Some(last) = end.blocks.checked_sub(1)
            && let Some(block) = self.block(last)
        {
            if block.k.is_some_and(|known| known != end.last_k) {
                if !refetch || block.pollution.has_hashes() {
                    return false;
                }
                block.suspect();
            }
            block.k = Some(end.last_k);
        }
        self.end = Some(end);
        self.fill_below(end.blocks.saturating_sub(1));
        self.next_nack = None;
        self.on_sent(end.blocks);
        true
    }

    /// Draws a moment to ask for each block that is over, lacks something and has none yet: late
    /// enough for proactive repair symbols where those are enough. Returns the earliest of all.
    pub(in crate::proto) fn schedule_nacks(
        &mut self,
        now: Instant,
        patience: Duration,
        mut backoff: impl FnMut() -> Duration,
    ) -> Option<Instant> {
        if let Some(next) = self.next_nack {
            return next;
        }
        self.ask_at = self.ask_at.filter(|&at| at > now);
        self.reach(self.over_below);
        debug_assert!(self.blocks.len() <= usize::try_from(self.blocks_max).unwrap_or(usize::MAX));
        let mut earliest = None;
        for (number, block) in (self.first..).zip(&mut self.blocks) {
            if block.k.is_none() && number < self.full_below {
                block.k = Some(self.k);
            }
            let over = block.first_transmission_over || number < self.over_below;
            let Some(lacks) = block.lacks().filter(|&n| over && n > 0) else {
                block.nack_at = None;
                continue;
            };
            let nack_at = *block.nack_at.get_or_insert_with(|| {
                if block.auto_parity >= lacks {
                    return now + patience;
                }
                // One delay for all blocks that are interleaved: it ends in one FEEDBACK.
                *self.ask_at.get_or_insert_with(|| now + backoff())
            });
            earliest = Some(earliest.map_or(nack_at, |e: Instant| e.min(nack_at)));
        }
        self.next_nack = Some(earliest);
        earliest
    }

    /// A repair symbol of a block came and `following` more are promised: asking can wait, or, if
    /// none follow, must begin anew.
    pub(in crate::proto) fn on_promise(
        &mut self,
        number: u32,
        following: u16,
        wait_until: Instant,
    ) {
        self.next_nack = None;
        let Some(block) = self.block(number) else {
            return;
        };
        block.auto_parity = 0;
        let Some(lacks) = block.lacks() else { return };
        if following >= lacks {
            block.nack_at = Some(block.nack_at.map_or(wait_until, |at| at.max(wait_until)));
        } else if following == 0 {
            block.nack_at = None;
            block.retries = 0;
        }
    }

    /// What is to be asked for now, at most `max` entries; each is asked for again after
    /// `retry(times asked)`.
    pub(in crate::proto) fn needs(
        &mut self,
        now: Instant,
        max: usize,
        retry: impl Fn(u32) -> Duration,
    ) -> Vec<Need> {
        self.next_nack = None;
        let mut needs: Vec<Need> = Vec::new();
        for (number, block) in (self.first..).zip(&mut self.blocks) {
            let due = block.nack_at.is_some_and(|at| at <= now);
            let Some(lacks) = block.lacks().filter(|&n| due && n > 0) else {
                continue;
            };
            let symbols = match block.pollution.is_suspected() {
                true => POLLUTED,
                false => lacks,
            };
            let grows = |n: &&mut Need| {
                n.block + u32::from(n.run) == number && n.symbols == symbols && n.run < u16::MAX
            };
            if let Some(need) = needs.last_mut().filter(grows) {
                need.run += 1;
            } else if needs.len() == max {
                break;
            } else {
                needs.push(Need {
                    block: number,
                    run: 1,
                    symbols,
                });
            }
            block.nack_at = Some(now + retry(block.retries));
            block.retries = block.retries.saturating_add(1);
        }
        debug_assert!(needs.len() <= max);
        needs
    }

    /// Hands the next block out, if it is complete.
    pub(in crate::proto) fn pull(&mut self) -> Pulled {
        let full = self.first < self.full_below;
        let Some(block) = self.blocks.front_mut() else {
            return Pulled::Nothing;
        };
        if block.k.is_none() && full {
            block.k = Some(self.k);
        }
        let (Some(0), Some(k)) = (block.lacks(), block.k) else {
            return Pulled::Nothing;
        };
        let Some(mut block) = self.blocks.pop_front() else {
            return Pulled::Nothing;
        };
        let len = usize::from(self.symbol_len);
        block.bytes.truncate(usize::from(k) * len);
        let missing: Vec<u16> = (0..k).filter(|&n| !block.has(n)).collect();
        let repaired = !missing.is_empty();
        if block.repairs.len() < missing.len() {
            return Pulled::Corrupt;
        }
        if repaired {
            block.repairs.truncate(missing.len());
            fec::recover(&mut block.bytes, len, &missing, &mut block.repairs);
        }
        let Some(data_len) = self.chain.check(&block.bytes, self.signer.as_ref()) else {
            if !self.can_refetch || block.pollution.is_suspected() {
                return Pulled::Corrupt;
            }
            block.suspect();
            self.blocks.push_front(block);
            self.next_nack = None;
            return Pulled::Nothing;
        };
        self.first += 1;
        self.next_nack = None;
        Pulled::Data {
            delivery: Delivery {
                buf: block.bytes,
                len: data_len,
            },
            repaired,
        }
    }

    /// A symbol of this block has shown that a member lies: the sender's hashes decide. Nothing
    /// happens where the sender does not sign.
    pub(in crate::proto) fn suspect(&mut self, number: u32) {
        if self.can_refetch
            && let Some(block) = self.block(number)
        {
            block.suspect();
            self.next_nack = None;
        }
    }

    /// Takes the sender's hashes of a block in, which it has signed, if the block is suspected.
    pub(in crate::proto) fn take_hashes(&mut self, hashes: &SymbolHashes) {
        let (k_max, len) = (self.k, usize::from(self.symbol_len));
        let Some(block) = self.block(hashes.block).filter(|_| hashes.k <= k_max) else {
            return;
        };
        if !block.pollution.take(hashes) {
            return;
        }
        block.k = Some(hashes.k);
        block.reserve(Vec::new(), k_max, len);
        // What is there already is good if it fits, whoever sent it.
        for number in (hashes.first..hashes.k).take(hashes.hashes.len()) {
            let bytes = &block.bytes[usize::from(number) * len..][..len];
            if block.pollution.fits(number, bytes) {
                block.mark(number);
            }
        }
    }

    /// The blocks below the returned one were sent whole once a symbol of this block was; of those
    /// that are interleaved with it, each may be under way.
    pub(in crate::proto) fn sent_before(&self, number: u32) -> u32 {
        number.saturating_add(1).saturating_sub(self.depth)
    }

    /// Whether the next block is complete, and waits for the consumer.
    pub(in crate::proto) fn has_next(&self) -> bool {
        self.blocks.front().is_some_and(|b| b.lacks() == Some(0))
    }

    /// Symbols that a block lacks which is not handed out; one of an unknown size is taken for
    /// whole.
    pub(in crate::proto) fn lacks(&self, number: u32) -> u16 {
        let block = self.place(number).and_then(|at| self.blocks.get(at));
        block.map_or(self.k, |block| block.lacks_at_most(self.k))
    }

    /// How the stream ends, once that is known.
    pub(in crate::proto) fn end(&self) -> Option<End> {
        self.end
    }

    /// Takes a buffer back.
    pub(in crate::proto) fn recycle(&mut self, buf: Vec<u8>) {
        // Of a one-way session all blocks that are interleaved are handed out at once.
        let interleaved = usize::try_from(self.depth).unwrap_or(SPARE_MAX);
        if self.spare.len() < SPARE_MAX.max(interleaved) {
            // What is left in it counts for nothing, and to clear it would take time.
            self.spare.push(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::sign::SigningKey;
    use crate::proto::block::symbol_hash;
    use crate::wire::{DatagramKind, Protection, SYMBOL_HASH_LEN, SessionId, SessionStatus};

    const SESSION: SessionId = SessionId([5; 16]);
    const LEN: u16 = 64;
    const PATIENCE: Duration = Duration::from_us(70);

    fn announce(depth: u16) -> Announce {
        Announce {
            session: SESSION,
            series: SESSION,
            sender_key: [1; 32],
            k: 4,
            symbol_len: LEN,
            depth,
            status: SessionStatus::default(),
            sequence: 0,
            protection: Protection::default(),
            name: String::new(),
        }
    }

    fn reassembler(depth: u16, blocks: usize) -> Reassembler {
        Reassembler::new(&announce(depth), blocks, None, true)
    }

    /// Three blocks of four symbols and one of two, with their END.
    fn stream() -> (Vec<Vec<u8>>, End) {
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

    fn source(blocks: &[Vec<u8>], block: u32, symbol: u16) -> (MulticastHeader, Vec<u8>) {
        let bytes = &blocks[block as usize];
        let k = (bytes.len() / usize::from(LEN)) as u16;
        let following = k - symbol - 1;
        let header = MulticastHeader {
            kind: DatagramKind::Data,
            tag: 0,
            repair: false,
            auto_parity: 0,
            symbol,
            sequence: 0,
            following,
            block,
        };
        (header, bytes[usize::from(symbol) * 64..][..64].to_vec())
    }

    fn repair(
        blocks: &[Vec<u8>],
        block: u32,
        row: u16,
        following: u16,
    ) -> (MulticastHeader, Vec<u8>) {
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
                following,
                block,
            },
            out,
        )
    }

    fn take(reassembler: &mut Reassembler, (header, symbol): (MulticastHeader, Vec<u8>)) -> Intake {
        reassembler.take(&header, &symbol)
    }

    fn pull(reassembler: &mut Reassembler) -> Option<usize> {
        match reassembler.pull() {
            Pulled::Data { delivery, .. } => Some(delivery.len),
            Pulled::Nothing => None,
            Pulled::Corrupt => panic!("corrupt"),
        }
    }

    #[test]
    fn lost_symbols_are_asked_for_and_repaired() {
        let (blocks, end) = stream();
        let mut g = reassembler(1, 8);
        let now = Instant::from_us(1_000);
        for (block, symbol) in [(0, 0), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (3, 0)] {
            assert_eq!(take(&mut g, source(&blocks, block, symbol)), Intake::Stored);
        }
        assert_eq!(take(&mut g, source(&blocks, 0, 0)), Intake::Redundant);
        assert_eq!(pull(&mut g), None);
        assert_eq!(
            g.schedule_nacks(now, PATIENCE, || Duration::from_us(5)),
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
        g.schedule_nacks(later, PATIENCE, || Duration::ZERO);
        assert_eq!(g.needs(later, 9, |_| Duration::from_ms(1)), [need(3, 1)]);
        for (block, rows) in [(0, 7..9), (2, 0..4), (3, 50..51)] {
            for row in rows {
                assert_eq!(take(&mut g, repair(&blocks, block, row, 0)), Intake::Stored);
            }
        }
        let lens: Vec<_> = std::iter::from_fn(|| pull(&mut g)).collect();
        assert_eq!(lens, [208, 208, 208, 70]);
        assert_eq!(g.complete(), Some(end.digest));
    }

    #[test]
    fn a_promise_delays_the_question() {
        let (blocks, _) = stream();
        let mut g = reassembler(1, 8);
        take(&mut g, source(&blocks, 0, 0));
        take(&mut g, source(&blocks, 1, 0));
        let at = Instant::from_us;
        assert_eq!(
            g.schedule_nacks(at(10), PATIENCE, || Duration::from_us(5)),
            Some(at(15))
        );
        take(&mut g, repair(&blocks, 0, 0, 2));
        g.on_promise(0, 2, at(90));
        assert_eq!(
            g.schedule_nacks(at(11), PATIENCE, || Duration::ZERO),
            Some(at(90))
        );
        take(&mut g, repair(&blocks, 0, 2, 0));
        g.on_promise(0, 0, at(200));
        assert_eq!(
            g.schedule_nacks(at(12), PATIENCE, || Duration::from_us(7)),
            Some(at(15)),
            "the delay that runs is good for all"
        );
        let needs = g.needs(at(15), 9, |_| Duration::from_us(100));
        assert_eq!((needs.len(), needs[0].symbols), (1, 1));
        take(&mut g, repair(&blocks, 1, 0, 0));
        g.on_promise(1, 0, at(200));
        assert_eq!(
            g.schedule_nacks(at(16), PATIENCE, || Duration::from_us(7)),
            Some(at(23))
        );
        assert_eq!(g.needs(at(23), 9, |_| Duration::ZERO)[0].symbols, 2);
    }

    #[test]
    fn what_comes_unasked_is_waited_for_if_it_is_enough() {
        let (blocks, _) = stream();
        let mut g = reassembler(3, 8);
        let at = Instant::from_us;
        // Three blocks in turn: one lacks what is pledged, one more than that.
        for (block, symbol) in [(0, 0), (1, 0), (0, 1), (2, 1), (2, 2), (1, 3)] {
            let (mut header, symbol) = source(&blocks, block, symbol);
            header.auto_parity = 2;
            assert_eq!(g.take(&header, &symbol), Intake::Stored);
        }
        assert_eq!(
            g.schedule_nacks(at(10), PATIENCE, || Duration::from_us(5)),
            Some(at(80)),
            "blocks 0 and 1 are over, and block 2 is not"
        );
        take(&mut g, repair(&blocks, 2, 0, 0));
        g.on_promise(2, 0, at(99));
        assert_eq!(
            g.schedule_nacks(at(20), PATIENCE, || Duration::from_us(5)),
            Some(at(25))
        );
        let needs = g.needs(at(25), 9, |_| Duration::from_ms(1));
        assert_eq!((needs.len(), needs[0].block, needs[0].symbols), (1, 2, 1));
    }

    #[test]
    fn what_does_not_fit_is_dropped() {
        let (blocks, end) = stream();
        let mut g = reassembler(1, 2);
        assert_eq!(take(&mut g, source(&blocks, 2, 0)), Intake::NoRoom);
        let (mut header, symbol) = source(&blocks, 0, 1);
        assert_eq!(g.take(&header, &symbol[..63]), Intake::Invalid);
        header.following = 3;
        assert_eq!(
            g.take(&header, &symbol),
            Intake::Invalid,
            "five symbols in a block of four"
        );
        let mut g = reassembler(1, 8);
        assert!(g.finish(End { blocks: 2, ..end }));
        assert_eq!(take(&mut g, source(&blocks, 3, 0)), Intake::Invalid);
    }

    #[test]
    fn the_last_block_is_asked_for_when_there_is_room_for_it_at_last() {
        let (blocks, end) = stream();
        let mut g = reassembler(1, 2);
        for (block, symbols) in [(0, 0..4), (1, 0..4)] {
            for symbol in symbols {
                take(&mut g, source(&blocks, block, symbol));
            }
        }
        assert!(g.finish(end));
        let now = Instant::from_us(1_000);
        assert_eq!(g.schedule_nacks(now, PATIENCE, || Duration::ZERO), None);
        assert_eq!((pull(&mut g), pull(&mut g)), (Some(208), Some(208)));
        g.schedule_nacks(now, PATIENCE, || Duration::ZERO);
        let needs = g.needs(now, 9, |_| Duration::from_ms(1));
        let needs: Vec<_> = needs.iter().map(|n| (n.block, n.symbols)).collect();
        assert_eq!(needs, [(2, 4), (3, 2)]);
    }

    #[test]
    fn a_block_keeps_its_size() {
        let (blocks, end) = stream();
        let mut g = reassembler(1, 8);
        assert_eq!(take(&mut g, source(&blocks, 0, 3)), Intake::Stored);
        // A block of two, of which one is there: with a repair symbol it would seem complete.
        let (mut header, symbol) = source(&blocks, 0, 0);
        header.following = 1;
        assert_eq!(g.take(&header, &symbol), Intake::Conflict);
        let last = |last_k| End {
            blocks: 1,
            last_k,
            ..end
        };
        assert!(!g.finish(last(2)) && !g.finish(last(5)) && g.finish(last(4)));
        assert_eq!(take(&mut g, repair(&blocks, 0, 0, 0)), Intake::Stored);
        assert_eq!(pull(&mut g), None);
    }

    #[test]
    fn a_false_end_is_noticed() {
        let (blocks, end) = stream();
        let mut g = reassembler(1, 8);
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

    #[test]
    fn a_signer_that_contradicts_itself_does_no_harm() {
        let key = SigningKey::from_seed([1; 32]).public();
        let mut g = Reassembler::new(&announce(1), 8, Some(key), true);
        let junk = vec![7; usize::from(LEN)];
        let (blocks, end) = stream();
        for symbol in 0..4 {
            let (header, _) = source(&blocks, 0, symbol);
            assert_eq!(g.take(&header, &junk), Intake::Stored);
        }
        assert!(matches!(g.pull(), Pulled::Nothing), "now suspected");
        let hash = symbol_hash(&junk);
        let signed = |k, first, hashes| SymbolHashes {
            block: 0,
            k,
            first,
            hashes,
        };
        g.take_hashes(&signed(4, 2, vec![hash; 2]));
        g.take_hashes(&signed(2, 0, vec![[0; SYMBOL_HASH_LEN]; 2]));
        assert!(matches!(g.pull(), Pulled::Nothing));
        let end = End {
            blocks: 1,
            last_k: 2,
            ..end
        };
        assert!(!g.finish(end), "another size than that of the hashes");
    }
}
