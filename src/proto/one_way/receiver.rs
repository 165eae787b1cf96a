//! The receiver's side: it hears a session without the sender's knowing of it, and tells when a
//! block is lost for good.

use std::collections::VecDeque;
use std::net::SocketAddr;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::candidate::OneWayCandidate;
use super::completeness::{Completeness, SentSoFar, has_all};
use crate::proto::config::{ReceiverConfig, window_blocks};
use crate::proto::event::{
    Awaits, Delivery, PassedOver, ReceiverEnd, ReceiverEvent, ReceiverStats,
};
use crate::proto::limits::{PEER_SILENT_MAX, REFUSED_WAIT};
use crate::proto::protect::OpenedAnnounce;
use crate::proto::receiver::{
    Effect, Incoming, Intake, Next, Payload, Place, Reassembler, SignatureLimit, StreamState, Told,
    found_event, open_announce, screen,
};
use crate::proto::timer::{TimerKind, Timers};
use crate::units::Instant;
use crate::wire::{self, DatagramKind, LeaveReason, MulticastHeader, RejectReason, SessionStatus};

#[derive(Clone, Copy, Debug)]
enum OneWayReceiverTimer {
    /// No session may be waited for any longer: set until one begins.
    GiveUp,
    /// A session that we know is forgotten: set while there are any.
    Forget,
    /// Every session that we know began without us, and no other came: set once that is so.
    Missed,
    /// The sender has been silent for too long, perhaps: set while receiving.
    Silence,
    /// A block is given up: set while one is overdue.
    Overdue,
}

const TIMERS: usize = OneWayReceiverTimer::Overdue as usize + 1;

impl TimerKind for OneWayReceiverTimer {
    fn index(self) -> usize {
        self as usize
    }
}

/// The sessions that we heard of.
#[derive(Debug, Default)]
struct Search {
    candidates: Vec<OneWayCandidate>,
    signatures: SignatureLimit,
    /// One of those said that another follows it, for which we came too late.
    next_follows: bool,
}

/// What we hear of the session that we take part in.
#[derive(Debug)]
struct Session {
    incoming: Incoming,
    sent: SentSoFar,
}

#[derive(Debug)]
enum State {
    Searching(Search),
    Receiving(Box<Session>),
    Ended,
}

/// The state machine of a receiver that never answers.
#[derive(Debug)]
pub(in crate::proto) struct OneWayReceiver {
    config: ReceiverConfig,
    rng: StdRng,
    state: State,
    status: Option<SessionStatus>,
    told: Told,
    timers: Timers<OneWayReceiverTimer, TIMERS>,
    events: VecDeque<ReceiverEvent>,
    stats: ReceiverStats,
}

impl Search {
    /// Hears an ANNOUNCE that was opened; `true` when the session is new to us.
    fn hear(
        &mut self,
        now: Instant,
        from: SocketAddr,
        announced: &OpenedAnnounce<'_>,
        config: &ReceiverConfig,
        rng: &mut StdRng,
    ) -> Result<bool, PassedOver> {
        let announce = &announced.announce;
        if let Some(known) = self.candidates.iter_mut().find(|c| c.is_of(announce)) {
            // That it has begun without us must come from the sender.
            let begins = announce.status.is_late() && !known.is_late();
            let late = begins && self.signatures.allow(now) && known.is_signed(announced);
            known.hear(now, late);
            self.next_follows |= known.is_late() && !known.is_missed();
            return Ok(false);
        }
        if from.port() == 0 || !config.accepts(announce) {
            return Ok(false);
        }
        screen(config, announce)?;
        let makes_room = self.candidates.iter().position(|c| c.makes_room(now));
        let place = Place::draw(self.candidates.len(), makes_room, rng);
        if place == Place::None || !self.signatures.allow(now) {
            return Ok(false);
        }
        let Ok(signer) = announced.verify() else {
            return Ok(false);
        };
        let new = OneWayCandidate::new(announce.clone(), signer, &config.keys, now);
        self.next_follows |= new.is_late() && !new.is_missed();
        place.put(&mut self.candidates, new);
        Ok(true)
    }

