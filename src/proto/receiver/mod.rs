//! A receiver's side of a session.

mod gather;
mod session;

use std::collections::VecDeque;
use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::session::Session;
use super::config::{
    CONFIRM_MAX, JOIN_RETRY_MAX, JOIN_RETRY_MIN, LEAVE_LINGER_MAX, LINGER_MAX, PEER_SILENT_MAX,
    ReceiverConfig, fit_name, window_blocks,
};
use super::event::{Delivery, ReceiverEnd, ReceiverEvent, ReceiverStats, Target, Transmit};
use super::protect::{Pair, open, parse_announce, reply_nonce, seal};
use super::timer::Timers;
use crate::crypt::agree::{PublicKey, SecretKey};
use crate::units::{Duration, Instant};
use crate::wire::{
    self, Accept, Announce, Join, Kind, LeaveReason, Outcome, Policy, RejectReason, ReplyHeader,
};

/// Alarms of a receiver.
mod alarm {
    /// No session may be waited for any longer: set until one took us in.
    pub(super) const GIVE_UP: usize = 0;
    /// A JOIN is due: set while joining.
    pub(super) const JOIN: usize = 1;
    /// The sender has been silent for too long, perhaps: set while joining and receiving.
    pub(super) const SILENCE: usize = 2;
    /// A FEEDBACK is due, whatever we lack: set while receiving and lingering.
    pub(super) const REPORT: usize = 3;
    /// A FEEDBACK is due for what we lack: set while receiving.
    pub(super) const NACK: usize = 4;
    /// A BYE is not waited for any longer: set while lingering.
    pub(super) const LINGER: usize = 5;
    pub(super) const COUNT: usize = 6;
}

/// A session that we asked to take us in.
#[derive(Debug)]
struct Joining {
    announce: Announce,
    from: SocketAddr,
    key: SecretKey,
    pair: Pair,
    began_at: Instant,
    heard_at: Instant,
    retry: Duration,
    due: bool,
}

