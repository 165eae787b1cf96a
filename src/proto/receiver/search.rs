//! The search: sessions that a receiver asks to take it in, of which the first that does is its
//! own. Asking several at once keeps an attacker that repeats an old ANNOUNCE from holding it up.

use std::net::SocketAddr;

use rand::Rng;
use rand::rngs::StdRng;

use super::resume::ResumeState;
use super::screening::{Place, SignatureLimit, screen};
use crate::crypt::agree::{PublicKey, SecretKey};
use crate::crypt::sign::VerifyingKey;
use crate::proto::block::Chain;
use crate::proto::config::{ReceiverConfig, window_blocks};
use crate::proto::event::{Awaits, PassedOver};
use crate::proto::keys::ReceiverKeys;
use crate::proto::limits::{
    CANDIDATE_PATIENCE, CONFIRM_MAX, JOIN_RETRY_MAX, JOIN_RETRY_MIN, NEXT_PASS_ASK_EVERY,
    NEXT_PASS_UNANSWERED_MAX, PEER_SILENT_MAX,
};
use crate::proto::protect::{
    AccessKey, AnnounceHash, Handshake, OpenedAnnounce, PeerCiphers, open, reply_nonce, seal,
};
use crate::units::{Duration, Instant};
use crate::wire::{
    Accept, Announce, COOKIE_LEN, Cookie, DatagramKind, HELLO_NONCE_LEN, HandshakeHeader, Hello,
    Join, RejectReason,
};

/// What each side has shown the other: that what is sent to its address reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressProof {
    /// An ANNOUNCE came, which anybody could have sent: one HELLO may answer it.
    Announced,
    /// That was answered. Nothing more goes to the address before the next ANNOUNCE.
    Greeted,
    /// The sender answered with this cookie.
    Shown([u8; COOKIE_LEN]),
}

