//! Sessions that we ask to take us in: the first that does is ours. Asking several at once keeps
//! whoever repeats an old ANNOUNCE from holding us up.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::Awaits;
use super::overheard::Overheard;
use super::ticket::Ticket;
use crate::crypt::agree::{PublicKey, SecretKey};
use crate::crypt::sign::VerifyingKey;
use crate::proto::block::Chain;
use crate::proto::config::{ReceiverConfig, window_blocks};
use crate::proto::event::PassedOver;
use crate::proto::keys::ReceiverKeys;
use crate::proto::limits::{
    CANDIDATE_PATIENCE, CANDIDATES_MAX, CONFIRM_MAX, JOIN_RETRY_MAX, JOIN_RETRY_MIN,
    NEXT_PASS_ASK_EVERY, NEXT_PASS_UNANSWERED_MAX, PEER_SILENT_MAX, SIGNATURES_PER_S_MAX,
};
use crate::proto::protect::{
    Handshake, OpenedAnnounce, PeerCiphers, StreamInfo, open, reply_nonce, seal,
};
use crate::units::{Duration, Instant};
use crate::wire::{Accept, Announce, DatagramKind, HandshakeHeader, Join, RejectReason};

/// With all places taken, one of so many ANNOUNCEs takes one over, for long enough to be answered.
const FLOODED_SHARE: u32 = 8;

/// A session that we asked to take us in.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) announce: Announce,
    pub(super) signer: Option<VerifyingKey>,
    pub(super) from: SocketAddr,
    pub(super) pair: PeerCiphers,
    key: SecretKey,
    greeting: Handshake,
    /// Which of our identities it was shown.
    identity: usize,
    began_at: Instant,
    heard_at: Instant,
    join_at: Instant,
    retry: Duration,
    refused: Option<RejectReason>,
    /// It was refused under the present key: what repeats that is nothing new.
    answered: bool,
}

impl Candidate {
    fn new(
        announce: Announce,
        signer: Option<VerifyingKey>,
        from: SocketAddr,
        keys: &ReceiverKeys,
        identity: usize,
        rng: &mut StdRng,
        now: Instant,
    ) -> Option<Self> {
        let mut scalar = [0; 32];
        rng.fill_bytes(&mut scalar);
        let key = SecretKey::from_seed(scalar);
        let (ours, theirs) = (key.public(), PublicKey(announce.sender_key));
        let both = [&theirs, &ours];
        let shared = keys.shared.as_ref();
        let shape = StreamInfo::of(&announce);
        let greeting = Handshake::agree(announce.session, &key, &theirs, both, shape, shared)?;
        let proof = match keys.identities.get(identity) {
            Some(own) => Some((own.public(), own.agree(&theirs).ok()?)),
            None => None,
        };
        let pair = greeting.ciphers(proof.as_ref().map(|(key, secret)| (key, secret)));
        Some(Self {
            announce,
            signer,
            from,
            pair,
            key,
            greeting,
            identity,
            began_at: now,
            heard_at: now,
            join_at: now,
            retry: JOIN_RETRY_MIN,
            refused: None,
            answered: false,
        })
    }

    /// When it is given up: it is silent, or does not answer and may be somebody who only repeats
    /// what he heard.
    fn ends_at(&self) -> Instant {
        let silent = self.heard_at + PEER_SILENT_MAX;
        match self.refused {
            None => silent.min(self.began_at + CONFIRM_MAX),
            Some(RejectReason::NextPass) => self.began_at + NEXT_PASS_UNANSWERED_MAX,
            Some(_) => silent,
        }
    }

    /// Whether it is sent JOINs: it has not answered, or only that we are to wait.
    fn is_asked(&self) -> bool {
        matches!(self.refused, None | Some(RejectReason::NextPass))
    }

    /// Draws a new key, so that an answer shows that the sender is still there, and nobody else
    /// can repeat one.
    fn renew(&mut self, keys: &ReceiverKeys, rng: &mut StdRng, now: Instant) {
        let (announce, signer, from) = (self.announce.clone(), self.signer, self.from);
        if let Some(new) = Self::new(announce, signer, from, keys, self.identity, rng, now) {
            self.key = new.key;
            self.greeting = new.greeting;
            self.pair = new.pair;
            self.answered = false;
        }
    }

