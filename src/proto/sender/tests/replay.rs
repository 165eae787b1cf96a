//! Trials of patience: outsiders who repeat what they heard.

use std::net::SocketAddr;

use crate::crypt::agree::SecretKey;
use crate::proto::Sender;
use crate::proto::protect::{Handshake, PeerCiphers, member_nonce, open, reply_nonce, seal};
use crate::proto::{SenderConfig, Target};
use crate::units::{Duration, Instant};
use crate::wire::{
    DatagramKind, Feedback, HandshakeHeader, Join, LeaveReason, MemberHeader, Outcome,
};

const START: Instant = Instant::from_us(1);

fn ms(n: u64) -> Duration {
    Duration::from_ms(n)
}

fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 66], 1_000))
}

/// A receiver that speaks by hand.
struct Hand {
    pair: PeerCiphers,
    join: Vec<u8>,
    count: u32,
}

impl Hand {
    fn new(sender: &Sender, seed: u8) -> Self {
        let (own, theirs) = (SecretKey::from_seed([seed; 32]), sender.public);
        let both = [&theirs, &own.public()];
        let shape = sender.shape();
        let greeting = Handshake::agree(sender.session, &own, &theirs, both, shape, None).unwrap();
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
            name: "by hand".into(),
            identity: None,
        }
        .emit(&mut join);
        let nonce = reply_nonce(DatagramKind::Join, 0);
        seal(&greeting.join, &nonce, &mut join, 0, HandshakeHeader::LEN);
        Self {
            pair: greeting.ciphers(None),
            join,
            count: 0,
        }
    }

    fn joins(&self, sender: &mut Sender, now: Instant) {
        sender.handle_datagram(now, address(), &mut self.join.clone());
    }

    fn feedback(&mut self, sender: &Sender, receiver: u32, outcome: Outcome) -> Vec<u8> {
        let (number, tag) = (self.count, sender.session.tag());
        let mut out = Vec::new();
        MemberHeader {
            kind: DatagramKind::Feedback,
            tag,
            receiver,
            number,
        }
        .emit(&mut out);
        Feedback {
            next: 0,
            window_end: 9,
            sequence_end: 0,
            received: 0,
            echo_us: 0,
            hold_us: 0,
            outcome,
            needs: vec![],
        }
        .emit(&mut out);
        let nonce = member_nonce(DatagramKind::Feedback, receiver, number);
        seal(&self.pair.feedback, &nonce, &mut out, 0, MemberHeader::LEN);
        self.count += 1;
        out
    }

    /// The number in an ACCEPT, which must be ours.
    fn number(&self, accept: &[u8]) -> u32 {
        let header = HandshakeHeader::parse(accept).unwrap();
        let nonce = reply_nonce(DatagramKind::Accept, header.number);
        open(
            &self.pair.reply,
            &nonce,
            &mut accept.to_vec(),
            HandshakeHeader::LEN,
        )
        .unwrap();
        header.number.into()
    }
}

/// What the sender answers to single receivers now.
fn replies(sender: &mut Sender, now: Instant) -> Vec<Vec<u8>> {
    let (mut out, mut buf) = (Vec::new(), Vec::new());
    while let Some(transmit) = sender.poll_transmit(now, &mut buf) {
        if matches!(transmit.to, Target::Peer(_)) {
            out.push(buf.clone());
        }
    }
    out
}

#[test]
fn one_key_of_a_receiver_has_one_accept() {
    let mut sender = Sender::new(SenderConfig::default(), [1; 32], START);
    let hand = Hand::new(&sender, 8);
    hand.joins(&mut sender, START);
    let first = replies(&mut sender, START).remove(0);
    let mut now = START;
    // It never answers, and is forgotten; then somebody repeats its JOIN.
    for _ in 0..70 {
        now = now + ms(250);
        sender.handle_timeout(now);
        replies(&mut sender, now);
    }
    assert_eq!(sender.members.sum().active, 0);
    hand.joins(&mut sender, now);
    let again = replies(&mut sender, now);
    assert!(again == [first.clone()], "another text under the same key");
    assert_eq!((hand.number(&first), sender.members.sum().active), (0, 1));
}

#[test]
fn who_left_before_the_start_is_not_let_in_by_its_old_join() {
    let mut sender = Sender::new(SenderConfig::default(), [1; 32], START);
    let mut hand = Hand::new(&sender, 8);
    hand.joins(&mut sender, START);
    replies(&mut sender, START);
    let leave = Outcome::Leave(LeaveReason::Interrupted);
    let mut leave = hand.feedback(&sender, 0, leave);
    sender.handle_datagram(START, address(), &mut leave);
    replies(&mut sender, START);
    hand.joins(&mut sender, START + ms(100));
    assert!(replies(&mut sender, START + ms(100)).is_empty());
    assert_eq!(sender.joined(), 0);
}

#[test]
fn what_is_repeated_is_answered_now_and_then() {
    let mut sender = Sender::new(SenderConfig::default(), [1; 32], START);
    let mut hand = Hand::new(&sender, 8);
    let mut accepts = 0;
    for n in 0..1_000 {
        let now = START + Duration::from_us(n * 100);
        hand.joins(&mut sender, now);
        accepts += replies(&mut sender, now).len();
    }
    assert!((2..=7).contains(&accepts), "{accepts} in 100 ms");

    // One that is gone, and whose last word is repeated.
    let leave = Outcome::Leave(LeaveReason::Interrupted);
    let leave = hand.feedback(&sender, 0, leave);
    let mut byes = 0;
    for n in 0..1_000 {
        let now = START + ms(200) + Duration::from_us(n * 100);
        sender.handle_datagram(now, address(), &mut leave.clone());
        byes += replies(&mut sender, now).len();
    }
    assert!((1..=2).contains(&byes), "{byes} for one FEEDBACK");
}

#[test]
fn answers_do_not_keep_the_stream_from_the_others() {
    let mut sender = Sender::new(SenderConfig::default(), [1; 32], START);
    let hands: Vec<Hand> = (1..200).map(|seed| Hand::new(&sender, seed)).collect();
    let mut buf = Vec::new();
    let mut to = [0, 0];
    for n in 0..2_000 {
        let now = START + ms(n);
        for hand in &hands {
            hand.joins(&mut sender, now);
        }
        sender.handle_timeout(now);
        for _ in 0..4 {
            match sender.poll_transmit(now, &mut buf).map(|t| t.to) {
                Some(Target::Group) => to[0] += 1,
                Some(Target::Peer(_)) => to[1] += 1,
                None => {}
            }
        }
    }
    // An ANNOUNCE each 200 ms, in spite of it all.
    assert!(to[0] >= 10 && to[1] > 1_000, "{to:?}");
}
