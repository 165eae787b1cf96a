//! The sender's side of a session whose receivers answer.

mod admission;
mod auto_parity;
mod block_ring;
mod eviction;
mod flow;
mod join_limit;
mod members;
mod next_pass;
mod outgoing;
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

use self::admission::Admission;
use self::eviction::{Eviction, Snapshot};
pub(super) use self::flow::interleave_depth;
use self::flow::{FlowLimits, request_patience};
use self::join_limit::JoinLimiter;
use self::members::{Departure, Member, MemberState, Members, Newcomer};
use self::next_pass::WaitingReceivers;
pub(super) use self::outgoing::{AbortCopies, Control, Due, Outgoing, announcement};
use self::repair::RepairRequest;
pub(super) use self::send_window::{Proactive, SendLimits, SendWindow, WindowConfig};
use self::start::StartPolicy;
pub use self::start::Waiting;
pub(super) use self::state::State;
use super::block::Chain;
use super::config::{SenderConfig, StartTimeout, window_blocks};
use super::event::{Fate, MemberReport, SenderEnd, SenderEvent, SenderStats, Target, Transmit};
use super::limits::{
    ABORT_COPIES, ABORT_EVERY, ANNOUNCE_RUNNING, ANNOUNCE_WAITING, AUTO_PARITY_RECEIVERS_MIN,
    BYE_COPIES, CONFIRM_MAX, DEPTH_MAX, END_EVERY, EVICTION_CHECK_EVERY, INTERLEAVE_TIME, POLL_MAX,
    RATE_MAX,
};
use super::protect::{member_nonce, multicast_cipher, open, reply_nonce, seal};
use super::rate::{AdaptiveRate, Pacing, PathReport, RateReason, ReportStep, SendLimit};
use super::timer::{TimerKind, Timers};
use crate::crypt::agree::SecretKey;
use crate::crypt::secret::Secret;
use crate::units::{Duration, Instant, Rate};
use crate::wire::{
    self, Abort, AbortReason, Bye, DATA_OVERHEAD, DatagramKind, DropReason, End, Feedback,
    HandshakeHeader, Join, MemberHeader, Outcome, POLLUTED, Poll, RejectReason, SessionId,
    SessionStatus,
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
        let [mut id, mut secret, mut scalar] = [[0; 32]; 3];
        rng.fill_bytes(&mut id);
        rng.fill_bytes(&mut secret);
        rng.fill_bytes(&mut scalar);
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
        let limiter = JoinLimiter::new(now, rng.next_u64());
        let mut timers = Timers::new();
        timers.set(SenderTimer::Announce, now);
        if let Some(timeout) = config.start_timeout {
            timers.set(SenderTimer::StartTimeout, now + timeout);
        }
        Self {
            state: State::Announcing { failed: None },
            start: StartPolicy::new(&config, now),
            admission: Admission::new(session, Secret::new(secret), key, &config.keys, limiter),
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
        self.members.group().joined
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

    /// Writes what is due to the group.
    fn emit_to_group(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        let segment = if self.emit_control(now, buf) {
            buf.len()
        } else if self.emit_data(now, buf) {
            self.outgoing.data_len()
        } else {
            return None;
        };
        let to = Target::Group;
        Some(Transmit { to, segment })
    }

    // The course of a session.

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

    /// `None` when the datagram was refused.
    fn handle_join(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) -> Option<()> {
        let header = HandshakeHeader::parse(datagram)
            .ok()
            .filter(|_| from.port() != 0)?;
        if let Some(number) = self.members.by_key(&header.receiver_key) {
            return self.accept_again(now, from, number, datagram);
        }
        if !self.admission.allow(now, from.ip()) {
            return None;
        }
        let stream = self.outgoing.stream();
        let opened = self.admission.open_join(stream, &header, datagram)?;
        let listed = match self.admit(&opened.join, from) {
            Ok(listed) => listed,
            Err(reason) => {
                let reject = self.admission.reject(&opened, reason);
                self.outgoing.reply(from, reject);
                self.on_rejected(now, from, opened.join.name, reason);
                return Some(());
            }
        };
        let newcomer = Newcomer {
            addr: from,
            key: header.receiver_key,
            pair: self.admission.ciphers(&opened)?,
            listed,
        };
        let member = Member::new(newcomer, &opened.join, self.outgoing.sequence(), now);
        let number = self.members.add(member);
        self.accept(number);
        self.timers
            .set_earlier(SenderTimer::Eviction, now + EVICTION_CHECK_EVERY);
        Some(())
    }

    /// Whether a receiver may take part: its place in the list, if there is one.
    fn admit(&mut self, join: &Join, from: SocketAddr) -> Result<Option<usize>, RejectReason> {
        let place = self.admission.place(join)?;
        if !self.status().joinable || self.waiting.contains(from) {
            Err(self.too_late())
        } else if !self.members.has_room() {
            Err(RejectReason::Full)
        } else {
            Ok(place)
        }
    }

    /// What to tell a receiver for which the beginning is gone.
    fn too_late(&self) -> RejectReason {
        match self.state {
            State::Aborting(_) => RejectReason::BrokenOff,
            _ if self.config.series.next_pass.takes_late() => RejectReason::NextPass,
            _ => RejectReason::TooLate,
        }
    }

    fn on_rejected(&mut self, now: Instant, from: SocketAddr, name: String, reason: RejectReason) {
        if reason != RejectReason::NextPass {
            self.events
                .push_back(SenderEvent::Rejected { name, from, reason });
        } else if self.waiting.on_heard(now, from) {
            self.events.push_back(SenderEvent::Waits { name, from });
        }
    }

    /// A receiver asks again: the ACCEPT was lost. Until its first FEEDBACK its JOINs are all that
    /// shows that it lives.
    fn accept_again(
        &mut self,
        now: Instant,
        from: SocketAddr,
        number: u32,
        datagram: &mut [u8],
    ) -> Option<()> {
        let withdrawn = match self.members.get(number)?.state {
            MemberState::Pending => false,
            MemberState::Withdrawn(None) => true,
            // It was on its way when the ACCEPT came.
            _ => return Some(()),
        };
        // Made room for others: it is let in again by the rules for those that are new.
        let again = withdrawn && self.status().joinable && self.admission.allow(now, from.ip());
        if withdrawn && !(again && self.members.has_room()) {
            return None;
        }
        let member = self.members.get_mut(number)?;
        let nonce = reply_nonce(DatagramKind::Join, 0);
        open(&member.pair.join, &nonce, datagram, HandshakeHeader::LEN)?;
        if !member.may_answer(now) {
            return Some(());
        }
        if withdrawn {
            member.joined_at = now;
            member.progress.heard_at = now;
            self.members.restore_pending(number);
        } else if now.since(member.joined_at) < CONFIRM_MAX {
            member.progress.heard_at = now;
        }
        self.accept(number);
        Some(())
    }

    fn accept(&mut self, number: u32) {
        if let Some(member) = self.members.get(number) {
            let accept = self.admission.accept(number, member);
            self.outgoing.reply(member.addr, accept);
        }
    }

    /// A receiver's first FEEDBACK came: it has the keys, and may be counted on.
    fn on_confirmed(&mut self, now: Instant, receiver: u32) {
        let Some(member) = self.members.get(receiver) else {
            return;
        };
        let known_as = self.admission.known_as(member);
        self.start.on_joined(now, known_as);
        let expected = self.start.expects(known_as);
        self.events.push_back(SenderEvent::Joined {
            receiver,
            name: member.name.clone(),
            from: member.addr,
            listed: member.listed,
        });
        if self.is_waiting() {
            self.plan_start();
        } else if expected && let Some(member) = self.members.get_mut(receiver) {
            member.required = true;
        }
        self.timers.set_earlier(SenderTimer::Poll, now);
    }

    // Receivers that report.

    /// `None` when the datagram was refused.
    fn handle_feedback(&mut self, now: Instant, datagram: &mut [u8]) -> Option<()> {
        let header = MemberHeader::parse(datagram).ok()?;
        let (receiver, sequence) = (header.receiver, self.outgoing.sequence());
        let member = self.members.get(receiver)?;
        let nonce = member_nonce(DatagramKind::Feedback, receiver, header.number);
        let body = open(&member.pair.feedback, &nonce, datagram, MemberHeader::LEN)?;
        let feedback = Feedback::parse(body).ok()?;
        if header.number < member.feedback_next {
            return None;
        }
        let state = member.state;
        self.stats.feedbacks += 1;
        if state == MemberState::Withdrawn(None) && self.window.first() == 0 {
            self.members.restore(receiver);
        } else if !state.is_present() {
            return self.on_late_feedback(now, &header, feedback.outcome);
        }
        self.stats.nacks += u64::from(!feedback.needs.is_empty());
        let (step, loss, reported_end) = self.members.change(receiver, |member| {
            let step = member.update(&feedback, header.number, sequence, now);
            (step, member.path.loss.loss(), member.reported_end)
        })?;
        if state != MemberState::Active {
            self.on_confirmed(now, receiver);
        }
        self.adapt_rate(now, receiver, step);
        let request = RepairRequest {
            reported_end,
            loss,
            no_second_chance: !self.may_ask_again(),
        };
        self.queue_repair(now, &feedback, request);
        self.on_outcome(now, receiver, feedback.outcome);
        self.release();
        Some(())
    }

    /// A receiver that is done or gone reports: it has not heard the BYE yet.
    fn on_late_feedback(
        &mut self,
        now: Instant,
        header: &MemberHeader,
        outcome: Outcome,
    ) -> Option<()> {
        let receiver = header.receiver;
        let member = self.members.get_mut(receiver)?;
        let digest = self.window.finished().map(|end| end.digest);
        let has_all = matches!(outcome, Outcome::Done(d) if Some(d) == digest);
        member.feedback_next = header.number.saturating_add(1);
        let may_answer = member.may_answer(now);
        let (name, addr, state) = (member.name.clone(), member.addr, member.state);
        if state == MemberState::Withdrawn(None) {
            let silent = Some(Departure::Dropped(DropReason::Silent));
            member.state = MemberState::Withdrawn(silent);
        } else if has_all && state == MemberState::Gone(Departure::Dropped(DropReason::NextPass)) {
            // It was told to come to the next pass, and has everything after all.
            self.waiting.remove(addr);
            self.members
                .change(receiver, |member| member.state = MemberState::Done);
            self.events.push_back(SenderEvent::Finished {
                receiver,
                name,
                fate: Fate::Done,
            });
        }
        if may_answer {
            self.bye(receiver, 1);
        }
        Some(())
    }

    /// Lets the rate follow what a receiver reports.
    fn adapt_rate(&mut self, now: Instant, receiver: u32, step: ReportStep) {
        let group = self.members.group();
        let report = PathReport {
            receiver,
            step,
            sequence: self.outgoing.sequence(),
            receivers: group.active,
            group_rtt: group.rtt,
            datagram: self.pacing.datagram(),
        };
        if let Some(member) = self.members.get_mut(receiver) {
            self.pacing.on_report(now, &mut member.path, report);
        }
    }

    /// Queues what a receiver asks for.
    fn queue_repair(&mut self, now: Instant, feedback: &Feedback, request: RepairRequest) {
        // What is not kept needs no look, nor any block a second one: a FEEDBACK costs no more than
        // the window is long.
        let mut from = self.window.first();
        for need in &feedback.needs {
            if need.symbols == POLLUTED {
                let hashes = self.window.on_polluted(need.block, now);
                self.outgoing.push_hashes(hashes);
                continue;
            }
            let end = need.block.saturating_add(u32::from(need.run));
            let end = end.min(self.window.watermark());
            for block in need.block.max(from)..end {
                self.window.request(block, need.symbols, request);
            }
            from = from.max(end);
        }
    }

    /// Whether it costs no time that a block needs another round: there is new data to send
    /// meanwhile, and far from the end of what the receivers can hold. Of many receivers some would
    /// ask again for each block.
    fn may_ask_again(&self) -> bool {
        let group = self.members.group();
        let room = group.window_end.saturating_sub(self.window.watermark());
        group.active < AUTO_PARITY_RECEIVERS_MIN
            && self.window.has_source(group.window_end)
            && room > group.window / 2
    }

    /// Releases blocks that every receiver has. A receiver that may still show that it has the keys
    /// is waited for a little. The beginning is kept until there is no room for more, for those
    /// that come late.
    fn release(&mut self) {
        let group = self.members.group();
        let has_room = self.window.first() == 0 && !self.window.is_full();
        if group.present == group.active && !has_room {
            self.window.release(group.next);
        }
    }

    /// Takes note of a receiver that is done or leaves.
    fn on_outcome(&mut self, now: Instant, receiver: u32, outcome: Outcome) {
        let end = self.window.complete().filter(|_| self.end_told);
        match outcome {
            Outcome::Receiving => {}
            Outcome::Finishing => {
                if let Some(member) = self.members.get_mut(receiver)
                    && end.is_some_and(|end| member.next >= end.blocks)
                {
                    member.progress.committing_since.get_or_insert(now);
                }
            }
            Outcome::Done(digest) if end.is_some_and(|end| end.digest == digest) => {
                self.conclude(receiver, None);
            }
            Outcome::Done(_) => {
                self.conclude(receiver, Some(Departure::Dropped(DropReason::Differs)));
            }
            Outcome::Leave(reason) => self.conclude(receiver, Some(Departure::Left(reason))),
        }
    }

    // Receivers that go.

    fn evict_overdue(&mut self, now: Instant) {
        self.timers
            .set(SenderTimer::Eviction, now + EVICTION_CHECK_EVERY);
        let window = &self.window;
        let snapshot = Snapshot {
            now,
            sending: self.state == State::Sending,
            serving: self.state.is_serving(),
            complete: window.complete().is_some(),
            stuck: window.is_stuck(),
            has_source: window.has_source(u32::MAX),
            first: window.first(),
            watermark: window.watermark(),
            sequence: self.outgoing.sequence(),
            flight: self.limits().flight,
            source_bytes: self.source_bytes(),
            rate: self.pacing.rate(),
        };
        for (receiver, reason) in self.eviction.check(&mut self.members, &snapshot) {
            self.drop_receiver(now, receiver, reason);
        }
        self.release();
    }

    fn drop_receiver(&mut self, now: Instant, receiver: u32, reason: DropReason) {
        if reason == DropReason::NextPass
            && let Some(member) = self.members.get(receiver)
        {
            self.waiting.on_heard(now, member.addr);
        }
        self.conclude(receiver, Some(Departure::Dropped(reason)));
    }

    /// A receiver goes: it has everything, or departs.
    fn conclude(&mut self, receiver: u32, departure: Option<Departure>) {
        let Some(member) = self.members.get(receiver) else {
            return;
        };
        match member.state {
            MemberState::Active => {}
            // It never was there as far as anything shows.
            MemberState::Pending => return self.members.withdraw(receiver, None),
            _ => return,
        }
        let name = member.name.clone();
        self.pacing.on_leave(&member.path);
        if self.is_waiting() {
            // It has missed nothing, and its place is free again.
            self.members.withdraw(receiver, departure);
            self.on_left(receiver);
        } else {
            let state = departure.map_or(MemberState::Done, MemberState::Gone);
            self.members.change(receiver, |member| member.state = state);
        }
        let fate = self.members.get(receiver).map(|m| m.state.fate());
        self.events.push_back(SenderEvent::Finished {
            receiver,
            name,
            fate: fate.unwrap_or(Fate::Active),
        });
        self.bye(receiver, BYE_COPIES);
    }

    /// A receiver has left before the start.
    fn on_left(&mut self, receiver: u32) {
        let Some(member) = self.members.get(receiver) else {
            return;
        };
        let (members, admission) = (&self.members, &self.admission);
        let here = members.active().map(|(_, m)| admission.known_as(m));
        self.start.on_left(admission.known_as(member), here);
        self.plan_start();
    }

    fn bye(&mut self, receiver: u32, copies: u32) {
        let tag = self.session().tag();
        for _ in 0..copies {
            let Some(member) = self.members.get_mut(receiver) else {
                return;
            };
            let number = member.byes;
            let Some(byes) = number.checked_add(1) else {
                return;
            };
            member.byes = byes;
            let mut out = vec![];
            MemberHeader {
                kind: DatagramKind::Bye,
                tag,
                receiver,
                number,
            }
            .emit(&mut out);
            let reason = member.state.bye_reason();
            Bye { reason }.emit(&mut out);
            let nonce = member_nonce(DatagramKind::Bye, receiver, number);
            seal(&member.pair.bye, &nonce, &mut out, 0, MemberHeader::LEN);
            self.outgoing.reply(member.addr, out);
        }
    }

    // What is sent.

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
            && let Some(end) = self.window.complete()
        {
            self.outgoing.take_due(Due::End);
            self.outgoing.emit_control(Control::End(&end), buf);
        } else if let Some(hashes) = self.outgoing.pop_hashes() {
            self.outgoing.emit_control(Control::Hashes(&hashes), buf);
            self.pacing.spend(self.pacing.datagram());
        } else if self.outgoing.take_due(Due::Poll) && self.members.group().present > 0 {
            let poll = self.poll(now);
            self.outgoing.emit_control(Control::Poll(&poll), buf);
        }
        !buf.is_empty()
    }

    fn emit_abort(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        let State::Aborting(aborting) = &mut self.state else {
            return false;
        };
        if !self.timers.fires(SenderTimer::Abort, now) {
            return false;
        }
        self.outgoing
            .emit_control(Control::Abort(&aborting.abort), buf);
        if aborting.is_last() {
            let end = aborting.end();
            self.end(end);
        } else {
            self.timers.set(SenderTimer::Abort, now + aborting.every);
        }
        true
    }

    fn poll(&self, now: Instant) -> Poll {
        let (limits, group) = (self.limits(), self.members.group());
        let us = |d: Duration| u32::try_from(d.as_us()).unwrap_or(u32::MAX);
        Poll {
            watermark: self.window.poll_watermark(),
            clock_us: now.as_us(),
            rtt_us: us(group.rtt),
            receivers: group.active,
            report_every: limits.report_every,
            report_us: us(limits.report),
        }
    }

    /// The limits that the receivers set.
    fn limits(&self) -> FlowLimits {
        let (rate, datagram) = (self.pacing.rate(), self.pacing.datagram());
        FlowLimits::new(&self.members.group(), rate, datagram)
    }

    /// Bytes of source symbols sent once.
    fn source_bytes(&self) -> u64 {
        self.stats.source * u64::from(self.config.symbol_len)
    }

    /// Writes a batch of DATA datagrams as far as receivers and rate allow.
    fn emit_data(&mut self, now: Instant, buf: &mut Vec<u8>) -> bool {
        if !self.state.is_serving() {
            return false;
        }
        let (limits, group) = (self.limits(), self.members.group());
        self.window.observe(now, request_patience(&group));
        let has_source = self.window.has_source(limits.block_end);
        let sequence = self.outgoing.sequence();
        if (!has_source && !self.window.has_repair()) || sequence >= limits.sequence_end {
            self.pacing.on_idle();
            self.note_idle(now, has_source);
            return false;
        }
        let allowed = match self.pacing.batch(now) {
            Ok(allowed) => allowed,
            Err(ready_at) => {
                self.timers.set(SenderTimer::Pacing, ready_at);
                return false;
            }
        };
        let count = allowed.min(limits.sequence_end - sequence);
        let repairing = self.window.next_is_repair(has_source);
        let send = SendLimits {
            now,
            block_end: limits.block_end,
            depth: self.depth(),
            proactive: Proactive::Auto {
                receivers: group.active,
            },
        };
        let window = &mut self.window;
        let sent = if repairing {
            let reported = group.reported_end;
            let next = |w: &mut SendWindow, sequence| w.next_repair(sequence, reported);
            self.outgoing.emit_symbols(window, count, buf, next)
        } else {
            let next = |w: &mut SendWindow, _| w.next_source(&send);
            self.outgoing.emit_symbols(window, count, buf, next)
        };
        self.stats.count_symbols(repairing, sent);
        self.pacing.spend(sent * self.pacing.datagram());
        if sent > 0 && self.state == State::Sending {
            self.timers
                .set_earlier(SenderTimer::Poll, now + limits.report);
            if !self.window.has_source(limits.block_end) {
                self.timers
                    .set_earlier(SenderTimer::Poll, now + POLL_AFTER_DATA);
            }
        }
        sent > 0
    }

    /// Blocks to interleave at present: no more than a part of what a receiver can hold, since all
    /// of them stay until the first is complete.
    fn depth(&self) -> u32 {
        let held = (self.members.group().window / 4).max(1);
        let block = u64::from(self.config.k) * self.pacing.datagram();
        let depth = depth_at(self.pacing.rate(), block, self.window.blocks_max());
        u32::from(depth).min(held)
    }

    // Why the rate is what it is.

    /// Nothing may be sent now: takes note of why.
    fn note_idle(&mut self, now: Instant, has_source: bool) {
        let blocked = self.window.has_source(u32::MAX) || self.window.is_stuck();
        let limit = match blocked {
            _ if has_source || self.window.has_repair() => SendLimit::Reports,
            true => SendLimit::Window,
            false => SendLimit::Input,
        };
        self.pacing.note_limit(now, limit);
    }

    /// Once a second: takes note of why the rate is what it is, and tells when that has changed.
    fn update_rate_reason(&mut self, now: Instant) {
        let Some(limit) = self.pacing.poll_limit(now) else {
            return;
        };
        let stuck = self.window.is_stuck();
        let slowest = |key: fn(&Member, bool) -> u64| {
            let least = self.members.active().min_by_key(|(_, m)| key(m, stuck));
            least.map(|(receiver, _)| receiver)
        };
        let reason = match limit {
            SendLimit::Rate => None,
            SendLimit::Input => Some(RateReason::Input),
            SendLimit::Window => {
                let key = |m: &Member, stuck| u64::from(if stuck { m.next } else { m.window_end });
                slowest(key).map(|receiver| RateReason::Window { receiver })
            }
            SendLimit::Reports => {
                let receiver = slowest(|m, _| m.reported_end);
                receiver.map(|receiver| RateReason::Reports { receiver })
            }
        };
        let reason = reason.unwrap_or(self.pacing.reason());
        if reason != self.stats.rate_reason {
            self.stats.rate_reason = reason;
            let member = reason.receiver().and_then(|n| self.members.get(n));
            self.events.push_back(SenderEvent::RateLimited {
                reason,
                name: member.map(|m| m.name.clone()),
                rate: self.pacing.rate(),
            });
        }
    }
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
