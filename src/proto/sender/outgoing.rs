//! What the sender says: control datagrams, and data as far as receivers and rate allow.

use super::send_window::{SendLimits, Symbol};
use super::{Limits, POLL_AFTER_DATA, Sender, State, alarm};
use crate::crypt::aead::Cipher;
use crate::crypt::sign::SigningKey;
use crate::proto::event::SenderEnd;
use crate::proto::limits::{
    ABORT_EVERY, BATCH_MAX, DEPTH_MAX, FEEDBACK_PER_S_MAX, FLIGHT_MIN, INTERLEAVE_TIME,
    NACK_RETRY_MIN, ONE_WAY_EVERY, RATE_MAX, REPORT_MAX, REPORT_MIN, SOCKET_COST, backoff_max,
};
use crate::proto::protect::{
    SignatureContext, StreamInfo, emit_announce, multicast_cipher, multicast_nonce, one_way_secret,
    seal,
};
use crate::units::{Duration, Instant, Rate};
use crate::wire::{
    AbortReason, Announce, DatagramKind, End, HEADER_LEN, MulticastHeader, Poll, Protection,
    SIGNATURE_LEN,
};

impl Sender {
    /// Writes the control datagram that is due, if one is.
    pub(super) fn emit_control(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        if let State::Aborting { abort, copies } = &self.state {
            if !self.timers.rings(alarm::ABORT, now) {
                return false;
            }
            let (abort, copies) = (abort.clone(), *copies);
            self.emit_signed(DatagramKind::Abort, SignatureContext::Abort, buf, |body| {
                abort.emit(body)
            });
            if copies > 1 {
                let every = if self.is_one_way() {
                    ONE_WAY_EVERY
                } else {
                    ABORT_EVERY
                };
                self.timers.set(alarm::ABORT, now + every);
                self.state = State::Aborting {
                    abort,
                    copies: copies - 1,
                };
            } else {
                self.end(match abort.reason {
                    AbortReason::NotStarted => SenderEnd::NobodyCame,
                    reason => SenderEnd::Aborted(reason),
                });
            }
            return true;
        }
        if self.state == State::Ended {
            return false;
        }
        if std::mem::take(&mut self.announce_due) {
            self.emit_announce(buf);
        } else if let Some(end) = self.end_to_say() {
            self.end_due = false;
            self.count_end();
            self.emit_signed(DatagramKind::End, SignatureContext::End, buf, |body| {
                end.emit(body)
            });
        } else if let Some(manifest) = self.manifests.pop_front() {
            self.emit_signed(
                DatagramKind::Hashes,
                SignatureContext::Hashes,
                buf,
                |body| {
                    manifest.emit(body);
                },
            );
            self.pace.spend(self.data_cost());
        } else if std::mem::take(&mut self.poll_due)
            && (self.is_one_way() || self.members.sum().active > 0)
        {
            let poll = self.poll(now);
            self.emit_signed(DatagramKind::Poll, SignatureContext::Poll, buf, |body| {
                poll.emit(body)
            });
        }
        !buf.is_empty()
    }

    /// The END that is due, if one is; one-way, not before what the last one owed.
    fn end_to_say(&self) -> Option<End> {
        let owes = self.is_one_way() && self.window.has_repair();
        self.window.complete().filter(|_| self.end_due && !owes)
    }

    /// What every ANNOUNCE says about the stream.
    pub(super) fn shape(&self) -> StreamInfo {
        let depth = if self.is_one_way() {
            self.one_way_depth()
        } else {
            self.depth_at(self.config.rate_max.unwrap_or(RATE_MAX))
        };
        StreamInfo {
            k: self.config.k,
            symbol_len: self.config.symbol_len,
            depth,
            series: self.series(),
        }
    }

    /// The cipher of a one-way session, whose secret follows from what every ANNOUNCE says.
    pub(super) fn one_way_cipher(&self) -> Cipher {
        let keys = &self.config.keys;
        let signer = keys.signing.as_ref().map(SigningKey::public);
        let (shape, shared) = (self.shape(), keys.shared.as_ref());
        let secret = one_way_secret(self.session, &self.public, shape, signer.as_ref(), shared);
        multicast_cipher(self.session, secret.expose())
    }

