//! The sender's side of a session.

mod feedback;
mod foresight;
mod gate;
mod roll;
mod roster;
mod window;

use std::collections::VecDeque;
use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::gate::Gate;
use self::roster::Roster;
use self::window::{Symbol, Terms, Window};
use super::config::{
    ABORT_COPIES, ABORT_EVERY, ANNOUNCE_RUNNING, ANNOUNCE_WAITING, BATCH_MAX, DEPTH_MAX, END_EVERY,
    FEEDBACK_PER_S_MAX, FLIGHT_MIN, INTERLEAVE_TIME, IP_UDP_LEN, NACK_RETRY_MIN, POLL_MAX,
    RATE_MAX, REPORT_MAX, REPORT_MIN, SOCKET_COST, SenderConfig, backoff_max, fit_name,
    window_blocks,
};
use super::event::{Fate, SenderEnd, SenderEvent, SenderStats, Target, Transmit};
use super::pace::Pace;
use super::protect::{emit_announce, multicast_cipher, multicast_nonce, seal};
use super::timer::Timers;
use crate::crypt::aead::Cipher;
use crate::crypt::agree::{PublicKey, SecretKey};
use crate::crypt::secret::Secret;
use crate::units::{Duration, Instant, Rate};
use crate::wire::{
    Abort, AbortReason, Announce, DATA_OVERHEAD, End, HEADER_LEN, Header, Kind, Policy, Poll,
    SessionId,
};

/// Replies to receivers that wait to be sent, at most; more are dropped, and asked for again.
const REPLIES_MAX: usize = 4_096;
/// After the last symbol of a pause in the input comes a POLL this soon.
const POLL_AFTER_DATA: Duration = Duration::from_ms(5);

/// Alarms of a sender.
mod alarm {
    /// An ANNOUNCE is due: set from the beginning until the end.
    pub(super) const ANNOUNCE: usize = 0;
    /// A POLL is due: set while there are receivers.
    pub(super) const POLL: usize = 1;
    /// An END is due: set while draining.
    pub(super) const END: usize = 2;
    /// An ABORT is due: set while aborting.
    pub(super) const ABORT: usize = 3;
    /// The start is due: set while gathering, when a receiver has joined.
    pub(super) const START: usize = 4;
    /// Nobody may be waited for any longer: set while gathering.
    pub(super) const GIVE_UP: usize = 5;
    /// Receivers are looked after: set while there are any.
    pub(super) const ROLL_CALL: usize = 6;
    /// The bucket has filled: set while data waits for it.
    pub(super) const PACE: usize = 7;
    pub(super) const COUNT: usize = 8;
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Gathering,
    Sending,
    Draining,
    Aborting { abort: Abort, copies: u32 },
    Ended,
}

/// How a receiver fared, for the report at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberReport {
    /// Its number.
    pub receiver: u32,
    /// Its name.
    pub name: String,
    /// Its address.
    pub addr: SocketAddr,
    /// How it fared.
    pub fate: Fate,
    /// The first block that it does not have.
    pub next: u32,
    /// FEEDBACKs of it that asked for something.
    pub nacks: u64,
}

/// Limits that the slowest receivers set.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// No receiver has room for this block.
    block_end: u32,
    /// No transmission from this number on may leave yet.
    tx_end: u64,
    /// Transmissions that may be under way to a receiver.
    flight: u64,
    /// A receiver reports after this many datagrams.
    report_every: u32,
    report: Duration,
}

/// The sender's state machine; see the module [`super`] for the order of calls.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    session: SessionId,
    secret: Secret<32>,
    key: SecretKey,
    public: PublicKey,
    cipher: Cipher,
    state: State,
    roster: Roster,
    window: Window,
    tx: u64,
    pace: Pace,
    timers: Timers<{ alarm::COUNT }>,
    /// What to tell the receivers instead of data.
    failed: Option<Abort>,
    /// The last batch was of repair symbols: new data is next.
    repaired_last: bool,
    first_join: Option<Instant>,
    /// Nobody is let in any more: those who might come held up those who are there.
    shut: bool,
    gate: Gate,
    /// When the roll was called last, and the source symbols that had been sent by then.
    called_at: Instant,
    called_source: u64,
    replies: VecDeque<(SocketAddr, Vec<u8>)>,
    announce_due: bool,
    poll_due: bool,
    end_due: bool,
    events: VecDeque<SenderEvent>,
    stats: SenderStats,
}

