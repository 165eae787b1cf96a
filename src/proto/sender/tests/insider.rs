//! Trials of the keys: a sender, receivers and sometimes a member that lies, on a perfect cable.

use std::net::SocketAddr;

use crate::crypt::agree::SecretKey;
use crate::crypt::secret::Secret;
use crate::crypt::sign::SigningKey;
use crate::proto::Sender;
use crate::proto::protect::{
    Handshake, SignatureContext, multicast_nonce, open, reply_nonce, seal, sign,
};
use crate::proto::{
    Listed, PassedOver, Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent, ReceiverKeys,
    SenderConfig, SenderEnd, SenderEvent, SenderKeys, Target,
};
use crate::units::{Duration, Instant};
use crate::wire::{
    Abort, AbortReason, DatagramKind, End, HEADER_LEN, HandshakeHeader, Join, MulticastHeader,
    Poll, RejectReason, SymbolHashes,
};

const STEP: Duration = Duration::from_ms(5);
const BYTES: usize = 3_000_000;

/// What the liar sends into the group before a datagram of the sender.
type Lie = fn(&Sender, &[u8], u64) -> Vec<Vec<u8>>;

struct Seat {
    addr: SocketAddr,
    receiver: Receiver,
    out: Vec<u8>,
    end: Option<ReceiverEnd>,
    passed_over: Vec<PassedOver>,
}

struct Room {
    now: Instant,
    sender: Sender,
    addr: SocketAddr,
    seats: Vec<Seat>,
    end: Option<SenderEnd>,
    listed: Vec<Option<usize>>,
    turned_away: Vec<RejectReason>,
    lie: Option<Lie>,
    lies: u64,
}

fn data() -> Vec<u8> {
    (0..BYTES)
        .map(|n| (n / 7) as u8 ^ (n / 1_000) as u8)
        .collect()
}

fn signer(n: u8) -> SigningKey {
    SigningKey::from_seed([n; 32])
}

fn signed() -> SenderKeys {
    SenderKeys {
        signing: Some(signer(1)),
        ..SenderKeys::default()
    }
}

impl Room {
    fn new(keys: SenderKeys, receivers: Vec<ReceiverKeys>) -> Self {
        let now = Instant::from_us(1);
        let config = SenderConfig {
            settle: Duration::from_ms(500),
            start_timeout: Some(Duration::from_secs(5)),
            keys,
            ..SenderConfig::default()
        };
        let seats = (1..).zip(receivers).map(|(n, keys)| {
            let config = ReceiverConfig {
                keys,
                start_timeout: Some(Duration::from_secs(8)),
                ..ReceiverConfig::default()
            };
            Seat {
                addr: SocketAddr::from(([10, 0, 0, n], 1_000)),
                receiver: Receiver::new(config, [n + 1; 32], now),
                out: Vec::new(),
                end: None,
                passed_over: Vec::new(),
            }
        });
        Self {
            now,
            sender: Sender::new(config, [1; 32], now),
            addr: SocketAddr::from(([10, 0, 0, 100], 8_000)),
            seats: seats.collect(),
            end: None,
            listed: Vec::new(),
            turned_away: Vec::new(),
            lie: None,
            lies: 0,
        }
    }

