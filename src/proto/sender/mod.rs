//! The sender's side of a session whose receivers answer.

mod admission;
mod auto_parity;
mod block_ring;
mod emission;
mod eviction;
mod flow;
mod join_limit;
mod members;
mod next_pass;
mod outgoing;
mod receivers;
mod repair;
mod send_window;
mod start;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::admission::{Admission, SessionSecrets};
use self::eviction::Eviction;
pub(super) use self::flow::interleave_depth;
use self::join_limit::JoinLimiter;
use self::members::{MemberState, Members};
use self::next_pass::WaitingReceivers;
pub(super) use self::outgoing::{AbortCopies, Control, Due, Outgoing, announcement};
pub(super) use self::send_window::{Proactive, SendLimits, SendWindow, WindowConfig};
use self::start::StartPolicy;
pub use self::start::Waiting;
pub(super) use self::state::State;
use super::block::Chain;
use super::config::{SenderConfig, StartTimeout, window_blocks};
use super::event::{MemberReport, SenderEnd, SenderEvent, SenderStats, Target, Transmit};
use super::limits::{
    ABORT_COPIES, ABORT_EVERY, ANNOUNCE_RUNNING, ANNOUNCE_WAITING, DEPTH_MAX, END_EVERY,
    INTERLEAVE_TIME, POLL_MAX, RATE_MAX,
};
use super::protect::{AnnounceHash, multicast_cipher};
use super::rate::{AdaptiveRate, Pacing};
use super::timer::{TimerKind, Timers};
use crate::crypt::agree::SecretKey;
use crate::crypt::secret::Secret;
use crate::units::{Duration, Instant, Rate};
use crate::wire::{
    self, Abort, AbortReason, DATA_OVERHEAD, DatagramKind, End, SessionId, SessionStatus,
};

/// After the last symbol of a pause in the input comes a POLL this soon.
pub(super) const POLL_AFTER_DATA: Duration = Duration::from_ms(5);

#[derive(Clone, Copy, Debug)]
enum SenderTimer {
    /// An ANNOUNCE is due: set from the beginning until the end.
    Announce,
    /// A POLL is due: set while there are receivers, or may be.
    Poll,
    /// An END is due: set while draining.
    End,
    /// An ABORT is due: set while aborting.
    Abort,
    /// The start is due: set while announcing, when a receiver has joined.
    Start,
    /// The conditions of the start must be met: set while announcing.
    StartTimeout,
    /// Receivers that hold the others up are looked for: set while there are any.
    Eviction,
    /// The bucket has filled: set while data waits for it.
    Pacing,
}

const TIMERS: usize = SenderTimer::Pacing as usize + 1;

impl TimerKind for SenderTimer {
    fn index(self) -> usize {
        self as usize
    }
}

/// The sender's state machine of a session whose receivers answer.
#[derive(Debug)]
pub(super) struct TwoWaySender {
    config: SenderConfig,
    state: State,
    start: StartPolicy,
    admission: Admission,
    members: Members,
    eviction: Eviction,
    waiting: WaitingReceivers,
    window: SendWindow,
    outgoing: Outgoing,
    pacing: Pacing<AdaptiveRate>,
    timers: Timers<SenderTimer, TIMERS>,
    /// Receivers were told where the stream ends: before, none can be done.
    end_told: bool,
    events: VecDeque<SenderEvent>,
    stats: SenderStats,
}

