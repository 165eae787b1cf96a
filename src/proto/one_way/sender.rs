//! The sender's side: it sends at a given rate, a set of interleaved blocks at a time, each
//! followed by all the repair symbols that it will get.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::crypt::agree::SecretKey;
use crate::proto::block::Chain;
use crate::proto::config::{OneWay, SenderConfig, window_blocks};
use crate::proto::event::{SenderEnd, SenderEvent, SenderStats, Target, Transmit};
use crate::proto::limits::{
    ANNOUNCE_RUNNING, ANNOUNCE_WAITING, ONE_WAY_COPIES, ONE_WAY_DEPTH_MAX, ONE_WAY_EVERY,
    ONE_WAY_INTERLEAVE_TIME, POLL_MAX, RATE_START, RTT_MIN,
};
use crate::proto::protect::{AnnounceHash, multicast_cipher, one_way_secret};
use crate::proto::rate::{FixedRate, Pacing, RateReason, SendLimit};
use crate::proto::sender::{
    AbortCopies, Control, Due, Outgoing, POLL_AFTER_DATA, Proactive, SendLimits, SendWindow, State,
    Waiting, announcement, datagram_bytes, interleave_depth, window_config,
};
use crate::proto::timer::{TimerKind, Timers};
use crate::units::{Duration, Instant};
use crate::wire::{self, Abort, AbortReason, End, Poll, SessionId, SessionStatus};

#[derive(Clone, Copy, Debug)]
enum OneWayTimer {
    /// An ANNOUNCE is due: set from the beginning until the end.
    Announce,
    /// A POLL is due: set from the start on.
    Poll,
    /// An END is due: set while draining.
    End,
    /// An ABORT is due: set while aborting.
    Abort,
    /// The start is due: set while announcing.
    Start,
    /// The bucket has filled, or input was waited for: set while data waits.
    Pacing,
}

const TIMERS: usize = OneWayTimer::Pacing as usize + 1;

impl TimerKind for OneWayTimer {
    fn index(self) -> usize {
        self as usize
    }
}

/// The sender's state machine of a session whose receivers never answer.
#[derive(Debug)]
pub(in crate::proto) struct OneWaySender {
    config: SenderConfig,
    one_way: OneWay,
    state: State,
    starts_at: Instant,
    window: SendWindow,
    outgoing: Outgoing,
    pacing: Pacing<FixedRate>,
    timers: Timers<OneWayTimer, TIMERS>,
    /// When the blocks that are there are sent, though they are fewer than the depth.
    interleave_deadline: Option<Instant>,
    events: VecDeque<SenderEvent>,
    stats: SenderStats,
}

impl OneWaySender {
    /// A sender that announces its session at once; see [`crate::proto::Sender::new`].
    pub(in crate::proto) fn new(
        config: SenderConfig,
        one_way: OneWay,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let [mut id, mut unused, mut scalar] = [[0; 32]; 3];
        rng.fill_bytes(&mut id);
        // A session whose receivers answer draws its secret here.
        rng.fill_bytes(&mut unused);
        rng.fill_bytes(&mut scalar);
        let mut session = SessionId([0; 16]);
        session.0.copy_from_slice(&id[..16]);
        let public = SecretKey::from_seed(scalar).public();
        let datagram = datagram_bytes(&config);
        let rate = config.rate_max.unwrap_or(RATE_START);
        let block = u64::from(config.k) * datagram;
        let held = window_blocks(config.memory, config.k, config.symbol_len) as u64 / 4;
        let bytes = rate.bytes_in(ONE_WAY_INTERLEAVE_TIME);
        let depth = interleave_depth(bytes, block, held, ONE_WAY_DEPTH_MAX);
        let announce = announcement(&config, session, &public, depth);
        // The secret follows from what every ANNOUNCE says.
        let (announced, shared) = (AnnounceHash::of(&announce), config.keys.shared.as_ref());
        let secret = one_way_secret(session, announced, shared);
        let cipher = multicast_cipher(session, secret.expose());
        let chain = Chain::new(announce.series).in_session(session);
        let starts_at = now + config.min_wait;
        let mut timers = Timers::new();
        timers.set(OneWayTimer::Announce, now);
        timers.set(OneWayTimer::Start, starts_at);
        Self {
            one_way,
            state: State::Announcing { failed: None },
            starts_at,
            window: SendWindow::new(chain, window_config(&config)),
            outgoing: Outgoing::new(announce, config.keys.clone(), cipher),
            pacing: Pacing::new(FixedRate(rate), datagram, now),
            timers,
            interleave_deadline: None,
            events: VecDeque::new(),
            stats: SenderStats::default(),
            config,
        }
    }

