//! One-way sessions: receivers that say nothing, behind paths of all kinds.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealcast::proto::{OneWay, ReceiverEnd, SenderEnd};
use sealcast::units::{Duration, Instant, Rate};

use crate::link::Impairment;
use crate::oracle;
use crate::plan::Plan;
use crate::world::World;

/// A plan as drawn for any session, but one-way: with no more trouble on the way than this.
fn plan(seed: u64, redundancy: u32, trouble: impl Fn(&mut StdRng) -> Impairment) -> Plan {
    let mut rng = StdRng::seed_from_u64(!seed);
    let mut plan = Plan::draw(seed);
    plan.sender.one_way = Some(OneWay { redundancy });
    plan.sender.keys.listed = None;
    plan.payload *= 6;
    plan.sender.k = plan.sender.k.max(64);
    plan.sender.memory = 2_000_000;
    plan.sender.min_wait = Duration::from_secs(2);
    let mbit = rng.random_range(2..=5);
    plan.sender.rate_max = Some(Rate::from_bits_per_s(mbit * 1_000_000));
    for receiver in &mut plan.receivers {
        receiver.to = trouble(&mut rng);
        receiver.config.memory = 1_000_000;
        receiver.config.one_way = true;
    }
    plan
}

fn run(seed: u64, plan: Plan) -> World {
    let mut world = World::new(plan, false);
    world.run();
    if let Err(what) = oracle::judge(&world) {
        panic!("seed {seed}: {what}");
    }
    assert_eq!(
        world.sender_stats().refused,
        0,
        "seed {seed}: somebody spoke"
    );
    world
}

#[test]
fn mild_losses_leave_nothing_out() {
    let mild = |rng: &mut StdRng| Impairment {
        loss: rng.random_range(0.0..0.03),
        duplicate: 0.02,
        delay_us: 250_000,
        jitter_us: rng.random_range(0..20_000),
        ..Impairment::default()
    };
    for seed in 0..30 {
        let mut plan = plan(seed, 300, mild);
        plan.sender_faults.clear();
        for receiver in &mut plan.receivers {
            receiver.faults.clear();
            (receiver.consumer, receiver.port) = (None, None);
            receiver.starts = Instant::ZERO;
        }
        let world = run(seed, plan);
        assert_eq!(world.sender_end, Some(SenderEnd::Sent), "seed {seed}");
        for listener in &world.listeners {
            assert_eq!(listener.end, Some(ReceiverEnd::Complete), "seed {seed}");
        }
    }
}

#[test]
fn whatever_happens_it_ends_and_no_part_passes_for_the_whole() {
    let mut ends = [0; 5];
    for seed in 0..60 {
        let world = run(seed, plan(seed, 100, |rng| Impairment::draw(rng, true)));
        for listener in &world.listeners {
            let kind = match &listener.end {
                Some(ReceiverEnd::Complete) => 0,
                Some(ReceiverEnd::Lost { .. }) => 1,
                Some(ReceiverEnd::Overrun { .. }) => 2,
                Some(ReceiverEnd::Aborted(..)) => 3,
                _ => 4,
            };
            ends[kind] += 1;
        }
        assert!(world.now() < Instant::from_us(60_000_000), "seed {seed}");
    }
    // Each kind of end is met, so that none of it is untried.
    assert!(ends.iter().all(|&n| n > 0), "{ends:?}");
}
