//! The sender's side of a session.

mod admission;
mod auto_parity;
mod eviction;
mod join_limit;
mod members;
mod next_pass;
mod one_way;
mod outgoing;
mod send_window;
mod start;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::join_limit::JoinLimiter;
use self::members::Members;
use self::next_pass::WaitingReceivers;
use self::send_window::SendWindow;
use self::start::Expected;
pub use self::start::Waiting;
use super::config::{SenderConfig, fit_name, window_blocks};
use super::event::{Fate, SenderEnd, SenderEvent, SenderStats, Target, Transmit};
use super::limits::{
    ABORT_COPIES, ANNOUNCE_RUNNING, ANNOUNCE_WAITING, END_EVERY, ONE_WAY_COPIES, ONE_WAY_EVERY,
    POLL_MAX,
};
use super::protect::multicast_cipher;
use super::rate::pacing::Pace;
use super::timer::Timers;
use crate::crypt::aead::Cipher;
use crate::crypt::agree::{PublicKey, SecretKey};
use crate::crypt::secret::Secret;
use crate::units::{Duration, Instant};
use crate::wire::{Abort, AbortReason, DATA_OVERHEAD, End, SessionId, SessionStatus, SymbolHashes};

/// Replies to receivers that wait to be sent, at most; more are dropped, and asked for again.
const REPLIES_MAX: usize = 4_096;
/// After the last symbol of a pause in the input comes a POLL this soon.
const POLL_AFTER_DATA: Duration = Duration::from_ms(5);

/// Alarms of a sender.
mod alarm {
    /// An ANNOUNCE is due: set from the beginning until the end.
    pub(super) const ANNOUNCE: usize = 0;
    /// A POLL is due: set while there are receivers, or may be.
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
    pub(super) const EVICTION: usize = 6;
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
    /// Which of the listed keys it has shown to hold.
    pub listed: Option<usize>,
    /// Datagrams that were sent to it since it joined, as far as its reports tell,
    pub sent: u64,
    /// and those of them that arrived.
    pub arrived: u64,
    /// It was there at the start, or expected by name.
    pub awaited: bool,
    /// It went before the start.
    pub forgotten: bool,
    /// Which session of its series it was in last, from 1.
    pub pass: u32,
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
    members: Members,
    window: SendWindow,
    tx: u64,
    pace: Pace,
    timers: Timers<{ alarm::COUNT }>,
    /// What to tell the receivers instead of data.
    failed: Option<Abort>,
    /// Receivers were told where the stream ends.
    end_is_told: bool,
    /// One-way: ENDs that follow, and when a group begins that is not complete.
    ends_left: u16,
    group_at: Option<Instant>,
    /// The last batch was of repair symbols: new data is next.
    repaired_last: bool,
    expected: Expected,
    began_at: Instant,
    first_join: Option<Instant>,
    last_join: Instant,
    /// Nobody is let in any more: those who might come held up those who are there.
    shut: bool,
    gate: JoinLimiter,
    later: WaitingReceivers,
    /// When the roll was called last, and the source symbols that had been sent by then.
    called_at: Instant,
    called_source: u64,
    replies: VecDeque<(SocketAddr, Vec<u8>)>,
    replied_last: bool,
    manifests: VecDeque<SymbolHashes>,
    announce_due: bool,
    poll_due: bool,
    end_due: bool,
    events: VecDeque<SenderEvent>,
    /// Bytes taken from the input.
    taken: u64,
    stats: SenderStats,
}