    pub(in crate::proto) fn session(&self) -> SessionId {
        self.outgoing.session()
    }

    pub(in crate::proto) fn series(&self) -> SessionId {
        self.outgoing.series()
    }

    pub(in crate::proto) fn stream_end(&self) -> Option<End> {
        self.window.finished()
    }

    pub(in crate::proto) fn push(&mut self, data: &[u8]) -> usize {
        let mut taken = self.window.push(data);
        if taken < data.len() {
            // Nothing follows of what was sent before the newest interleaved blocks.
            self.window.release(self.window.interleave_start());
            taken += self.window.push(&data[taken..]);
        }
        taken
    }

    pub(in crate::proto) fn finish(&mut self) {
        self.window.finish();
    }

    pub(in crate::proto) fn abort(&mut self, now: Instant, reason: AbortReason, text: &str) {
        if matches!(self.state, State::Ended | State::Aborting(_)) {
            return;
        }
        let copies = AbortCopies::new(reason, text, ONE_WAY_COPIES.into(), ONE_WAY_EVERY);
        self.state = State::Aborting(copies);
        self.timers.set(OneWayTimer::Abort, now);
        self.timers.clear(OneWayTimer::Announce);
    }

    pub(in crate::proto) fn abort_at_start(
        &mut self,
        now: Instant,
        reason: AbortReason,
        text: &str,
    ) {
        if let State::Announcing { failed } = &mut self.state {
            let text = text.to_owned();
            *failed = Some(Abort { reason, text });
        } else {
            self.abort(now, reason, text);
        }
    }

    pub(in crate::proto) fn is_waiting(&self) -> bool {
        self.state.is_announcing()
    }

    pub(in crate::proto) fn waiting(&self) -> Option<Waiting> {
        self.is_waiting().then(|| Waiting {
            joined: 0,
            wanted: 0,
            missing: Vec::new(),
            more: 0,
            starts_at: Some(self.starts_at),
        })
    }

    pub(in crate::proto) fn start_now(&mut self, now: Instant) -> bool {
        let may = self.is_waiting();
        if may {
            self.timers.set(OneWayTimer::Start, now);
        }
        may
    }

    pub(in crate::proto) fn is_late(&self) -> bool {
        self.pacing.is_late()
    }

    pub(in crate::proto) fn poll_event(&mut self) -> Option<SenderEvent> {
        self.events.pop_front()
    }

    pub(in crate::proto) fn is_done(&self) -> bool {
        self.state == State::Ended
    }

    pub(in crate::proto) fn stats(&self) -> SenderStats {
        let sent = self.stats.source * u64::from(self.config.symbol_len);
        SenderStats {
            rate: self.pacing.rate(),
            limit_times: self.pacing.limit_times(),
            bytes: self.window.input_len().min(sent),
            ..self.stats
        }
    }

    pub(in crate::proto) fn on_transmitted(&mut self, now: Instant) {
        self.pacing.on_transmitted(now);
    }

