//! The receiver's side of a session in which it answers.

mod incoming;
mod partial_block;
mod polluted;
mod reassembly;
mod resume;
mod screening;
mod search;
mod session;

use std::collections::VecDeque;
use std::net::SocketAddr;

use rand::SeedableRng;
use rand::rngs::StdRng;

pub(super) use self::incoming::{Effect, Incoming, Next, Payload, StreamState};
pub(super) use self::reassembly::{Intake, Reassembler};
use self::resume::ResumeState;
pub(super) use self::screening::{Place, SignatureLimit, Told, open_announce, screen};
use self::search::{Found, Reply, Search};
use self::session::{Corrupt, Session};
use super::config::{ReceiverConfig, window_blocks};
use super::event::{
    Awaits, Delivery, PassedOver, ReceiverEnd, ReceiverEvent, ReceiverStats, Target, Transmit,
};
use super::limits::{LEAVE_LINGER_MAX, REFUSED_WAIT};
use super::timer::{TimerKind, Timers};
use crate::units::Instant;
use crate::wire::{
    self, Announce, ByeReason, DATA_OVERHEAD, DatagramKind, DropReason, LeaveReason, Outcome,
    RejectReason, SessionStatus,
};

#[derive(Clone, Copy, Debug)]
enum ReceiverTimer {
    /// No session may be waited for any longer: set until one took us in.
    GiveUp,
    /// A JOIN is due, or a session is given up: set while there are any.
    Join,
    /// The sender has been silent for too long, perhaps: set while receiving.
    Silence,
    /// A FEEDBACK is due, whatever we lack: set while receiving and lingering.
    Report,
    /// A FEEDBACK is due for what we lack: set while receiving.
    Nack,
    /// A BYE is not waited for any longer: set while lingering.
    Linger,
    /// Every session that we know turned us away, and no other came: set once that is so.
    Refused,
}

const TIMERS: usize = ReceiverTimer::Refused as usize + 1;

impl TimerKind for ReceiverTimer {
    fn index(self) -> usize {
        self as usize
    }
}

#[derive(Debug)]
enum State {
    /// Asking the sessions that we heard of, if there are any.
    Searching(Search),
    Receiving(Box<Session>),
    /// Done or leaving: said until a BYE comes.
    Lingering(Box<Session>, ReceiverEnd),
    Ended,
}

/// The state machine of a receiver that answers.
#[derive(Debug)]
pub(super) struct TwoWayReceiver {
    config: ReceiverConfig,
    rng: StdRng,
    state: State,
    status: Option<SessionStatus>,
    told: Told,
    timers: Timers<ReceiverTimer, TIMERS>,
    events: VecDeque<ReceiverEvent>,
    stats: ReceiverStats,
}

impl TwoWayReceiver {
    /// A receiver that searches for a session; see [`super::Receiver::new`].
    pub(super) fn new(config: ReceiverConfig, seed: [u8; 32], now: Instant) -> Self {
        let mut timers = Timers::new();
        if let Some(timeout) = config.start_timeout {
            timers.set(ReceiverTimer::GiveUp, now + timeout);
        }
        Self {
            config,
            rng: StdRng::from_seed(seed),
            state: State::Searching(Search::default()),
            status: None,
            told: Told::default(),
            timers,
            events: VecDeque::new(),
            stats: ReceiverStats::default(),
        }
    }

