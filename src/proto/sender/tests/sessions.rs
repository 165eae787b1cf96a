//! Tests of a session with one receiver: pauses, consumers that take their time, the start.

use crate::proto::limits::FINISH_MAX_DEFAULT;
use crate::proto::testing::{Cable, data, of_kind};
use crate::proto::{Fate, ReceiverConfig, ReceiverEnd, SenderConfig, SenderEnd, Target};
use crate::units::{Duration, Instant};
use crate::wire::{AbortReason, DatagramKind, DropReason, LeaveReason};

fn one_receiver() -> SenderConfig {
    SenderConfig {
        receivers: 1,
        ..SenderConfig::default()
    }
}

/// A sender into which tests push by hand, and a receiver called `ours`.
fn cable_of(config: SenderConfig) -> Cable {
    let mut cable = Cable::new(config, Vec::new(), Duration::from_ms(10));
    cable.pushes = false;
    cable.add(ReceiverConfig {
        name: "ours".into(),
        ..ReceiverConfig::default()
    });
    cable
}

#[test]
fn a_pause_of_the_input_is_not_a_receivers_fault() {
    let mut cable = cable_of(one_receiver());
    cable.sender.push(&[7; 1_000_000]);
    cable.run_for(Duration::from_secs(300));
    cable.sender.push(&[8; 1_000_000]);
    cable.sender.finish();
    cable.nodes[0].is_muted = true;
    cable.run_for(Duration::from_secs(2));
    assert_eq!(cable.end, None, "it has had cable seconds");
    cable.nodes[0].is_muted = false;
    cable.run_for(Duration::from_secs(2));
    assert_eq!(cable.end, Some(SenderEnd::Complete));
}

#[test]
fn a_sender_that_moves_is_followed_and_one_that_is_there_cannot_be_moved() {
    let mut cable = cable_of(one_receiver());
    cable.sender.push(&[7; 1_000_000]);
    cable.run_for(Duration::from_secs(2));
    let (old, new) = (cable.from, ([10, 0, 0, 77], 5).into());
    let answered = |cable: &Cable| cable.nodes[0].said_to;
    for (from, ms, to) in [
        (old, 0, old),
        (new, 400, old),
        (old, 1_100, old),
        (new, 3_000, new),
    ] {
        cable.from = from;
        cable.run_for(Duration::from_ms(ms));
        assert_eq!(
            answered(&cable),
            Some(Target::Peer(to)),
            "{ms} ms of {from}"
        );
    }
    cable.sender.finish();
    cable.run_for(Duration::from_secs(2));
    assert_eq!(cable.end, Some(SenderEnd::Complete));
}

#[test]
fn silence_may_be_as_long_as_both_sides_are_told() {
    for (silent_s, end) in [(5, SenderEnd::AllLost), (30, SenderEnd::Complete)] {
        let silent_max = Duration::from_secs(silent_s);
        let config = SenderConfig {
            silent_max,
            ..one_receiver()
        };
        let mut cable = Cable::new(config, vec![7; 10_000_000], Duration::from_ms(10));
        let node = cable.add(ReceiverConfig {
            silent_max,
            ..ReceiverConfig::default()
        });
        let outage = Instant::from_us(500_000)..Instant::from_us(20_000_000);
        let gone = outage.clone();
        node.loses = Box::new(move |now, _| gone.contains(&now));
        while cable.now < outage.end && cable.end.is_none() {
            cable.nodes[0].is_muted = outage.contains(&cable.now);
            cable.step();
        }
        cable.nodes[0].is_muted = false;
        assert_eq!(cable.run_all(), Some(end), "{silent_s} s");
    }
}

/// All was sent, and the consumer works on it.
fn committing() -> Cable {
    let mut cable = cable_of(one_receiver());
    cable.nodes[0].confirms = false;
    cable.sender.push(&[7; 1_000_000]);
    cable.sender.finish();
    cable.run_for(Duration::from_secs(300));
    assert_eq!(cable.end, None, "its consumer may take its time");
    cable
}

#[test]
fn a_consumer_may_take_longer_than_the_stall_time() {
    let mut cable = committing();
    let (feedbacks, datagrams) = (
        cable.sender.stats().feedbacks,
        cable.sender.stats().datagrams,
    );
    cable.run_for(Duration::from_secs(100));
    let stats = cable.sender.stats();
    assert!(
        stats.feedbacks - feedbacks <= 110,
        "a report a second is enough"
    );
    assert!(
        stats.datagrams - datagrams <= 550,
        "END, POLL and ANNOUNCE go slowly"
    );
    let now = cable.now;
    cable.nodes[0].receiver.consumed(now);
    cable.run_for(Duration::from_secs(1));
    assert_eq!(cable.end, Some(SenderEnd::Complete));
    assert_eq!(cable.nodes[0].end, Some(ReceiverEnd::Complete));
}