    fn emit_announce(&self, buf: &mut Vec<u8>) {
        let StreamInfo {
            k,
            symbol_len,
            depth,
            series,
        } = self.shape();
        let announce = Announce {
            session: self.session,
            series,
            sender_key: self.public.0,
            k,
            symbol_len,
            depth,
            status: self.policy(),
            protection: self.protection(),
            name: self.config.name.clone(),
        };
        emit_announce(&announce, &self.config.keys, buf);
    }

    fn protection(&self) -> Protection {
        let keys = &self.config.keys;
        Protection {
            signer: keys.signing.as_ref().map(|key| *key.public().as_bytes()),
            listed: keys.listed.is_some(),
            shared: keys.shared.is_some(),
            one_way: self.is_one_way(),
        }
    }

    pub(super) fn poll(&mut self, now: Instant) -> Poll {
        let limits = self.limits();
        let edge = if self.is_one_way() {
            self.window.group_start()
        } else {
            self.window.edge_for_poll()
        };
        let us = |d: Duration| u32::try_from(d.as_us()).unwrap_or(u32::MAX);
        Poll {
            watermark: edge,
            clock_us: now.as_us(),
            rtt_us: us(self.members.sum().rtt),
            receivers: self.members.sum().confirmed,
            report_every: limits.report_every,
            report_us: us(limits.report),
        }
    }

    /// Writes a multicast datagram that no member can make up, if this sender signs.
    fn emit_signed(
        &mut self,
        kind: DatagramKind,
        purpose: SignatureContext,
        buf: &mut Vec<u8>,
        emit: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut body = Vec::new();
        emit(&mut body);
        let signature = self.window.sign(purpose, &body);
        body.extend_from_slice(
            signature
                .as_ref()
                .map_or(&[], <[u8; SIGNATURE_LEN]>::as_slice),
        );
        self.emit_sealed(kind, buf, |out| out.extend_from_slice(&body));
    }

    /// Writes a multicast datagram that is not DATA.
    fn emit_sealed(
        &mut self,
        kind: DatagramKind,
        buf: &mut Vec<u8>,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        let (start, tx) = (buf.len(), self.next_tx());
        let tag = self.session.tag();
        MulticastHeader {
            kind,
            tag,
            repair: false,
            auto_parity: 0,
            symbol: 0,
            sequence: tx,
            following: if kind == DatagramKind::End {
                self.ends_left
            } else {
                0
            },
            block: 0,
        }
        .emit(buf);
        body(buf);
        seal(
            &self.cipher,
            &multicast_nonce(tx),
            buf,
            start,
            start + HEADER_LEN,
        );
    }

    fn next_tx(&mut self) -> u64 {
        let tx = self.tx;
        assert!(
            tx < 1 << 48,
            "2^48 datagrams are more than 2^32 blocks can need"
        );
        self.tx += 1;
        tx
    }

    /// Writes a batch of DATA datagrams as far as receivers and rate allow.
    pub(super) fn emit_data(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        if !matches!(self.state, State::Sending | State::Draining) {
            return false;
        }
        let (mut limits, sum) = (self.limits(), self.members.sum());
        let cost = self.data_cost();
        let patience = NACK_RETRY_MIN + backoff_max(sum.confirmed, sum.rtt).times(2);
        self.window.judge(now, patience);
        let one_way = self.config.one_way;
        if one_way.is_some() && !self.group_is_ready(now) {
            limits.block_end = 0;
        }
        let fresh = self.window.has_source(limits.block_end);
        if (!fresh && !self.window.has_repair()) || self.tx >= limits.tx_end {
            self.pace.rest();
            return false;
        }
        // Small sips from the bucket would make many system calls out of one.
        let batch = (self.pace.depth() / cost).clamp(1, BATCH_MAX);
        let sip = batch.div_ceil(4) * cost;
        let allowance = self.pace.allowance(now);
        if allowance < sip {
            self.timers.set(alarm::PACE, self.pace.ready_at(sip));
            return false;
        }
        let room = limits.tx_end - self.tx;
        let count = (allowance / cost).min(room).min(batch);
        let repairing = self.window.has_repair()
            && match one_way {
                Some(_) => !self.window.in_group(),
                None => !fresh || !self.repaired_last,
            };
        self.repaired_last = repairing;
        let terms = SendLimits {
            now,
            limit: limits.block_end,
            depth: self.depth(),
            receivers: sum.confirmed,
            one_way,
        };
        let mut sent = 0;
        while sent < count {
            let symbol = if repairing {
                self.window.next_repair(self.tx, sum.tx_end)
            } else {
                self.window.next_source(&terms)
            };
            let Some(symbol) = symbol else { break };
            self.emit_symbol(symbol, buf);
            sent += 1;
        }
        if repairing {
            self.stats.repair += sent;
        } else {
            self.stats.source += sent;
        }
        self.pace.spend(sent * cost);
        if sent > 0 && self.state == State::Sending {
            self.timers.set_earlier(alarm::POLL, now + limits.report);
            if !self.window.has_source(limits.block_end) {
                self.timers.set_earlier(alarm::POLL, now + POLL_AFTER_DATA);
            }
        }
        sent > 0
    }

