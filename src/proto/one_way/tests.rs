//! Tests of one-way sessions, on a cable that loses what each test says.

use std::net::SocketAddr;

use crate::crypt::secret::Secret;
use crate::crypt::sign::SigningKey;
use crate::proto::limits::{ONE_WAY_COPIES, ONE_WAY_INTERLEAVE_TIME, PEER_SILENT_MAX};
use crate::proto::testing::{
    Cable, Loses, SENDER, announce_of, chance, data, forge, nothing, of_kind, with_keys,
};
use crate::proto::{
    OneWay, PassedOver, ReceiverConfig, ReceiverEnd, ReceiverKeys, Sender, SenderConfig, SenderEnd,
    SenderKeys,
};
use crate::units::{Duration, Instant, Rate};
use crate::wire::{AbortReason, DatagramKind, MulticastHeader, RejectReason};

const STEP: Duration = Duration::from_ms(2);
/// So 13 blocks are interleaved, and take a second.
const RATE: Rate = Rate::from_bits_per_s(40_000_000);
const BYTES: usize = 7_000_000;
const COMPLETE: ReceiverEnd = ReceiverEnd::Complete;

fn config(keys: SenderKeys) -> SenderConfig {
    SenderConfig {
        min_wait: Duration::from_secs(1),
        rate_max: Some(RATE),
        one_way: Some(OneWay::default()),
        keys,
        ..SenderConfig::default()
    }
}

fn receiver(keys: ReceiverKeys) -> ReceiverConfig {
    ReceiverConfig {
        one_way: true,
        ..with_keys(keys)
    }
}

/// A sender, and a receiver for each of these keys and ways to lose.
fn cable_of(config: SenderConfig, receivers: Vec<(ReceiverKeys, Loses)>) -> Cable {
    let mut cable = Cable::new(config, data(BYTES), STEP);
    for (keys, loses) in receivers {
        cable.add(receiver(keys)).loses = loses;
    }
    cable
}

/// A receiver for each way to lose, without keys.
fn losing(ways: Vec<Loses>) -> Cable {
    let receiver = |loses| (ReceiverKeys::default(), loses);
    let receivers = ways.into_iter().map(receiver).collect();
    cable_of(config(SenderKeys::default()), receivers)
}

/// Runs until all is over, and returns how the receivers ended.
fn run(cable: &mut Cable) -> Vec<ReceiverEnd> {
    cable.run_all();
    let ends = cable.ends();
    ends.into_iter().map(Option::unwrap).collect()
}

fn is_lost(end: &ReceiverEnd) -> bool {
    matches!(end, ReceiverEnd::Lost { .. })
}

#[test]
fn losses_below_the_redundancy_are_made_good() {
    // The datagrams of a tenth of a second less than a tenth of a group, wherever they fall.
    let outage = |ms: u64| -> Loses {
        let from = Instant::from_us(ms * 1_000);
        Box::new(move |now, _| now >= from && now < from + Duration::from_ms(80))
    };
    let ways = vec![
        nothing(),
        chance(1, 0.01),
        chance(2, 0.03),
        outage(1_100),
        outage(1_970),
        outage(2_300),
    ];
    let mut cable = losing(ways);
    assert_eq!(run(&mut cable), [COMPLETE; 6]);
    assert_eq!(cable.end, Some(SenderEnd::Sent));
    let stats = cable.sender.stats();
    let overhead = (stats.source + stats.repair) as f64 / stats.source as f64;
    // The last group is shorter than the others, and its share of that goes out once more.
    assert!((1.10..1.35).contains(&overhead), "{overhead}");
}

#[test]
fn an_outage_at_the_end_hits_few_blocks_and_is_made_good_too() {
    for blocks in [1, 2] {
        let way = of_kind(DatagramKind::Data, |h| !h.repair && h.symbol >= 100);
        let mut cable = losing(vec![way, chance(3, 0.2)]);
        cable.data.truncate(blocks * 300_000);
        assert_eq!(run(&mut cable), [COMPLETE; 2], "{blocks} blocks");
    }
}

