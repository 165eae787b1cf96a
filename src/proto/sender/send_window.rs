//! The blocks that a sender keeps: closed, sent, repaired, released in order.

#[cfg(test)]
mod tests;

use super::auto_parity::AutoParity;
use super::block_ring::{BlockRing, OutgoingSymbol};
use super::repair::{RepairQueue, RepairRequest};
use crate::crypt::sign::SigningKey;
use crate::proto::block::{Chain, capacity, symbol_hash};
use crate::proto::config::OneWay;
use crate::proto::limits::{DEPTH_MAX, HASHES_DOUBLINGS, HASHES_EVERY, ONE_WAY_COPIES};
use crate::units::{Duration, Instant};
use crate::wire::{AUTO_PARITY_MAX, End, SymbolHashes};

/// Repair symbols that follow a block without being asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) enum Proactive {
    /// As many as blocks needed of late at the worst-off of so many receivers.
    Auto {
        /// Receivers in the session.
        receivers: u32,
    },
    /// A fixed share of the block.
    Fixed(OneWay),
}

/// What limits the source symbols that may be sent now.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct SendLimits {
    pub(in crate::proto) now: Instant,
    /// Blocks from this one on must wait.
    pub(in crate::proto) block_end: u32,
    /// How many blocks to interleave.
    pub(in crate::proto) depth: u32,
    pub(in crate::proto) proactive: Proactive,
}

/// Blocks of a window, and how they are made.
#[derive(Clone, Debug)]
pub(in crate::proto) struct WindowConfig {
    /// Source symbols of a block.
    pub(in crate::proto) k: u16,
    /// Bytes of a symbol.
    pub(in crate::proto) symbol_len: u16,
    /// Blocks that are kept at most, but for a last one.
    pub(in crate::proto) blocks_max: usize,
    /// Signs each block.
    pub(in crate::proto) signing: Option<SigningKey>,
}

/// The blocks that are interleaved: each sends a symbol in turn.
#[derive(Clone, Copy, Debug, Default)]
struct Interleave {
    start: u32,
    end: u32,
    /// The block whose turn it is.
    next: u32,
}

/// The ring of blocks between the input and the slowest receiver.
#[derive(Debug)]
pub(in crate::proto) struct SendWindow {
    config: WindowConfig,
    ring: BlockRing,
    /// The first block that was not wholly sent.
    watermark: u32,
    interleave: Interleave,
    auto_parity: AutoParity,
    /// The first block of which it is not known whether its proactive repair was enough.
    unobserved: u32,
    /// The block that is being filled.
    open: Vec<u8>,
    chain: Chain,
    finished: Option<End>,
    repair: RepairQueue,
    /// The last batch was of repair symbols: source symbols are next.
    repaired_last: bool,
    /// Buffers for further blocks.
    spare: Vec<Vec<u8>>,
}

impl SendWindow {
    /// An empty window over a stream that `chain` signs.
    pub(in crate::proto) fn new(chain: Chain, config: WindowConfig) -> Self {
        Self {
            config,
            chain,
            ring: BlockRing::default(),
            watermark: 0,
            interleave: Interleave::default(),
            auto_parity: AutoParity::default(),
            unobserved: 0,
            open: Vec::new(),
            finished: None,
            repair: RepairQueue::default(),
            repaired_last: false,
            spare: Vec::new(),
        }
    }

    fn symbol_len(&self) -> usize {
        usize::from(self.config.symbol_len)
    }

    /// Takes bytes of the stream, as many as there is room for.
    pub(in crate::proto) fn push(&mut self, mut data: &[u8]) -> usize {
        let all = data.len();
        let (k, len) = (self.config.k, self.config.symbol_len);
        let room = capacity(k, len, self.config.signing.is_some());
        while !data.is_empty() && !self.is_full() && self.finished.is_none() {
            if self.open.capacity() == 0 {
                self.open = self.spare.pop().unwrap_or_default();
                self.open.reserve_exact(usize::from(k) * usize::from(len));
            }
            let (now, later) = data.split_at(data.len().min(room - self.open.len()));
            self.open.extend_from_slice(now);
            data = later;
            if self.open.len() == room {
                self.close();
            }
        }
        all - data.len()
    }

