//! A receiver's side of a session.

mod gather;
mod joining;
mod overheard;
mod session;
mod slot;
mod ticket;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::gather::Outlook;
use self::joining::{Candidates, Found, Reply};
use self::session::Session;
use self::ticket::Ticket;
use super::config::{ReceiverConfig, fit_name, window_blocks};
use super::event::{
    Delivery, PassedOver, ReceiverEnd, ReceiverEvent, ReceiverStats, Target, Transmit,
};
use super::limits::{
    LEAVE_LINGER_MAX, LINGER_MAX, PEER_SILENT_MAX, REFUSED_WAIT, SIGNED_SILENT_MAX,
};
use super::protect::OpenedAnnounce;
use super::timer::Timers;
use crate::units::Instant;
use crate::wire::{
    self, Announce, ByeReason, DATA_OVERHEAD, DatagramKind, DropReason, LeaveReason, Outcome,
    RejectReason, SessionStatus,
};

/// Alarms of a receiver.
mod alarm {
    /// No session may be waited for any longer: set until one took us in.
    pub(super) const GIVE_UP: usize = 0;
    /// A JOIN is due, or a session is given up: set while there are any.
    pub(super) const JOIN: usize = 1;
    /// The sender has been silent for too long, perhaps: set while receiving.
    pub(super) const SILENCE: usize = 2;
    /// A FEEDBACK is due, whatever we lack: set while receiving and lingering.
    pub(super) const REPORT: usize = 3;
    /// A FEEDBACK is due for what we lack, or that is given up: set while receiving.
    pub(super) const NACK: usize = 4;
    /// A BYE is not waited for any longer: set while lingering.
    pub(super) const LINGER: usize = 5;
    /// Every session that we know turned us away, and no other came: set once that is so.
    pub(super) const REFUSED: usize = 6;
    pub(super) const COUNT: usize = 7;
}

/// What a receiver waits for before data flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Awaits {
    /// A session to take part in.
    Sender,
    /// The answer of this sender.
    Answer(SocketAddr),
    /// Another session of the series.
    Next,
    /// The start, as the sender's newest ANNOUNCE has it.
    Start(Option<SessionStatus>),
}

#[derive(Debug)]
enum State {
    /// Asking the sessions that we heard of, if there are any.
    Searching(Candidates),
    Receiving(Box<Session>),
    /// Done or leaving: said until a BYE comes.
    Lingering(Box<Session>, ReceiverEnd),
    Ended,
}

/// The receiver's state machine; see the module [`super`] for the order of calls.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    rng: StdRng,
    state: State,
    policy: Option<SessionStatus>,
    /// Reasons for passing over a session that were told.
    passed_over: BTreeSet<PassedOver>,
    timers: Timers<usize, { alarm::COUNT }>,
    events: VecDeque<ReceiverEvent>,
    stats: ReceiverStats,
}

impl Receiver {
    /// A receiver that searches for a session. All randomness comes from `seed`, which must never
    /// serve twice.
    pub fn new(mut config: ReceiverConfig, seed: [u8; 32], now: Instant) -> Self {
        config.name = fit_name(&config.name);
        let mut timers = Timers::new();
        if let Some(timeout) = config.start_timeout {
            timers.set(alarm::GIVE_UP, now + timeout);
        }
        Self {
            config,
            rng: StdRng::from_seed(seed),
            state: State::Searching(Candidates::default()),
            policy: None,
            passed_over: BTreeSet::new(),
            timers,
            events: VecDeque::new(),
            stats: ReceiverStats::default(),
        }
    }

    /// What the receiver waits for; nothing once data flows.
    pub fn awaits(&self) -> Option<Awaits> {
        match &self.state {
            State::Searching(candidates) => Some(candidates.awaits()),
            State::Receiving(session) if !session.started => Some(Awaits::Start(self.policy)),
            State::Receiving(_) | State::Lingering(..) | State::Ended => None,
        }
    }

