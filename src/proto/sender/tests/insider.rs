//! Tests of keys: a sender, receivers with keys of their own, and sometimes a member that lies.

use std::net::SocketAddr;

use crate::crypt::agree::SecretKey;
use crate::crypt::secret::Secret;
use crate::crypt::sign::SigningKey;
use crate::proto::protect::{SignatureContext, multicast_nonce, open, sign};
use crate::proto::testing::{
    ByHand, Cable, Lie, SENDER, accepted, announce_of, control, data, forge, forge_at, is_kind,
    with_keys,
};
use crate::proto::{
    Listed, PassedOver, ReceiverEnd, ReceiverKeys, Sender, SenderConfig, SenderEnd, SenderEvent,
    SenderKeys, Target,
};
use crate::units::{Duration, Instant};
use crate::wire::{
    Abort, AbortReason, DatagramKind, End, HEADER_LEN, MulticastHeader, Poll, RejectReason,
    SymbolHashes,
};

const BYTES: usize = 3_000_000;

fn signer(n: u8) -> SigningKey {
    SigningKey::from_seed([n; 32])
}

fn signed() -> SenderKeys {
    SenderKeys {
        signing: Some(signer(1)),
        ..SenderKeys::default()
    }
}

fn signed_config() -> SenderConfig {
    SenderConfig {
        keys: signed(),
        ..SenderConfig::default()
    }
}

/// A sender, and a receiver for each of these keys.
fn cable_of(keys: SenderKeys, receivers: Vec<ReceiverKeys>) -> Cable {
    let config = SenderConfig {
        settle: Duration::from_ms(500),
        start_timeout: Some(Duration::from_secs(5)),
        keys,
        ..SenderConfig::default()
    };
    let mut cable = Cable::new(config, data(BYTES), Duration::from_ms(5));
    for keys in receivers {
        cable.add(with_keys(keys));
    }
    cable
}

/// The places in the list that receivers have shown to hold.
fn listed_places(cable: &Cable) -> Vec<Option<usize>> {
    let place = |event: &SenderEvent| match event {
        SenderEvent::Joined { listed, .. } => Some(*listed),
        _ => None,
    };
    let mut places: Vec<_> = cable.events.iter().filter_map(place).collect();
    places.sort_unstable();
    places
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
    let mut cable = cable_of(signed(), keys);
    assert_eq!(cable.run_all(), Some(SenderEnd::Complete));
    assert_eq!(cable.ends(), [COMPLETE, COMPLETE, COMPLETE, NO_SENDER]);
    assert_eq!(cable.nodes[3].passed_over, [PassedOver::OtherSigner]);

    let mut cable = cable_of(SenderKeys::default(), vec![from(&[]), from(&[1])]);
    assert_eq!(cable.run_all(), Some(SenderEnd::Complete));
    assert_eq!(cable.ends(), [COMPLETE, NO_SENDER]);
    assert_eq!(cable.nodes[1].passed_over, [PassedOver::Unsigned]);
}

#[test]
fn only_listed_receivers_are_taken_in() {
    let public = |n| listed(&SecretKey::from_seed([n; 32]));
    let sender = SenderKeys {
        listed: Some(vec![public(3), public(4)]),
        ..SenderKeys::default()
    };
    let keys = [&[4][..], &[], &[5], &[5, 6, 3], &[5, 6]].map(identities);
    let mut cable = cable_of(sender, keys.to_vec());
    assert_eq!(cable.run_all(), Some(SenderEnd::Complete));
    let rejected = |reason| Some(ReceiverEnd::Rejected(reason));
    let (needed, other) = (RejectReason::KeyNeeded, RejectReason::NotListed);
    let expected = [
        COMPLETE,
        rejected(needed),
        rejected(other),
        COMPLETE,
        rejected(other),
    ];
    assert_eq!(cable.ends(), expected);
    assert_eq!(listed_places(&cable), [Some(0), Some(1)]);
}