impl Sender {
    /// A sender that announces its session at once. All randomness comes from `seed`, which must
    /// never serve twice.
    ///
    /// # Panics
    /// If the symbol is empty or of odd length, or a block could not hold its trailer.
    pub fn new(mut config: SenderConfig, seed: [u8; 32], now: Instant) -> Self {
        let (k, len) = (config.k, config.symbol_len);
        assert!(len > 0 && len.is_multiple_of(2), "symbols of even length");
        assert!(
            usize::from(k) * usize::from(len) > super::TRAILER_LEN,
            "room for data"
        );
        config.name = fit_name(&config.name);
        let mut rng = StdRng::from_seed(seed);
        let [mut id, mut secret, mut scalar] = [[0; 32]; 3];
        rng.fill_bytes(&mut id);
        rng.fill_bytes(&mut secret);
        rng.fill_bytes(&mut scalar);
        let mut session = SessionId([0; 16]);
        session.0.copy_from_slice(&id[..16]);
        let key = SecretKey::from_seed(scalar);
        let mut timers = Timers::new();
        timers.set(alarm::ANNOUNCE, now);
        if let Some(timeout) = config.start_timeout {
            timers.set(alarm::GIVE_UP, now + timeout);
        }
        let datagram = usize::from(len) + DATA_OVERHEAD + IP_UDP_LEN;
        let pace = Pace::new(config.rate_max, datagram as u64, now);
        Self {
            session,
            cipher: multicast_cipher(session, &secret),
            secret: Secret::new(secret),
            public: key.public(),
            key,
            state: State::Gathering,
            roster: Roster::default(),
            window: Window::new(session, k, len, window_blocks(config.memory, k, len)),
            tx: 0,
            timers,
            failed: None,
            repaired_last: false,
            first_join: None,
            shut: false,
            gate: Gate::new(now, rng.next_u64()),
            called_at: now,
            called_source: 0,
            replies: VecDeque::new(),
            announce_due: false,
            poll_due: false,
            end_due: false,
            events: VecDeque::new(),
            stats: SenderStats {
                bytes: 0,
                source: 0,
                repair: 0,
                datagrams: 0,
                wire_bytes: 0,
                rounds: 0,
                nacks: 0,
                feedbacks: 0,
                refused: 0,
                rate: pace.rate(),
                active: 0,
                done: 0,
            },
            pace,
            config,
        }
    }

    /// The session's id.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Takes bytes of the stream, as many as there is room for, and says how many.
    pub fn push(&mut self, data: &[u8]) -> usize {
        let taken = self.window.push(data);
        self.stats.bytes += taken as u64;
        taken
    }

    /// The stream is complete.
    pub fn finish(&mut self) {
        self.window.finish();
    }

    /// The stream will never be complete: tells all receivers, then ends.
    pub fn abort(&mut self, now: Instant, reason: AbortReason, text: &str) {
        if matches!(self.state, State::Ended | State::Aborting { .. }) {
            return;
        }
        let abort = Abort {
            reason,
            text: text.to_owned(),
        };
        self.state = State::Aborting {
            abort,
            copies: ABORT_COPIES,
        };
        self.timers.set(alarm::ABORT, now);
        self.timers.clear(alarm::ANNOUNCE);
    }

    /// The stream failed before anybody heard of it: tells the receivers when they are there, as if
    /// the session began, so that none of them waits for what will not come.
    pub fn abort_at_start(&mut self, now: Instant, reason: AbortReason, text: &str) {
        if self.state == State::Gathering {
            self.failed = Some(Abort {
                reason,
                text: text.to_owned(),
            });
        } else {
            self.abort(now, reason, text);
        }
    }