#[derive(Debug)]
enum State {
    Searching,
    Joining(Box<Joining>),
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
    policy: Option<Policy>,
    timers: Timers<{ alarm::COUNT }>,
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
            state: State::Searching,
            policy: None,
            timers,
            events: VecDeque::new(),
            stats: ReceiverStats::default(),
        }
    }

    /// Takes a datagram that came to the group or to our own address, in place.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        let taken = match wire::peek(datagram) {
            Err(wire::Error::Version(_)) => {
                self.stats.other_version += 1;
                return;
            }
            Err(wire::Error::Malformed) => None,
            Ok((Kind::Announce, _)) => self.handle_announce(now, from, datagram),
            Ok((Kind::Accept | Kind::Reject, _)) => self.handle_reply(now, datagram),
            Ok((Kind::Join | Kind::Feedback, _)) => None,
            Ok((kind, tag)) => self.handle_session(now, kind, tag, datagram),
        };
        if taken.is_none() {
            self.stats.refused += 1;
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timers.rings(alarm::GIVE_UP, now) {
            self.end(ReceiverEnd::NoSender);
        }
        if self.timers.rings(alarm::JOIN, now)
            && let State::Joining(joining) = &mut self.state
        {
            joining.due = true;
            self.timers.set(alarm::JOIN, now + joining.retry);
            joining.retry = joining.retry.times(2).min(JOIN_RETRY_MAX);
        }
        if self.timers.rings(alarm::SILENCE, now) {
            self.check_silence(now);
        }
        if self.timers.rings(alarm::REPORT, now)
            && let Some(session) = self.session()
        {
            session.report_due(now);
        }
        if self.timers.rings(alarm::NACK, now)
            && let State::Receiving(session) = &mut self.state
        {
            session.nack_due();
        }
        if self.timers.rings(alarm::LINGER, now)
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
            State::Searching | State::Joining(_) | State::Ended => self.stats,
        }
    }

    /// Fills `buf` with a datagram to send now; nothing when there is none.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        let to = match &mut self.state {
            State::Joining(joining) if joining.due => {
                joining.due = false;
                let (name, memory) = (self.config.name.clone(), self.config.memory);
                emit_join(joining, name, memory, self.config.socket_bytes, buf);
                joining.from
            }
            State::Receiving(session) | State::Lingering(session, _) => {
                let to = session.emit_feedback(now, buf)?;
                self.rearm(now);
                to
            }
            State::Searching | State::Joining(_) | State::Ended => return None,
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
                session.delivered();
                self.after_progress(now);
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
            State::Searching | State::Joining(_) => self.end(ReceiverEnd::Left(reason)),
            State::Lingering(..) | State::Ended => {}
        }
    }

    fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Receiving(session) | State::Lingering(session, _) => Some(session),
            State::Searching | State::Joining(_) | State::Ended => None,
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
                    Outcome::Done(_) => LINGER_MAX,
                    Outcome::Receiving | Outcome::Leave(_) => LEAVE_LINGER_MAX,
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
        let (State::Receiving(session) | State::Lingering(session, _)) = &mut self.state else {
            return;
        };
        timers.set(alarm::REPORT, session.report_at());
        match session.nack_at(now, rng) {
            Some(at) => timers.set(alarm::NACK, at),
            None => timers.clear(alarm::NACK),
        }
    }

    fn check_silence(&mut self, now: Instant) {
        let heard_at = match &self.state {
            // An address that never answers may be somebody's who only repeats what he heard.
            State::Joining(joining) if now.since(joining.began_at) >= CONFIRM_MAX => Instant::ZERO,
            State::Joining(joining) => joining.heard_at,
            State::Receiving(session) => session.heard_at,
            State::Searching | State::Lingering(..) | State::Ended => return,
        };
        if now.since(heard_at) < PEER_SILENT_MAX {
            self.timers.set(alarm::SILENCE, heard_at + PEER_SILENT_MAX);
            return;
        }
        match &self.state {
            State::Joining(_) => {
                self.state = State::Searching;
                self.policy = None;
                self.timers.clear(alarm::JOIN);
                self.events.push_back(ReceiverEvent::Forgotten);
            }
            // Everything is here: the sender is not needed any more.
            State::Receiving(session) if session.gather.complete().is_some() => {}
            _ => self.end(ReceiverEnd::SenderLost(PEER_SILENT_MAX)),
        }
    }

    /// `None` when the datagram was refused; so for all below.
    fn handle_announce(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<()> {
        let announce = parse_announce(datagram)?;
        match &mut self.state {
            State::Searching if from.port() != 0 && self.config.accepts(&announce) => {
                self.join(now, from, announce);
            }
            State::Joining(joining) if joining.announce.session == announce.session => {
                joining.heard_at = now;
            }
            State::Receiving(session)
                if session.is_waiting(announce.session) && self.policy != Some(announce.policy) =>
            {
                self.policy = Some(announce.policy);
                self.events
                    .push_back(ReceiverEvent::Waiting(announce.policy));
            }
            // Other sessions may share our network.
            _ => {}
        }
        Some(())
    }

    fn join(&mut self, now: Instant, from: SocketAddr, announce: Announce) {
        let mut scalar = [0; 32];
        self.rng.fill_bytes(&mut scalar);
        let key = SecretKey::from_seed(scalar);
        let (ours, theirs) = (key.public(), PublicKey(announce.sender_key));
        let Some(pair) = Pair::agree(announce.session, &key, &theirs, &theirs, &ours) else {
            return;
        };
        self.events.push_back(ReceiverEvent::Found {
            session: announce.session,
            name: announce.name.clone(),
            from,
        });
        let retry = JOIN_RETRY_MIN;
        let joining = Joining {
            announce,
            from,
            key,
            pair,
            began_at: now,
            heard_at: now,
            retry,
            due: true,
        };
        self.state = State::Joining(Box::new(joining));
        self.timers.set(alarm::JOIN, now + retry);
        self.timers.set(alarm::SILENCE, now + PEER_SILENT_MAX);
    }

    fn handle_reply(&mut self, now: Instant, datagram: &mut [u8]) -> Option<()> {
        let State::Joining(joining) = &self.state else {
            return None;
        };
        let header = ReplyHeader::parse(datagram).ok()?;
        if header.receiver_key != joining.key.public().0 {
            return None;
        }
        if header.kind == Kind::Reject {
            for reason in RejectReason::ALL {
                let nonce = reply_nonce(Kind::Reject, reason as u8);
                // What does not open is lost, and must be there for the next reason.
                let mut copy = datagram.to_vec();
                if open(&joining.pair.reply, &nonce, &mut copy, ReplyHeader::LEN).is_some() {
                    self.end(ReceiverEnd::Rejected(reason));
                    return Some(());
                }
            }
            return None;
        }
        let nonce = reply_nonce(Kind::Accept, 0);
        let body = open(&joining.pair.reply, &nonce, datagram, ReplyHeader::LEN)?;
        let accept = Accept::parse(body).ok()?;
        let a = &joining.announce;
        let blocks = window_blocks(self.config.memory, a.k, a.symbol_len);
        let session = Session::new(a, joining.from, &joining.pair, &accept, blocks, now);
        self.state = State::Receiving(Box::new(session));
        self.timers.clear(alarm::GIVE_UP);
        self.timers.clear(alarm::JOIN);
        self.timers.set(alarm::SILENCE, now + PEER_SILENT_MAX);
        self.events.push_back(ReceiverEvent::Joined {
            receiver: accept.receiver,
        });
        self.rearm(now);
        Some(())
    }

    fn handle_session(
        &mut self,
        now: Instant,
        kind: Kind,
        tag: u32,
        datagram: &mut [u8],
    ) -> Option<()> {
        let session = self.session()?;
        if session.tag() != tag {
            // Another session's: no fault of anybody.
            return Some(());
        }
        if kind == Kind::Bye {
            let verdict = session.open_bye(datagram)?;
            self.handle_bye(verdict);
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
                if matches!(self.state, State::Receiving(_)) {
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

    fn handle_bye(&mut self, verdict: wire::Verdict) {
        use wire::Verdict;
        match (&self.state, verdict) {
            (State::Lingering(_, end), Verdict::Thanks | Verdict::Left) => {
                let end = end.clone();
                self.end(end);
            }
            (_, Verdict::Silent | Verdict::Stalled | Verdict::Differs | Verdict::Slow) => {
                self.end(ReceiverEnd::Dropped(verdict));
            }
            // Not an answer to anything that we said.
            (_, Verdict::Thanks | Verdict::Left) => {}
        }
    }
}

fn emit_join(joining: &Joining, name: String, memory: usize, socket_bytes: u32, buf: &mut Vec<u8>) {
    let a = &joining.announce;
    let (tag, receiver_key) = (a.session.tag(), joining.key.public().0);
    ReplyHeader {
        kind: Kind::Join,
        tag,
        receiver_key,
    }
    .emit(buf);
    let blocks = window_blocks(memory, a.k, a.symbol_len);
    let window_blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
    Join {
        session: a.session,
        window_blocks,
        socket_bytes,
        name,
    }
    .emit(buf);
    seal(
        &joining.pair.join,
        &reply_nonce(Kind::Join, 0),
        buf,
        0,
        ReplyHeader::LEN,
    );
}