/// What is due before anybody has joined.
fn first_alarms(config: &SenderConfig, now: Instant) -> Timers<{ alarm::COUNT }> {
    let mut timers = Timers::new();
    timers.set(alarm::ANNOUNCE, now);
    if config.one_way.is_some() {
        timers.set(alarm::START, now + config.min_wait);
    } else if let Some(timeout) = config.start_timeout {
        timers.set(alarm::GIVE_UP, now + timeout);
    }
    timers
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
            usize::from(k) * usize::from(len) > super::trailer_len(true),
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
        let series = config.series.id.unwrap_or(session);
        let key = SecretKey::from_seed(scalar);
        let datagram = usize::from(len) + DATA_OVERHEAD + config.ip_udp_len;
        let pace = Pace::new(config.rate_max, datagram as u64, now);
        let mut sender = Self {
            session,
            cipher: multicast_cipher(session, &secret),
            secret: Secret::new(secret),
            public: key.public(),
            key,
            state: State::Gathering,
            members: Members::default(),
            window: SendWindow::new(
                session,
                k,
                len,
                window_blocks(config.memory, k, len),
                config.keys.signing.clone(),
            )
            .of_series(series),
            manifests: VecDeque::new(),
            tx: 0,
            timers: first_alarms(&config, now),
            failed: None,
            end_is_told: false,
            ends_left: 0,
            group_at: None,
            repaired_last: false,
            expected: Expected::new(&config.expect),
            first_join: None,
            last_join: now,
            shut: false,
            gate: JoinLimiter::new(now, rng.next_u64()),
            later: WaitingReceivers::default(),
            called_at: now,
            called_source: 0,
            replies: VecDeque::new(),
            replied_last: false,
            announce_due: false,
            poll_due: false,
            end_due: false,
            events: VecDeque::new(),
            taken: 0,
            stats: SenderStats::default(),
            pace,
            began_at: now,
            config,
        };
        if sender.is_one_way() {
            sender.cipher = sender.one_way_cipher();
        }
        sender
    }

    /// The session's id.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Takes bytes of the stream, as many as there is room for, and says how many.
    pub fn push(&mut self, data: &[u8]) -> usize {
        let mut taken = self.window.push(data);
        if taken < data.len() {
            self.release();
            taken += self.window.push(&data[taken..]);
        }
        self.taken += taken as u64;
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
        let copies = if self.is_one_way() {
            ONE_WAY_COPIES.into()
        } else {
            ABORT_COPIES
        };
        self.state = State::Aborting { abort, copies };
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
        self.window.complete().filter(|_| self.end_is_told)
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
            // Those who have everything need no hurry.
            let every = match self.finishing() {
                _ if self.is_one_way() => ONE_WAY_EVERY,
                None => END_EVERY,
                Some(_) => POLL_MAX,
            };
            self.timers.set(alarm::END, now + every);
        }
        if self.timers.rings(alarm::EVICTION, now) {
            self.evict_overdue(now);
        }
        if self.timers.rings(alarm::START, now) && self.state == State::Gathering {
            self.start(now);
        }
        if self.timers.rings(alarm::GIVE_UP, now) && self.state == State::Gathering {
            self.give_up(now);
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
            active: self.members.sum().confirmed,
            done: self.members.sum().done,
            rounds: self.window.rounds(),
            bytes: self
                .taken
                .min(self.stats.source * u64::from(self.config.symbol_len)),
            ..self.stats
        }
    }

    /// Receivers that joined, less those that went away before the start.
    pub fn joined(&self) -> u32 {
        self.members.sum().joined
    }

    /// How many receivers are still there, if all of them have everything, and only their consumers
    /// still work.
    pub fn finishing(&self) -> Option<u32> {
        let active = || {
            self.members
                .all()
                .filter(|(_, m)| m.is_active())
                .map(|(_, m)| m)
        };
        let drains = self.state == State::Draining && !self.is_one_way();
        let all = drains && active().all(|m| m.finishing_since.is_some());
        all.then(|| u32::try_from(active().count()).unwrap_or(u32::MAX))
    }

    /// How each receiver fared.
    pub fn members(&self) -> Vec<MemberReport> {
        self.members
            .all()
            .filter(|(_, m)| m.is_confirmed())
            .map(|(receiver, m)| MemberReport {
                receiver,
                name: m.name.clone(),
                addr: m.addr,
                fate: m.fate,
                next: m.next,
                nacks: m.nacks,
                listed: m.listed,
                sent: m.sent,
                arrived: m.arrived,
                awaited: m.awaited,
                forgotten: m.forgotten,
                pass: self.config.series.number + 1,
            })
            .collect()
    }

    /// What [`Sender::poll_transmit`] gave for all receivers has left.
    pub fn left(&mut self, now: Instant) {
        self.pace.left(now);
    }

    /// Fills `buf` with datagrams to send now; nothing when there are none.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        self.settle(now);
        // In turns: who asks again and again must not keep the stream from the others.
        let group_first = std::mem::take(&mut self.replied_last);
        let (to, segment) = if group_first && self.emit_control(now, buf) {
            (Target::Group, buf.len())
        } else if group_first && self.emit_data(now, buf) {
            (Target::Group, self.data_len())
        } else if let Some((addr, reply)) = self.replies.pop_front() {
            self.replied_last = true;
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
        self.stats.wire_bytes += (buf.len() + datagrams * self.config.ip_udp_len) as u64;
        Some(Transmit { to, segment })
    }

    /// Bytes of a DATA datagram.
    fn data_len(&self) -> usize {
        usize::from(self.config.symbol_len) + DATA_OVERHEAD
    }

    /// Moves from state to state when the time has come.
    fn settle(&mut self, now: Instant) {
        self.compare_ends(now);
        if self.is_one_way() {
            self.settle_one_way(now);
        } else if matches!(self.state, State::Sending | State::Draining) {
            let sum = self.members.sum();
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
                self.end_is_told = true;
                self.end_due = true;
                self.timers.set(alarm::END, now + END_EVERY);
            }
        }
    }

    fn start(&mut self, now: Instant) {
        self.state = State::Sending;
        self.await_present();
        self.timers.clear(alarm::START);
        self.timers.clear(alarm::GIVE_UP);
        self.events.push_back(SenderEvent::Started {
            receivers: self.joined(),
        });
        self.poll_due = true;
        self.announce_due = true;
        if self.is_one_way() {
            self.timers.set(alarm::POLL, now + POLL_MAX);
        }
        self.timers.set(alarm::ANNOUNCE, now + ANNOUNCE_RUNNING);
        if let Some(abort) = self.failed.take() {
            self.abort(now, abort.reason, &abort.text);
        }
    }

    fn end(&mut self, end: SenderEnd) {
        self.state = State::Ended;
        self.events.push_back(SenderEvent::Ended(end));
    }

    fn policy(&self) -> SessionStatus {
        let gathering = self.state == State::Gathering;
        let (joined, wanted) = self.turnout();
        let joinable = if self.is_one_way() {
            self.stats.source == 0
        } else {
            self.state == State::Sending && self.window.first() == 0 && !self.shut
        };
        SessionStatus {
            started: !gathering,
            joinable: gathering || joinable,
            next_pass: self.is_one_way() && self.config.series.repeats,
            joined,
            wanted,
        }
    }
}