    fn multicast(&mut self, from: SocketAddr, datagram: &[u8]) {
        for seat in &mut self.seats {
            let mut copy = datagram.to_vec();
            seat.receiver.handle_datagram(self.now, from, &mut copy);
        }
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        let (now, addr) = (self.now, self.addr);
        self.sender.handle_timeout(now);
        let mut buf = Vec::new();
        while let Some(transmit) = self.sender.poll_transmit(now, &mut buf) {
            for datagram in buf.chunks_mut(transmit.segment) {
                match transmit.to {
                    Target::Group => {
                        let lies = self.lie.map(|lie| lie(&self.sender, datagram, self.lies));
                        for lie in lies.unwrap_or_default() {
                            self.lies += 1;
                            self.multicast(addr, &lie);
                        }
                        self.multicast(addr, datagram);
                    }
                    Target::Peer(to) => {
                        for seat in self.seats.iter_mut().filter(|s| s.addr == to) {
                            seat.receiver.handle_datagram(now, addr, datagram);
                        }
                    }
                }
            }
        }
        for seat in &mut self.seats {
            let from = seat.addr;
            seat.step(now, |datagram| {
                self.sender.handle_datagram(now, from, datagram);
            });
        }
        while let Some(event) = self.sender.poll_event() {
            match event {
                SenderEvent::Ended(end) => self.end = Some(end),
                SenderEvent::Joined { listed, .. } => self.listed.push(listed),
                SenderEvent::TurnedAway { reason, .. } => self.turned_away.push(reason),
                _ => {}
            }
        }
    }

    /// Casts the data and returns how it ended for the sender.
    fn run(&mut self) -> Option<SenderEnd> {
        let data = data();
        let mut pushed = 0;
        for _ in 0..20_000 {
            if pushed < data.len() {
                pushed += self.sender.push(&data[pushed..]);
            } else {
                self.sender.finish();
            }
            self.step();
            if self.end.is_some() && self.seats.iter().all(|s| s.end.is_some()) {
                break;
            }
        }
        for seat in &self.seats {
            assert!(data.starts_with(&seat.out), "what was not sent came out");
            if seat.end == Some(ReceiverEnd::Complete) {
                assert_eq!(seat.out.len(), data.len());
            }
        }
        self.end
    }

    fn ends(&self) -> Vec<Option<ReceiverEnd>> {
        self.seats.iter().map(|s| s.end.clone()).collect()
    }
}

impl Seat {
    fn step(&mut self, now: Instant, mut say: impl FnMut(&mut [u8])) {
        self.receiver.handle_timeout(now);
        while let Some(delivery) = self.receiver.pull(now) {
            self.out.extend_from_slice(&delivery.buf[..delivery.len]);
            self.receiver.recycle(delivery.buf);
        }
        while let Some(event) = self.receiver.poll_event() {
            match event {
                ReceiverEvent::Complete { .. } => self.receiver.consumed(now),
                ReceiverEvent::Ended(end) => self.end = Some(end),
                ReceiverEvent::PassedOver { why, .. } => self.passed_over.push(why),
                _ => {}
            }
        }
        let mut buf = Vec::new();
        while self.receiver.poll_transmit(now, &mut buf).is_some() {
            say(&mut buf);
        }
    }
}

fn from(keys: &[u8]) -> ReceiverKeys {
    ReceiverKeys {
        from: keys.iter().map(|&n| signer(n).public()).collect(),
        ..ReceiverKeys::default()
    }
}

fn identities(keys: &[u8]) -> ReceiverKeys {
    let secret = |&n: &u8| SecretKey::from_seed([n; 32]);
    ReceiverKeys {
        identities: keys.iter().map(secret).collect(),
        ..ReceiverKeys::default()
    }
}

fn listed(key: &SecretKey) -> Listed {
    let key = key.public();
    let name = format!("node {}", key.0[0]);
    Listed { key, name }
}

fn sharing(n: Option<u8>) -> ReceiverKeys {
    ReceiverKeys {
        shared: n.map(|n| Secret::new([n; 32])),
        ..ReceiverKeys::default()
    }
}

const COMPLETE: Option<ReceiverEnd> = Some(ReceiverEnd::Complete);
const NO_SENDER: Option<ReceiverEnd> = Some(ReceiverEnd::NoSender);

#[test]
fn only_the_signer_is_believed() {
    let keys = vec![from(&[]), from(&[1]), from(&[2, 1]), from(&[2])];
    let mut room = Room::new(signed(), keys);
    assert_eq!(room.run(), Some(SenderEnd::Complete));
    assert_eq!(room.ends(), [COMPLETE, COMPLETE, COMPLETE, NO_SENDER]);
    assert_eq!(room.seats[3].passed_over, [PassedOver::OtherSigner]);

    let mut room = Room::new(SenderKeys::default(), vec![from(&[]), from(&[1])]);
    assert_eq!(room.run(), Some(SenderEnd::Complete));
    assert_eq!(room.ends(), [COMPLETE, NO_SENDER]);
    assert_eq!(room.seats[1].passed_over, [PassedOver::Unsigned]);
}