#[test]
fn losses_above_the_redundancy_are_an_error() {
    // Thirteen of a hundred more than once in a while, and one block that lacks one too many.
    let one_too_many = of_kind(DatagramKind::Data, |h| {
        h.block == 5 && !h.repair && h.symbol < 27
    });
    let enough = of_kind(DatagramKind::Data, |h| {
        h.block == 5 && !h.repair && h.symbol < 26
    });
    let mut cable = losing(vec![chance(1, 0.20), one_too_many, enough]);
    let ends = run(&mut cable);
    assert!(is_lost(&ends[0]), "{:?}", ends[0]);
    assert_eq!(
        ends[1..],
        [ReceiverEnd::Lost { block: 5, lacks: 1 }, COMPLETE]
    );
    // It is not told at the end of the stream, but when the block is over.
    let at = cable.nodes[1].ended_at;
    assert!(at < Instant::from_us(2_800_000), "{at:?}");
    assert!(
        cable.nodes[1].out.len() < 6 * 256 * 1_436,
        "handed out beyond it"
    );

    let mut doubled = config(SenderKeys::default());
    doubled.one_way = Some(OneWay { redundancy: 500 });
    let mut cable = cable_of(doubled, vec![(ReceiverKeys::default(), chance(1, 0.20))]);
    assert_eq!(run(&mut cable), [COMPLETE]);
}

#[test]
fn small_streams_arrive_at_high_loss() {
    for bytes in [0, 1, 5_000, 100_000] {
        let mut cable = losing((0..20).map(|seed| chance(seed, 0.20)).collect());
        // Twenty per cent need more than ten, but of few symbols there are more than that.
        cable.data.truncate(bytes);
        assert_eq!(run(&mut cable), vec![COMPLETE; 20], "{bytes} bytes");
    }
}

#[test]
fn a_receiver_with_other_keys_hears_nothing() {
    let signer = |n| SigningKey::from_seed([n; 32]);
    let keys = SenderKeys {
        signing: Some(signer(1)),
        shared: Some(Secret::new([3; 32])),
        ..SenderKeys::default()
    };
    let receiver = |from: &[u8], shared: Option<u8>| ReceiverKeys {
        from: from.iter().map(|&n| signer(n).public()).collect(),
        shared: shared.map(|n| Secret::new([n; 32])),
        ..ReceiverKeys::default()
    };
    let keyrings = [
        receiver(&[1], Some(3)),
        receiver(&[], Some(3)),
        receiver(&[2], Some(3)),
        receiver(&[1], Some(4)),
        receiver(&[1], None),
    ];
    let receivers = keyrings.map(|keys| (keys, chance(7, 0.02)));
    let mut cable = cable_of(config(keys), receivers.into());
    let none = ReceiverEnd::NoSender;
    let expected = [&COMPLETE, &COMPLETE, &none, &none, &none].map(Clone::clone);
    assert_eq!(run(&mut cable), expected);
    let why: Vec<_> = cable.nodes[2..]
        .iter()
        .map(|s| s.passed_over.clone())
        .collect();
    assert_eq!(
        why.concat(),
        [
            PassedOver::OtherSigner,
            PassedOver::OtherSharedKey,
            PassedOver::SharedKeyNeeded
        ]
    );
    assert!(cable.nodes[2..].iter().all(|s| s.out.is_empty()));
}

#[test]
fn a_receiver_that_comes_late_is_told_so() {
    for after_ms in [200, 1_500] {
        let mut cable = losing(vec![nothing()]);
        cable.run_for(Duration::from_ms(1_000 + after_ms));
        cable.add(receiver(ReceiverKeys::default()));
        let came = cable.now;
        let late = ReceiverEnd::Rejected(RejectReason::TooLate);
        assert_eq!(run(&mut cable), [COMPLETE, late]);
        let at = cable.nodes[1].ended_at;
        assert!(at.since(came) < Duration::from_secs(3), "{at:?}");
    }
}