    /// The session that a datagram is of, if we can take part in it.
    fn recognise(&mut self, datagram: &[u8]) -> Option<OneWayCandidate> {
        let mut all = self.candidates.iter();
        let at = all.position(|c| c.recognises(datagram))?;
        Some(self.candidates.swap_remove(at))
    }

    /// Forgets those that are silent; `true` when that leaves none.
    fn forget(&mut self, now: Instant) -> bool {
        let before = self.candidates.len();
        self.candidates.retain(|c| c.ends_at() > now);
        before > 0 && self.candidates.is_empty()
    }

    fn awaits(&self) -> Awaits {
        if self.candidates.iter().any(|c| !c.is_late()) {
            Awaits::Start(None)
        } else if self.candidates.iter().any(|c| !c.is_missed()) {
            Awaits::Next
        } else {
            Awaits::Sender
        }
    }

    /// Whether a session follows one that began without us: then the time to wait for a session is
    /// not what ends the search.
    fn awaits_next(&self) -> bool {
        self.awaits() == Awaits::Next || self.next_follows && !self.candidates.is_empty()
    }

    /// Whether there are sessions, and all of them began without us.
    fn all_missed(&self) -> bool {
        !self.candidates.is_empty() && self.candidates.iter().all(OneWayCandidate::is_missed)
    }
}

impl Session {
    fn new(chosen: OneWayCandidate, config: &ReceiverConfig, now: Instant) -> Self {
        let announce = &chosen.announce;
        let blocks = window_blocks(config.memory, announce.k, announce.symbol_len);
        let reassembler = Reassembler::new(announce, blocks, chosen.signer, false);
        let (cipher, signer) = (chosen.cipher, chosen.signer);
        Self {
            incoming: Incoming::new(announce, cipher, signer, reassembler, now),
            sent: SentSoFar::default(),
        }
    }

    /// Takes a multicast datagram of this session. `None` when it is malformed, forged or replayed.
    fn handle(&mut self, now: Instant, datagram: &mut [u8]) -> Option<Effect> {
        let (header, content) = self.incoming.open(now, datagram)?;
        Some(match content {
            Payload::Symbol(symbol) => self.handle_symbol(&header, symbol),
            Payload::Poll(poll) => {
                if self.incoming.on_poll(now, header.sequence, &poll) {
                    self.sent.on_sent(poll.watermark);
                }
                Effect::Progress
            }
            Payload::End(end) => {
                if header.following == 0 {
                    self.sent.on_all_sent();
                }
                self.incoming.on_end(end)
            }
            // No receiver could have asked for them.
            Payload::Hashes(_) => Effect::None,
            Payload::Abort(abort) => Effect::Abort(abort),
        })
    }

    fn handle_symbol(&mut self, header: &MulticastHeader, symbol: &[u8]) -> Effect {
        let intake = self.incoming.reassembler.take(header, symbol);
        if intake == Intake::NoRoom {
            let reassembler = &self.incoming.reassembler;
            self.sent.on_no_room(header.block, reassembler);
        }
        let sent = self.incoming.reassembler.sent_before(header.block);
        self.sent.on_sent(sent);
        match intake {
            Intake::Stored => Effect::Progress,
            Intake::Redundant | Intake::NoRoom => Effect::None,
            // Nothing tells which is true, or any member may have made it up: what was there stays.
            Intake::Conflict | Intake::Invalid if self.incoming.signer().is_some() => Effect::None,
            Intake::Conflict | Intake::Invalid => Effect::Nonsense,
        }
    }
}