    fn makes_room(&self, now: Instant) -> bool {
        self.refused.is_some() || now.since(self.began_at) >= CANDIDATE_PATIENCE
    }

    fn emit_join(&self, config: &ReceiverConfig, buf: &mut Vec<u8>) {
        let a = &self.announce;
        HandshakeHeader {
            kind: DatagramKind::Join,
            number: 0,
            tag: a.session.tag(),
            receiver_key: self.key.public().0,
        }
        .emit(buf);
        let blocks = window_blocks(config.memory, a.k, a.symbol_len);
        let identity = config.keys.identities.get(self.identity);
        Join {
            session: a.session,
            window_blocks: u32::try_from(blocks).unwrap_or(u32::MAX),
            socket_bytes: config.socket_bytes,
            name: config.name.clone(),
            identity: identity.map(|key| key.public().0),
        }
        .emit(buf);
        let nonce = reply_nonce(DatagramKind::Join, 0);
        seal(&self.greeting.join, &nonce, buf, 0, HandshakeHeader::LEN);
    }

    /// Reads a REJECT: its reason is in its nonce.
    fn open_reject(&self, datagram: &[u8]) -> Option<RejectReason> {
        RejectReason::ALL.into_iter().find(|&reason| {
            let nonce = reply_nonce(DatagramKind::Reject, reason as u16);
            // What does not open is lost, and must be there for the next reason.
            let mut copy = datagram.to_vec();
            open(
                &self.greeting.reject,
                &nonce,
                &mut copy,
                HandshakeHeader::LEN,
            )
            .is_some()
        })
    }
}

/// What became of an ANNOUNCE.
pub(super) enum Found {
    /// We ask this session, too.
    New,
    /// It is none that we would join, for a reason that is worth a word.
    PassedOver(PassedOver),
    /// There is nothing new about it.
    Nothing,
}

/// What a reply brought.
pub(super) enum Reply {
    Accepted(Box<Candidate>, u32, Accept),
    Refused,
}

/// The sessions that we ask.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    /// The series that we wait for, if we do, and what we have of it.
    ticket: Option<Box<Ticket>>,
    /// Those that are one-way, and cannot be asked.
    one_way: Vec<Overheard>,
    /// One of those said that another follows it, for which we came too late.
    next_follows: bool,
    checks_left: u32,
    checks_counted_at: Instant,
}

