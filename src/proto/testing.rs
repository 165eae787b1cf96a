//! What tests of whole sessions share: a cable with a sender and receivers, a receiver that speaks
//! by hand, and forged datagrams.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::keys::ReceiverKeys;
use super::protect::{
    AccessKey, AnnounceHash, Handshake, MemberCiphers, PeerCiphers, member_nonce, multicast_nonce,
    open, reply_nonce, seal,
};
use super::{
    Fate, PassedOver, Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent, Sender, SenderConfig,
    SenderEnd, SenderEvent, Target,
};
use crate::crypt::agree::{PublicKey, SecretKey};
use crate::units::{Duration, Instant};
use crate::wire::{
    Accept, Cookie, DatagramKind, Feedback, HEADER_LEN, HandshakeHeader, Hello, Join, MemberHeader,
    MulticastHeader, Outcome, RejectReason,
};

/// Which datagrams a receiver loses; `None` for what is not under the session's key.
pub(super) type Loses = Box<dyn FnMut(Instant, Option<&MulticastHeader>) -> bool>;

/// What an attacker sends to the group before a datagram of the sender; the number counts.
pub(super) type Lie = fn(&Sender, &[u8], u64) -> Vec<Vec<u8>>;

/// A consumer that takes all at once.
pub(super) const GREEDY: i64 = 1 << 40;

/// Where the sender is.
pub(super) const SENDER: ([u8; 4], u16) = ([10, 0, 0, 100], 8_000);

/// A stream without repetitions that a mistake could hide behind.
pub(super) fn data(bytes: usize) -> Vec<u8> {
    let byte = |n: usize| (n / 7) as u8 ^ (n / 997) as u8;
    (0..bytes).map(byte).collect()
}

/// Loses nothing.
pub(super) fn nothing() -> Loses {
    Box::new(|_, _| false)
}

/// Loses a share of all datagrams.
pub(super) fn chance(seed: u64, share: f64) -> Loses {
    let mut dice = StdRng::seed_from_u64(seed);
    Box::new(move |_, _| dice.random_bool(share))
}

/// Loses some datagrams of one kind.
pub(super) fn of_kind(
    kind: DatagramKind,
    mut loses: impl FnMut(&MulticastHeader) -> bool + 'static,
) -> Loses {
    Box::new(move |_, header| header.is_some_and(|h| h.kind == kind && loses(h)))
}

/// A receiver, its consumer and its end of the cable.
pub(super) struct Node {
    pub(super) addr: SocketAddr,
    pub(super) receiver: Receiver,
    one_way: bool,
    pub(super) loses: Loses,
    /// Nothing that it says gets through for now.
    pub(super) is_muted: bool,
    unsaid: Vec<Vec<u8>>,
    /// Where its newest datagram went.
    pub(super) said_to: Option<Target>,
    /// Bytes that its consumer takes in a step.
    pub(super) take_rate: i64,
    /// Bytes that its consumer may take now.
    budget: i64,
    /// Its consumer takes nothing before this moment.
    pub(super) takes_from: Instant,
    /// Its consumer ends when it has everything.
    pub(super) confirms: bool,
    pub(super) out: Vec<u8>,
    pub(super) waited: Vec<Option<u64>>,
    pub(super) passed_over: Vec<PassedOver>,
    pub(super) ended_at: Instant,
    pub(super) end: Option<ReceiverEnd>,
}

impl Node {
    /// The `n`th receiver, which starts at `now`.
    pub(super) fn new(n: u8, config: ReceiverConfig, now: Instant) -> Self {
        Self {
            addr: SocketAddr::from(([10, 0, 0, n], 1_000)),
            one_way: config.one_way,
            receiver: Receiver::new(config, [n + 1; 32], now),
            loses: nothing(),
            is_muted: false,
            unsaid: Vec::new(),
            said_to: None,
            take_rate: GREEDY,
            budget: 0,
            takes_from: Instant::ZERO,
            confirms: true,
            out: Vec::new(),
            waited: Vec::new(),
            passed_over: Vec::new(),
            ended_at: Instant::ZERO,
            end: None,
        }
    }