impl TwoWaySender {
    /// A sender that announces its session at once; see [`super::Sender::new`].
    pub(super) fn new(config: SenderConfig, seed: [u8; 32], now: Instant) -> Self {
        let (k, symbol_len) = (config.k, config.symbol_len);
        let mut rng = StdRng::from_seed(seed);
        let [mut id, mut secret, mut scalar, mut root] = [[0; 32]; 4];
        for drawn in [&mut id, &mut secret, &mut scalar, &mut root] {
            rng.fill_bytes(drawn);
        }
        let mut session = SessionId([0; 16]);
        session.0.copy_from_slice(&id[..16]);
        let key = SecretKey::from_seed(scalar);
        let datagram = datagram_bytes(&config);
        let blocks_max = window_blocks(config.memory, k, symbol_len);
        let rate_max = config.rate_max.unwrap_or(RATE_MAX);
        let depth = depth_at(rate_max, u64::from(k) * datagram, blocks_max);
        let announce = announcement(&config, session, &key.public(), depth);
        let chain = Chain::new(announce.series).in_session(session);
        let cipher = multicast_cipher(session, &secret);
        let announced = (session, AnnounceHash::of(&announce));
        let secrets = SessionSecrets {
            multicast: Secret::new(secret),
            key,
            root: Secret::new(root),
        };
        let limiter = JoinLimiter::new(now, rng.next_u64());
        let mut timers = Timers::new();
        timers.set(SenderTimer::Announce, now);
        if let Some(timeout) = config.start_timeout {
            timers.set(SenderTimer::StartTimeout, now + timeout);
        }
        Self {
            state: State::Announcing { failed: None },
            start: StartPolicy::new(&config, now),
            admission: Admission::new(announced, secrets, &config.keys, limiter),
            members: Members::default(),
            eviction: Eviction::new(&config, now),
            waiting: WaitingReceivers::default(),
            window: SendWindow::new(chain, window_config(&config)),
            outgoing: Outgoing::new(announce, config.keys.clone(), cipher),
            pacing: Pacing::new(AdaptiveRate::new(config.rate_max, now), datagram, now),
            timers,
            end_told: false,
            events: VecDeque::new(),
            stats: SenderStats::default(),
            config,
        }
    }

    pub(super) fn session(&self) -> SessionId {
        self.outgoing.session()
    }

    pub(super) fn series(&self) -> SessionId {
        self.outgoing.series()
    }

    pub(super) fn stream_end(&self) -> Option<End> {
        self.window.finished()
    }

    pub(super) fn push(&mut self, data: &[u8]) -> usize {
        let mut taken = self.window.push(data);
        if taken < data.len() {
            self.release();
            taken += self.window.push(&data[taken..]);
        }
        taken
    }

    pub(super) fn finish(&mut self) {
        self.window.finish();
    }

    pub(super) fn abort(&mut self, now: Instant, reason: AbortReason, text: &str) {
        if matches!(self.state, State::Ended | State::Aborting(_)) {
            return;
        }
        let copies = AbortCopies::new(reason, text, ABORT_COPIES, ABORT_EVERY);
        self.state = State::Aborting(copies);
        self.timers.set(SenderTimer::Abort, now);
        self.timers.clear(SenderTimer::Announce);
    }

    pub(super) fn abort_at_start(&mut self, now: Instant, reason: AbortReason, text: &str) {
        if let State::Announcing { failed } = &mut self.state {
            let text = text.to_owned();
            *failed = Some(Abort { reason, text });
        } else {
            self.abort(now, reason, text);
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.state.is_announcing()
    }

    pub(super) fn waiting(&self) -> Option<Waiting> {
        self.is_waiting().then(|| self.start.waiting(self.joined()))
    }

    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        self.start.missing()
    }

    pub(super) fn waiting_for_next(&self, now: Instant) -> u32 {
        self.waiting.count(now)
    }

    pub(super) fn start_now(&mut self, now: Instant) -> bool {
        let may = self.is_waiting() && self.joined() > 0;
        if may {
            self.timers.set(SenderTimer::Start, now);
        }
        may
    }

    pub(super) fn is_late(&self) -> bool {
        self.pacing.is_late()
    }

    pub(super) fn poll_event(&mut self) -> Option<SenderEvent> {
        self.events.pop_front()
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Ended && self.outgoing.has_replied()
    }

    pub(super) fn stats(&self) -> SenderStats {
        let group = self.members.group();
        let sent = self.source_bytes();
        SenderStats {
            rate: self.pacing.rate(),
            limit_times: self.pacing.limit_times(),
            active: group.active,
            done: group.done,
            repair_rounds: self.window.repair_rounds(),
            bytes: self.window.input_len().min(sent),
            ..self.stats
        }
    }