    /// A datagram came, which no receiver of such a session sends.
    pub(in crate::proto) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        match wire::peek(datagram) {
            Err(wire::Error::Unknown { .. }) => self.stats.unknown_kind += 1,
            _ => self.stats.refused += 1,
        }
        self.advance(now);
    }

    pub(in crate::proto) fn poll_timeout(&self) -> Option<Instant> {
        let ended = self.state == State::Ended;
        self.timers.next().filter(|_| !ended)
    }

    pub(in crate::proto) fn handle_timeout(&mut self, now: Instant) {
        self.timers.fires(OneWayTimer::Pacing, now);
        if self.timers.fires(OneWayTimer::Announce, now) {
            self.outgoing.set_due(Due::Announce);
            let every = match self.is_waiting() {
                true => ANNOUNCE_WAITING,
                false => ANNOUNCE_RUNNING,
            };
            self.timers.set(OneWayTimer::Announce, now + every);
        }
        if self.timers.fires(OneWayTimer::Poll, now) {
            self.outgoing.set_due(Due::Poll);
            self.timers.set(OneWayTimer::Poll, now + POLL_MAX);
        }
        if self.timers.fires(OneWayTimer::End, now) {
            self.outgoing.set_due(Due::End);
            self.timers.set(OneWayTimer::End, now + ONE_WAY_EVERY);
        }
        if self.timers.fires(OneWayTimer::Start, now) && self.is_waiting() {
            self.begin(now);
        }
        self.advance(now);
    }

    pub(in crate::proto) fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        buf.clear();
        self.advance(now);
        let segment = if self.emit_control(now, buf) {
            buf.len()
        } else if self.emit_data(now, buf) {
            self.outgoing.data_len()
        } else {
            return None;
        };
        let to = Target::Group;
        let transmit = Transmit { to, segment };
        self.stats
            .count(transmit, buf.len(), self.config.ip_udp_len);
        Some(transmit)
    }

    fn begin(&mut self, now: Instant) {
        let state = std::mem::replace(&mut self.state, State::Sending);
        self.timers.clear(OneWayTimer::Start);
        self.events.push_back(SenderEvent::Started { receivers: 0 });
        self.outgoing.set_due(Due::Poll);
        self.outgoing.set_due(Due::Announce);
        self.timers.set(OneWayTimer::Poll, now + POLL_MAX);
        self.timers
            .set(OneWayTimer::Announce, now + ANNOUNCE_RUNNING);
        self.pacing.on_start(now);
        self.stats.rate_reason = self.pacing.reason();
        if let State::Announcing {
            failed: Some(abort),
        } = state
        {
            self.abort(now, abort.reason, &abort.text);
        }
    }

    /// From state to state: when all is sent, the END is told.
    fn advance(&mut self, now: Instant) {
        let before = self.config.series.end;
        let differs = |end: End| before.is_some_and(|before| before != end);
        if self.window.finished().is_some_and(differs) {
            self.abort_at_start(now, AbortReason::Changed, "");
        }
        if self.state != State::Sending {
            return;
        }
        if self.window.complete().is_some() && !self.window.has_repair() {
            self.state = State::Draining;
            self.outgoing.set_ends_following(ONE_WAY_COPIES);
            self.outgoing.set_due(Due::End);
            self.timers.set(OneWayTimer::End, now + ONE_WAY_EVERY);
        } else {
            self.update_rate_reason(now);
        }
    }

    /// Once a second: takes note of why the rate is what it is, and tells when that has changed.
    fn update_rate_reason(&mut self, now: Instant) {
        let reason = match self.pacing.poll_limit(now) {
            None => return,
            Some(SendLimit::Input) => RateReason::Input,
            Some(_) => self.pacing.reason(),
        };
        if reason != self.stats.rate_reason {
            self.stats.rate_reason = reason;
            self.events.push_back(SenderEvent::RateLimited {
                reason,
                name: None,
                rate: self.pacing.rate(),
            });
        }
    }

    fn end(&mut self, end: SenderEnd) {
        self.state = State::Ended;
        self.events.push_back(SenderEvent::Ended(end));
    }

    fn status(&self) -> SessionStatus {
        let announcing = self.is_waiting();
        SessionStatus {
            started: !announcing,
            joinable: announcing || self.stats.source == 0,
            next_pass: self.config.series.repeat,
            joined: 0,
            wanted: 0,
        }
    }

    /// Writes the control datagram that is due, if one is.
    fn emit_control(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        match self.state {
            State::Aborting(_) => return self.emit_abort(now, buf),
            State::Ended => return false,
            State::Announcing { .. } | State::Sending | State::Draining => {}
        }
        if self.outgoing.take_due(Due::Announce) {
            let status = self.status();
            self.outgoing.emit_announce(status, buf);
        } else if self.outgoing.is_due(Due::End)
            && !self.window.has_repair()
            && let Some(end) = self.window.complete()
        {
            self.outgoing.take_due(Due::End);
            self.count_end();
            self.outgoing.emit_control(Control::End(&end), buf);
        } else if self.outgoing.take_due(Due::Poll) {
            let poll = self.poll(now);
            self.outgoing.emit_control(Control::Poll(&poll), buf);
        }
        !buf.is_empty()
    }

    fn emit_abort(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        let State::Aborting(aborting) = &mut self.state else {
            return false;
        };
        if !self.timers.fires(OneWayTimer::Abort, now) {
            return false;
        }
        self.outgoing
            .emit_control(Control::Abort(&aborting.abort), buf);
        if aborting.is_last() {
            let end = aborting.end();
            self.end(end);
        } else {
            self.timers.set(OneWayTimer::Abort, now + aborting.every);
        }
        true
    }

    /// An END goes out. After each but the last, a part of the last interleaved blocks is sent once
    /// more, if they are fewer than others.
    fn count_end(&mut self) {
        let following = self.outgoing.ends_following().saturating_sub(1);
        self.outgoing.set_ends_following(following);
        if following > 0 {
            let depth = u32::from(self.depth());
            self.window.queue_repair_again(self.one_way, depth);
        } else {
            self.end(SenderEnd::Sent);
        }
    }

    fn poll(&self, now: Instant) -> Poll {
        let us = |d: Duration| u32::try_from(d.as_us()).unwrap_or(u32::MAX);
        Poll {
            watermark: self.window.interleave_start(),
            clock_us: now.as_us(),
            rtt_us: us(RTT_MIN),
            receivers: 0,
            report_every: u32::MAX,
            report_us: us(POLL_MAX),
        }
    }

    /// Blocks that are interleaved at most.
    fn depth(&self) -> u16 {
        self.outgoing.announced().depth
    }

    /// Whether further blocks may be interleaved: as many as the depth are there, or have been
    /// waited for.
    fn interleave_is_ready(&mut self, now: Instant) -> bool {
        let ready = self.window.ready();
        if ready == 0 || self.window.is_interleaving() {
            self.interleave_deadline = None;
            return ready == 0;
        }
        if self.window.finished().is_some() || ready >= u32::from(self.depth()) {
            return true;
        }
        let deadline = now + ONE_WAY_INTERLEAVE_TIME;
        let at = *self.interleave_deadline.get_or_insert(deadline);
        if now < at {
            self.timers.set_earlier(OneWayTimer::Pacing, at);
        }
        now >= at
    }

    /// Writes a batch of DATA datagrams as far as the rate allows.
    fn emit_data(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        if !self.state.is_serving() {
            return false;
        }
        let block_end = match self.interleave_is_ready(now) {
            true => u32::MAX,
            false => 0,
        };
        if !self.window.has_source(block_end) && !self.window.has_repair() {
            self.pacing.on_idle();
            self.pacing.note_limit(now, SendLimit::Input);
            return false;
        }
        let count = match self.pacing.batch(now) {
            Ok(count) => count,
            Err(ready_at) => {
                self.timers.set(OneWayTimer::Pacing, ready_at);
                return false;
            }
        };
        let repairing = self.window.has_repair() && !self.window.is_interleaving();
        let limits = SendLimits {
            now,
            block_end,
            depth: self.depth().into(),
            proactive: Proactive::Fixed(self.one_way),
        };
        let window = &mut self.window;
        let sent = if repairing {
            // No receiver reports: all that was sent may be under way.
            let next = |w: &mut SendWindow, sequence| w.next_repair(sequence, u64::MAX);
            self.outgoing.emit_symbols(window, count, buf, next)
        } else {
            let next = |w: &mut SendWindow, _| w.next_source(&limits);
            self.outgoing.emit_symbols(window, count, buf, next)
        };
        self.stats.count_symbols(repairing, sent);
        self.pacing.spend(sent * self.pacing.datagram());
        if sent > 0 && self.state == State::Sending {
            let soon = match self.window.has_source(block_end) {
                true => POLL_MAX,
                false => POLL_AFTER_DATA,
            };
            self.timers.set_earlier(OneWayTimer::Poll, now + soon);
        }
        sent > 0
    }

    /// The parts that tests of other machines look into.
    #[cfg(test)]
    pub(in crate::proto) fn parts(&self) -> (&SendWindow, &Outgoing) {
        (&self.window, &self.outgoing)
    }
}