    pub(super) fn awaits(&self) -> Option<Awaits> {
        match &self.state {
            State::Searching(search) => Some(search.awaits()),
            State::Receiving(session) if !session.incoming.started => {
                Some(Awaits::Start(self.status))
            }
            State::Receiving(_) | State::Lingering(..) | State::Ended => None,
        }
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        let taken = match wire::peek(datagram) {
            Err(error) => self.stats.count_error(&error),
            Ok((DatagramKind::Announce, _)) => self.handle_announce(now, from, datagram),
            Ok((DatagramKind::Accept | DatagramKind::Reject, _)) => {
                self.handle_reply(now, datagram)
            }
            Ok((DatagramKind::Cookie, _)) => self.handle_cookie(now, datagram),
            Ok((DatagramKind::Hello | DatagramKind::Join | DatagramKind::Feedback, _)) => None,
            Ok((kind, tag)) => self.handle_session(now, from, (kind, tag), datagram),
        };
        self.stats.refused += u64::from(taken.is_none());
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.timers.fires(ReceiverTimer::GiveUp, now) {
            self.give_up(now);
        }
        if self.timers.fires(ReceiverTimer::Join, now)
            && let State::Searching(search) = &mut self.state
        {
            if search.expire(now) {
                self.events.push_back(ReceiverEvent::Forgotten);
            }
            let refused = search.all_refused();
            if let Some(silence) = search.silence(now) {
                self.end(ReceiverEnd::SenderLost(silence));
            } else if refused.is_some_and(|reason| reason != RejectReason::NextPass) {
                self.timers
                    .set_earlier(ReceiverTimer::Refused, now + REFUSED_WAIT);
            }
        }
        if self.timers.fires(ReceiverTimer::Refused, now) {
            self.on_all_refused(now);
        }
        if self.timers.fires(ReceiverTimer::Silence, now) {
            self.check_silence(now);
        }
        if self.timers.fires(ReceiverTimer::Report, now)
            && let Some(session) = self.session()
        {
            session.report_due(now);
        }
        if self.timers.fires(ReceiverTimer::Nack, now)
            && let State::Receiving(session) = &mut self.state
        {
            session.nack_due();
        }
        if self.timers.fires(ReceiverTimer::Linger, now)
            && let State::Lingering(_, end) = &self.state
        {
            let end = end.clone();
            self.end(end);
        }
        self.rearm(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next().filter(|_| !self.is_done())
    }

    pub(super) fn poll_event(&mut self) -> Option<ReceiverEvent> {
        self.events.pop_front()
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    pub(super) fn stats(&self) -> ReceiverStats {
        match &self.state {
            State::Receiving(session) | State::Lingering(session, _) => session.stats(self.stats),
            State::Searching(_) | State::Ended => self.stats,
        }
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        let to = match &mut self.state {
            State::Searching(search) => search.emit(now, &self.config, &mut self.rng, buf)?,
            State::Receiving(session) | State::Lingering(session, _) => {
                session.emit_feedback(now, buf)?
            }
            State::Ended => return None,
        };
        self.rearm(now);
        Some(Transmit {
            to: Target::Peer(to),
            segment: buf.len(),
        })
    }

    pub(super) fn pull(&mut self, now: Instant) -> Option<Delivery> {
        let State::Receiving(session) = &mut self.state else {
            return None;
        };
        match session.pull(now) {
            Ok(delivery) => {
                if delivery.is_some() {
                    self.after_progress(now);
                }
                delivery
            }
            Err(Corrupt) => {
                self.on_corrupt(now);
                None
            }
        }
    }

    pub(super) fn recycle(&mut self, buf: Vec<u8>) {
        if let State::Receiving(session) = &mut self.state {
            session.incoming.reassembler.recycle(buf);
        }
    }

    pub(super) fn consumed(&mut self, now: Instant) {
        if let State::Receiving(session) = &self.state
            && let Some(digest) = session.incoming.reassembler.complete()
        {
            self.linger(now, ReceiverEnd::Complete, Outcome::Done(digest));
        }
    }

    pub(super) fn leave(&mut self, now: Instant, reason: LeaveReason) {
        match self.state {
            State::Receiving(_) => {
                self.linger(now, ReceiverEnd::Left(reason), Outcome::Leave(reason));
            }
            State::Searching(_) => self.end(ReceiverEnd::Left(reason)),
            State::Lingering(..) | State::Ended => {}
        }
    }

    fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Receiving(session) | State::Lingering(session, _) => Some(session),
            State::Searching(_) | State::Ended => None,
        }
    }

    fn end(&mut self, end: ReceiverEnd) {
        self.stats = self.stats();
        self.state = State::Ended;
        self.events.push_back(ReceiverEvent::Ended(end));
    }