#[test]
fn a_receiver_that_waits_for_the_next_session_outlasts_its_time_to_find_one() {
    let mut config = config(SenderKeys::default());
    config.series.repeat = true;
    let mut cable = cable_of(config, Vec::new());
    cable.data.truncate(200_000);
    while cable.sender.is_waiting() {
        cable.step();
    }
    cable.run_for(Duration::from_ms(100));
    // Some of these times are over while the next session is announced, and has not begun.
    for n in 0..12 {
        let start_timeout = Some(Duration::from_ms(1_250 + 250 * n));
        cable.add(ReceiverConfig {
            start_timeout,
            ..receiver(ReceiverKeys::default())
        });
    }
    assert_eq!(cable.run(), Some(SenderEnd::Sent));
    cable.restart(50);
    assert_eq!(run(&mut cable), [COMPLETE; 12]);
}

#[test]
fn one_of_many_ends_is_enough() {
    let but = |kept: u16| of_kind(DatagramKind::End, move |h| h.following != kept);
    let mut cable = losing(vec![but(0), but(5), but(ONE_WAY_COPIES - 1), but(99)]);
    let ends = run(&mut cable);
    assert_eq!(ends[..3], [COMPLETE; 3]);
    assert_eq!(ends[3], ReceiverEnd::SenderLost(PEER_SILENT_MAX));
    assert_eq!(cable.nodes[3].out.len(), BYTES, "yet it is not complete");
}

#[test]
fn one_of_many_aborts_is_enough() {
    let mut heard = 0;
    let but_the_last = of_kind(DatagramKind::Abort, move |_| {
        heard += 1;
        heard < ONE_WAY_COPIES
    });
    // One learns of it that never had anything else of the session.
    let nothing_else =
        Box::new(|_, h: Option<&MulticastHeader>| h.is_some_and(|h| h.kind != DatagramKind::Abort));
    let mut cable = losing(vec![but_the_last, nothing_else, nothing()]);
    cable.run_for(Duration::from_ms(1_500));
    let now = cable.now;
    cable.sender.abort(now, AbortReason::Producer, "7");
    let aborted = ReceiverEnd::Aborted(AbortReason::Producer, "7".into());
    assert_eq!(run(&mut cable), [aborted.clone(), aborted.clone(), aborted]);
    assert_eq!(cable.end, Some(SenderEnd::Aborted(AbortReason::Producer)));
}

#[test]
fn a_sender_that_is_gone_is_noticed() {
    let mut cable = losing(vec![nothing()]);
    cable.run_for(Duration::from_ms(1_500));
    cable.sender_is_gone = true;
    let gone = cable.now;
    assert_eq!(run(&mut cable), [ReceiverEnd::SenderLost(PEER_SILENT_MAX)]);
    let at = cable.nodes[0].ended_at;
    assert!(at.since(gone) <= PEER_SILENT_MAX + STEP.times(2));
}

#[test]
fn a_slow_consumer_overflows_and_is_told_so() {
    let mut config = config(SenderKeys::default());
    config.memory = 24 * 256 * 1_436;
    let mut cable = cable_of(config, Vec::new());
    // Of a stream of 19 blocks it can hold no more than 6 that are interleaved, and the next.
    let slow = cable.add(small_receiver());
    slow.takes_from = Instant::from_us(9_000_000);
    let patient = cable.add(receiver(ReceiverKeys::default()));
    patient.takes_from = Instant::from_us(20_000_000);
    let ends = run(&mut cable);
    // What is here can wait for the consumer, though the sender is gone.
    assert_eq!(ends, [ReceiverEnd::Overrun { block: 12 }, COMPLETE]);
    assert!(cable.nodes[1].ended_at >= Instant::from_us(20_000_000));
}

/// A receiver that can hold twelve blocks.
fn small_receiver() -> ReceiverConfig {
    ReceiverConfig {
        memory: 12 * 256 * 1_436,
        ..receiver(ReceiverKeys::default())
    }
}

#[test]
fn a_receiver_that_cannot_hold_two_interleaves_does_not_begin() {
    let mut cable = losing(Vec::new());
    cable.add(ReceiverConfig {
        start_timeout: Some(Duration::from_secs(3)),
        ..small_receiver()
    });
    assert_eq!(run(&mut cable), [ReceiverEnd::NoSender]);
    assert_eq!(cable.nodes[0].passed_over, [PassedOver::MoreMemory]);
}