    /// The end of the stream, if receivers were told of it: before, nobody can be done.
    fn end_told(&self) -> Option<End> {
        self.window
            .complete()
            .filter(|_| self.state == State::Draining)
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.timers.rings(alarm::PACE, now);
        if self.timers.rings(alarm::ANNOUNCE, now) {
            self.announce_due = true;
            let waiting = self.state == State::Gathering;
            let every = if waiting {
                ANNOUNCE_WAITING
            } else {
                ANNOUNCE_RUNNING
            };
            self.timers.set(alarm::ANNOUNCE, now + every);
        }
        if self.timers.rings(alarm::POLL, now) {
            self.poll_due = true;
            self.timers.set(alarm::POLL, now + POLL_MAX);
        }
        if self.timers.rings(alarm::END, now) {
            self.end_due = true;
            self.timers.set(alarm::END, now + END_EVERY);
        }
        if self.timers.rings(alarm::ROLL_CALL, now) {
            self.roll_call(now);
        }
        if self.timers.rings(alarm::START, now) && self.state == State::Gathering {
            self.start(now);
        }
        if self.timers.rings(alarm::GIVE_UP, now) && self.state == State::Gathering {
            self.end(SenderEnd::NobodyCame);
        }
        self.settle(now);
    }

    /// When to call [`Sender::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Ended {
            None
        } else {
            self.timers.next()
        }
    }

    /// Whether [`Sender::handle_timeout`] came so late that the rate is not kept: who has a moment
    /// to wait had better not sleep.
    pub fn is_late(&self) -> bool {
        self.pace.is_late()
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<SenderEvent> {
        self.events.pop_front()
    }

    /// Whether the session is over and all that there was to say about it was sent.
    pub fn is_done(&self) -> bool {
        self.state == State::Ended && self.replies.is_empty()
    }

    /// What was counted so far.
    pub fn stats(&self) -> SenderStats {
        SenderStats {
            rate: self.pace.rate(),
            active: self.roster.sum().confirmed,
            done: self.roster.sum().done,
            rounds: self.window.rounds(),
            ..self.stats
        }
    }

    /// Receivers that joined, less those that went away before the start.
    pub fn joined(&self) -> u32 {
        self.roster.sum().joined
    }

    /// How each receiver fared.
    pub fn members(&self) -> Vec<MemberReport> {
        self.roster
            .all()
            .filter(|(_, m)| m.is_confirmed())
            .map(|(receiver, m)| MemberReport {
                receiver,
                name: m.name.clone(),
                addr: m.addr,
                fate: m.fate,
                next: m.next,
                nacks: m.nacks,
            })
            .collect()
    }

    /// Fills `buf` with datagrams to send now; nothing when there are none.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        self.settle(now);
        let (to, segment) = if let Some((addr, reply)) = self.replies.pop_front() {
            buf.extend_from_slice(&reply);
            (Target::Peer(addr), buf.len())
        } else if self.emit_control(now, buf) {
            (Target::Group, buf.len())
        } else if self.emit_data(now, buf) {
            (Target::Group, self.data_len())
        } else {
            return None;
        };
        let datagrams = buf.len().div_ceil(segment);
        self.stats.datagrams += datagrams as u64;
        self.stats.wire_bytes += (buf.len() + datagrams * IP_UDP_LEN) as u64;
        Some(Transmit { to, segment })
    }

    /// Bytes of a DATA datagram.
    fn data_len(&self) -> usize {
        usize::from(self.config.symbol_len) + DATA_OVERHEAD
    }

    /// Moves from state to state when the time has come.
    fn settle(&mut self, now: Instant) {
        if matches!(self.state, State::Sending | State::Draining) {
            let sum = self.roster.sum();
            if sum.active == 0 {
                let done = sum.done;
                let failed = sum.joined.saturating_sub(done);
                let end = match (done, failed, self.window.complete()) {
                    (_, 0, Some(_)) => SenderEnd::Complete,
                    (0, _, _) | (_, _, None) => SenderEnd::AllLost,
                    _ => SenderEnd::Partial { done, failed },
                };
                self.end(end);
            } else if self.state == State::Sending && self.window.complete().is_some() {
                self.state = State::Draining;
                self.end_due = true;
                self.timers.set(alarm::END, now + END_EVERY);
            }
        }
    }

    fn start(&mut self, now: Instant) {
        self.state = State::Sending;
        self.timers.clear(alarm::START);
        self.timers.clear(alarm::GIVE_UP);
        self.events.push_back(SenderEvent::Started {
            receivers: self.joined(),
        });
        self.poll_due = true;
        self.announce_due = true;
        self.timers.set(alarm::ANNOUNCE, now + ANNOUNCE_RUNNING);
        if let Some(abort) = self.failed.take() {
            self.abort(now, abort.reason, &abort.text);
        }
    }

    fn end(&mut self, end: SenderEnd) {
        self.state = State::Ended;
        self.events.push_back(SenderEvent::Ended(end));
    }

    fn policy(&self) -> Policy {
        let gathering = self.state == State::Gathering;
        Policy {
            started: !gathering,
            joinable: gathering
                || (self.state == State::Sending && self.window.first() == 0 && !self.shut),
            joined: self.joined(),
            wanted: self.config.receivers,
        }
    }

    /// Writes the control datagram that is due, if one is.
    fn emit_control(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        if let State::Aborting { abort, copies } = &self.state {
            if !self.timers.rings(alarm::ABORT, now) {
                return false;
            }
            let (abort, copies) = (abort.clone(), *copies);
            self.emit_sealed(Kind::Abort, buf, |body| abort.emit(body));
            if copies > 1 {
                self.timers.set(alarm::ABORT, now + ABORT_EVERY);
                self.state = State::Aborting {
                    abort,
                    copies: copies - 1,
                };
            } else {
                self.end(SenderEnd::Aborted(abort.reason));
            }
            return true;
        }
        if self.state == State::Ended {
            return false;
        }
        if std::mem::take(&mut self.announce_due) {
            self.emit_announce(buf);
        } else if let Some(end) = self.window.complete().filter(|_| self.end_due) {
            self.end_due = false;
            self.emit_sealed(Kind::End, buf, |body| end.emit(body));
        } else if std::mem::take(&mut self.poll_due) && self.roster.sum().active > 0 {
            let poll = self.poll(now);
            self.emit_sealed(Kind::Poll, buf, |body| poll.emit(body));
        }
        !buf.is_empty()
    }

    fn emit_announce(&self, buf: &mut Vec<u8>) {
        let announce = Announce {
            session: self.session,
            sender_key: self.public.0,
            k: self.config.k,
            symbol_len: self.config.symbol_len,
            depth: self.depth_at(self.config.rate_max.unwrap_or(RATE_MAX)),
            policy: self.policy(),
            name: self.config.name.clone(),
        };
        emit_announce(&announce, buf);
    }

    fn poll(&mut self, now: Instant) -> Poll {
        let limits = self.limits();
        let us = |d: Duration| u32::try_from(d.as_us()).unwrap_or(u32::MAX);
        Poll {
            edge: self.window.edge_for_poll(),
            clock_us: now.as_us(),
            rtt_us: us(self.roster.sum().rtt),
            receivers: self.roster.sum().confirmed,
            report_every: limits.report_every,
            report_us: us(limits.report),
        }
    }

    /// Writes a multicast datagram that is not DATA.
    fn emit_sealed(&mut self, kind: Kind, buf: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
        let (start, tx) = (buf.len(), self.next_tx());
        let tag = self.session.tag();
        Header {
            kind,
            tag,
            repair: false,
            pledge: 0,
            symbol: 0,
            tx,
            left: 0,
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
    fn emit_data(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        if !matches!(self.state, State::Sending | State::Draining) {
            return false;
        }
        let (limits, sum) = (self.limits(), self.roster.sum());
        let cost = self.data_cost();
        let patience = NACK_RETRY_MIN + backoff_max(sum.confirmed, sum.rtt).times(2);
        self.window.judge(now, patience);
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
        let repairing = self.window.has_repair() && (!fresh || !self.repaired_last);
        self.repaired_last = repairing;
        let terms = Terms {
            now,
            limit: limits.block_end,
            depth: self.depth(),
            receivers: sum.confirmed,
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
    fn data_cost(&self) -> u64 {
        (self.data_len() + IP_UDP_LEN) as u64
    }

    /// Blocks to mix at present: no more than a part of what a receiver can hold, since all of a
    /// group stay until the first is complete.
    fn depth(&self) -> u32 {
        let held = (self.roster.sum().window / 4).max(1);
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
        let header = Header {
            kind: Kind::Data,
            tag: self.session.tag(),
            repair: symbol.repair,
            pledge: symbol.pledge,
            symbol: symbol.number,
            tx,
            left: symbol.left,
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
    fn limits(&self) -> Limits {
        let sum = self.roster.sum();
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
