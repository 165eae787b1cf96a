//! How fast: links that are found out, slow receivers, bursts.

use sealcast::proto::limits::BURST_BYTES;
use sealcast::proto::{Fate, ReceiverEnd, SenderEnd};
use sealcast::units::{Duration, Instant, Rate};
use sealcast::wire::{ANNOUNCE_PADDED_LEN, DropReason};

use crate::link::Impairment;
use crate::oracle;
use crate::plan::{Fault, Plan, Span};
use crate::world::World;

const NEAR: Impairment = Impairment {
    loss: 0.0,
    burst: 0.0,
    duplicate: 0.0,
    corrupt: 0.0,
    delay_us: 150,
    jitter_us: 0,
    truncate: 0.0,
    detour: 0.0,
    detour_us: 0,
    swallows_over: None,
    lossy_from: Instant::ZERO,
};

fn mbit(n: u64) -> Rate {
    Rate::from_bits_per_s(n * 1_000_000)
}

/// Receivers on a link of this rate, with the queue of a small switch.
fn plan(receivers: u32, payload: usize, link: u64) -> Plan {
    let mut plan = Plan::plain(receivers, payload, NEAR);
    plan.alike = None;
    plan.link_rate = mbit(link);
    plan.link_queue = 512 << 10;
    plan
}

fn run(plan: Plan) -> World {
    let mut world = World::new(plan, false);
    world.run();
    oracle::judge(&world).unwrap();
    world
}

/// Bits of the stream a second, in millions, from the first datagram with data to the last byte at
/// the slowest receiver that got it.
fn goodput(world: &World) -> f64 {
    let complete = world
        .listeners
        .iter()
        .filter(|l| l.end == Some(ReceiverEnd::Complete));
    let last = complete.map(|l| l.done_at).max().unwrap();
    let big = world.sent.iter().find(|(_, bytes)| *bytes > 1_000).unwrap();
    world.payload.len() as f64 * 8.0 / last.since(big.0).as_us() as f64
}

fn overhead(world: &World) -> f64 {
    let stats = world.sender_stats();
    (stats.source + stats.repair) as f64 / stats.source as f64
}

#[test]
fn the_rate_of_the_link_is_found() {
    for (link, payload, most) in [(10, 24, 1.01), (100, 48, 1.02), (1_000, 300, 1.04)] {
        let world = run(plan(2, payload << 20, link));
        let (goodput, overhead) = (goodput(&world), overhead(&world));
        println!("{link} Mbit/s: {goodput:.1} Mbit/s, {overhead:.3} times");
        // Headers and tags are 4.5 %.
        assert!(goodput > link as f64 * 0.91, "{goodput} of {link} Mbit/s");
        assert!(overhead < most, "{overhead} times on {link} Mbit/s");
    }
}

#[test]
fn a_short_stream_ends_before_the_rate_is_found() {
    let goodput = goodput(&run(plan(2, 16 << 20, 1_000)));
    println!("{goodput:.1} Mbit/s");
    assert!(goodput > 400.0, "{goodput} of 1000 Mbit/s");
}

#[test]
fn one_lossy_receiver_does_not_slow_the_rest_down() {
    let clean = goodput(&run(plan(16, 48 << 20, 200)));
    let mut lossy = plan(16, 48 << 20, 200);
    lossy.receivers[3].to.loss = 0.05;
    let world = run(lossy);
    let lossy = goodput(&world);
    println!("{lossy:.1} Mbit/s with it, {clean:.1} without");
    assert!(lossy > clean * 0.9, "{lossy} of {clean} Mbit/s");
}

#[test]
fn noise_that_begins_later_slows_nobody_down_for_long() {
    let clean = goodput(&run(plan(8, 48 << 20, 100)));
    for loss in [0.05, 0.2] {
        let mut noisy = plan(8, 48 << 20, 100);
        for receiver in &mut noisy.receivers {
            receiver.to.loss = loss;
            receiver.to.lossy_from = Instant::from_us(1_000_000);
        }
        let noisy = goodput(&run(noisy));
        println!("{noisy:.1} Mbit/s at {loss}, {clean:.1} without");
        // What must be sent again, and a moment of doubt.
        let least = clean * (1.0 - 1.5 * loss) * 0.93;
        assert!(noisy > least, "{noisy} of {clean} Mbit/s at {loss}");
    }
}