#[test]
fn a_repeated_announce_does_not_hold_up() {
    let announce = announce_of(config(SenderKeys::default()));
    let mut cable = losing(vec![nothing()]);
    for _ in 0..400 {
        cable.multicast(SENDER.into(), &announce);
        cable.step();
    }
    assert_eq!(run(&mut cable), [COMPLETE]);
}

/// DATA in the sender's name, as anyone can make it that has heard the ANNOUNCE: other symbols,
/// sometimes of a block of another size.
fn other_symbols(sender: &Sender, datagram: &[u8], _: u64) -> Vec<Vec<u8>> {
    let chosen = |h: &MulticastHeader| h.kind == DatagramKind::Data && h.symbol.is_multiple_of(50);
    let Some(header) = MulticastHeader::parse(datagram).ok().filter(chosen) else {
        return Vec::new();
    };
    let lie = MulticastHeader {
        following: header.following / (1 + header.symbol % 3),
        ..header
    };
    let symbol = vec![5; usize::from(sender.parts().1.announced().symbol_len)];
    vec![forge(sender, header.sequence, lie, &symbol)]
}

#[test]
fn an_attacker_that_pollutes_a_session_can_stop_it_and_no_more() {
    let key = SigningKey::from_seed([1; 32]);
    let keys = SenderKeys {
        signing: Some(key.clone()),
        ..SenderKeys::default()
    };
    let believing = ReceiverKeys {
        from: vec![key.public()],
        ..ReceiverKeys::default()
    };
    for keys in [keys, SenderKeys::default()] {
        let receiver = if keys.signing.is_some() {
            believing.clone()
        } else {
            ReceiverKeys::default()
        };
        let mut cable = cable_of(config(keys), vec![(receiver, nothing())]);
        cable.lie = Some(other_symbols);
        let ends = run(&mut cable);
        assert!(
            ends[0] == ReceiverEnd::Corrupt || is_lost(&ends[0]),
            "{ends:?}"
        );
    }
}

#[test]
fn a_slow_input_is_gathered_to_be_interleaved() {
    let mut cable = losing(vec![nothing(), chance(1, 0.03)]);
    let whole = std::mem::take(&mut cable.data);
    let (mut fed, mut first) = (0, None);
    // A block each 200 ms: five are interleaved, once a second.
    while fed < whole.len() {
        let now = cable.now;
        cable.sender.handle_timeout(now);
        let due = (now.as_us() as usize * 9 / 5).min(whole.len());
        fed += cable.sender.push(&whole[fed..due]);
        if due == whole.len() {
            cable.sender.finish();
        }
        cable.send();
        cable.nodes.iter_mut().for_each(|node| {
            node.step(now);
        });
        if first.is_none() && !cable.nodes[0].out.is_empty() {
            first = Some(now);
            // The first blocks that are interleaved are four or more.
            assert!(
                cable.sender.parts().0.interleave_start() == 0
                    && cable.sender.parts().0.watermark() >= 4
            );
        }
        cable.now = now + STEP;
    }
    assert!(first.unwrap().since(Instant::ZERO) <= ONE_WAY_INTERLEAVE_TIME.times(3));
    (cable.pushed, cable.data) = (whole.len(), whole);
    assert_eq!(run(&mut cable), [COMPLETE; 2]);
}

#[test]
fn no_receiver_is_heard() {
    let mut cable = losing(vec![]);
    let from = SocketAddr::from(([10, 0, 0, 1], 1_000));
    for kind in DatagramKind::ALL {
        let mut datagram = vec![0; 200];
        datagram[0] = 0x20 | kind as u8;
        datagram[4..8].copy_from_slice(&cable.sender.session().tag().to_be_bytes());
        cable.sender.handle_datagram(cable.now, from, &mut datagram);
    }
    assert_eq!(cable.sender.stats().refused, DatagramKind::ALL.len() as u64);
    assert_eq!(cable.sender.joined(), 0);
    assert!(
        cable.sender.start_now(cable.now),
        "no receiver is waited for"
    );
}
