//! Tests of a series: receivers that come too late or are too slow, and the passes after.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::crypt::agree::SecretKey;
use crate::crypt::sign::SigningKey;
use crate::proto::config::{NextPass, Series, StartTimeout};
use crate::proto::limits::{
    NEXT_PASS_ASK_EVERY, NEXT_PASS_HEARD_MAX, NEXT_PASS_SILENT_MAX, NEXT_PASS_UNANSWERED_MAX,
};
use crate::proto::testing::{ByHand, Cable, SENDER, announce_of, data, is_kind};
use crate::proto::{
    Fate, ReceiverConfig, ReceiverEnd, SenderConfig, SenderEnd, SenderEvent, SenderKeys,
};
use crate::units::{Duration, Rate};
use crate::wire::{AbortReason, DatagramKind, DropReason, RejectReason};

const STEP: Duration = Duration::from_ms(5);
const BYTES: usize = 4_000_000;
const COMPLETE: Option<ReceiverEnd> = Some(ReceiverEnd::Complete);

/// The first session of a series.
fn cable_of(next_pass: NextPass) -> Cable {
    let config = SenderConfig {
        receivers: 1,
        memory: 1_500_000,
        rate_max: Some(Rate::from_bits_per_s(20_000_000)),
        keys: SenderKeys {
            signing: Some(SigningKey::from_seed([1; 32])),
            ..SenderKeys::default()
        },
        series: Series {
            next_pass,
            ..Series::default()
        },
        ..SenderConfig::default()
    };
    Cable::new(config, data(BYTES), STEP)
}

fn receiver() -> ReceiverConfig {
    ReceiverConfig {
        memory: 1_500_000,
        start_timeout: Some(Duration::from_secs(8)),
        ..ReceiverConfig::default()
    }
}

/// The next session of the series, as its driver would make it.
fn next(cable: &mut Cable) {
    let config = &mut cable.config;
    config.receivers = cable.sender.waiting_for_next(cable.now);
    config.series = Series {
        id: Some(cable.sender.series()),
        number: config.series.number + 1,
        end: config.series.end.or(cable.sender.stream_end()),
        ..config.series
    };
    config.at_start_timeout = StartTimeout::StartAnyway;
    config.start_timeout = Some(Duration::from_secs(5));
    let number = u8::try_from(config.series.number).unwrap();
    cable.restart(100 + number);
}

/// Only the receivers go on, and what an outsider sends to them each second.
fn without_sender(cable: &mut Cable, time: Duration, lies: &[Vec<u8>]) {
    let until = cable.now + time;
    while cable.now < until {
        cable.now = cable.now + STEP;
        if cable.now.as_us() % 1_000_000 < STEP.as_us() {
            for lie in lies {
                cable.multicast(SENDER.into(), lie);
            }
        }
        for node in &mut cable.nodes {
            node.step(cable.now);
        }
    }
}

/// How often a receiver was said to wait.
fn waits(cable: &Cable) -> usize {
    let waits = |event: &&SenderEvent| matches!(event, SenderEvent::Waits { .. });
    cable.events.iter().filter(waits).count()
}

/// The first block that the sender still keeps.
fn first(cable: &Cable) -> u32 {
    cable.sender.parts().0.first()
}

/// A receiver is being served, and another one has come too late and waits.
fn with_one_too_late(next_pass: NextPass) -> Cable {
    let mut cable = cable_of(next_pass);
    cable.add(receiver());
    while cable.pushed < BYTES / 4 * 3 {
        cable.step();
    }
    cable.add(receiver());
    cable
}

#[test]
fn a_receiver_that_comes_too_late_is_complete_after_another_pass() {
    let mut cable = with_one_too_late(NextPass::ForLate);
    cable.run_for(Duration::from_ms(300));
    assert_eq!(cable.sender.waiting_for_next(cable.now), 1);
    assert_eq!(cable.run(), Some(SenderEnd::Complete));
    let first = cable.sender.stream_end().unwrap();
    next(&mut cable);
    assert_eq!(cable.run(), Some(SenderEnd::Complete));
    assert_eq!(cable.sender.stream_end(), Some(first));
    assert_eq!(cable.ends(), [COMPLETE, COMPLETE]);
    assert!(cable.nodes.iter().all(|node| node.out == cable.data));
    // Told once on both sides, though it asked again and again.
    assert_eq!((waits(&cable), cable.rejected().len()), (1, 0));

    // Without a further pass it is turned away.
    let mut cable = with_one_too_late(NextPass::Never);
    assert_eq!(cable.run(), Some(SenderEnd::Complete));
    cable.run_for(Duration::from_secs(2));
    let late = ReceiverEnd::Rejected(RejectReason::TooLate);
    assert_eq!(cable.ends(), [COMPLETE, Some(late)]);
    assert_eq!(waits(&cable), 0);
}