#[test]
fn only_listed_receivers_are_taken_in() {
    let public = |n| listed(&SecretKey::from_seed([n; 32]));
    let sender = SenderKeys {
        listed: Some(vec![public(3), public(4)]),
        ..SenderKeys::default()
    };
    let keys = [&[4][..], &[], &[5], &[5, 6, 3], &[5, 6]].map(identities);
    let mut room = Room::new(sender, keys.to_vec());
    assert_eq!(room.run(), Some(SenderEnd::Complete));
    let rejected = |reason| Some(ReceiverEnd::Rejected(reason));
    let (needed, other) = (RejectReason::KeyNeeded, RejectReason::NotListed);
    let expected = [
        COMPLETE,
        rejected(needed),
        rejected(other),
        COMPLETE,
        rejected(other),
    ];
    assert_eq!(room.ends(), expected);
    room.listed.sort_unstable();
    assert_eq!(room.listed, [Some(0), Some(1)]);
}

#[test]
fn a_shared_secret_is_needed_on_all_sides() {
    let sender = SenderKeys {
        shared: Some(Secret::new([1; 32])),
        ..SenderKeys::default()
    };
    let mut room = Room::new(sender, [Some(1), Some(2), None].map(sharing).to_vec());
    assert_eq!(room.run(), Some(SenderEnd::Complete));
    assert_eq!(room.ends(), [COMPLETE, NO_SENDER, NO_SENDER]);
    let why = |n: usize| room.seats[n].passed_over.clone();
    assert_eq!(why(1), [PassedOver::OtherSharedKey]);
    assert_eq!(why(2), [PassedOver::SharedKeyNeeded]);

    let mut room = Room::new(SenderKeys::default(), vec![sharing(Some(1))]);
    assert_eq!(room.run(), Some(SenderEnd::NobodyCame));
    assert_eq!(room.seats[0].passed_over, [PassedOver::NoSharedKey]);
}

#[test]
fn a_repeated_announce_does_not_hold_up() {
    let mut old = Sender::new(
        SenderConfig {
            keys: signed(),
            ..SenderConfig::default()
        },
        [9; 32],
        Instant::from_us(1),
    );
    old.handle_timeout(Instant::from_us(1));
    let mut announce = Vec::new();
    old.poll_transmit(Instant::from_us(1), &mut announce);
    let mut room = Room::new(signed(), vec![from(&[1])]);
    // From many addresses, before the true one is heard at all.
    for n in 0..20 {
        let attacker = SocketAddr::from(([10, 1, 0, n], 9));
        room.multicast(attacker, &announce);
    }
    assert_eq!(room.run(), Some(SenderEnd::Complete));
    assert_eq!(room.ends(), [COMPLETE]);
}

#[test]
fn a_flood_of_repeated_announces_delays_and_no_more() {
    let now = Instant::from_us(1);
    let config = SenderConfig {
        keys: signed(),
        ..SenderConfig::default()
    };
    let mut old = Sender::new(config, [9; 32], now);
    old.handle_timeout(now);
    let mut announce = Vec::new();
    old.poll_transmit(now, &mut announce);
    let mut room = Room::new(signed(), vec![from(&[1])]);
    let mut port = 0;
    // 2,000 a second, each from a new address, before every step.
    for _ in 0..1_000 {
        for _ in 0..10 {
            port = if port == u16::MAX { 1 } else { port + 1 };
            room.multicast(SocketAddr::from(([10, 1, 0, 1], port)), &announce);
        }
        room.step();
    }
    assert_eq!(room.listed.len(), 1, "joined within 5 s");
}