/// A session that we asked to take us in.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) announce: Announce,
    pub(super) signer: Option<VerifyingKey>,
    pub(super) from: SocketAddr,
    pub(super) ciphers: PeerCiphers,
    key: SecretKey,
    handshake: Handshake,
    access: AccessKey,
    proof: AddressProof,
    /// Bytes of the longest packet that our interface takes; 0 when that is not known.
    mtu: u16,
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
        (announce, signer, from): (Announce, Option<VerifyingKey>, SocketAddr),
        keys: &ReceiverKeys,
        identity: usize,
        rng: &mut StdRng,
        now: Instant,
    ) -> Option<Self> {
        let mut scalar = [0; 32];
        rng.fill_bytes(&mut scalar);
        let key = SecretKey::from_seed(scalar);
        let (ours, theirs) = (key.public(), PublicKey(announce.sender_key));
        let (id, announced, shared) = (
            announce.session,
            AnnounceHash::of(&announce),
            keys.shared.as_ref(),
        );
        let handshake = Handshake::agree(id, &key, &theirs, &ours, announced, shared)?;
        let proof = match keys.identities.get(identity) {
            Some(own) => Some((own.public(), own.agree(&theirs).ok()?)),
            None => None,
        };
        let ciphers = handshake.ciphers(proof.as_ref().map(|(key, secret)| (key, secret)));
        Some(Self {
            access: AccessKey::new(id, shared),
            proof: AddressProof::Announced,
            mtu: 0,
            announce,
            signer,
            from,
            ciphers,
            key,
            handshake,
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
        let known = (self.announce.clone(), self.signer, self.from);
        if let Some(new) = Self::new(known, keys, self.identity, rng, now) {
            self.key = new.key;
            self.handshake = new.handshake;
            self.ciphers = new.ciphers;
            self.answered = false;
        }
    }

    /// By which we recognise a COOKIE for us.
    fn nonce(&self) -> [u8; HELLO_NONCE_LEN] {
        let mut nonce = [0; HELLO_NONCE_LEN];
        nonce.copy_from_slice(&self.key.public().0[..HELLO_NONCE_LEN]);
        nonce
    }

    /// It was announced again.
    fn on_announce(&mut self, now: Instant) {
        self.heard_at = now;
        if self.proof == AddressProof::Greeted {
            self.proof = AddressProof::Announced;
        }
    }

    /// When it is sent something without another word of it.
    fn emits_at(&self) -> Option<Instant> {
        match self.proof {
            _ if !self.is_asked() => None,
            AddressProof::Announced => Some(self.heard_at),
            AddressProof::Greeted => None,
            AddressProof::Shown(_) => Some(self.join_at),
        }
    }

    fn emit_hello(&self, buf: &mut Vec<u8>) {
        Hello {
            tag: self.announce.session.tag(),
            nonce: self.nonce(),
        }
        .emit(buf);
        self.access.seal(buf);
    }

    fn makes_room(&self, now: Instant) -> bool {
        self.refused.is_some() || now.since(self.began_at) >= CANDIDATE_PATIENCE
    }

    fn emit_join(&self, cookie: [u8; COOKIE_LEN], config: &ReceiverConfig, buf: &mut Vec<u8>) {
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
            mtu: self.mtu,
            name: config.name.clone(),
            identity: identity.map(|key| key.public().0),
        }
        .emit(buf);
        let nonce = reply_nonce(DatagramKind::Join, 0);
        seal(&self.handshake.join, &nonce, buf, 0, HandshakeHeader::LEN);
        buf.extend_from_slice(&cookie);
        self.access.seal(buf);
    }

    /// Reads a REJECT: its reason is in its nonce.
    fn open_reject(&self, datagram: &[u8]) -> Option<RejectReason> {
        RejectReason::ALL.into_iter().find(|&reason| {
            let nonce = reply_nonce(DatagramKind::Reject, reason as u16);
            // What does not open is lost, and must be there for the next reason.
            let mut copy = datagram.to_vec();
            open(
                &self.handshake.reject,
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
pub(super) struct Search {
    candidates: Vec<Candidate>,
    /// The series that we wait for, if we do, and what we have of it.
    resume: Option<Box<ResumeState>>,
    signatures: SignatureLimit,
}

impl Search {
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
        if let Some(resume) = &mut self.resume
            && !resume.admits(now, announce)
        {
            return Found::Nothing;
        }
        let same = |c: &&mut Candidate| c.from == from && c.announce.session == announce.session;
        if let Some(known) = self.candidates.iter_mut().find(same) {
            known.on_announce(now);
            return Found::Nothing;
        }
        if from.port() == 0 || !config.accepts(announce) {
            return Found::Nothing;
        }
        if let Err(why) = screen(config, announce) {
            return Found::PassedOver(why);
        }
        let makes_room = self.candidates.iter().position(|c| c.makes_room(now));
        let place = Place::draw(self.candidates.len(), makes_room, rng);
        if place == Place::None || !self.signatures.allow(now) {
            return Found::Nothing;
        }
        let Ok(signer) = announced.verify() else {
            return Found::Nothing;
        };
        let known = (announce.clone(), signer, from);
        let Some(new) = Candidate::new(known, &config.keys, 0, rng, now) else {
            return Found::Nothing;
        };
        place.put(&mut self.candidates, new);
        Found::New
    }

    /// Our interface that leads to this address takes packets of so many bytes.
    pub(super) fn note_mtu(&mut self, from: SocketAddr, mtu: u16) {
        for candidate in self.candidates.iter_mut().filter(|c| c.from == from) {
            candidate.mtu = mtu;
        }
    }

    /// Gives up those whose time is over; `true` when that leaves none.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.candidates.len();
        self.candidates.retain(|c| c.ends_at() > now);
        before > 0 && self.candidates.is_empty() && self.resume.is_none()
    }

    /// Waits for another session of a series, and for no other.
    pub(super) fn resuming(resume: ResumeState) -> Self {
        Self {
            resume: Some(Box::new(resume)),
            ..Self::default()
        }
    }

    /// Begins to wait for another session of the series that told us to; `false` if we do already.
    pub(super) fn wait(&mut self, now: Instant) -> bool {
        let told = |c: &&Candidate| c.refused == Some(RejectReason::NextPass);
        let told = self.candidates.iter().find(told);
        let Some(told) = told.filter(|_| self.resume.is_none()) else {
            return false;
        };
        let mut resume = ResumeState::new(told.announce.series, told.signer, None, now);
        self.candidates.retain(|c| resume.admits(now, &c.announce));
        self.resume = Some(Box::new(resume));
        true
    }

    /// For how long nothing, or no answer, was heard of the series that we wait for, if that is
    /// too long.
    pub(super) fn silence(&self, now: Instant) -> Option<Duration> {
        self.resume.as_ref()?.silence(now)
    }

    /// What we have of the series already.
    pub(super) fn so_far(&self) -> Option<Chain> {
        self.resume.as_ref()?.so_far()
    }

    /// Whether we wait for another session of a series.
    pub(super) fn waits(&self) -> bool {
        self.resume.is_some()
    }

    /// When there is something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        let moments = |c: &Candidate| [Some(c.ends_at()), c.emits_at()];
        let asked = self.candidates.iter().flat_map(moments).flatten();
        let lost_at = self.resume.as_ref().map(|resume| resume.lost_at());
        asked.chain(lost_at).min()
    }

    /// Writes a HELLO or a JOIN that is due; says where it goes.
    pub(super) fn emit(
        &mut self,
        now: Instant,
        config: &ReceiverConfig,
        rng: &mut StdRng,
        buf: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let due = |c: &&mut Candidate| c.emits_at().is_some_and(|at| at <= now);
        let candidate = self.candidates.iter_mut().find(due)?;
        let AddressProof::Shown(cookie) = candidate.proof else {
            candidate.proof = AddressProof::Greeted;
            candidate.emit_hello(buf);
            return Some(candidate.from);
        };
        if candidate.refused.is_some() {
            candidate.renew(&config.keys, rng, now);
            candidate.join_at = now + NEXT_PASS_ASK_EVERY;
        } else {
            candidate.join_at = now + candidate.retry;
            candidate.retry = candidate.retry.times(2).min(JOIN_RETRY_MAX);
        }
        candidate.emit_join(cookie, config, buf);
        Some(candidate.from)
    }

    /// Takes a COOKIE, after which JOINs go to its sender. `None` when it was refused.
    pub(super) fn handle_cookie(&mut self, now: Instant, datagram: &[u8]) -> Option<()> {
        let ours = |c: &&mut Candidate| {
            let cookie = c.access.open(datagram).map(Cookie::parse);
            cookie.is_some_and(|cookie| cookie.is_ok_and(|cookie| cookie.nonce == c.nonce()))
        };
        let candidate = self.candidates.iter_mut().find(ours)?;
        let cookie = Cookie::parse(candidate.access.open(datagram)?).ok()?.cookie;
        // One that repeats what is known changes nothing.
        if candidate.proof != AddressProof::Shown(cookie) {
            // Later cookies, which an attacker may forge, bring no JOIN forward.
            if candidate.proof == AddressProof::Greeted {
                candidate.join_at = now;
            }
            candidate.proof = AddressProof::Shown(cookie);
        }
        Some(())
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
        let at = self.candidates.iter().position(ours)?;
        let candidate = &self.candidates[at];
        if header.kind == DatagramKind::Reject {
            let reason = candidate.open_reject(datagram)?;
            self.refuse(now, at, reason, keys, rng);
            return Some(Reply::Refused);
        }
        let nonce = reply_nonce(DatagramKind::Accept, header.number);
        let body = open(
            &candidate.ciphers.reply,
            &nonce,
            datagram,
            HandshakeHeader::LEN,
        )?;
        let accept = Accept::parse(body).ok()?;
        let chosen = Box::new(self.candidates.swap_remove(at));
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
        let candidate = &mut self.candidates[at];
        let next = candidate.identity + 1;
        if reason == RejectReason::NotListed && next < keys.identities.len() {
            let known = (candidate.announce.clone(), candidate.signer, candidate.from);
            if let Some(new) = Candidate::new(known, keys, next, rng, now) {
                let (proof, mtu) = (candidate.proof, candidate.mtu);
                *candidate = Candidate { proof, mtu, ..new };
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
            if let Some(resume) = &mut self.resume {
                resume.on_answer(now);
            }
        }
    }

    /// What we wait for: a session that has not answered yet, or another of the series.
    pub(super) fn awaits(&self) -> Awaits {
        let mut unanswered = self.candidates.iter().filter(|c| c.refused.is_none());
        match unanswered.next() {
            Some(candidate) => Awaits::Answer(candidate.from),
            None if self.waits() => Awaits::Next,
            None => Awaits::Sender,
        }
    }

    /// Why we cannot take part, when every session that we know turned us away: one that will have
    /// us later counts most.
    pub(super) fn all_refused(&self) -> Option<RejectReason> {
        let all: Option<Vec<_>> = self.candidates.iter().map(|c| c.refused).collect();
        let mut all = all?;
        let next_pass = all.contains(&RejectReason::NextPass);
        next_pass.then_some(RejectReason::NextPass).or(all.pop())
    }
}