    /// Does what is to be done now; returns what it says.
    pub(super) fn step(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.receiver.handle_timeout(now);
        if now >= self.takes_from {
            self.budget = self.budget.saturating_add(self.take_rate);
        }
        while self.budget > 0
            && let Some(delivery) = self.receiver.pull(now)
        {
            self.budget -= delivery.len as i64;
            self.out.extend_from_slice(&delivery.buf[..delivery.len]);
            self.receiver.recycle(delivery.buf);
        }
        while let Some(event) = self.receiver.poll_event() {
            match event {
                ReceiverEvent::Complete { .. } if self.confirms => self.receiver.consumed(now),
                ReceiverEvent::Waits { from } => self.waited.push(from),
                ReceiverEvent::PassedOver { why, .. } => self.passed_over.push(why),
                ReceiverEvent::Ended(end) => (self.end, self.ended_at) = (Some(end), now),
                _ => {}
            }
        }
        let mut buf = Vec::new();
        while let Some(transmit) = self.receiver.poll_transmit(now, &mut buf) {
            self.said_to = Some(transmit.to);
            assert!(!self.one_way, "a receiver of a one-way session speaks");
            self.unsaid.push(buf.clone());
        }
        if self.is_muted {
            return Vec::new();
        }
        std::mem::take(&mut self.unsaid)
    }

    /// From now on its consumer takes nothing.
    pub(super) fn stop_taking(&mut self) {
        (self.take_rate, self.budget) = (0, 0);
    }

    pub(super) fn hear(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.receiver
            .handle_datagram(now, from, &mut datagram.to_vec());
    }
}

/// A sender and its receivers.
pub(super) struct Cable {
    pub(super) now: Instant,
    step: Duration,
    pub(super) sender: Sender,
    /// The sender's address.
    pub(super) from: SocketAddr,
    pub(super) config: SenderConfig,
    /// The sender has crashed.
    pub(super) sender_is_gone: bool,
    /// What the sender casts, as soon as it has room; else tests push by hand.
    pub(super) data: Vec<u8>,
    pub(super) pushed: usize,
    pub(super) pushes: bool,
    pub(super) nodes: Vec<Node>,
    pub(super) end: Option<SenderEnd>,
    pub(super) events: Vec<SenderEvent>,
    pub(super) lie: Option<Lie>,
    pub(super) lies: u64,
    /// What the sender said to the group, and to single receivers.
    pub(super) to_group: Vec<Vec<u8>>,
    pub(super) to_peers: Vec<Vec<u8>>,
}

impl Cable {
    /// A sender that casts `data`, looked at after each `step`.
    pub(super) fn new(config: SenderConfig, data: Vec<u8>, step: Duration) -> Self {
        let now = Instant::from_us(1);
        Self {
            now,
            step,
            sender: Sender::new(config.clone(), [1; 32], now),
            from: SocketAddr::from(SENDER),
            config,
            sender_is_gone: false,
            data,
            pushed: 0,
            pushes: true,
            nodes: Vec::new(),
            end: None,
            events: Vec::new(),
            lie: None,
            lies: 0,
            to_group: Vec::new(),
            to_peers: Vec::new(),
        }
    }

    /// Another receiver; returns it.
    pub(super) fn add(&mut self, config: ReceiverConfig) -> &mut Node {
        let n = u8::try_from(self.nodes.len() + 1).unwrap();
        self.nodes.push(Node::new(n, config, self.now));
        self.nodes.last_mut().unwrap()
    }

    /// The session as it would be with what was changed in its configuration.
    pub(super) fn restart(&mut self, seed: u8) {
        self.sender = Sender::new(self.config.clone(), [seed; 32], self.now);
        (self.pushed, self.end) = (0, None);
        self.to_group.clear();
    }

    /// Sends a datagram to every receiver that does not lose it.
    pub(super) fn multicast(&mut self, from: SocketAddr, datagram: &[u8]) {
        let header = MulticastHeader::parse(datagram).ok();
        for node in &mut self.nodes {
            if !(node.loses)(self.now, header.as_ref()) {
                node.hear(self.now, from, datagram);
            }
        }
    }

    pub(super) fn step(&mut self) {
        self.now = self.now + self.step;
        let now = self.now;
        if !self.sender_is_gone {
            if self.pushes {
                self.pushed += self.sender.push(&self.data[self.pushed..]);
                if self.pushed == self.data.len() {
                    self.sender.finish();
                }
            }
            self.sender.handle_timeout(now);
            self.send();
        }
        for n in 0..self.nodes.len() {
            let from = self.nodes[n].addr;
            for mut said in self.nodes[n].step(now) {
                self.sender.handle_datagram(now, from, &mut said);
            }
        }
        while let Some(event) = self.sender.poll_event() {
            if let SenderEvent::Ended(end) = event {
                self.end = Some(end);
            }
            self.events.push(event);
        }
    }

