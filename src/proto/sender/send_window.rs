//! The blocks that a sender keeps: closed, sent, repaired, released in order.

mod one_way;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::auto_parity::AutoParity;
use crate::crypt::sign::SigningKey;
use crate::fec;
use crate::proto::block::{Chain, capacity, symbol_hash};
use crate::proto::config::OneWay;
use crate::proto::limits::{DEPTH_MAX, HASHES_DOUBLINGS, HASHES_EVERY};
use crate::proto::protect::{SignatureContext, sign};
use crate::units::{Duration, Instant};
use crate::wire::{AUTO_PARITY_MAX, End, SIGNATURE_LEN, SessionId, SymbolHashes};

/// A closed block.
#[derive(Debug)]
struct Block {
    /// Symbols one after the other.
    bytes: Vec<u8>,
    k: u16,
    /// Source symbols sent.
    sent: u16,
    next_row: u16,
    /// Repair symbols still to be sent.
    owed: u16,
    /// Transmission numbers of its repair symbols that may be on their way, ascending.
    repairs: VecDeque<u64>,
    /// When its manifest was sent, the last time, and how often it was.
    doubted_at: Option<Instant>,
    doubts: u32,
    /// When its first pass was over.
    passed_at: Instant,
    /// Repair symbols that follow it unasked.
    unasked: u16,
    /// What its worst-off receiver needed in all, if it was more than what came unasked.
    needed: Option<u16>,
}

/// On what terms source symbols leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendLimits {
    pub(super) now: Instant,
    /// Blocks from this one on must wait.
    pub(super) limit: u32,
    /// How many blocks to mix.
    pub(super) depth: u32,
    /// Receivers in the session.
    pub(super) receivers: u32,
    /// They do not answer.
    pub(super) one_way: Option<OneWay>,
}

/// A receiver that asks for repair symbols.
#[derive(Clone, Copy, Debug)]
pub(super) struct RepairRequest {
    /// It has heard everything below this transmission.
    pub(super) tx_end: u64,
    /// The share of datagrams that it loses.
    pub(super) loss: f64,
    /// To ask again costs it time, or others a datagram each.
    pub(super) once: bool,
}

impl RepairRequest {
    /// How many symbols to send so that `need` of them arrive: on average, or most probably.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small positive numbers"
    )]
    fn with_losses(self, need: usize) -> u16 {
        let loss = self.loss.clamp(0.0, 0.5);
        let expected = need as f64 / (1.0 - loss);
        let symbols = if self.once {
            (expected + 2.0 * (expected * loss).sqrt()).ceil()
        } else {
            expected.round()
        };
        symbols.min(f64::from(u16::MAX / 2)) as u16
    }
}

/// A symbol to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) block: u32,
    pub(super) number: u16,
    pub(super) left: u16,
    pub(super) repair: bool,
    pub(super) pledge: u8,
}

/// The ring of blocks between the input and the slowest receiver.
#[derive(Debug)]
pub(super) struct SendWindow {
    k: u16,
    symbol_len: u16,
    blocks_max: usize,
    blocks: VecDeque<Block>,
    /// The number of the front block.
    first: u32,
    /// The first block whose first pass is not over.
    edge: u32,
    /// The blocks from the edge up to this one take turns,
    group_end: u32,
    /// which began with this one,
    group_start: u32,
    /// and this one is next.
    turn: u32,
    /// The first block of which it is not known whether what came unasked was enough.
    unjudged: u32,
    auto_parity: AutoParity,
    open: Vec<u8>,
    chain: Chain,
    session: SessionId,
    signing: Option<SigningKey>,
    finished: Option<End>,
    /// Blocks that owe repair symbols, which take turns; some may be gone or owe nothing any more.
    owing: VecDeque<u32>,
    /// Blocks whose source symbols are sent once more, and the next of them.
    again: VecDeque<(u32, u16)>,
    again_last: bool,
    /// Repair symbols owed in all.
    owed: usize,
    rounds: u64,
    spare: Vec<Vec<u8>>,
}