#[test]
fn a_member_cannot_go_on_in_the_name_of_a_sender_that_is_gone() {
    let mut room = Room::new(signed(), vec![from(&[1])]);
    room.sender.push(&data()[..1_000_000]);
    for _ in 0..300 {
        room.step();
    }
    assert!(!room.sender.is_waiting());
    let poll = Poll {
        watermark: 0,
        clock_us: u64::MAX,
        rtt_us: 1_000,
        receivers: 1,
        report_every: 1,
        report_us: 1,
    };
    let symbol = vec![1; usize::from(room.sender.config.symbol_len)];
    let mut body = Vec::new();
    poll.emit(&mut body);
    for n in 0..20 {
        room.now = room.now + Duration::from_secs(1);
        let header = MulticastHeader {
            block: 2,
            following: 9,
            ..control(DatagramKind::Data)
        };
        for lie in [
            forge(&room.sender, n, control(DatagramKind::Poll), &body),
            forge(&room.sender, n + 100, header, &symbol),
        ] {
            room.multicast(SocketAddr::from(([10, 0, 0, 66], 1)), &lie);
        }
        let now = room.now;
        room.seats[0].step(now, |_| {});
    }
    assert!(matches!(room.ends()[0], Some(ReceiverEnd::SenderLost(_))));
}

/// A datagram in the sender's name, as any member can make it.
fn forge(sender: &Sender, n: u64, header: MulticastHeader, body: &[u8]) -> Vec<u8> {
    let header = MulticastHeader {
        tag: sender.session.tag(),
        // Ahead of the sender's own numbers, but not so far that those look old.
        sequence: sender.tx + 20_000 + n % 20_000,
        ..header
    };
    let mut out = Vec::new();
    header.emit(&mut out);
    out.extend_from_slice(body);
    let nonce = multicast_nonce(header.sequence);
    seal(&sender.cipher, &nonce, &mut out, 0, HEADER_LEN);
    out
}