    /// Delivers what the sender has to send.
    pub(super) fn send(&mut self) {
        let (now, from) = (self.now, self.from);
        let mut buf = Vec::new();
        while let Some(transmit) = self.sender.poll_transmit(now, &mut buf) {
            for datagram in buf.chunks(transmit.segment) {
                let Target::Peer(to) = transmit.to else {
                    let lies = self.lie.map(|lie| lie(&self.sender, datagram, self.lies));
                    for lie in lies.unwrap_or_default() {
                        self.lies += 1;
                        self.multicast(from, &lie);
                    }
                    self.multicast(from, datagram);
                    self.to_group.push(datagram.to_vec());
                    continue;
                };
                for node in self.nodes.iter_mut().filter(|node| node.addr == to) {
                    node.hear(now, from, datagram);
                }
                self.to_peers.push(datagram.to_vec());
            }
            self.sender.on_transmitted(now);
        }
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }

    /// Runs until the sender has ended; returns how.
    pub(super) fn run(&mut self) -> Option<SenderEnd> {
        let most = Instant::from_us(100_000_000) + self.now.since(Instant::ZERO);
        while !(self.end.is_some() && self.sender.is_done()) && self.now < most {
            self.step();
        }
        self.end
    }

    /// Runs until the sender and all receivers have ended; returns how the sender did. What came
    /// out of a receiver is what was sent, and all of it if it says so.
    pub(super) fn run_all(&mut self) -> Option<SenderEnd> {
        let most = Instant::from_us(100_000_000) + self.now.since(Instant::ZERO);
        let over = |cable: &Self| cable.end.is_some() || cable.sender_is_gone;
        while !(over(self) && self.nodes.iter().all(|n| n.end.is_some())) {
            self.step();
            assert!(self.now < most, "it hangs");
        }
        for node in &self.nodes {
            assert!(
                self.data.starts_with(&node.out),
                "what was not sent came out"
            );
            if node.end == Some(ReceiverEnd::Complete) {
                assert_eq!(node.out.len(), self.data.len(), "a part is taken for all");
            }
        }
        self.end
    }

    /// How the receivers ended.
    pub(super) fn ends(&self) -> Vec<Option<ReceiverEnd>> {
        self.nodes.iter().map(|node| node.end.clone()).collect()
    }