impl OneWayReceiver {
    /// A receiver that searches for a session; see [`crate::proto::Receiver::new`].
    pub(in crate::proto) fn new(config: ReceiverConfig, seed: [u8; 32], now: Instant) -> Self {
        let mut timers = Timers::new();
        if let Some(timeout) = config.start_timeout {
            timers.set(OneWayReceiverTimer::GiveUp, now + timeout);
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

    pub(in crate::proto) fn awaits(&self) -> Option<Awaits> {
        match &self.state {
            State::Searching(search) => Some(search.awaits()),
            State::Receiving(session) if !session.incoming.started => {
                Some(Awaits::Start(self.status))
            }
            State::Receiving(_) | State::Ended => None,
        }
    }

    pub(in crate::proto) fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &mut [u8],
    ) {
        let taken = match wire::peek(datagram) {
            Err(error) => self.stats.count_error(&error),
            Ok((DatagramKind::Announce, _)) => self.handle_announce(now, from, datagram),
            Ok((
                DatagramKind::Accept
                | DatagramKind::Reject
                | DatagramKind::Join
                | DatagramKind::Feedback,
                _,
            )) => None,
            Ok((_, tag)) => self.handle_session(now, tag, datagram),
        };
        self.stats.refused += u64::from(taken.is_none());
    }

    pub(in crate::proto) fn handle_timeout(&mut self, now: Instant) {
        if self.timers.fires(OneWayReceiverTimer::GiveUp, now) {
            self.give_up(now);
        }
        if self.timers.fires(OneWayReceiverTimer::Forget, now)
            && let State::Searching(search) = &mut self.state
        {
            if search.forget(now) {
                self.events.push_back(ReceiverEvent::Forgotten);
            }
            self.note_missed(now);
        }
        if self.timers.fires(OneWayReceiverTimer::Missed, now) {
            self.on_missed();
        }
        if self.timers.fires(OneWayReceiverTimer::Silence, now) {
            self.check_silence(now);
        }
        self.timers.fires(OneWayReceiverTimer::Overdue, now);
        self.rearm(now);
    }

    pub(in crate::proto) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next().filter(|_| !self.is_done())
    }

    pub(in crate::proto) fn poll_event(&mut self) -> Option<ReceiverEvent> {
        self.events.pop_front()
    }