impl SendWindow {
    pub(super) fn new(
        session: SessionId,
        k: u16,
        symbol_len: u16,
        blocks_max: usize,
        signing: Option<SigningKey>,
    ) -> Self {
        Self {
            session,
            signing,
            again: VecDeque::new(),
            again_last: false,
            k,
            symbol_len,
            blocks_max,
            blocks: VecDeque::new(),
            first: 0,
            edge: 0,
            group_end: 0,
            group_start: 0,
            turn: 0,
            unjudged: 0,
            auto_parity: AutoParity::default(),
            open: Vec::new(),
            chain: Chain::new(session),
            finished: None,
            owing: VecDeque::new(),
            owed: 0,
            rounds: 0,
            spare: Vec::new(),
        }
    }

    /// The same in a series that began with another session.
    pub(super) fn of_series(self, series: SessionId) -> Self {
        Self {
            chain: Chain::new(series).in_session(self.session),
            ..self
        }
    }

    /// Takes bytes of the stream, as many as there is room for.
    pub(super) fn push(&mut self, mut data: &[u8]) -> usize {
        let all = data.len();
        let room = capacity(self.k, self.symbol_len, self.signing.is_some());
        while !data.is_empty() && self.blocks.len() < self.blocks_max && self.finished.is_none() {
            if self.open.capacity() == 0 {
                self.open = self.spare.pop().unwrap_or_default();
                self.open
                    .reserve_exact(usize::from(self.k) * usize::from(self.symbol_len));
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

    fn close(&mut self) {
        let mut bytes = std::mem::take(&mut self.open);
        let len = usize::from(self.symbol_len);
        let k = self.chain.close(&mut bytes, len, self.signing.as_ref());
        self.blocks.push_back(Block {
            bytes,
            k,
            sent: 0,
            next_row: 0,
            owed: 0,
            repairs: VecDeque::new(),
            doubted_at: None,
            doubts: 0,
            passed_at: Instant::ZERO,
            unasked: 0,
            needed: None,
        });
    }

    /// Ends the stream. The last block may go beyond the ring by one.
    pub(super) fn finish(&mut self) {
        if self.finished.is_some() {
            return;
        }
        if !self.open.is_empty() {
            self.close();
        }
        let last_k = self
            .blocks
            .back()
            .map_or(if self.first > 0 { self.k } else { 0 }, |b| b.k);
        self.finished = Some(End {
            length: self.chain.length(),
            blocks: self.end(),
            last_k,
            digest: self.chain.digest(),
        });
    }

    /// The end of the stream, once it is known.
    pub(super) fn finished(&self) -> Option<End> {
        self.finished
    }

    /// The end of the stream, once it is known and all of it was sent once.
    pub(super) fn complete(&self) -> Option<End> {
        self.finished.filter(|end| self.edge == end.blocks)
    }

    /// The number after the newest closed block.
    fn end(&self) -> u32 {
        self.first + u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    /// Blocks that are kept at most, but for a last one.
    pub(super) fn blocks_max(&self) -> usize {
        self.blocks_max
    }

    /// The first block that is still kept.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// Whether there is no room for another block.
    pub(super) fn is_full(&self) -> bool {
        self.blocks.len() >= self.blocks_max
    }

    /// Whether the ring is full and all of it was sent: nothing moves until a block is released.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_full() && self.edge == self.end()
    }

    /// The first block whose first pass is not over.
    pub(super) fn edge(&self) -> u32 {
        self.edge
    }

    /// The edge that a POLL may name: the last block's end is told by END alone, with its length.
    pub(super) fn edge_for_poll(&self) -> u32 {
        match self.finished {
            Some(end) => self.edge.min(end.blocks.saturating_sub(1)),
            None => self.edge,
        }
    }

    fn get(&mut self, block: u32) -> Option<&mut Block> {
        let at = usize::try_from(block.checked_sub(self.first)?).ok()?;
        self.blocks.get_mut(at)
    }

    /// The source symbol to send next: of as many blocks as are there when a group begins, at most
    /// the depth, one symbol each in turn. Nothing waits for further blocks.
    pub(super) fn next_source(&mut self, terms: &SendLimits) -> Option<Symbol> {
        if self.edge >= self.group_end {
            let deep = self.edge.saturating_add(terms.depth);
            self.group_end = terms.limit.min(self.end()).min(deep);
            self.turn = self.edge;
            if self.edge < self.group_end {
                self.group_start = self.edge;
            }
            let (auto_parity, k) = (self.auto_parity, self.k);
            for number in self.edge..self.group_end {
                if let Some(block) = self.get(number) {
                    block.unasked = match terms.one_way {
                        Some(one_way) => one_way.repair(block.k, k),
                        None => auto_parity.count(block.k, terms.receivers).into(),
                    };
                }
            }
        }
        while self.edge < self.group_end {
            let number = self.turn;
            self.turn = if number + 1 < self.group_end {
                number + 1
            } else {
                self.edge
            };
            let block = self.get(number)?;
            if block.sent == block.k {
                continue;
            }
            let symbol = Symbol {
                block: number,
                number: block.sent,
                left: block.k - block.sent - 1,
                repair: false,
                pledge: u8::try_from(block.unasked)
                    .map_or(AUTO_PARITY_MAX, |n| n.min(AUTO_PARITY_MAX)),
            };
            block.sent += 1;
            if symbol.left == 0 {
                self.pass(terms);
            }
            return Some(symbol);
        }
        None
    }

    /// Moves the edge over the blocks whose first pass is over, and owes what they get unasked.
    fn pass(&mut self, terms: &SendLimits) {
        while self.edge < self.group_end {
            let number = self.edge;
            let Some(block) = self.get(number).filter(|b| b.sent == b.k) else {
                break;
            };
            block.passed_at = terms.now;
            let unasked = block.unasked;
            self.owe(number, unasked);
            self.edge += 1;
        }
    }

    /// Whether a source symbol could be sent below `limit`.
    pub(super) fn has_source(&self, limit: u32) -> bool {
        self.edge < self.group_end || self.edge < limit.min(self.end())
    }

    fn owe(&mut self, number: u32, more: u16) {
        let Some(block) = self.get(number).filter(|_| more > 0) else {
            return;
        };
        let owed = block.owed;
        block.owed = owed.saturating_add(more);
        let added = block.owed - owed;
        self.owed += usize::from(added);
        if owed == 0 {
            self.owing.push_back(number);
        }
    }

    /// The repair symbol to send next; it will have transmission number `tx`, and every receiver
    /// has reported on those below `heard`.
    pub(super) fn next_repair(&mut self, tx: u64, heard: u64) -> Option<Symbol> {
        // In turns: a member that doubts without end must not keep repair from the others.
        self.again_last = !self.again_last;
        if (self.again_last || self.owed == 0)
            && let Some(symbol) = self.next_again()
        {
            return Some(symbol);
        }
        while let Some(number) = self.owing.pop_front() {
            let Some(block) = self.get(number).filter(|b| b.owed > 0) else {
                continue;
            };
            let row = block.next_row;
            block.next_row = if usize::from(row) + usize::from(block.k) + 1 < fec::ROWS_MAX {
                row + 1
            } else {
                0
            };
            block.owed -= 1;
            while block.repairs.front().is_some_and(|&old| old < heard) {
                block.repairs.pop_front();
            }
            block.repairs.push_back(tx);
            let left = block.owed;
            self.owed -= 1;
            if left > 0 {
                self.owing.push_back(number);
            }
            return Some(Symbol {
                block: number,
                number: u16::MAX - row,
                left,
                repair: true,
                pledge: 0,
            });
        }
        None
    }

    /// How often a block came to owe repair symbols on request.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Whether a repair symbol is owed.
    pub(super) fn has_repair(&self) -> bool {
        self.owed > 0 || !self.again.is_empty()
    }

    fn next_again(&mut self) -> Option<Symbol> {
        loop {
            let (number, next) = *self.again.front()?;
            let Some(k) = self.get(number).map(|b| b.k).filter(|&k| next < k) else {
                self.again.pop_front();
                continue;
            };
            if let Some((_, next)) = self.again.front_mut() {
                *next += 1;
            }
            return Some(Symbol {
                block: number,
                number: next,
                left: k - 1 - next,
                repair: false,
                pledge: 0,
            });
        }
    }

    /// A receiver says that `block` is not what was signed: its symbols go out once more, after the
    /// manifest that tells the true ones. Nothing when that was done just now.
    pub(super) fn doubt(&mut self, block: u32, now: Instant) -> Vec<SymbolHashes> {
        let (edge, len) = (self.edge, usize::from(self.symbol_len));
        if self.signing.is_none() || self.again.iter().any(|&(b, _)| b == block) {
            return Vec::new();
        }
        let Some(b) = self.get(block).filter(|_| block < edge) else {
            return Vec::new();
        };
        let patience = HASHES_EVERY.times(1 << b.doubts.saturating_sub(1).min(HASHES_DOUBLINGS));
        if b.doubted_at.is_some_and(|at| now.since(at) < patience) {
            return Vec::new();
        }
        b.doubted_at = Some(now);
        b.doubts += 1;
        let k = b.k;
        let hashes: Vec<_> = b.bytes.chunks(len).map(symbol_hash).collect();
        let step = SymbolHashes::fits(len).max(1);
        let parts = (0..k).step_by(step).zip(hashes.chunks(step));
        let manifests = parts.map(|(first, hashes)| SymbolHashes {
            block,
            k,
            first,
            hashes: hashes.to_vec(),
        });
        let manifests = manifests.collect();
        self.again.push_back((block, 0));
        manifests
    }

    /// Signs what this sender says about its stream.
    pub(super) fn sign(
        &self,
        purpose: SignatureContext,
        body: &[u8],
    ) -> Option<[u8; SIGNATURE_LEN]> {
        let key = self.signing.as_ref()?;
        Some(sign(key, purpose, self.session, body))
    }

    /// Learns from blocks whose first pass was over `patience` ago or longer: who lacked something
    /// has said so.
    pub(super) fn judge(&mut self, now: Instant, patience: Duration) {
        while self.unjudged < self.edge {
            let number = self.unjudged;
            let Some(block) = self.get(number) else { break };
            if now.since(block.passed_at) < patience {
                break;
            }
            let (k, needed) = (block.k, block.needed);
            self.auto_parity.judge(k, needed);
            self.unjudged += 1;
        }
    }

    /// Writes the text of a symbol that this window named.
    pub(super) fn write(&mut self, symbol: Symbol, out: &mut Vec<u8>) {
        let len = usize::from(self.symbol_len);
        let Some(block) = self.get(symbol.block) else {
            return;
        };
        if symbol.repair {
            let start = out.len();
            out.resize(start + len, 0);
            fec::repair(&block.bytes, u16::MAX - symbol.number, &mut out[start..]);
        } else {
            out.extend_from_slice(&block.bytes[usize::from(symbol.number) * len..][..len]);
        }
    }

    /// A receiver lacks `need` symbols of `block`: owes it as many as are not under way already.
    pub(super) fn request(&mut self, block: u32, need: u16, asker: RepairRequest) {
        let (edge, tx_end) = (self.edge, asker.tx_end);
        let Some(b) = self.get(block).filter(|_| block < edge) else {
            return;
        };
        let heard = b.repairs.partition_point(|&tx| tx < tx_end);
        let under_way = b.repairs.len() - heard;
        let coming = under_way + usize::from(b.owed);
        let lacking = usize::from(need.min(b.k)).saturating_sub(coming);
        if lacking > 0 {
            // What it lacks, and what it had before.
            let had = usize::from(b.next_row).saturating_sub(under_way);
            let needed = u16::try_from(had).unwrap_or(u16::MAX).saturating_add(need);
            b.needed = b.needed.max(Some(needed));
            self.rounds += u64::from(b.owed == 0);
            self.owe(block, asker.with_losses(lacking));
        }
    }

    /// Lets the blocks below `next` go: every receiver has them.
    pub(super) fn release(&mut self, next: u32) {
        while self.first < next.min(self.edge) {
            let Some(mut block) = self.blocks.pop_front() else {
                break;
            };
            if self.unjudged == self.first {
                self.auto_parity.judge(block.k, block.needed);
                self.unjudged += 1;
            }
            self.owed -= usize::from(block.owed);
            self.first += 1;
            if self.spare.len() < usize::from(DEPTH_MAX) {
                block.bytes.clear();
                self.spare.push(block.bytes);
            }
        }
    }
}