    /// Bytes of the stream that were taken.
    pub(in crate::proto) fn input_len(&self) -> u64 {
        self.chain.length() + self.open.len() as u64
    }

    fn close(&mut self) {
        let mut bytes = std::mem::take(&mut self.open);
        let (len, signing) = (self.symbol_len(), self.config.signing.as_ref());
        let k = self.chain.close(&mut bytes, len, signing);
        self.ring.push(bytes, k);
    }

    /// Ends the stream. The last block may go beyond the ring by one.
    pub(in crate::proto) fn finish(&mut self) {
        if self.finished.is_some() {
            return;
        }
        if !self.open.is_empty() {
            self.close();
        }
        let released = if self.ring.first() > 0 {
            self.config.k
        } else {
            0
        };
        self.finished = Some(End {
            length: self.chain.length(),
            blocks: self.ring.end(),
            last_k: self.ring.last_k().unwrap_or(released),
            digest: self.chain.digest(),
        });
    }

    /// The end of the stream, once it is known.
    pub(in crate::proto) fn finished(&self) -> Option<End> {
        self.finished
    }

    /// The end of the stream, once it is known and all of it was sent once.
    pub(in crate::proto) fn complete(&self) -> Option<End> {
        self.finished.filter(|end| self.watermark == end.blocks)
    }

    /// Blocks that are kept at most, but for a last one.
    pub(in crate::proto) fn blocks_max(&self) -> usize {
        self.config.blocks_max
    }

    /// The first block that is still kept.
    pub(in crate::proto) fn first(&self) -> u32 {
        self.ring.first()
    }

    /// Whether there is no room for another block.
    pub(in crate::proto) fn is_full(&self) -> bool {
        self.ring.len() >= self.config.blocks_max
    }

    /// Whether the ring is full and all of it was sent: nothing moves until a block is released.
    pub(in crate::proto) fn is_stuck(&self) -> bool {
        self.is_full() && self.watermark == self.ring.end()
    }

    /// The first block that was not wholly sent.
    pub(in crate::proto) fn watermark(&self) -> u32 {
        self.watermark
    }

    /// The watermark that a POLL may name: END alone tells that the last block was sent, with its
    /// length.
    pub(in crate::proto) fn poll_watermark(&self) -> u32 {
        match self.finished {
            Some(end) => self.watermark.min(end.blocks.saturating_sub(1)),
            None => self.watermark,
        }
    }

    /// Whether the blocks that are interleaved were begun and are not wholly sent.
    pub(in crate::proto) fn is_interleaving(&self) -> bool {
        self.watermark < self.interleave.end
    }

    /// The first of the blocks that are, or were last, interleaved.
    pub(in crate::proto) fn interleave_start(&self) -> u32 {
        self.interleave.start
    }

    /// Closed blocks that were not begun.
    pub(in crate::proto) fn ready(&self) -> u32 {
        self.ring.end() - self.interleave.end.max(self.watermark)
    }

    /// Interleaves the blocks that are there, at most as many as the depth. Nothing waits for
    /// further blocks.
    fn begin_interleave(&mut self, limits: &SendLimits) {
        let deep = self.watermark.saturating_add(limits.depth);
        self.interleave.end = limits.block_end.min(self.ring.end()).min(deep);
        self.interleave.next = self.watermark;
        if self.is_interleaving() {
            self.interleave.start = self.watermark;
        }
        for number in self.watermark..self.interleave.end {
            if let Some(block) = self.ring.get_mut(number) {
                block.proactive = match limits.proactive {
                    Proactive::Fixed(share) => share.repair(block.k, self.config.k),
                    Proactive::Auto { receivers } => {
                        self.auto_parity.count(block.k, receivers).into()
                    }
                };
            }
        }
    }