    fn linger(&mut self, now: Instant, end: ReceiverEnd, outcome: Outcome) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Receiving(mut session) => {
                session.conclude(now, outcome);
                self.state = State::Lingering(session, end);
                let longest = match outcome {
                    // What became of the consumer is worth as much as that all is well.
                    Outcome::Done(_)
                    | Outcome::Leave(LeaveReason::Status(_) | LeaveReason::Signal(_)) => {
                        self.config.silent_max
                    }
                    Outcome::Receiving | Outcome::Finishing | Outcome::Leave(_) => LEAVE_LINGER_MAX,
                };
                self.timers.set(ReceiverTimer::Linger, now + longest);
                self.rearm(now);
            }
            other => self.state = other,
        }
    }

    /// What was authenticated contradicts itself.
    fn on_corrupt(&mut self, now: Instant) {
        let reason = LeaveReason::Corrupt;
        self.linger(now, ReceiverEnd::Corrupt, Outcome::Leave(reason));
    }

    /// Sets the timers that follow from the session's state.
    fn rearm(&mut self, now: Instant) {
        let (rng, timers) = (&mut self.rng, &mut self.timers);
        match &mut self.state {
            State::Searching(search) => timers.set_or_clear(ReceiverTimer::Join, search.next()),
            State::Receiving(session) | State::Lingering(session, _) => {
                timers.set(ReceiverTimer::Report, session.report_at());
                timers.set_or_clear(ReceiverTimer::Nack, session.nack_at(now, rng));
            }
            State::Ended => {}
        }
    }

    fn check_silence(&mut self, now: Instant) {
        let State::Receiving(session) = &self.state else {
            return;
        };
        let at = session.incoming.lost_at();
        if now < at {
            self.timers.set(ReceiverTimer::Silence, at);
        } else if session.incoming.reassembler.complete().is_none() {
            // With everything here the sender is not needed any more.
            let silence = session.incoming.silence(now);
            self.end(ReceiverEnd::SenderLost(silence));
        }
    }

    /// `None` when the datagram was refused; so for all below.
    fn handle_announce(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<()> {
        let announced = match open_announce(&self.config, datagram) {
            Ok(announced) => announced,
            Err(why) => {
                self.pass_over(from, why?);
                return None;
            }
        };
        let status = announced.announce.status;
        let needs_shared = self.config.keys.shared.is_some();
        match &mut self.state {
            State::Searching(_) if needs_shared && !announced.announce.protection.shared => {
                self.pass_over(from, PassedOver::NoSharedKey);
            }
            State::Searching(_) if !self.config.names(&announced.announce) => {
                let told = self.told.other_name(from, &announced.announce);
                self.events.extend(told);
            }
            State::Searching(search) => {
                let found = search.hear(now, from, &announced, &self.config, &mut self.rng);
                if search.all_refused().is_some() {
                    self.timers
                        .set_earlier(ReceiverTimer::Refused, now + REFUSED_WAIT);
                }
                match found {
                    Found::New => {
                        let event = found_event(from, &announced.announce);
                        self.events.push_back(event);
                    }
                    Found::PassedOver(why) => self.pass_over(from, why),
                    Found::Nothing => {}
                }
                self.rearm(now);
            }
            State::Receiving(session)
                if !session.incoming.started && self.status != Some(status) =>
            {
                if !session.incoming.is_ours(now, &announced) {
                    return None;
                }
                self.status = Some(status);
                self.events.push_back(ReceiverEvent::Waiting(status));
            }
            // Other sessions may share our network.
            State::Receiving(_) | State::Lingering(..) | State::Ended => {}
        }
        Some(())
    }

    /// Says once that there is a session that we cannot take part in, and why.
    fn pass_over(&mut self, from: SocketAddr, why: PassedOver) {
        if matches!(self.state, State::Searching(_)) {
            self.events.extend(self.told.pass_over(from, why));
        }
    }

    fn handle_cookie(&mut self, now: Instant, datagram: &[u8]) -> Option<()> {
        let State::Searching(search) = &mut self.state else {
            return None;
        };
        search.handle_cookie(now, datagram)?;
        self.rearm(now);
        Some(())
    }

    fn handle_reply(&mut self, now: Instant, datagram: &mut [u8]) -> Option<()> {
        let State::Searching(search) = &mut self.state else {
            return None;
        };
        let reply = search.handle_reply(now, datagram, &self.config.keys, &mut self.rng)?;
        match reply {
            Reply::Refused => {
                if search.all_refused().is_some() {
                    self.timers.set(ReceiverTimer::Refused, now + REFUSED_WAIT);
                }
            }
            Reply::Accepted(chosen, receiver, accept) => {
                let so_far = search.so_far();
                let announce = &chosen.announce;
                let blocks = window_blocks(self.config.memory, announce.k, announce.symbol_len);
                let mut session = Session::joined(&chosen, receiver, &accept, blocks, so_far, now);
                session.incoming.silent_max = self.config.silent_max;
                self.state = State::Receiving(Box::new(session));
                self.timers.clear(ReceiverTimer::GiveUp);
                self.timers.clear(ReceiverTimer::Join);
                self.timers
                    .set(ReceiverTimer::Silence, now + self.config.silent_max);
                self.events.push_back(ReceiverEvent::Joined {
                    receiver,
                    from: chosen.from,
                });
            }
        }
        self.rearm(now);
        Some(())
    }

    fn handle_session(
        &mut self,
        now: Instant,
        from: SocketAddr,
        (kind, tag): (DatagramKind, u32),
        datagram: &mut [u8],
    ) -> Option<()> {
        // Those of a session that we are not in are no fault of anybody.
        let Some(session) = self.session().filter(|s| s.incoming.tag() == tag) else {
            return Some(());
        };
        if kind == DatagramKind::Bye {
            let reason = session.open_bye(datagram)?;
            self.handle_bye(now, reason);
            return Some(());
        }
        let (was_waiting, was_at) = (!session.incoming.started, session.sender());
        let effect = session.handle(now, from, datagram)?;
        let starts = was_waiting && session.incoming.started;
        let moves = session.sender() != was_at;
        if starts {
            self.events.push_back(ReceiverEvent::Started);
        }
        if moves {
            self.events.push_back(ReceiverEvent::Moved { from });
        }
        match effect {
            Effect::None => {}
            Effect::Progress => self.after_progress(now),
            Effect::Abort(abort) => {
                // What is complete and checked stays so, whatever becomes of the sender.
                if matches!(&self.state, State::Receiving(s) if !s.incoming.completed) {
                    self.end(ReceiverEnd::Aborted(abort.reason, abort.text));
                }
            }
            Effect::Nonsense => self.on_corrupt(now),
        }
        self.rearm(now);
        Some(())
    }

    /// Looks whether the end is reached.
    fn after_progress(&mut self, now: Instant) {
        let State::Receiving(session) = &mut self.state else {
            return;
        };
        match session.incoming.stream_state() {
            StreamState::Underway => {}
            StreamState::Complete(length) => {
                self.events.push_back(ReceiverEvent::Complete { length });
            }
            StreamState::Corrupt => self.on_corrupt(now),
        }
    }

    /// The time for a session to take us in is over, unless one told us to wait.
    fn give_up(&mut self, now: Instant) {
        self.on_all_refused(now);
        if matches!(&self.state, State::Searching(search) if !search.waits()) {
            self.end(ReceiverEnd::NoSender);
        }
    }

    /// Every session that we know turned us away, perhaps only for now.
    fn on_all_refused(&mut self, now: Instant) {
        let State::Searching(search) = &mut self.state else {
            return;
        };
        match search.all_refused() {
            Some(RejectReason::NextPass) if search.wait(now) => {
                self.timers.clear(ReceiverTimer::GiveUp);
                self.events.push_back(ReceiverEvent::Waits { from: None });
            }
            // It is known already.
            Some(RejectReason::NextPass) | None => {}
            Some(reason) => self.end(ReceiverEnd::Rejected(reason)),
        }
    }

    /// Waits for another session of the series, to go on in.
    fn wait(&mut self, now: Instant, resume: ResumeState) {
        self.stats = self.stats();
        let from = Some(self.stats.bytes);
        self.state = State::Searching(Search::resuming(resume));
        self.status = None;
        self.timers = Timers::new();
        self.events.push_back(ReceiverEvent::Waits { from });
        self.rearm(now);
    }

    fn handle_bye(&mut self, now: Instant, reason: ByeReason) {
        let dropped = match (&self.state, reason) {
            (State::Lingering(_, end), ByeReason::Done | ByeReason::Left) => {
                let end = end.clone();
                return self.end(end);
            }
            // It answers nothing that we said.
            (_, ByeReason::Done | ByeReason::Left) => return,
            (_, ByeReason::Dropped(dropped)) => dropped,
        };
        match (&self.state, dropped) {
            // The sender sent it before it knew that we have everything.
            (State::Lingering(_, ReceiverEnd::Complete), DropReason::NextPass) => {}
            (State::Receiving(session), DropReason::NextPass) if session.incoming.completed => {}
            (State::Receiving(session), DropReason::NextPass) => {
                let resume = session.resume_state(now);
                self.wait(now, resume);
            }
            (_, dropped) => self.end(ReceiverEnd::Dropped(dropped)),
        }
    }
}

/// What is told of a session that was found.
pub(super) fn found_event(from: SocketAddr, announce: &Announce) -> ReceiverEvent {
    ReceiverEvent::Found {
        session: announce.session,
        name: announce.name.clone(),
        signer: announce.protection.signer,
        one_way: announce.protection.one_way,
        from,
        datagram_len: usize::from(announce.symbol_len) + DATA_OVERHEAD,
    }
}