#[test]
fn a_shared_secret_is_needed_on_all_sides() {
    let sender = SenderKeys {
        shared: Some(Secret::new([1; 32])),
        ..SenderKeys::default()
    };
    let mut cable = cable_of(sender, [Some(1), Some(2), None].map(sharing).to_vec());
    assert_eq!(cable.run_all(), Some(SenderEnd::Complete));
    assert_eq!(cable.ends(), [COMPLETE, NO_SENDER, NO_SENDER]);
    let why = |n: usize| cable.nodes[n].passed_over.clone();
    assert_eq!(why(1), [PassedOver::OtherSharedKey]);
    assert_eq!(why(2), [PassedOver::SharedKeyNeeded]);

    let mut cable = cable_of(SenderKeys::default(), vec![sharing(Some(1))]);
    assert_eq!(cable.run_all(), Some(SenderEnd::NoReceivers));
    assert_eq!(cable.nodes[0].passed_over, [PassedOver::NoSharedKey]);
}

#[test]
fn a_repeated_announce_does_not_hold_up() {
    let announce = announce_of(signed_config());
    let mut cable = cable_of(signed(), vec![from(&[1])]);
    // From many addresses, before the true one is heard at all.
    for n in 0..20 {
        let attacker = SocketAddr::from(([10, 1, 0, n], 9));
        cable.multicast(attacker, &announce);
    }
    assert_eq!(cable.run_all(), Some(SenderEnd::Complete));
    assert_eq!(cable.ends(), [COMPLETE]);
}

#[test]
fn a_flood_of_repeated_announces_delays_and_no_more() {
    let announce = announce_of(signed_config());
    let mut cable = cable_of(signed(), vec![from(&[1])]);
    let mut port = 0;
    // 2,000 a second, each from a new address, before every step.
    for _ in 0..1_000 {
        for _ in 0..10 {
            port = if port == u16::MAX { 1 } else { port + 1 };
            cable.multicast(SocketAddr::from(([10, 1, 0, 1], port)), &announce);
        }
        cable.step();
    }
    assert_eq!(listed_places(&cable).len(), 1, "joined within 5 s");
}

#[test]
fn a_member_cannot_go_on_in_the_name_of_a_sender_that_is_gone() {
    let mut cable = cable_of(signed(), vec![from(&[1])]);
    cable.pushes = false;
    cable.sender.push(&data(1_000_000));
    for _ in 0..300 {
        cable.step();
    }
    assert!(!cable.sender.is_waiting());
    let poll = Poll {
        watermark: 0,
        clock_us: u64::MAX,
        rtt_us: 1_000,
        receivers: 1,
        report_every: 1,
        report_us: 1,
    };
    let symbol = vec![1; usize::from(cable.config.symbol_len)];
    let mut body = Vec::new();
    poll.emit(&mut body);
    for n in 0..20 {
        cable.now = cable.now + Duration::from_secs(1);
        let header = MulticastHeader {
            block: 2,
            following: 9,
            ..control(DatagramKind::Data)
        };
        for lie in [
            forge(&cable.sender, n, control(DatagramKind::Poll), &body),
            forge(&cable.sender, n + 100, header, &symbol),
        ] {
            cable.multicast(SocketAddr::from(([10, 0, 0, 66], 1)), &lie);
        }
        let now = cable.now;
        cable.nodes[0].step(now);
    }
    assert!(matches!(cable.ends()[0], Some(ReceiverEnd::SenderLost(_))));
}

fn symbol_len(sender: &Sender) -> usize {
    usize::from(sender.parts().1.announced().symbol_len)
}

/// The header of every fortieth DATA.
fn victim(sender: &Sender, datagram: &[u8]) -> Option<MulticastHeader> {
    let header = MulticastHeader::parse(datagram).ok()?;
    let chosen = header.kind == DatagramKind::Data && header.symbol.is_multiple_of(40);
    (chosen && header.block < sender.parts().0.watermark() + 9).then_some(header)
}

fn other_symbols(sender: &Sender, datagram: &[u8], n: u64) -> Vec<Vec<u8>> {
    let symbol = vec![n as u8; symbol_len(sender)];
    let forge = |header| forge(sender, n, header, &symbol);
    victim(sender, datagram).map(forge).into_iter().collect()
}

fn other_sizes(sender: &Sender, datagram: &[u8], n: u64) -> Vec<Vec<u8>> {
    let symbol = vec![n as u8; symbol_len(sender)];
    let lie = |h: MulticastHeader| MulticastHeader {
        following: h.following / 2,
        ..h
    };
    let forge = |header| forge(sender, n, lie(header), &symbol);
    victim(sender, datagram).map(forge).into_iter().collect()
}

