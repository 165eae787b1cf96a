//! The protocol under simulated networks: everything is drawn from one seed, time jumps from event
//! to event, and thousands of receivers fit into one process.
//!
//! `SEALCAST_SEED=n cargo test --release --test sim replay -- --nocapture` shows one run in full.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    clippy::cast_precision_loss,
    clippy::needless_pass_by_value,
    unreachable_pub,
    reason = "tests may be terse"
)]

mod draw;
mod flood;
mod hot;
mod link;
mod oneway;
mod oracle;
mod plan;
mod rates;
mod table;
mod world;

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};

use link::Impairment;
use plan::{Fault, Plan, ReceiverPlan, SenderFault};
use sealcast::units::{Duration, Instant};
use world::World;

/// The seeds of every run: fixed, so that a failure is everybody's.
const BASE: u64 = 0x5ea1_ca57_0000;
const SEEDS: u64 = 200;

/// How many seeds to try: more by hand, `SEALCAST_SEEDS=50000 cargo test --release --test sim`.
fn seeds() -> u64 {
    std::env::var("SEALCAST_SEEDS")
        .map_or(SEEDS, |n| n.parse().expect("SEALCAST_SEEDS is a number"))
}

fn run(seed: u64, trace: bool) -> World {
    let plan = Plan::draw(seed);
    if trace {
        println!("{plan:#?}");
    }
    let mut world = World::new(plan, trace);
    world.run();
    if let Err(what) = oracle::judge(&world) {
        panic!("seed {seed}: {what}\nreplay: SEALCAST_SEED={seed} cargo test --test sim replay");
    }
    world
}

#[test]
fn many_seeds() {
    let next = AtomicU64::new(0);
    let failed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= seeds() {
                        break;
                    }
                    let fails = catch_unwind(|| drop(run(BASE + n, false))).is_err();
                    failed.fetch_add(u64::from(fails), Ordering::Relaxed);
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert_eq!(failed, 0, "of {} seeds", seeds());
}

/// What a plan may have, and its name.
type Drawn<T> = (&'static str, fn(&T) -> bool);

#[test]
fn every_mode_and_every_fault_is_drawn() {
    let plans: Vec<Plan> = (BASE..BASE + SEEDS).map(Plan::draw).collect();
    let drawn = |what: fn(&Plan) -> bool| plans.iter().filter(|plan| what(plan)).count();
    let modes: [Drawn<Plan>; 13] = [
        ("one-way", |p| p.sender.one_way.is_some()),
        ("signed", |p| p.sender.keys.signing.is_some()),
        ("listed", |p| p.sender.keys.listed.is_some()),
        ("next pass", |p| p.sender.series.next_pass.takes_late()),
        ("next pass for slow", |p| {
            p.sender.series.next_pass.takes_slow()
        }),
        ("repeat", |p| p.repeats > 0),
        ("floor", |p| p.sender.floor.is_some()),
        ("names", |p| !p.sender.expect.is_empty()),
        ("replays", |p| p.replays > 0.0),
        ("input that pauses", |p| p.input_pause > Duration::ZERO),
        ("sender crash", |p| {
            p.has(|f| matches!(f, SenderFault::Crash { .. }))
        }),
        ("abort", |p| p.has(|f| matches!(f, SenderFault::Abort(_)))),
        ("sleeping sender", |p| {
            p.has(|f| matches!(f, SenderFault::Sleep(_)))
        }),
    ];
    let faults: [Drawn<ReceiverPlan>; 14] = [
        ("late", |r| r.starts > Instant::from_us(3_000_000)),
        ("bursts", |r| r.to.loss > 0.0 && r.to.burst > 1.0),
        ("reordering", |r| r.to.detour > 0.0 && r.to.jitter_us > 0),
        ("bit flips", |r| r.to.corrupt > 0.0),
        ("truncation", |r| r.to.truncate > 0.0),
        ("swallows", |r| {
            r.to.swallows_over.or(r.from.swallows_over).is_some()
        }),
        ("slow port", |r| r.port.is_some()),
        ("slow consumer", |r| r.consumer.is_some()),
        ("cut one way", |r| {
            r.has(|f| matches!(f, Fault::Cut { way: Some(_), .. }))
        }),
        ("cut both ways", |r| {
            r.has(|f| matches!(f, Fault::Cut { way: None, .. }))
        }),
        ("restart", |r| {
            r.has(|f| {
                matches!(
                    f,
                    Fault::Crash {
                        restart: Some(_),
                        ..
                    }
                )
            })
        }),
        ("sleep", |r| r.has(|f| matches!(f, Fault::Sleep(_)))),
        ("moves", |r| r.has(|f| matches!(f, Fault::Moves(_)))),
        ("leaves", |r| r.has(|f| matches!(f, Fault::Leaves(_)))),
    ];
    for (name, mode) in modes {
        assert!(drawn(mode) >= 5, "{name}: {} of {SEEDS} plans", drawn(mode));
    }
    for (name, fault) in faults {
        let receivers = plans.iter().flat_map(|plan| &plan.receivers);
        let count = receivers.filter(|r| fault(r)).count();
        assert!(count >= 5, "{name}: {count} receivers in {SEEDS} plans");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in BASE..BASE + 10 {
        assert_eq!(
            run(seed, false).hash(),
            run(seed, false).hash(),
            "seed {seed}"
        );
    }
}

#[test]
fn replay() {
    if let Ok(seed) = std::env::var("SEALCAST_SEED") {
        run(seed.parse().expect("SEALCAST_SEED is a number"), true);
    }
}

#[test]
fn lost_handshakes_delay_and_never_hang() {
    // The first ten datagrams of each kind, in either direction, to every receiver.
    for kind in 1..=10 {
        let mut plan = Plan::plain(3, 1 << 20, Impairment::default());
        plan.alike = None;
        plan.drop_first = Some((kind, 10));
        let mut world = World::new(plan, false);
        world.run();
        oracle::judge(&world).unwrap_or_else(|e| panic!("kind {kind}: {e}"));
        assert!(
            world.now().as_us() < 30_000_000,
            "kind {kind} took {:?}",
            world.now()
        );
    }
}