#[test]
fn a_slow_port_sets_the_pace_unless_there_is_a_floor() {
    let slow = |floor| {
        let mut plan = plan(4, 60 << 20, 200);
        plan.receivers[1].port = Some((mbit(20), 128 << 10));
        plan.sender.floor = floor;
        plan
    };
    let world = run(slow(None));
    let (pace, times) = (goodput(&world), overhead(&world));
    println!("all at {pace:.1} Mbit/s, {times:.3} times");
    assert!(world.sender_end == Some(SenderEnd::Complete) && pace > 16.0);
    assert!(times < 1.15, "{times} times");

    let mut world = World::new(slow(Some(mbit(50))), false);
    world.run();
    assert_eq!(
        world.sender_end,
        Some(SenderEnd::Partial { done: 3, failed: 1 })
    );
    assert_eq!(
        world.listeners[1].end,
        Some(ReceiverEnd::Dropped(DropReason::Slow))
    );
    let members = world.sender.members();
    let slow: Vec<_> = members.iter().filter(|m| m.fate != Fate::Done).collect();
    assert_eq!(
        (slow.len(), slow[0].fate),
        (1, Fate::Dropped(DropReason::Slow))
    );
    let rest = goodput(&world);
    println!("the others at {rest:.1} Mbit/s");
    assert!(rest > 60.0, "three seconds of grace, then {rest} Mbit/s");
}

#[test]
fn slow_consumers_are_evicted_below_a_floor_and_the_last_receiver_never() {
    let slow = |receivers: u32, slow: usize| {
        let mut plan = plan(receivers, 40 << 20, 200);
        for receiver in &mut plan.receivers[..slow] {
            receiver.consumer = Some(Rate::from_bytes_per_s(1_000_000));
            receiver.config.memory = 4 << 20;
        }
        plan.sender.floor = Some(mbit(40));
        plan
    };
    let mut world = World::new(slow(5, 2), false);
    world.run();
    let ends: Vec<_> = world
        .listeners
        .iter()
        .map(|l| l.end.clone().unwrap())
        .collect();
    let (gone, good) = (
        ReceiverEnd::Dropped(DropReason::Slow),
        ReceiverEnd::Complete,
    );
    assert_eq!(ends, [&gone, &gone, &good, &good, &good].map(Clone::clone));
    // Nobody is better: nobody is evicted.
    assert_eq!(run(slow(1, 1)).sender_end, Some(SenderEnd::Complete));
}

#[test]
fn a_receiver_is_not_blamed_for_the_senders_own_link() {
    let mut slow = plan(4, 12 << 20, 10);
    slow.sender.floor = Some(mbit(50));
    assert_eq!(run(slow).sender_end, Some(SenderEnd::Complete));
}

#[test]
fn slow_and_pausing_consumers_cost_no_retransmission() {
    let mut plan = plan(3, 100 << 20, 1_000);
    plan.link_queue = 4 << 20;
    plan.sender.rate_max = Some(mbit(900));
    plan.receivers[0].consumer = Some(Rate::from_bytes_per_s(20_000_000));
    let second = |s: u64| Instant::from_us(s * 1_000_000);
    let (from, to) = (second(1), second(3));
    plan.receivers[1].faults = vec![Fault::Pause(Span { from, to })];
    let world = run(plan);
    let stats = world.sender_stats();
    assert_eq!((stats.repair, world.overflowed), (0, 0));
    let rate = goodput(&world) / 8.0;
    assert!((16.0..=20.5).contains(&rate), "{rate} MB/s");
}

#[test]
fn a_given_rate_is_kept_and_bursts_are_short() {
    for rate in [2, 20, 200] {
        let mut plan = plan(2, (rate as usize) << 19, 1_000);
        plan.sender.rate_max = Some(mbit(rate));
        let world = run(plan);
        let start = world
            .sent
            .iter()
            .find(|(_, bytes)| *bytes > 1_000)
            .unwrap()
            .0;
        // The second second: the sender is under way, and far from the end.
        let (from, to) = (
            start + Duration::from_secs(1),
            start + Duration::from_secs(2),
        );
        let within = world.sent.iter().filter(|(at, _)| (from..to).contains(at));
        let bytes: u64 = within.map(|(_, bytes)| bytes).sum();
        let share = bytes as f64 / mbit(rate).as_bytes_per_s() as f64;
        assert!((0.98..1.02).contains(&share), "{share} of {rate} Mbit/s");
        let same = world.sent.chunk_by(|a, b| a.0 == b.0);
        let burst = same
            .map(|c| c.iter().map(|(_, b)| b).sum::<u64>())
            .max()
            .unwrap();
        // Other kinds than DATA cost nothing: an ANNOUNCE and a POLL or two may come with it.
        let more = (ANNOUNCE_PADDED_LEN + 228) as u64;
        assert!(burst <= BURST_BYTES as u64 + more, "{burst} bytes at once");
    }
}