impl Candidates {
    /// Hears an ANNOUNCE that was opened.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        from: SocketAddr,
        announced: &OpenedAnnounce<'_>,
        config: &ReceiverConfig,
        rng: &mut StdRng,
    ) -> Found {
        let announce = &announced.announce;
        if let Some(ticket) = &mut self.ticket
            && !ticket.admits(now, announce)
        {
            return Found::Nothing;
        }
        let one_way = announce.protection.one_way;
        if self.hear_again(now, from, announced) || from.port() == 0 || !config.accepts(announce) {
            return Found::Nothing;
        }
        let keys = &config.keys;
        match (one_way, config.one_way) {
            (true, false) => return Found::PassedOver(PassedOver::OneWay),
            (false, true) => return Found::PassedOver(PassedOver::TwoWay),
            (true, true) | (false, false) => {}
        }
        match announce.protection.signer {
            _ if keys.from.is_empty() => {}
            None => return Found::PassedOver(PassedOver::Unsigned),
            Some(signer) if !keys.from.iter().any(|key| *key.as_bytes() == signer) => {
                return Found::PassedOver(PassedOver::OtherSigner);
            }
            Some(_) => {}
        }
        if !config.holds(announce) {
            return Found::PassedOver(PassedOver::MoreMemory);
        }
        // We take part in one kind alone, so that one of the two is empty.
        let overheard = self.one_way.iter().position(|c| c.makes_room(now));
        let mut room = overheard.or(self.list.iter().position(|c| c.makes_room(now)));
        let full = self.one_way.len() + self.list.len() >= CANDIDATES_MAX;
        if full && room.is_none() && rng.random_ratio(1, FLOODED_SHARE) {
            // Whoever repeats ANNOUNCEs from ever new addresses must not fill all places.
            room = Some(rng.random_range(0..CANDIDATES_MAX));
        }
        if full && room.is_none() || !self.may_check(now) {
            return Found::Nothing;
        }
        let Ok(signer) = announced.verify() else {
            return Found::Nothing;
        };
        let room = room.filter(|_| full);
        if one_way {
            room.map(|at| self.one_way.remove(at));
            let new = Overheard::new(announce.clone(), signer, from, keys, now);
            self.next_follows |= new.is_late() && !new.is_missed();
            self.one_way.push(new);
            return Found::New;
        }
        let Some(new) = Candidate::new(announce.clone(), signer, from, keys, 0, rng, now) else {
            return Found::Nothing;
        };
        room.map(|at| self.list.remove(at));
        self.list.push(new);
        Found::New
    }

    /// Whether the time to wait for a session is not what ends the search: one that is one-way, and
    /// began without us, will be followed by another.
    pub(super) fn awaits_next(&self) -> bool {
        self.awaits() == Awaits::Next || self.next_follows && !self.one_way.is_empty()
    }

    /// Whether an ANNOUNCE is of a session that we know.
    fn hear_again(
        &mut self,
        now: Instant,
        from: SocketAddr,
        announced: &OpenedAnnounce<'_>,
    ) -> bool {
        let announce = &announced.announce;
        if announce.protection.one_way {
            let Some(at) = self.one_way.iter().position(|c| c.is_of(announce)) else {
                return false;
            };
            // That it has begun without us must come from the sender.
            let begins = announce.status.is_late() && !self.one_way[at].is_late();
            let late = begins && self.may_check(now) && self.one_way[at].signed(announced);
            let known = &mut self.one_way[at];
            known.hear(now, late);
            self.next_follows |= known.is_late() && !known.is_missed();
            return true;
        }
        let same = |c: &&mut Candidate| c.from == from && c.announce.session == announce.session;
        let known = self.list.iter_mut().find(same);
        known.map(|known| known.heard_at = now).is_some()
    }

    /// The one-way session that a datagram is of, if we can take part in it.
    pub(super) fn recognise(&mut self, datagram: &[u8]) -> Option<Overheard> {
        let at = self.one_way.iter().position(|c| c.recognises(datagram))?;
        Some(self.one_way.swap_remove(at))
    }

    /// A signature costs time to check; so many a second are.
    fn may_check(&mut self, now: Instant) -> bool {
        if now.since(self.checks_counted_at) >= Duration::from_secs(1) {
            self.checks_counted_at = now;
            self.checks_left = 0;
        }
        self.checks_left += 1;
        self.checks_left <= SIGNATURES_PER_S_MAX
    }

    /// Gives up those whose time is over; `true` when that leaves none.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let there = |all: &Self| all.list.len() + all.one_way.len();
        let before = there(self);
        self.list.retain(|c| c.ends_at() > now);
        self.one_way.retain(|c| c.ends_at() > now);
        before > 0 && there(self) == 0 && self.ticket.is_none()
    }

    /// Waits for another session of a series, and for no other.
    pub(super) fn waiting(ticket: Ticket) -> Self {
        Self {
            ticket: Some(Box::new(ticket)),
            ..Self::default()
        }
    }

    /// Begins to wait for another session of the series that told us to; `false` if we do already.
    pub(super) fn wait(&mut self, now: Instant) -> bool {
        let told = |c: &&Candidate| c.refused == Some(RejectReason::NextPass);
        let Some(told) = self
            .list
            .iter()
            .find(told)
            .filter(|_| self.ticket.is_none())
        else {
            return false;
        };
        let mut ticket = Ticket::new(told.announce.series, told.signer, None, now);
        self.list.retain(|c| ticket.admits(now, &c.announce));
        self.ticket = Some(Box::new(ticket));
        true
    }

    /// For how long nothing, or no answer, was heard of the series that we wait for, if that is
    /// too long.
    pub(super) fn silence(&self, now: Instant) -> Option<Duration> {
        self.ticket.as_ref()?.silence(now)
    }

    /// What we have of the series already.
    pub(super) fn so_far(&self) -> Option<Chain> {
        self.ticket.as_ref()?.so_far()
    }

    /// Whether we wait for another session of a series.
    pub(super) fn waits(&self) -> bool {
        self.ticket.is_some()
    }

    /// When there is something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        let join_at = |c: &Candidate| c.is_asked().then_some(c.join_at);
        let moments = |c: &Candidate| [Some(c.ends_at()), join_at(c)];
        let asked = self.list.iter().flat_map(moments).flatten();
        let overheard = self.one_way.iter().map(Overheard::ends_at);
        let lost_at = self.ticket.as_ref().map(|ticket| ticket.lost_at());
        asked.chain(overheard).chain(lost_at).min()
    }

    /// Writes a JOIN that is due; says where it goes.
    pub(super) fn emit(
        &mut self,
        now: Instant,
        config: &ReceiverConfig,
        rng: &mut StdRng,
        buf: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let due = |c: &&mut Candidate| c.is_asked() && c.join_at <= now;
        let candidate = self.list.iter_mut().find(due)?;
        if candidate.refused.is_some() {
            candidate.renew(&config.keys, rng, now);
            candidate.join_at = now + NEXT_PASS_ASK_EVERY;
        } else {
            candidate.join_at = now + candidate.retry;
            candidate.retry = candidate.retry.times(2).min(JOIN_RETRY_MAX);
        }
        candidate.emit_join(config, buf);
        Some(candidate.from)
    }

    /// Takes an ACCEPT or REJECT. `None` when it was refused.
    pub(super) fn handle_reply(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        keys: &ReceiverKeys,
        rng: &mut StdRng,
    ) -> Option<Reply> {
        let header = HandshakeHeader::parse(datagram).ok()?;
        let ours = |c: &Candidate| c.key.public().0 == header.receiver_key;
        let at = self.list.iter().position(ours)?;
        let candidate = &self.list[at];
        if header.kind == DatagramKind::Reject {
            let reason = candidate.open_reject(datagram)?;
            self.refuse(now, at, reason, keys, rng);
            return Some(Reply::Refused);
        }
        let nonce = reply_nonce(DatagramKind::Accept, header.number);
        let body = open(
            &candidate.pair.reply,
            &nonce,
            datagram,
            HandshakeHeader::LEN,
        )?;
        let accept = Accept::parse(body).ok()?;
        let chosen = Box::new(self.list.swap_remove(at));
        Some(Reply::Accepted(chosen, header.number.into(), accept))
    }

    /// A session turned us away: perhaps it knows us by another of our identities.
    fn refuse(
        &mut self,
        now: Instant,
        at: usize,
        reason: RejectReason,
        keys: &ReceiverKeys,
        rng: &mut StdRng,
    ) {
        let candidate = &mut self.list[at];
        let next = candidate.identity + 1;
        if reason == RejectReason::NotListed && next < keys.identities.len() {
            let (announce, signer, from) =
                (candidate.announce.clone(), candidate.signer, candidate.from);
            if let Some(new) = Candidate::new(announce, signer, from, keys, next, rng, now) {
                *candidate = new;
                return;
            }
        }
        candidate.refused = Some(reason);
        if std::mem::replace(&mut candidate.answered, true) {
            return;
        }
        if reason == RejectReason::NextPass {
            candidate.began_at = now;
            candidate.join_at = now + NEXT_PASS_ASK_EVERY;
            if let Some(ticket) = &mut self.ticket {
                ticket.answered(now);
            }
        }
    }

    /// What we wait for: a session that has not answered yet, or one that nobody asks.
    pub(super) fn awaits(&self) -> Awaits {
        if let Some(open) = self.list.iter().find(|c| c.refused.is_none()) {
            Awaits::Answer(open.from)
        } else if self.one_way.iter().any(|c| !c.is_late()) {
            Awaits::Start(None)
        } else if self.waits() || self.one_way.iter().any(|c| !c.is_missed()) {
            Awaits::Next
        } else {
            Awaits::Sender
        }
    }

    /// Why we cannot take part, when every session that we know turned us away: one that will have
    /// us later counts most.
    pub(super) fn all_refused(&self) -> Option<RejectReason> {
        let late = |c: &Overheard| c.is_missed().then_some(RejectReason::TooLate);
        let asked = self.list.iter().map(|c| c.refused);
        let all: Option<Vec<_>> = self.one_way.iter().map(late).chain(asked).collect();
        let mut all = all?;
        let later = all
            .contains(&RejectReason::NextPass)
            .then_some(RejectReason::NextPass);
        later.or(all.pop())
    }
}