#[test]
fn a_consumer_that_never_ends_is_not_waited_for_for_ever() {
    let mut cable = committing();
    cable.run_for(FINISH_MAX_DEFAULT);
    assert_eq!(cable.end, Some(SenderEnd::AllLost));
    assert_eq!(
        cable.nodes[0].end,
        Some(ReceiverEnd::Dropped(DropReason::Unfinished))
    );
}

#[test]
fn a_complete_stream_outlives_its_sender() {
    let mut cable = committing();
    let now = cable.now;
    cable.sender.abort(now, AbortReason::Interrupted, "");
    cable.run_for(Duration::from_secs(20));
    assert_eq!(
        cable.end,
        Some(SenderEnd::Aborted(AbortReason::Interrupted))
    );
    assert_eq!(cable.nodes[0].end, None, "the consumer is still at it");
    let now = cable.now;
    cable.nodes[0].receiver.consumed(now);
    cable.run_for(Duration::from_secs(6));
    assert_eq!(cable.nodes[0].end, Some(ReceiverEnd::Complete));
}

#[test]
fn receivers_that_came_learn_that_there_is_no_start() {
    let mut cable = cable_of(SenderConfig {
        receivers: 2,
        start_timeout: Some(Duration::from_secs(3)),
        ..SenderConfig::default()
    });
    cable.run_for(Duration::from_ms(2_900));
    assert_eq!((&cable.end, &cable.nodes[0].end), (&None, &None));
    cable.run_for(Duration::from_ms(300));
    assert_eq!(cable.end, Some(SenderEnd::NoReceivers));
    let why = "only 1 of 2 receivers came".to_owned();
    let aborted = ReceiverEnd::Aborted(AbortReason::NotStarted, why);
    assert_eq!(cable.nodes[0].end, Some(aborted));
}

#[test]
fn without_a_stall_time_a_receiver_may_stand_still() {
    for (stall_max, waits) in [(None, true), (Some(Duration::from_secs(9)), false)] {
        let mut cable = cable_of(SenderConfig {
            receivers: 1,
            stall_max,
            ..SenderConfig::default()
        });
        cable.run_for(Duration::from_secs(1));
        cable.nodes[0].stop_taking();
        cable.sender.push(&[7; 1_000_000]);
        cable.sender.finish();
        cable.run_for(Duration::from_secs(300));
        assert_eq!(cable.end.is_none(), waits);
    }
}

#[test]
fn a_consumers_status_is_told() {
    let mut cable = committing();
    let reason = LeaveReason::Status(3);
    let now = cable.now;
    cable.nodes[0].receiver.leave(now, reason);
    cable.run_for(Duration::from_secs(1));
    assert_eq!(cable.nodes[0].end, Some(ReceiverEnd::Left(reason)));
    assert_eq!(cable.sender.members()[0].fate, Fate::Left(reason));
}

#[test]
fn names_and_times_decide_the_start() {
    let config = SenderConfig {
        expect: vec!["ours".into(), "other".into()],
        min_wait: Duration::from_secs(10),
        max_wait: Some(Duration::from_secs(30)),
        ..SenderConfig::default()
    };
    let only = SenderConfig {
        expect: vec!["ours".into()],
        ..config.clone()
    };
    // Who starts it, and when: with all there, with one missing, and when told to.
    for (config, told, seconds) in [
        (only, false, 10),
        (config.clone(), false, 30),
        (config, true, 2),
    ] {
        let mut cable = cable_of(config);
        assert!(!cable.sender.start_now(cable.now), "nobody is there");
        cable.run_for(Duration::from_secs(1));
        let waiting = cable.sender.waiting().unwrap();
        assert_eq!(waiting.joined, 1);
        assert_eq!(waiting.missing.len() as u32, waiting.wanted - 1);
        assert!(!told || cable.sender.start_now(cable.now));
        if !told {
            cable.run_for(Duration::from_secs(seconds - 2));
            assert!(cable.sender.is_waiting());
        }
        cable.run_for(Duration::from_secs(2));
        assert!(!cable.sender.is_waiting());
        assert!(cable.sender.members()[0].required);
    }
}

#[test]
fn a_receiver_that_gets_short_datagrams_alone_is_dropped_within_seconds() {
    for bytes in [1_000, 3_000_000] {
        let config = SenderConfig {
            receivers: 2,
            ..SenderConfig::default()
        };
        let mut cable = Cable::new(config, data(bytes), Duration::from_ms(5));
        cable.add(ReceiverConfig::default());
        cable.add(ReceiverConfig::default()).loses = of_kind(DatagramKind::Data, |_| true);
        let end = cable.run_all();
        assert_eq!(end, Some(SenderEnd::Partial { done: 1, failed: 1 }));
        let dropped = Some(ReceiverEnd::Dropped(DropReason::BlackHole));
        assert_eq!(cable.ends(), [Some(ReceiverEnd::Complete), dropped]);
        assert!(cable.now < Instant::from_us(8_000_000), "{:?}", cable.now);
    }
}