    pub(in crate::proto) fn is_done(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    pub(in crate::proto) fn stats(&self) -> ReceiverStats {
        match &self.state {
            State::Receiving(session) => session.incoming.stats(self.stats),
            State::Searching(_) | State::Ended => self.stats,
        }
    }

    pub(in crate::proto) fn pull(&mut self, now: Instant) -> Option<Delivery> {
        let State::Receiving(session) = &mut self.state else {
            return None;
        };
        match session.incoming.pull(now) {
            Next::Data(delivery) => {
                self.after_progress();
                self.rearm(now);
                Some(delivery)
            }
            Next::Nothing => None,
            Next::Corrupt => {
                self.end(ReceiverEnd::Corrupt);
                None
            }
        }
    }

    pub(in crate::proto) fn recycle(&mut self, buf: Vec<u8>) {
        if let State::Receiving(session) = &mut self.state {
            session.incoming.reassembler.recycle(buf);
        }
    }

    /// The consumer has taken everything. Nobody is told.
    pub(in crate::proto) fn consumed(&mut self) {
        if let State::Receiving(session) = &self.state
            && session.incoming.reassembler.complete().is_some()
        {
            self.end(ReceiverEnd::Complete);
        }
    }

    /// Gives up. Nobody is told.
    pub(in crate::proto) fn leave(&mut self, reason: LeaveReason) {
        if !self.is_done() {
            self.end(ReceiverEnd::Left(reason));
        }
    }

    fn end(&mut self, end: ReceiverEnd) {
        self.stats = self.stats();
        self.state = State::Ended;
        self.events.push_back(ReceiverEvent::Ended(end));
    }

    /// Sets the timers that follow from the state; ends when a block is lost for good.
    fn rearm(&mut self, now: Instant) {
        let timers = &mut self.timers;
        match &mut self.state {
            State::Searching(search) => {
                let next = search.candidates.iter().map(OneWayCandidate::ends_at).min();
                timers.set_or_clear(OneWayReceiverTimer::Forget, next);
            }
            State::Receiving(session) => {
                match session.sent.check(now, &session.incoming.reassembler) {
                    Completeness::Expected => timers.clear(OneWayReceiverTimer::Overdue),
                    Completeness::Doubtful(until) => {
                        timers.set(OneWayReceiverTimer::Overdue, until);
                    }
                    Completeness::Failed(why) => self.end(why.into()),
                }
            }
            State::Ended => {}
        }
    }

    fn check_silence(&mut self, now: Instant) {
        let State::Receiving(session) = &self.state else {
            return;
        };
        let (incoming, sent) = (&session.incoming, &session.sent);
        let at = incoming.lost_at();
        if now < at {
            self.timers.set(OneWayReceiverTimer::Silence, at);
        } else if has_all(&incoming.reassembler) {
            // All that is left is the consumer's, which may take its time.
        } else if let Some(why) = sent.shortfall(&incoming.reassembler) {
            self.end(why.into());
        } else {
            self.end(ReceiverEnd::SenderLost(incoming.silence(now)));
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
                match search.hear(now, from, &announced, &self.config, &mut self.rng) {
                    Ok(true) => {
                        let event = found_event(from, &announced.announce);
                        self.events.push_back(event);
                        if status.is_late() && status.next_pass {
                            self.events.push_back(ReceiverEvent::Waits { from: None });
                        }
                    }
                    Ok(false) => {}
                    Err(why) => self.pass_over(from, why),
                }
                self.note_missed(now);
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
            State::Receiving(_) | State::Ended => {}
        }
        Some(())
    }

    /// Says once that there is a session that we cannot take part in, and why.
    fn pass_over(&mut self, from: SocketAddr, why: PassedOver) {
        if matches!(self.state, State::Searching(_)) {
            self.events.extend(self.told.pass_over(from, why));
        }
    }

    fn handle_session(&mut self, now: Instant, tag: u32, datagram: &mut [u8]) -> Option<()> {
        if let State::Searching(search) = &mut self.state
            && let Some(chosen) = search.recognise(datagram)
        {
            let mut session = Session::new(chosen, &self.config, now);
            session.incoming.silent_max = self.config.silent_max;
            self.state = State::Receiving(Box::new(session));
            self.timers = Timers::new();
            let silent = now + self.config.silent_max;
            self.timers.set(OneWayReceiverTimer::Silence, silent);
        }
        // Those of a session that we are not in are no fault of anybody.
        let State::Receiving(session) = &mut self.state else {
            return Some(());
        };
        if session.incoming.tag() != tag {
            return Some(());
        }
        let was_waiting = !session.incoming.started;
        let effect = session.handle(now, datagram)?;
        let completed = session.incoming.completed;
        if was_waiting && session.incoming.started {
            self.events.push_back(ReceiverEvent::Started);
        }
        match effect {
            Effect::None => {}
            Effect::Progress => self.after_progress(),
            // What is complete and checked stays so, whatever becomes of the sender.
            Effect::Abort(_) if completed => {}
            Effect::Abort(abort) => self.end(ReceiverEnd::Aborted(abort.reason, abort.text)),
            Effect::Nonsense => self.end(ReceiverEnd::Corrupt),
        }
        self.rearm(now);
        Some(())
    }

    /// Looks whether the end is reached.
    fn after_progress(&mut self) {
        let State::Receiving(session) = &mut self.state else {
            return;
        };
        match session.incoming.stream_state() {
            StreamState::Underway => {}
            StreamState::Complete(length) => {
                self.events.push_back(ReceiverEvent::Complete { length });
            }
            StreamState::Corrupt => self.end(ReceiverEnd::Corrupt),
        }
    }

    /// The time for a session to begin is over, unless one will follow.
    fn give_up(&mut self, now: Instant) {
        self.on_missed();
        let State::Searching(search) = &self.state else {
            return;
        };
        if search.awaits_next() {
            let again = now + PEER_SILENT_MAX;
            self.timers.set(OneWayReceiverTimer::GiveUp, again);
        } else {
            self.end(ReceiverEnd::NoSender);
        }
    }

    /// Every session that we know may have begun without us: another may be heard of soon.
    fn note_missed(&mut self, now: Instant) {
        if matches!(&self.state, State::Searching(search) if search.all_missed()) {
            let at = now + REFUSED_WAIT;
            self.timers.set_earlier(OneWayReceiverTimer::Missed, at);
        }
    }

    /// No other session was heard of, perhaps.
    fn on_missed(&mut self) {
        if matches!(&self.state, State::Searching(search) if search.all_missed()) {
            self.end(ReceiverEnd::Rejected(RejectReason::TooLate));
        }
    }
}