    /// The source symbol to send next.
    pub(in crate::proto) fn next_source(&mut self, limits: &SendLimits) -> Option<OutgoingSymbol> {
        if !self.is_interleaving() {
            self.begin_interleave(limits);
        }
        while self.is_interleaving() {
            let number = self.interleave.next;
            self.interleave.next = if number + 1 < self.interleave.end {
                number + 1
            } else {
                self.watermark
            };
            let block = self.ring.get_mut(number)?;
            if block.sent == block.k {
                continue;
            }
            let symbol = OutgoingSymbol {
                block: number,
                number: block.sent,
                following: block.k - block.sent - 1,
                repair: false,
                auto_parity: u8::try_from(block.proactive)
                    .map_or(AUTO_PARITY_MAX, |n| n.min(AUTO_PARITY_MAX)),
            };
            block.sent += 1;
            debug_assert!(block.sent <= block.k && self.watermark <= number);
            if symbol.following == 0 {
                self.advance_watermark(limits.now);
            }
            return Some(symbol);
        }
        None
    }

    /// Moves the watermark over the blocks that were wholly sent, and queues their proactive
    /// repair.
    fn advance_watermark(&mut self, now: Instant) {
        while self.is_interleaving() {
            let number = self.watermark;
            let Some(block) = self.ring.get_mut(number).filter(|b| b.sent == b.k) else {
                break;
            };
            block.sent_at = now;
            let proactive = block.proactive;
            self.repair.push(&mut self.ring, number, proactive);
            self.watermark += 1;
        }
        debug_assert!(self.watermark <= self.ring.end());
        debug_assert!(
            self.finished
                .is_none_or(|end| self.ring.end() == end.blocks)
        );
    }

    /// Whether a source symbol could be sent below `block_end`.
    pub(in crate::proto) fn has_source(&self, block_end: u32) -> bool {
        self.is_interleaving() || self.watermark < block_end.min(self.ring.end())
    }

    /// Whether a repair symbol is to be sent, or a source symbol once more.
    pub(in crate::proto) fn has_repair(&self) -> bool {
        !self.repair.is_empty()
    }

    /// Whether the next batch is of repair: in turns with source symbols, if there are `source`.
    pub(in crate::proto) fn next_is_repair(&mut self, source: bool) -> bool {
        self.repaired_last = self.has_repair() && (!source || !self.repaired_last);
        self.repaired_last
    }

    /// The repair symbol to send next; it will have this sequence number, and every receiver has
    /// reported on those below `reported_end`.
    pub(in crate::proto) fn next_repair(
        &mut self,
        sequence: u64,
        reported_end: u64,
    ) -> Option<OutgoingSymbol> {
        self.repair.next(&mut self.ring, sequence, reported_end)
    }

    /// Repair rounds so far: how often a block came to have pending symbols on request.
    pub(in crate::proto) fn repair_rounds(&self) -> u64 {
        self.repair.rounds()
    }

    /// A receiver lacks `need` symbols of this block.
    pub(in crate::proto) fn request(
        &mut self,
        block: u32,
        need: u16,
        request: RepairRequest,
    ) -> u16 {
        if block >= self.watermark {
            return 0;
        }
        self.repair.request(&mut self.ring, block, need, request)
    }

    /// Source symbols of a block that is kept and was sent, and how many symbols of it were sent in
    /// transmissions below this one.
    pub(in crate::proto) fn sent_of(&self, block: u32, sequence: u64) -> Option<(u16, u32)> {
        let block = self.ring.get(block).filter(|_| block < self.watermark)?;
        let late = block.repairs_sent.iter().filter(|&&at| at >= sequence);
        let late = u32::try_from(late.count()).unwrap_or(u32::MAX);
        let repairs = u32::from(block.next_row).saturating_sub(late);
        Some((block.k, u32::from(block.k) + repairs))
    }

