//! Tests of outsiders that repeat what they heard.

use std::net::SocketAddr;

use crate::crypt::agree::SecretKey;
use crate::crypt::sign::SigningKey;
use crate::proto::limits::IP_UDP_LEN;
use crate::proto::testing::{ByHand, accepted, announce_of};
use crate::proto::{
    Receiver, ReceiverConfig, ReceiverKeys, Sender, SenderConfig, SenderKeys, Target,
};
use crate::units::{Duration, Instant};
use crate::wire::{Feedback, LeaveReason, Need, Outcome};

const START: Instant = Instant::from_us(1);

fn ms(n: u64) -> Duration {
    Duration::from_ms(n)
}

fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 66], 1_000))
}

fn by_hand(sender: &mut Sender, seed: u8) -> ByHand {
    ByHand::new(
        sender,
        (address(), START),
        &SecretKey::from_seed([seed; 32]),
        None,
    )
}

/// The receiver's JOIN reaches the sender.
fn join(hand: &ByHand, sender: &mut Sender, now: Instant) {
    sender.handle_datagram(now, address(), &mut hand.join.clone());
}

/// Receivers in the session, be it that they have not shown their keys.
fn present(sender: &mut Sender) -> u32 {
    sender.two_way().members.group().present
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
    let hand = by_hand(&mut sender, 8);
    join(&hand, &mut sender, START);
    let first = replies(&mut sender, START).remove(0);
    let mut now = START;
    // It never answers, and is withdrawn; then an attacker repeats its JOIN.
    for _ in 0..70 {
        now = now + ms(250);
        sender.handle_timeout(now);
        replies(&mut sender, now);
    }
    assert_eq!(present(&mut sender), 0);
    join(&hand, &mut sender, now);
    let again = replies(&mut sender, now);
    assert!(again == [first.clone()], "another text under the same key");
    assert_eq!(
        (
            accepted(&hand.pair, &first).unwrap().0,
            present(&mut sender)
        ),
        (0, 1)
    );
}

#[test]
fn a_receiver_that_left_before_the_start_is_not_let_in_by_its_old_join() {
    let mut sender = Sender::new(SenderConfig::default(), [1; 32], START);
    let mut hand = by_hand(&mut sender, 8);
    join(&hand, &mut sender, START);
    hand.take(&replies(&mut sender, START)[0]);
    let leave = Outcome::Leave(LeaveReason::Interrupted);
    let mut leave = hand.feedback(&sender, 0, leave);
    sender.handle_datagram(START, address(), &mut leave);
    replies(&mut sender, START);
    join(&hand, &mut sender, START + ms(100));
    assert!(replies(&mut sender, START + ms(100)).is_empty());
    assert_eq!(sender.joined(), 0);
}

#[test]
fn what_is_repeated_is_answered_now_and_then() {
    let mut sender = Sender::new(SenderConfig::default(), [1; 32], START);
    let mut hand = by_hand(&mut sender, 8);
    let mut accepts = 0;
    for n in 0..1_000 {
        let now = START + Duration::from_us(n * 100);
        join(&hand, &mut sender, now);
        for accept in replies(&mut sender, now) {
            hand.take(&accept);
            accepts += 1;
        }
    }
    assert!((2..=7).contains(&accepts), "{accepts} in 100 ms");

    // One that is gone, and whose last FEEDBACK is repeated.
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
    let hands: Vec<ByHand> = (1..200).map(|seed| by_hand(&mut sender, seed)).collect();
    let mut buf = Vec::new();
    let mut to = [0, 0];
    for n in 0..2_000 {
        let now = START + ms(n);
        for hand in &hands {
            join(hand, &mut sender, now);
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

/// The datagrams that a receiver sends within 20 s when it hears nothing but this, so many times.
fn answers(receiver: &mut Receiver, announce: &[u8], times: u64) -> Vec<Vec<u8>> {
    let (mut out, mut buf) = (Vec::new(), Vec::new());
    for n in 0..400 {
        let now = START + ms(50 * n);
        if n < times {
            receiver.handle_datagram(now, address(), &mut announce.to_vec());
        }
        receiver.handle_timeout(now);
        while receiver.poll_transmit(now, &mut buf).is_some() {
            out.push(buf.clone());
        }
    }
    out
}

#[test]
fn an_address_that_does_not_answer_gets_less_than_came_from_it() {
    let signing = SigningKey::from_seed([1; 32]);
    for signed in [false, true] {
        let keys = SenderKeys {
            signing: signed.then(|| signing.clone()),
            ..SenderKeys::default()
        };
        let announce = announce_of(SenderConfig {
            keys,
            ..SenderConfig::default()
        });
        let from = signed.then(|| signing.public()).into_iter().collect();
        let keys = ReceiverKeys {
            from,
            ..ReceiverKeys::default()
        };
        for times in [1, 7] {
            let config = ReceiverConfig {
                keys: keys.clone(),
                ..ReceiverConfig::default()
            };
            let mut receiver = Receiver::new(config, [3; 32], START);
            let sent = answers(&mut receiver, &announce, times);
            assert_eq!(sent.len() as u64, times);
            let with_headers = |datagram: &Vec<u8>| datagram.len() + IP_UDP_LEN;
            let bytes: usize = sent.iter().map(with_headers).sum();
            // Twenty receivers that hear the same send no more than three times of what came.
            assert!(
                bytes * 20 <= 3 * times as usize * with_headers(&announce),
                "{bytes}"
            );
        }
    }
}

#[test]
fn a_sender_answers_with_less_than_three_times_what_came() {
    let mut sender = Sender::new(SenderConfig::default(), [1; 32], START);
    let hand = by_hand(&mut sender, 8);
    join(&hand, &mut sender, START);
    let accept = replies(&mut sender, START).remove(0);
    assert!(accept.len() + IP_UDP_LEN <= hand.join.len() + IP_UDP_LEN);
    // From another address it is asked for a cookie, and no key agreement is made.
    let other = SocketAddr::from(([10, 0, 0, 67], 1_000));
    let stranger = by_hand(&mut sender, 9);
    sender.handle_datagram(START, other, &mut stranger.join.clone());
    let answer = replies(&mut sender, START);
    assert_eq!(answer.len(), 1);
    assert!(answer[0].len() < stranger.join.len());
    assert_eq!(present(&mut sender), 1);
}

#[test]
fn a_receiver_that_says_less_than_before_harms_nobody() {
    let mut sender = Sender::new(SenderConfig::default(), [1; 32], START);
    let mut hand = by_hand(&mut sender, 8);
    join(&hand, &mut sender, START);
    hand.take(&replies(&mut sender, START)[0]);
    let data = vec![7; 3_000_000];
    sender.push(&data);
    let mut buf = Vec::new();
    for n in 0..2_000u64 {
        let now = START + ms(5 * n);
        let lie = Feedback {
            next: 0,
            window_end: 9,
            sequence_end: if n % 2 == 0 { (1 << 48) - 1 } else { 0 },
            received: n as u32,
            echo_us: now.as_us(),
            hold_us: 0,
            outcome: Outcome::Receiving,
            needs: vec![Need {
                block: 0,
                run: 9,
                symbols: if n % 7 == 0 { 1 } else { 256 },
            }],
        };
        let mut lie = hand.emit(&sender, 0, &lie);
        sender.handle_datagram(now, address(), &mut lie);
        sender.handle_timeout(now);
        while sender.poll_transmit(now, &mut buf).is_some() {
            sender.on_transmitted(now);
        }
    }
}