    /// Why receivers were rejected.
    pub(super) fn rejected(&self) -> Vec<RejectReason> {
        let reason = |event: &SenderEvent| match event {
            SenderEvent::Rejected { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }

    /// How receivers fared, in the order in which that was told.
    pub(super) fn fates(&self) -> Vec<Fate> {
        let fate = |event: &SenderEvent| match event {
            SenderEvent::Finished { fate, .. } => Some(*fate),
            _ => None,
        };
        self.events.iter().filter_map(fate).collect()
    }
}

/// Whether a datagram is of this kind.
pub(super) fn is_kind(kind: DatagramKind) -> impl Fn(&&Vec<u8>) -> bool {
    move |datagram| crate::wire::peek(datagram).is_ok_and(|(k, _)| k == kind)
}

/// A receiver's configuration with these keys.
pub(super) fn with_keys(keys: ReceiverKeys) -> ReceiverConfig {
    ReceiverConfig {
        keys,
        start_timeout: Some(Duration::from_secs(8)),
        ..ReceiverConfig::default()
    }
}

/// The first datagram of a sender with this configuration: an ANNOUNCE.
pub(super) fn announce_of(config: SenderConfig) -> Vec<u8> {
    let now = Instant::from_us(1);
    let mut sender = Sender::new(config, [9; 32], now);
    sender.handle_timeout(now);
    let mut announce = Vec::new();
    sender.poll_transmit(now, &mut announce).unwrap();
    announce
}

/// A datagram of this kind in the sender's name, as any member can make it: with a sequence number
/// ahead of the sender's own, but not so far that those look old.
pub(super) fn forge(sender: &Sender, n: u64, header: MulticastHeader, body: &[u8]) -> Vec<u8> {
    let sequence = sender.parts().1.sequence() + 20_000 + n % 20_000;
    forge_at(sender, sequence, header, body)
}

/// The same with this sequence number.
pub(super) fn forge_at(
    sender: &Sender,
    sequence: u64,
    header: MulticastHeader,
    body: &[u8],
) -> Vec<u8> {
    let (_, outgoing) = sender.parts();
    let header = MulticastHeader {
        tag: sender.session().tag(),
        sequence,
        ..header
    };
    let mut out = Vec::new();
    header.emit(&mut out);
    out.extend_from_slice(body);
    let nonce = multicast_nonce(header.sequence);
    seal(outgoing.cipher(), &nonce, &mut out, 0, HEADER_LEN);
    out
}

/// The header of a control datagram.
pub(super) fn control(kind: DatagramKind) -> MulticastHeader {
    MulticastHeader {
        kind,
        tag: 0,
        repair: false,
        auto_parity: 0,
        symbol: 0,
        sequence: 0,
        following: 0,
        block: 0,
    }
}

/// A receiver that speaks by hand.
pub(super) struct ByHand {
    handshake: Handshake,
    pub(super) pair: PeerCiphers,
    ciphers: Option<MemberCiphers>,
    /// Its JOIN.
    pub(super) join: Vec<u8>,
    feedbacks: u32,
}

/// The cookie that the sender has for a receiver at this address.
fn cookie_for(
    sender: &mut Sender,
    access: &AccessKey,
    (addr, now): (SocketAddr, Instant),
) -> Cookie {
    let mut datagram = Vec::new();
    Hello {
        tag: sender.session().tag(),
        nonce: [7; 8],
    }
    .emit(&mut datagram);
    access.seal(&mut datagram);
    sender.handle_datagram(now, addr, &mut datagram);
    while sender.poll_transmit(now, &mut datagram).unwrap().to != Target::Peer(addr) {}
    Cookie::parse(access.open(&datagram).unwrap()).unwrap()
}

impl ByHand {
    /// A receiver that comes from this address at this time, with this key of the session, and
    /// claims an identity.
    pub(super) fn new(
        sender: &mut Sender,
        from: (SocketAddr, Instant),
        own: &SecretKey,
        identity: Option<PublicKey>,
    ) -> Self {
        let (session, access) = (sender.session(), AccessKey::new(sender.session(), None));
        let cookie = cookie_for(sender, &access, from).cookie;
        let outgoing = sender.parts().1;
        let (theirs, ours) = (outgoing.sender_key(), own.public());
        let announced = AnnounceHash::of(outgoing.announced());
        let handshake = Handshake::agree(session, own, &theirs, &ours, announced, None).unwrap();
        let mut join = Vec::new();
        HandshakeHeader {
            kind: DatagramKind::Join,
            number: 0,
            tag: session.tag(),
            receiver_key: own.public().0,
        }
        .emit(&mut join);
        Join {
            session,
            window_blocks: 9,
            socket_bytes: 200_000,
            mtu: 0,
            name: "by hand".into(),
            identity: identity.map(|key| key.0),
        }
        .emit(&mut join);
        let nonce = reply_nonce(DatagramKind::Join, 0);
        seal(&handshake.join, &nonce, &mut join, 0, HandshakeHeader::LEN);
        join.extend_from_slice(&cookie);
        access.seal(&mut join);
        Self {
            pair: handshake.ciphers(None),
            ciphers: None,
            handshake,
            join,
            feedbacks: 0,
        }
    }

    /// The ciphers that it has if it claims an identity and holds this secret.
    pub(super) fn ciphers(
        &self,
        sender: &Sender,
        id: &PublicKey,
        secret: &SecretKey,
    ) -> PeerCiphers {
        let agreed = secret.agree(&sender.parts().1.sender_key()).unwrap();
        self.handshake.ciphers(Some((id, &agreed)))
    }

    /// Takes its ACCEPT.
    pub(super) fn take(&mut self, accept: &[u8]) {
        let (_, accept) = accepted(&self.pair, accept).unwrap();
        self.ciphers = Some(self.pair.member(&accept));
    }

    /// Its next FEEDBACK as receiver `receiver`, which only says how it is.
    pub(super) fn feedback(&mut self, sender: &Sender, receiver: u32, outcome: Outcome) -> Vec<u8> {
        let feedback = Feedback {
            next: 0,
            window_end: 9,
            sequence_end: 0,
            received: 0,
            echo_us: 0,
            hold_us: 0,
            outcome,
            needs: vec![],
        };
        self.emit(sender, receiver, &feedback)
    }

    /// Its next FEEDBACK as receiver `receiver`.
    pub(super) fn emit(&mut self, sender: &Sender, receiver: u32, feedback: &Feedback) -> Vec<u8> {
        let (kind, number) = (DatagramKind::Feedback, self.feedbacks);
        let mut out = Vec::new();
        MemberHeader {
            kind,
            tag: sender.session().tag(),
            receiver,
            number,
        }
        .emit(&mut out);
        feedback.emit(&mut out);
        let nonce = member_nonce(kind, receiver, number);
        let cipher = &self.ciphers.as_ref().unwrap().feedback;
        seal(cipher, &nonce, &mut out, 0, MemberHeader::LEN);
        self.feedbacks += 1;
        out
    }
}

/// The number in an ACCEPT and what it brings, if these ciphers open it.
pub(super) fn accepted(pair: &PeerCiphers, accept: &[u8]) -> Option<(u32, Accept)> {
    let header = HandshakeHeader::parse(accept).ok()?;
    let nonce = reply_nonce(DatagramKind::Accept, header.number);
    let mut copy = accept.to_vec();
    let body = open(&pair.reply, &nonce, &mut copy, HandshakeHeader::LEN)?;
    Some((header.number.into(), Accept::parse(body).unwrap()))
}