    /// Takes a datagram that came to the group or to our own address, in place.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        let taken = match wire::peek(datagram) {
            Err(wire::Error::Version(_)) => {
                self.stats.other_version += 1;
                return;
            }
            Err(wire::Error::Unknown { .. }) => {
                self.stats.unknown_kind += 1;
                return;
            }
            Err(wire::Error::Malformed) => None,
            Ok((DatagramKind::Announce, _)) => self.handle_announce(now, from, datagram),
            Ok((DatagramKind::Accept | DatagramKind::Reject, _)) => {
                self.handle_reply(now, datagram)
            }
            Ok((DatagramKind::Join | DatagramKind::Feedback, _)) => None,
            Ok((kind, tag)) => self.handle_session(now, kind, tag, datagram),
        };
        if taken.is_none() {
            self.stats.refused += 1;
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timers.fires(alarm::GIVE_UP, now) {
            self.give_up(now);
        }
        if self.timers.fires(alarm::JOIN, now)
            && let State::Searching(candidates) = &mut self.state
        {
            if candidates.expire(now) {
                self.events.push_back(ReceiverEvent::Forgotten);
            }
            let refused = candidates.all_refused();
            if let Some(silence) = candidates.silence(now) {
                self.end(ReceiverEnd::SenderLost(silence));
            } else if refused.is_some_and(|reason| reason != RejectReason::NextPass) {
                self.timers.set_earlier(alarm::REFUSED, now + REFUSED_WAIT);
            }
        }
        if self.timers.fires(alarm::REFUSED, now) {
            self.refused(now);
        }
        if self.timers.fires(alarm::SILENCE, now) {
            self.check_silence(now);
        }
        if self.timers.fires(alarm::REPORT, now)
            && let Some(session) = self.session()
        {
            session.report_due(now);
        }
        if self.timers.fires(alarm::NACK, now)
            && let State::Receiving(session) = &mut self.state
        {
            session.nack_due();
        }
        if self.timers.fires(alarm::LINGER, now)
            && let State::Lingering(_, end) = &self.state
        {
            let end = end.clone();
            self.end(end);
        }
        self.rearm(now);
    }

    /// When to call [`Receiver::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_done() {
            None
        } else {
            self.timers.next()
        }
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<ReceiverEvent> {
        self.events.pop_front()
    }

    /// Whether the session is over.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// What was counted so far.
    pub fn stats(&self) -> ReceiverStats {
        match &self.state {
            State::Receiving(session) | State::Lingering(session, _) => session.stats(self.stats),
            State::Searching(_) | State::Ended => self.stats,
        }
    }

    /// Fills `buf` with a datagram to send now; nothing when there is none.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        let to = match &mut self.state {
            State::Searching(candidates) => {
                let to = candidates.emit(now, &self.config, &mut self.rng, buf)?;
                self.rearm(now);
                to
            }
            State::Receiving(session) | State::Lingering(session, _) => {
                let to = session.emit_feedback(now, buf)?;
                self.rearm(now);
                to
            }
            State::Ended => return None,
        };
        Some(Transmit {
            to: Target::Peer(to),
            segment: buf.len(),
        })
    }

    /// Hands data out, in order, each block checked; nothing when the next one is not complete.
    pub fn pull(&mut self, now: Instant) -> Option<Delivery> {
        let State::Receiving(session) = &mut self.state else {
            return None;
        };
        match session.gather.pull() {
            gather::Pulled::Data { delivery, repaired } => {
                session.repaired += u64::from(repaired);
                session.delivered(now);
                self.after_progress(now);
                self.watch(now);
                Some(delivery)
            }
            gather::Pulled::Nothing => None,
            gather::Pulled::Corrupt => {
                self.linger(
                    now,
                    ReceiverEnd::Corrupt,
                    Outcome::Leave(LeaveReason::Corrupt),
                );
                None
            }
        }
    }

    /// Takes the buffer of a [`Delivery`] back.
    pub fn recycle(&mut self, buf: Vec<u8>) {
        if let State::Receiving(session) = &mut self.state {
            session.gather.recycle(buf);
        }
    }

    /// The consumer has taken everything, after [`ReceiverEvent::Complete`]: tells the sender.
    pub fn consumed(&mut self, now: Instant) {
        if let State::Receiving(session) = &self.state
            && let Some(digest) = session.gather.complete()
        {
            self.linger(now, ReceiverEnd::Complete, Outcome::Done(digest));
        }
    }

    /// Gives up: tells the sender, if there is one.
    pub fn leave(&mut self, now: Instant, reason: LeaveReason) {
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
        if matches!(&self.state, State::Receiving(session) if session.is_one_way()) {
            // Nobody is told.
            self.end(end);
            return;
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Receiving(mut session) => {
                session.conclude(now, outcome);
                self.state = State::Lingering(session, end);
                let longest = match outcome {
                    // What became of the consumer is worth as much as that all is well.
                    Outcome::Done(_)
                    | Outcome::Leave(LeaveReason::Status(_) | LeaveReason::Signal(_)) => LINGER_MAX,
                    Outcome::Receiving | Outcome::Finishing | Outcome::Leave(_) => LEAVE_LINGER_MAX,
                };
                self.timers.set(alarm::LINGER, now + longest);
                self.rearm(now);
            }
            other => self.state = other,
        }
    }

    /// Sets the alarms that follow from the session's state.
    fn rearm(&mut self, now: Instant) {
        let (rng, timers) = (&mut self.rng, &mut self.timers);
        if let State::Searching(candidates) = &self.state {
            match candidates.next() {
                Some(at) => timers.set(alarm::JOIN, at),
                None => timers.clear(alarm::JOIN),
            }
        }
        let (State::Receiving(session) | State::Lingering(session, _)) = &mut self.state else {
            return;
        };
        if session.is_one_way() {
            self.watch(now);
            return;
        }
        timers.set(alarm::REPORT, session.report_at());
        match session.nack_at(now, rng) {
            Some(at) => timers.set(alarm::NACK, at),
            None => timers.clear(alarm::NACK),
        }
    }

    /// One-way: looks whether something is lost for good.
    fn watch(&mut self, now: Instant) {
        let State::Receiving(session) = &mut self.state else {
            return;
        };
        match session.gather.outlook(now) {
            Outlook::Good => self.timers.clear(alarm::NACK),
            Outlook::Doubtful(until) => self.timers.set(alarm::NACK, until),
            Outlook::Short(why) => self.end(why.into()),
        }
    }

    fn check_silence(&mut self, now: Instant) {
        let State::Receiving(session) = &self.state else {
            return;
        };
        let at = session.lost_at();
        if now < at {
            self.timers.set(alarm::SILENCE, at);
        } else if session.is_one_way() && session.gather.has_all() {
            // All that is left is the consumer's, which may take its time.
        } else if let Some(why) = session.gather.shortfall() {
            self.end(why.into());
        } else if session.gather.complete().is_none() {
            // With everything here the sender is not needed any more.
            let silent = now.since(session.heard_at) >= PEER_SILENT_MAX;
            let longest = if silent {
                PEER_SILENT_MAX
            } else {
                SIGNED_SILENT_MAX
            };
            self.end(ReceiverEnd::SenderLost(longest));
        }
    }

    /// `None` when the datagram was refused; so for all below.
    fn handle_announce(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<()> {
        let (_, shared) = Announce::peek(datagram);
        let ours = self.config.keys.shared.as_ref();
        let key = match (shared, ours) {
            (true, None) => {
                self.pass_over(from, PassedOver::SharedKeyNeeded);
                return None;
            }
            (true, key) => key,
            (false, _) => None,
        };
        let Some(announced) = OpenedAnnounce::open(datagram, key) else {
            if shared {
                self.pass_over(from, PassedOver::OtherSharedKey);
            }
            return None;
        };
        let policy = announced.announce.status;
        match &mut self.state {
            State::Searching(_) if ours.is_some() && !shared => {
                self.pass_over(from, PassedOver::NoSharedKey);
            }
            State::Searching(candidates) => {
                let found = candidates.hear(now, from, &announced, &self.config, &mut self.rng);
                if candidates.all_refused().is_some() {
                    self.timers.set_earlier(alarm::REFUSED, now + REFUSED_WAIT);
                }
                match found {
                    Found::New => {
                        self.events.push_back(ReceiverEvent::Found {
                            session: announced.announce.session,
                            name: announced.announce.name.clone(),
                            signer: announced.announce.protection.signer,
                            one_way: announced.announce.protection.one_way,
                            from,
                            datagram_len: usize::from(announced.announce.symbol_len)
                                + DATA_OVERHEAD,
                        });
                        if policy.is_late() && policy.next_pass {
                            self.events.push_back(ReceiverEvent::Waits { from: None });
                        }
                    }
                    Found::PassedOver(why) => self.pass_over(from, why),
                    Found::Nothing => {}
                }
                self.rearm(now);
            }
            State::Receiving(session) if !session.started && self.policy != Some(policy) => {
                if !session.is_ours(now, &announced) {
                    return None;
                }
                self.policy = Some(policy);
                self.events.push_back(ReceiverEvent::Waiting(policy));
            }
            // Other sessions may share our network.
            _ => {}
        }
        Some(())
    }

    /// Says once that there is a session that we cannot take part in, and why.
    fn pass_over(&mut self, from: SocketAddr, why: PassedOver) {
        if matches!(self.state, State::Searching(_)) && self.passed_over.insert(why) {
            self.events
                .push_back(ReceiverEvent::PassedOver { from, why });
        }
    }

    fn handle_reply(&mut self, now: Instant, datagram: &mut [u8]) -> Option<()> {
        let State::Searching(candidates) = &mut self.state else {
            return None;
        };
        let reply = candidates.handle_reply(now, datagram, &self.config.keys, &mut self.rng)?;
        match reply {
            Reply::Refused => {
                if candidates.all_refused().is_some() {
                    self.timers.set(alarm::REFUSED, now + REFUSED_WAIT);
                }
            }
            Reply::Accepted(chosen, receiver, accept) => {
                let so_far = candidates.so_far();
                let blocks = self.blocks_of(&chosen.announce);
                let session = Session::joined(&chosen, receiver, &accept, blocks, so_far, now);
                self.take_part(now, session);
                self.events.push_back(ReceiverEvent::Joined {
                    receiver,
                    from: chosen.from,
                });
            }
        }
        self.rearm(now);
        Some(())
    }

    /// Blocks of a session that we can hold.
    fn blocks_of(&self, announce: &Announce) -> usize {
        window_blocks(self.config.memory, announce.k, announce.symbol_len)
    }

    fn take_part(&mut self, now: Instant, session: Session) {
        self.state = State::Receiving(Box::new(session));
        self.timers.clear(alarm::GIVE_UP);
        self.timers.clear(alarm::JOIN);
        self.timers.set(alarm::SILENCE, now + PEER_SILENT_MAX);
    }

    fn handle_session(
        &mut self,
        now: Instant,
        kind: DatagramKind,
        tag: u32,
        datagram: &mut [u8],
    ) -> Option<()> {
        if let State::Searching(candidates) = &mut self.state
            && let Some(chosen) = candidates.recognise(datagram)
        {
            let blocks = self.blocks_of(&chosen.announce);
            self.take_part(now, Session::overheard(chosen, blocks, now));
        }
        // Those of a session that we are not in are no fault of anybody.
        let Some(session) = self.session().filter(|session| session.tag() == tag) else {
            return Some(());
        };
        if kind == DatagramKind::Bye {
            let reason = session.open_bye(datagram)?;
            self.handle_bye(now, reason);
            return Some(());
        }
        let was_waiting = !session.started;
        let news = session.handle(now, datagram)?;
        let started = was_waiting && session.started;
        if started {
            self.events.push_back(ReceiverEvent::Started);
        }
        match news {
            session::News::None => {}
            session::News::Progress => self.after_progress(now),
            session::News::Abort(abort) => {
                // What is complete and checked stays so, whatever becomes of the sender.
                if matches!(&self.state, State::Receiving(session) if !session.completed) {
                    self.end(ReceiverEnd::Aborted(abort.reason, abort.text));
                }
            }
            session::News::Wrong => {
                self.linger(
                    now,
                    ReceiverEnd::Corrupt,
                    Outcome::Leave(LeaveReason::Corrupt),
                );
            }
        }
        self.rearm(now);
        Some(())
    }

    /// Looks whether the end is reached.
    fn after_progress(&mut self, now: Instant) {
        let State::Receiving(session) = &mut self.state else {
            return;
        };
        if session.gather.contradicts_end() {
            self.linger(
                now,
                ReceiverEnd::Corrupt,
                Outcome::Leave(LeaveReason::Corrupt),
            );
        } else if session.gather.complete().is_some() && !session.completed {
            session.completed = true;
            let length = session.gather.length();
            self.events.push_back(ReceiverEvent::Complete { length });
        }
    }

    /// The time for a session to take us in is over, unless one told us to wait, or will be sent
    /// again.
    fn give_up(&mut self, now: Instant) {
        self.refused(now);
        match &self.state {
            State::Searching(candidates) if candidates.waits() => {}
            State::Searching(candidates) if candidates.awaits_next() => {
                self.timers.set(alarm::GIVE_UP, now + PEER_SILENT_MAX);
            }
            State::Searching(_) => self.end(ReceiverEnd::NoSender),
            State::Receiving(_) | State::Lingering(..) | State::Ended => {}
        }
    }

    /// Every session that we know turned us away, perhaps only for now.
    fn refused(&mut self, now: Instant) {
        let State::Searching(candidates) = &mut self.state else {
            return;
        };
        match candidates.all_refused() {
            Some(RejectReason::NextPass) if candidates.wait(now) => {
                self.timers.clear(alarm::GIVE_UP);
                self.events.push_back(ReceiverEvent::Waits { from: None });
            }
            // It is known already.
            Some(RejectReason::NextPass) | None => {}
            Some(reason) => self.end(ReceiverEnd::Rejected(reason)),
        }
    }

    /// Waits for another session of the series, to go on in.
    fn wait(&mut self, now: Instant, ticket: Ticket) {
        self.stats = self.stats();
        let from = Some(self.stats.bytes);
        self.state = State::Searching(Candidates::waiting(ticket));
        self.policy = None;
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
            (State::Receiving(session), DropReason::NextPass) if session.completed => {}
            (State::Receiving(session), DropReason::NextPass) => {
                let ticket = session.ticket(now);
                self.wait(now, ticket);
            }
            (_, dropped) => self.end(ReceiverEnd::Dropped(dropped)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Sender, SenderConfig};

    #[test]
    fn an_extension_is_counted_and_changes_nothing() {
        let now = Instant::from_us(1);
        let mut sender = Sender::new(SenderConfig::default(), [1; 32], now);
        let mut receiver = Receiver::new(ReceiverConfig::default(), [2; 32], now);
        let from = SocketAddr::from(([10, 0, 0, 1], 9));
        let mut buf = Vec::new();
        sender.handle_timeout(now);
        while sender.poll_transmit(now, &mut buf).is_some() {
            receiver.handle_datagram(now, from, &mut buf);
        }
        while receiver.poll_transmit(now, &mut buf).is_some() {
            sender.handle_datagram(now, from, &mut buf);
        }
        for sub_kind in [0, 1, 255] {
            // With the session's tag, and of any length.
            let mut datagram = buf.clone();
            datagram.resize(8 + usize::from(sub_kind), sub_kind);
            datagram[..2].copy_from_slice(&[wire::VERSION << 4 | wire::EXTENSION, sub_kind]);
            receiver.handle_datagram(now, from, &mut datagram.clone());
            sender.handle_datagram(now, from, &mut datagram);
        }
        let (theirs, ours) = (sender.stats(), receiver.stats());
        assert_eq!((theirs.unknown_kind, theirs.refused), (3, 0));
        assert_eq!((ours.unknown_kind, ours.refused), (3, 0));
        assert!(receiver.poll_transmit(now, &mut buf).is_none());
        assert_eq!(receiver.awaits(), Some(Awaits::Answer(from)));
    }
}