#[test]
fn a_waiting_receiver_says_so_now_and_then_and_no_longer_counts_when_it_does_not() {
    let mut cable = cable_of(NextPass::ForLate);
    cable.config.rate_max = Some(Rate::from_bits_per_s(2_000_000));
    cable.restart(1);
    cable.add(receiver());
    while first(&cable) == 0 {
        cable.step();
    }
    cable.add(receiver());
    cable.to_peers.clear();
    cable.run_for(Duration::from_secs(7));
    assert_eq!(cable.nodes[1].waited, [None]);
    assert_eq!(cable.sender.waiting_for_next(cable.now), 1);
    let rejects = cable.to_peers.iter().filter(is_kind(DatagramKind::Reject));
    let count = rejects.count();
    assert!((3..=6).contains(&count), "{count} answers in 7 s");
    // It outlasts the time in which a first session must come.
    cable.run_for(Duration::from_secs(3));
    assert_eq!(cable.nodes[1].end, None);
    cable.nodes.pop();
    cable.run_for(NEXT_PASS_HEARD_MAX);
    assert_eq!(cable.sender.waiting_for_next(cable.now), 0);
}

#[test]
fn it_waits_for_its_series_alone_and_not_for_ever() {
    let mut cable = with_one_too_late(NextPass::ForLate);
    cable.run();
    cable.run_for(Duration::from_secs(2));
    assert_eq!(cable.nodes[1].waited, [None]);
    // Another session of the same signer, which would take it in.
    let announce = announce_of(cable.config.clone());
    without_sender(&mut cable, NEXT_PASS_SILENT_MAX, &[announce]);
    let lost = Some(ReceiverEnd::SenderLost(NEXT_PASS_SILENT_MAX));
    assert_eq!(cable.ends()[1], lost);
}

#[test]
fn an_attacker_that_repeats_the_sender_keeps_no_receiver_waiting() {
    let mut cable = with_one_too_late(NextPass::ForLate);
    cable.run();
    cable.run_for(Duration::from_secs(2));
    assert_eq!(cable.nodes[1].waited, [None]);
    let announces = cable
        .to_group
        .iter()
        .filter(is_kind(DatagramKind::Announce));
    let rejects = cable.to_peers.iter().filter(is_kind(DatagramKind::Reject));
    let lies: Vec<_> = announces.chain(rejects).cloned().collect();
    // The newest answer counts until the next question.
    without_sender(
        &mut cable,
        NEXT_PASS_UNANSWERED_MAX + NEXT_PASS_ASK_EVERY,
        &lies,
    );
    let lost = Some(ReceiverEnd::SenderLost(NEXT_PASS_UNANSWERED_MAX));
    assert_eq!(cable.ends()[1], lost);
}

#[test]
fn an_input_that_changed_is_noticed() {
    let mut cable = with_one_too_late(NextPass::ForLate);
    cable.run();
    next(&mut cable);
    cable.data[BYTES / 2] ^= 1;
    let changed = AbortReason::Changed;
    assert_eq!(cable.run(), Some(SenderEnd::Aborted(changed)));
    let aborted = ReceiverEnd::Aborted(changed, String::new());
    assert_eq!(cable.ends(), [COMPLETE, Some(aborted)]);

    // One that became shorter, and was read before a receiver came.
    let mut cable = with_one_too_late(NextPass::ForLate);
    cable.run();
    next(&mut cable);
    cable.data.truncate(1_000);
    assert_eq!(cable.run(), Some(SenderEnd::Aborted(changed)));
    assert!(matches!(cable.ends()[1], Some(ReceiverEnd::Aborted(..))));
}

/// Two receivers, one of them too slow, after the first session.
fn with_one_too_slow() -> Cable {
    let mut cable = cable_of(NextPass::ForLateAndSlow);
    cable.config.receivers = 2;
    cable.config.floor = Some(Rate::from_bits_per_s(8_000_000));
    cable.config.slow_grace = Duration::from_ms(500);
    cable.restart(1);
    cable.add(receiver());
    cable.add(receiver()).take_rate = 1_000;
    let begun = cable.now;
    assert!(matches!(
        cable.run(),
        Some(SenderEnd::Partial { done: 1, failed: 1 })
    ));
    assert!(cable.fates().contains(&Fate::Dropped(DropReason::NextPass)));
    // Alone, the fast one would have taken 1.6 s; the slow one takes 20.
    let took = cable.now.since(begun);
    assert!(took < Duration::from_secs(5), "{took:?}");
    cable
}

#[test]
fn a_receiver_that_is_too_slow_goes_on_in_another_pass() {
    let mut cable = with_one_too_slow();
    let so_far = cable.nodes[1].out.len();
    assert!(so_far > 0 && so_far < BYTES);
    assert_eq!(cable.nodes[1].waited, [Some(so_far as u64)]);
    assert_eq!(cable.sender.waiting_for_next(cable.now), 1);
    next(&mut cable);
    assert_eq!(cable.run(), Some(SenderEnd::Complete));
    assert_eq!(cable.ends(), [COMPLETE, COMPLETE]);
    // One stream without a seam.
    assert!(cable.nodes.iter().all(|node| node.out == cable.data));
    let received = cable.nodes[1].receiver.stats();
    assert_eq!(received.bytes, BYTES as u64);
}