    /// A receiver says that this block was polluted: its source symbols go out once more, after the
    /// hashes that tell the true ones. Nothing when that was done just now.
    pub(in crate::proto) fn on_polluted(&mut self, number: u32, now: Instant) -> Vec<SymbolHashes> {
        let len = self.symbol_len();
        if self.config.signing.is_none() || self.repair.resends(number) {
            return Vec::new();
        }
        let sent = number < self.watermark;
        let Some(block) = self.ring.get_mut(number).filter(|_| sent) else {
            return Vec::new();
        };
        let doublings = block.hashes_sent.saturating_sub(1).min(HASHES_DOUBLINGS);
        let patience = HASHES_EVERY.times(1 << doublings);
        if block.hashes_at.is_some_and(|at| now.since(at) < patience) {
            return Vec::new();
        }
        block.hashes_at = Some(now);
        block.hashes_sent += 1;
        let k = block.k;
        let hashes: Vec<_> = block.bytes.chunks(len).map(symbol_hash).collect();
        let step = SymbolHashes::fits(len).max(1);
        let parts = (0..k).step_by(step).zip(hashes.chunks(step));
        let parts = parts.map(|(first, hashes)| SymbolHashes {
            block: number,
            k,
            first,
            hashes: hashes.to_vec(),
        });
        self.repair.push_resend(number);
        parts.collect()
    }

    /// Queues a part of the last interleaved blocks once more, in repair symbols: all parts, one
    /// after each END but the last, make up for what the blocks were fewer than the depth, as an
    /// outage hits few blocks harder than many.
    pub(in crate::proto) fn queue_repair_again(&mut self, one_way: OneWay, depth: u32) {
        let (start, end) = (self.interleave.start, self.ring.end());
        let short = u64::from(depth.saturating_sub(end - start));
        for number in start..end {
            let Some(block) = self.ring.get(number).filter(|_| one_way.redundancy > 0) else {
                break;
            };
            let whole = u64::from(depth) * u64::from(ONE_WAY_COPIES - 1);
            let part = (u64::from(block.k) * short).div_ceil(whole);
            let part = u16::try_from(part).unwrap_or(u16::MAX);
            self.repair.push(&mut self.ring, number, part);
        }
    }

    /// Learns from blocks that were wholly sent `patience` ago or longer: a receiver that lacked
    /// something has said so.
    pub(in crate::proto) fn observe(&mut self, now: Instant, patience: Duration) {
        while self.unobserved < self.watermark {
            let Some(block) = self.ring.get(self.unobserved) else {
                break;
            };
            if now.since(block.sent_at) < patience {
                break;
            }
            self.auto_parity.observe(block.k, block.needed);
            self.unobserved += 1;
        }
    }

    /// Appends the bytes of a symbol that this window named.
    pub(in crate::proto) fn write(&self, symbol: OutgoingSymbol, out: &mut Vec<u8>) {
        self.ring.write(symbol, self.symbol_len(), out);
    }

    /// Releases the blocks below `next`: every receiver has them.
    pub(in crate::proto) fn release(&mut self, next: u32) {
        while self.ring.first() < next.min(self.watermark) {
            let observed = self.unobserved > self.ring.first();
            let Some(mut block) = self.ring.pop() else {
                break;
            };
            if !observed {
                self.auto_parity.observe(block.k, block.needed);
                self.unobserved += 1;
            }
            self.repair.on_released(block.repair_pending);
            if self.spare.len() < usize::from(DEPTH_MAX) {
                block.bytes.clear();
                self.spare.push(block.bytes);
            }
        }
        debug_assert!(self.ring.first() <= self.watermark && self.watermark <= self.ring.end());
        debug_assert!(self.ring.first() <= self.unobserved && self.unobserved <= self.watermark);
    }
}