fn far_numbers(sender: &Sender, datagram: &[u8], n: u64) -> Vec<Vec<u8>> {
    let symbol = vec![n as u8; symbol_len(sender)];
    let next = sender.parts().1.sequence();
    let forge = |header| {
        [(1 << 48) - 2 - n, next + (1 << 19) - n, next + (1 << 21)]
            .map(|sequence| forge_at(sender, sequence, header, &symbol))
    };
    victim(sender, datagram)
        .map(forge)
        .into_iter()
        .flatten()
        .collect()
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
    let announce = sender.parts().1.sign(SignatureContext::Block, b"other");
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
            sign(&liar, SignatureContext::End, sender.session(), body).to_vec(),
            announce.clone().unwrap_or_default(),
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
    for lie in [other_symbols as Lie, other_sizes, far_numbers, other_words] {
        let mut cable = cable_of(signed(), vec![from(&[1]), from(&[])]);
        cable.lie = Some(lie);
        assert_eq!(cable.run_all(), Some(SenderEnd::Complete));
        assert_eq!(cable.ends(), [COMPLETE, COMPLETE]);
        assert!(cable.lies > 50, "{} lies", cable.lies);
    }
}

#[test]
fn what_was_signed_is_not_said_again_under_another_number() {
    let mut cable = cable_of(signed(), vec![from(&[1])]);
    let is_poll = is_kind(DatagramKind::Poll);
    while !cable.to_group.iter().any(|datagram| is_poll(&datagram)) {
        cable.step();
    }
    let mut poll = cable.to_group.iter().find(is_poll).unwrap().clone();
    let header = MulticastHeader::parse(&poll).unwrap();
    let cipher = cable.sender.parts().1.cipher().clone();
    let nonce = multicast_nonce(header.sequence);
    let body = open(&cipher, &nonce, &mut poll, HEADER_LEN)
        .unwrap()
        .to_vec();
    let node = &mut cable.nodes[0];
    for (ahead, refused) in [(0, 1), (1, 1), (100, 1)] {
        let again = forge_at(&cable.sender, header.sequence + ahead, header, &body);
        let before = node.receiver.stats();
        node.hear(cable.now, SENDER.into(), &again);
        let after = node.receiver.stats();
        assert_eq!(after.refused - before.refused, refused, "{ahead} ahead");
        assert_eq!(after.datagrams, before.datagrams);
    }
}

#[test]
fn a_member_can_only_stop_what_is_not_signed() {
    let mut cable = cable_of(SenderKeys::default(), vec![from(&[])]);
    cable.lie = Some(other_symbols);
    assert_eq!(cable.run_all(), Some(SenderEnd::AllLost));
    assert_eq!(cable.ends(), [Some(ReceiverEnd::Corrupt)]);
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
    let own = SecretKey::from_seed([8; 32]);
    let addr = SocketAddr::from(([10, 0, 0, 1], 1_000));
    let mut hand = ByHand::new(&mut sender, (addr, now), &own, Some(holder.public()));
    sender.handle_datagram(now, addr, &mut hand.join);
    let mut accept = Vec::new();
    while sender.poll_transmit(now, &mut accept).unwrap().to != Target::Peer(addr) {}
    let found = [
        accepted(&hand.pair, &accept),
        accepted(&hand.ciphers(&sender, &holder.public(), &own), &accept),
        accepted(&hand.ciphers(&sender, &holder.public(), &holder), &accept),
    ];
    assert_eq!(found.map(|number| number.is_some()), [false, false, true]);
}

/// DATA of the next numbers, before the sender uses them, until the stream flows.
fn next_numbers(sender: &Sender, _: &[u8], _: u64) -> Vec<Vec<u8>> {
    if sender.stats().source > 0 {
        return Vec::new();
    }
    let next = sender.parts().1.sequence();
    let numbers = (0..64).map(|n| next + n);
    let forge = |sequence| forge_at(sender, sequence, control(DatagramKind::Data), &[]);
    numbers.map(forge).collect()
}

#[test]
fn a_member_does_not_silence_the_signer_by_using_its_numbers_first() {
    let mut cable = cable_of(signed(), vec![from(&[1])]);
    cable.lie = Some(next_numbers);
    assert_eq!(cable.run_all(), Some(SenderEnd::Complete));
    assert_eq!(cable.ends(), [COMPLETE]);
    assert!(cable.lies > 300, "{} lies", cable.lies);
}