#[test]
fn what_changed_in_between_is_not_handed_out() {
    let mut cable = with_one_too_slow();
    let so_far = cable.nodes[1].out.len();
    next(&mut cable);
    // In what it has already: the rest alone would fit.
    cable.data[10] ^= 1;
    cable.run();
    assert!(cable.ends()[1].is_some() && cable.ends()[1] != COMPLETE);
    assert_eq!(cable.nodes[1].out.len(), so_far);
}

#[test]
fn made_up_waiting_receivers_cost_announcements() {
    let mut cable = with_one_too_late(NextPass::ForLate);
    cable.nodes.pop();
    let own = SecretKey::from_seed([9; 32]);
    for n in 0..2_000u16 {
        let from = SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 1_000));
        cable.now = cable.now + Duration::from_ms(1);
        let mut stranger = ByHand::new(&mut cable.sender, (from, cable.now), &own, None);
        cable
            .sender
            .handle_datagram(cable.now, from, &mut stranger.join);
    }
    let waiting = cable.sender.waiting_for_next(cable.now);
    assert!(waiting > 500, "{waiting}");
    cable.run();
    next(&mut cable);
    assert_eq!(cable.run(), Some(SenderEnd::NoReceivers));
    let announces = is_kind(DatagramKind::Announce);
    assert!(cable.to_group.iter().all(|d| announces(&d)));
    assert!(
        cable.to_group.len() <= 27,
        "{} in 5 s",
        cable.to_group.len()
    );
}

#[test]
fn a_lossy_way_does_not_keep_one_from_waiting() {
    let mut cable = cable_of(NextPass::ForLate);
    cable.config.rate_max = Some(Rate::from_bits_per_s(2_000_000));
    cable.config.stall_max = None;
    cable.restart(1);
    cable.add(receiver());
    while first(&cable) == 0 {
        cable.step();
    }
    // The others take their time.
    cable.nodes[0].stop_taking();
    cable.add(receiver());
    cable.run_for(Duration::from_secs(3));
    assert_eq!(cable.nodes[1].waited, [None]);
    let mut node = cable.nodes.pop().unwrap();
    let mut dice = StdRng::seed_from_u64(3);
    let until = cable.now + Duration::from_secs(600);
    while cable.now < until {
        (cable.to_peers, cable.to_group) = (Vec::new(), Vec::new());
        cable.step();
        for datagram in cable.to_peers.drain(..).chain(cable.to_group.drain(..)) {
            if dice.random_bool(0.75) {
                node.hear(cable.now, SENDER.into(), &datagram);
            }
        }
        for mut said in node.step(cable.now) {
            if dice.random_bool(0.75) {
                cable
                    .sender
                    .handle_datagram(cable.now, node.addr, &mut said);
            }
        }
    }
    assert_eq!(
        (node.end, cable.sender.waiting_for_next(cable.now)),
        (None, 1)
    );
}

#[test]
fn a_waiting_receiver_is_told_that_the_stream_is_broken_off() {
    let mut cable = with_one_too_late(NextPass::ForLate);
    assert_eq!(cable.sender.two_way().too_late(), RejectReason::NextPass);
    cable.sender.abort(cable.now, AbortReason::Interrupted, "");
    assert_eq!(cable.sender.two_way().too_late(), RejectReason::BrokenOff);
}

#[test]
fn one_that_has_everything_need_not_come_again() {
    let mut cable = cable_of(NextPass::ForLateAndSlow);
    cable.config.receivers = 2;
    cable.restart(1);
    cable.add(receiver());
    cable.add(receiver());
    while cable.pushed < BYTES / 2 {
        cable.step();
    }
    let at = cable.nodes[1].addr;
    let member = cable.sender.members().into_iter().find(|m| m.addr == at);
    let number = member.unwrap().receiver;
    let (now, sender) = (cable.now, cable.sender.two_way());
    sender.drop_receiver(now, number, DropReason::NextPass);
    // It does not hear that, nor is it heard, until it has everything.
    sender.outgoing.drop_replies();
    cable.nodes[1].addr = SocketAddr::from(([10, 0, 0, 77], 7));
    while cable.nodes[1].out.len() < BYTES {
        cable.step();
    }
    cable.nodes[1].addr = at;
    cable.run();
    cable.run_for(Duration::from_secs(6));
    assert_eq!(cable.ends()[1], Some(ReceiverEnd::Complete));
    assert_eq!(cable.sender.members()[number as usize].fate, Fate::Done);
    assert_eq!(cable.sender.waiting_for_next(cable.now), 0);
}