fn control(kind: DatagramKind) -> MulticastHeader {
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

/// The header of every fortieth DATA.
fn victim(sender: &Sender, datagram: &[u8]) -> Option<MulticastHeader> {
    let header = MulticastHeader::parse(datagram).ok()?;
    let chosen = header.kind == DatagramKind::Data && header.symbol.is_multiple_of(40);
    (chosen && header.block < sender.window.edge() + 9).then_some(header)
}

fn other_symbols(sender: &Sender, datagram: &[u8], n: u64) -> Vec<Vec<u8>> {
    let symbol = vec![n as u8; usize::from(sender.config.symbol_len)];
    let forge = |header| forge(sender, n, header, &symbol);
    victim(sender, datagram).map(forge).into_iter().collect()
}

fn other_sizes(sender: &Sender, datagram: &[u8], n: u64) -> Vec<Vec<u8>> {
    let symbol = vec![n as u8; usize::from(sender.config.symbol_len)];
    let lie = |h: MulticastHeader| MulticastHeader {
        following: h.following / 2,
        ..h
    };
    let forge = |header| forge(sender, n, lie(header), &symbol);
    victim(sender, datagram).map(forge).into_iter().collect()
}

fn other_words(sender: &Sender, datagram: &[u8], n: u64) -> Vec<Vec<u8>> {
    let Some(header) = victim(sender, datagram) else {
        return Vec::new();
    };
    let mut bodies = vec![
        (DatagramKind::End, Vec::new()),
        (DatagramKind::Abort, Vec::new()),
    ];
    let end = End {
        length: 5,
        blocks: 1,
        last_k: 1,
        digest: [7; 32],
    };
    end.emit(&mut bodies[0].1);
    let abort = Abort {
        reason: AbortReason::Input,
        text: "a lie".into(),
    };
    abort.emit(&mut bodies[1].1);
    let mut manifest = Vec::new();
    SymbolHashes {
        block: header.block,
        k: 2,
        first: 0,
        hashes: vec![[3; 16]; 2],
    }
    .emit(&mut manifest);
    bodies.push((DatagramKind::Hashes, manifest));
    // Signed by nobody, by somebody else, and for something else by the sender.
    let liar = signer(5);
    let announce = sender.window.sign(SignatureContext::Block, b"other");
    let poll = Poll {
        watermark: u32::MAX,
        clock_us: 1,
        rtt_us: 1_000,
        receivers: 1,
        report_every: 1,
        report_us: 1,
    };
    let mut out = Vec::new();
    for (kind, body) in &bodies {
        let signatures = [
            Vec::new(),
            sign(&liar, SignatureContext::End, sender.session, body).to_vec(),
            announce.map(|s| s.to_vec()).unwrap_or_default(),
        ];
        for signature in signatures {
            let body = [&body[..], &signature].concat();
            out.push(forge(sender, n + out.len() as u64, control(*kind), &body));
        }
    }
    let mut body = Vec::new();
    poll.emit(&mut body);
    out.push(forge(
        sender,
        n + out.len() as u64,
        control(DatagramKind::Poll),
        &body,
    ));
    out
}

#[test]
fn a_member_cannot_change_or_shorten_what_is_signed() {
    for lie in [other_symbols as Lie, other_sizes, other_words] {
        let mut room = Room::new(signed(), vec![from(&[1]), from(&[])]);
        room.lie = Some(lie);
        assert_eq!(room.run(), Some(SenderEnd::Complete));
        assert_eq!(room.ends(), [COMPLETE, COMPLETE]);
        assert!(room.lies > 50, "{} lies", room.lies);
    }
}

#[test]
fn a_member_can_only_stop_what_is_not_signed() {
    let mut room = Room::new(SenderKeys::default(), vec![from(&[])]);
    room.lie = Some(other_symbols);
    assert_eq!(room.run(), Some(SenderEnd::AllLost));
    assert_eq!(room.ends(), [Some(ReceiverEnd::Corrupt)]);
}

#[test]
fn a_listed_key_must_be_held() {
    let now = Instant::from_us(1);
    let holder = SecretKey::from_seed([3; 32]);
    let config = SenderConfig {
        keys: SenderKeys {
            listed: Some(vec![listed(&holder)]),
            ..SenderKeys::default()
        },
        ..SenderConfig::default()
    };
    let mut sender = Sender::new(config, [1; 32], now);
    let (own, theirs) = (SecretKey::from_seed([8; 32]), sender.public);
    let both = [&theirs, &own.public()];
    let greeting =
        Handshake::agree(sender.session, &own, &theirs, both, sender.shape(), None).unwrap();
    let mut join = Vec::new();
    HandshakeHeader {
        kind: DatagramKind::Join,
        number: 0,
        tag: sender.session.tag(),
        receiver_key: own.public().0,
    }
    .emit(&mut join);
    Join {
        session: sender.session,
        window_blocks: 9,
        socket_bytes: 200_000,
        name: "somebody".into(),
        identity: Some(holder.public().0),
    }
    .emit(&mut join);
    let nonce = reply_nonce(DatagramKind::Join, 0);
    seal(&greeting.join, &nonce, &mut join, 0, HandshakeHeader::LEN);
    let addr = SocketAddr::from(([10, 0, 0, 1], 1_000));
    sender.handle_datagram(now, addr, &mut join);
    let mut accept = Vec::new();
    while sender.poll_transmit(now, &mut accept).unwrap().to != Target::Peer(addr) {}
    let opens = |secret: Option<&SecretKey>| {
        let agreed = secret.map(|s| s.agree(&theirs).unwrap());
        let id = holder.public();
        let pair = greeting.ciphers(agreed.as_ref().map(|agreed| (&id, agreed)));
        let nonce = reply_nonce(DatagramKind::Accept, 0);
        open(
            &pair.reply,
            &nonce,
            &mut accept.clone(),
            HandshakeHeader::LEN,
        )
        .is_some()
    };
    let found = [None, Some(&own), Some(&holder)].map(opens);
    assert_eq!(found, [false, false, true]);
}