    pub(super) fn joined(&self) -> u32 {
        let group = self.members.group();
        group.joined - group.succeeded
    }

    pub(super) fn committing(&self) -> Option<u32> {
        let draining = self.state == State::Draining;
        draining.then(|| self.members.committing()).flatten()
    }

    pub(super) fn members(&self) -> Vec<MemberReport> {
        self.members.reports(self.config.series.number + 1)
    }

    pub(super) fn on_transmitted(&mut self, now: Instant) {
        self.pacing.on_transmitted(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let ended = self.state == State::Ended;
        self.timers.next().filter(|_| !ended)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.timers.fires(SenderTimer::Pacing, now);
        if self.timers.fires(SenderTimer::Announce, now) {
            self.outgoing.set_due(Due::Announce);
            let every = match self.is_waiting() {
                true => ANNOUNCE_WAITING,
                false => ANNOUNCE_RUNNING,
            };
            self.timers.set(SenderTimer::Announce, now + every);
        }
        if self.timers.fires(SenderTimer::Poll, now) {
            self.outgoing.set_due(Due::Poll);
            self.timers.set(SenderTimer::Poll, now + POLL_MAX);
        }
        if self.timers.fires(SenderTimer::End, now) {
            self.outgoing.set_due(Due::End);
            // Receivers that have everything need no hurry.
            let every = match self.committing() {
                None => END_EVERY,
                Some(_) => POLL_MAX,
            };
            self.timers.set(SenderTimer::End, now + every);
        }
        if self.timers.fires(SenderTimer::Eviction, now) {
            self.evict_overdue(now);
        }
        if self.timers.fires(SenderTimer::Start, now) && self.is_waiting() {
            self.begin(now);
        }
        if self.timers.fires(SenderTimer::StartTimeout, now) && self.is_waiting() {
            self.on_start_timeout(now);
        }
        self.advance(now);
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        let tag = self.session().tag();
        let taken = match wire::peek(datagram) {
            Err(wire::Error::Unknown { .. }) => {
                self.stats.unknown_kind += 1;
                Some(())
            }
            Ok((DatagramKind::Hello, to)) if to == tag => self.handle_hello(now, from, datagram),
            Ok((DatagramKind::Join, to)) if to == tag => self.handle_join(now, from, datagram),
            Ok((DatagramKind::Feedback, to)) if to == tag => self.handle_feedback(now, datagram),
            _ => None,
        };
        if taken.is_none() {
            self.stats.refused += 1;
        }
        self.advance(now);
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        self.advance(now);
        let group_first = self.outgoing.take_group_turn();
        let group = if group_first {
            self.emit_to_group(now, buf)
        } else {
            None
        };
        let transmit = if let Some(transmit) = group {
            transmit
        } else if let Some(addr) = self.outgoing.emit_reply(buf) {
            Transmit {
                to: Target::Peer(addr),
                segment: buf.len(),
            }
        } else {
            self.emit_to_group(now, buf)?
        };
        self.stats
            .count(transmit, buf.len(), self.config.ip_udp_len);
        Some(transmit)
    }

    /// Moves from state to state when the time has come.
    fn advance(&mut self, now: Instant) {
        self.compare_ends(now);
        if !self.state.is_serving() {
            return;
        }
        let group = self.members.group();
        if group.present == 0 {
            let done = group.done;
            let failed = group.joined.saturating_sub(done);
            let end = match (done, failed, self.window.complete()) {
                (_, 0, Some(_)) => SenderEnd::Complete,
                (0, _, _) | (_, _, None) => SenderEnd::AllLost,
                _ => SenderEnd::Partial { done, failed },
            };
            self.end(end);
        } else if self.state == State::Sending && self.window.complete().is_some() {
            self.state = State::Draining;
            self.end_told = true;
            self.outgoing.set_due(Due::End);
            self.timers.set(SenderTimer::End, now + END_EVERY);
        } else if self.state == State::Sending {
            self.update_rate_reason(now);
        }
    }

    /// Breaks off a stream that does not end as it did in the pass before.
    fn compare_ends(&mut self, now: Instant) {
        let before = self.config.series.end;
        let differs = |end: End| before.is_some_and(|before| before != end);
        if self.window.finished().is_some_and(differs) {
            self.abort_at_start(now, AbortReason::Changed, "");
        }
    }

    fn begin(&mut self, now: Instant) {
        let state = std::mem::replace(&mut self.state, State::Sending);
        // The receivers that are there now count at the end, too.
        for (_, member) in self.members.present_mut() {
            member.required |= member.state == MemberState::Active;
        }
        self.timers.clear(SenderTimer::Start);
        self.timers.clear(SenderTimer::StartTimeout);
        self.events.push_back(SenderEvent::Started {
            receivers: self.joined(),
        });
        self.outgoing.set_due(Due::Poll);
        self.outgoing.set_due(Due::Announce);
        self.timers
            .set(SenderTimer::Announce, now + ANNOUNCE_RUNNING);
        self.pacing.on_start(now);
        self.stats.rate_reason = self.pacing.reason();
        if let State::Announcing {
            failed: Some(abort),
        } = state
        {
            self.abort(now, abort.reason, &abort.text);
        }
    }

    /// The conditions of the start were not met in time: receivers that are there need not wait for
    /// it any more.
    fn on_start_timeout(&mut self, now: Instant) {
        if self.members.group().present == 0 {
            self.end(SenderEnd::NoReceivers);
            return;
        }
        let joined = self.joined();
        if self.config.at_start_timeout == StartTimeout::StartAnyway && joined > 0 {
            self.begin(now);
            return;
        }
        let failed = match &mut self.state {
            State::Announcing { failed } => failed.take(),
            _ => None,
        };
        let abort = failed.unwrap_or_else(|| Abort {
            reason: AbortReason::NotStarted,
            text: self.start.failure(joined),
        });
        self.abort(now, abort.reason, &abort.text);
    }

    fn plan_start(&mut self) {
        match self.start.start_at(self.joined()) {
            Some(at) => self.timers.set(SenderTimer::Start, at),
            None => self.timers.clear(SenderTimer::Start),
        }
    }

    fn end(&mut self, end: SenderEnd) {
        self.state = State::Ended;
        self.events.push_back(SenderEvent::Ended(end));
    }

    fn status(&self) -> SessionStatus {
        let announcing = self.is_waiting();
        let (joined, wanted) = self.start.attendance(self.joined());
        let from_start = self.window.first() == 0 && !self.eviction.join_closed();
        SessionStatus {
            started: !announcing,
            joinable: announcing || (self.state == State::Sending && from_start),
            next_pass: false,
            joined,
            wanted,
        }
    }

    // Receivers that join.
}

#[cfg(test)]
impl TwoWaySender {
    /// The parts that tests look into.
    pub(super) fn parts(&self) -> (&SendWindow, &Outgoing) {
        (&self.window, &self.outgoing)
    }
}

/// Bytes of a DATA datagram with its IP and UDP headers.
pub(super) fn datagram_bytes(config: &SenderConfig) -> u64 {
    (usize::from(config.symbol_len) + DATA_OVERHEAD + config.ip_udp_len) as u64
}

/// The blocks that a sender of this configuration keeps.
pub(super) fn window_config(config: &SenderConfig) -> WindowConfig {
    WindowConfig {
        k: config.k,
        symbol_len: config.symbol_len,
        blocks_max: window_blocks(config.memory, config.k, config.symbol_len),
        signing: config.keys.signing.clone(),
    }
}

/// Blocks of so many bytes on the wire that may be interleaved at this rate.
fn depth_at(rate: Rate, block: u64, blocks_max: usize) -> u16 {
    let (bytes, held) = (rate.bytes_in(INTERLEAVE_TIME), blocks_max as u64 / 4);
    interleave_depth(bytes, block, held, DEPTH_MAX)
}