    /// Bytes of a DATA datagram with its IP and UDP headers.
    pub(super) fn data_cost(&self) -> u64 {
        (self.data_len() + self.config.ip_udp_len) as u64
    }

    /// Blocks to mix at present: no more than a part of what a receiver can hold, since all of a
    /// group stay until the first is complete.
    fn depth(&self) -> u32 {
        if self.is_one_way() {
            return self.one_way_depth().into();
        }
        let held = (self.members.sum().window / 4).max(1);
        u32::from(self.depth_at(self.pace.rate())).min(held)
    }

    /// Blocks that may be mixed at this rate.
    fn depth_at(&self, rate: Rate) -> u16 {
        let block = u64::from(self.config.k) * self.data_cost();
        let held = self.window.blocks_max() as u64 / 4;
        let wanted = (rate.bytes_in(INTERLEAVE_TIME) / block).min(held);
        u16::try_from(wanted)
            .unwrap_or(DEPTH_MAX)
            .clamp(1, DEPTH_MAX)
    }

    fn emit_symbol(&mut self, symbol: Symbol, buf: &mut Vec<u8>) {
        let (start, tx) = (buf.len(), self.next_tx());
        let header = MulticastHeader {
            kind: DatagramKind::Data,
            tag: self.session.tag(),
            repair: symbol.repair,
            auto_parity: symbol.pledge,
            symbol: symbol.number,
            sequence: tx,
            following: symbol.left,
            block: symbol.block,
        };
        header.emit(buf);
        self.window.write(symbol, buf);
        seal(
            &self.cipher,
            &multicast_nonce(tx),
            buf,
            start,
            start + HEADER_LEN,
        );
    }

    /// The limits that the receivers set. Who has not shown that it has the keys holds nobody up.
    pub(super) fn limits(&self) -> Limits {
        if self.is_one_way() {
            return Self::one_way_limits();
        }
        let sum = self.members.sum();
        let cost = SOCKET_COST * self.data_cost().div_ceil(1500);
        let receivers = u64::from(sum.confirmed);
        // Reports are spread so that the whole group stays below its share of the feedback.
        let per_s = u64::from(FEEDBACK_PER_S_MAX);
        let datagrams_per_s = self.pace.rate().as_bytes_per_s() / self.data_cost();
        let flight = (u64::from(sum.socket_bytes) / cost * 3 / 4).max(FLIGHT_MIN);
        let report_every = (flight / 4).max(datagrams_per_s * receivers / per_s);
        let flight = flight.max(report_every * 4);
        let report = Duration::from_us(receivers * 1_000_000 / per_s);
        let anybody = sum.confirmed > 0;
        Limits {
            block_end: if anybody { sum.window_end } else { 0 },
            tx_end: if anybody { sum.tx_end + flight } else { 0 },
            flight,
            report_every: u32::try_from(report_every).unwrap_or(u32::MAX),
            report: report.clamp(REPORT_MIN, REPORT_MAX),
        }
    }
}
