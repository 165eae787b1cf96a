//! How fast: a given rate on the wire, and receivers that are too slow.

use std::time::{Duration, Instant};

use crate::cast_files::noise;
use crate::lab;

#[test]
fn a_given_rate_is_kept_on_the_wire() {
    let Some(lab) = lab(2) else { return };
    noise(&lab.dir.path().join("in"), 40_000_000);
    let catch = |i| lab.start(&format!("r{i}"), &format!("sealcast catch > out{i}"));
    let receivers = [catch(1), catch(2)];
    let cast = lab.start("s", "sealcast cast -n 2 --rate 80M < in");
    // Under way when a megabyte has passed.
    while lab.wire_bytes() < 1_000_000 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (from, before) = (Instant::now(), lab.wire_bytes());
    std::thread::sleep(Duration::from_millis(2_000));
    let (bytes, time) = (lab.wire_bytes() - before, from.elapsed().as_secs_f64());
    // A frame of 1500 bytes has 14 more on the wire, as the kernel counts.
    let share = bytes as f64 * 1_500.0 / 1_514.0 / time / 10_000_000.0;
    assert!((0.98..1.02).contains(&share), "{share} of the rate");
    cast.ends_with(0, 30);
    receivers.into_iter().for_each(|r| r.ends_with(0, 10));
}

#[test]
fn a_slow_port_is_evicted_below_a_floor() {
    let Some(lab) = lab(3) else { return };
    lab.shape("r1", "10mbit");
    noise(&lab.dir.path().join("in"), 60_000_000);
    let catch = |i| lab.start(&format!("r{i}"), &format!("sealcast catch > out{i}"));
    let receivers = [1, 2, 3].map(catch);
    let cast = lab.start(
        "s",
        "sealcast cast -n 3 --min-rate 40M --slow-grace 1s < in",
    );
    cast.ends_with(6, 60);
    for (receiver, status) in receivers.into_iter().zip([7, 0, 0]) {
        receiver.ends_with(status, 10);
    }
}
