//! How fast a cast goes: links that limit it, receivers that hold it up, and bursts on the wire.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::cast_files::{cast_to_all, catch_all, noise};
use crate::lab;
use crate::topology::Lab;

/// Casts the input to all receivers; says how long the data took, by the sender's own word.
fn seconds(lab: &Lab, count: usize, options: &str) -> f64 {
    let said = cast_to_all(lab, count, options);
    // "11.9 MiB in 2.05 s, 49 Mbit/s; …"
    let words = said.split(" in ").nth(1).unwrap();
    words.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_links_rate_is_found_without_flags() {
    let Some(lab) = lab(3) else { return };
    for (mbit, bytes) in [(100, 25_000_000), (1_000, 250_000_000)] {
        lab.cap("s", mbit);
        noise(&lab.dir.path().join("in"), bytes);
        let least = bytes as f64 * 8.0 / 1e6 / f64::from(mbit);
        let took = seconds(&lab, 3, "");
        println!("{mbit} Mbit/s: {:.3} of the least time", took / least);
        // Headers take 5.5 %, and the rate is found on the way. The machine itself may not reach a
        // gigabit while it does other work.
        let most = if mbit == 100 { 1.25 } else { 2.0 };
        assert!(took < least * most, "{took} s instead of {least}");
    }
}

#[test]
fn a_lossy_receiver_does_not_slow_the_others() {
    let Some(lab) = lab(8) else { return };
    lab.cap("s", 100);
    noise(&lab.dir.path().join("in"), 40_000_000);
    // Other work of the machine can only slow a run down: the best of a few shows what we can do.
    let mut speeds = Vec::new();
    while speeds.len() < 4 && speeds.iter().all(|speed| *speed < 0.9) {
        lab.lose_at("r5", 0.0);
        let calm = seconds(&lab, 8, "");
        lab.lose_at("r5", 5.0);
        speeds.push(calm / seconds(&lab, 8, ""));
    }
    println!("one of 8 at 5 %: {speeds:.3?} of the speed");
    assert!(speeds.iter().any(|speed| *speed >= 0.9), "{speeds:?}");
}

#[test]
fn a_receiver_behind_a_slow_port_sets_the_pace() {
    let Some(lab) = lab(3) else { return };
    lab.cap("r2", 40);
    noise(&lab.dir.path().join("in"), 15_000_000);
    let took = seconds(&lab, 3, "--slow wait");
    // 3 s at 40 Mbit/s, and 5.5 % of headers.
    println!("{:.3} of the least time", took / 3.165);
    assert!((3.0..4.4).contains(&took), "{took} s at 40 Mbit/s");
}

#[test]
fn a_receiver_below_the_floor_is_evicted() {
    let Some(lab) = lab(3) else { return };
    lab.cap("s", 200);
    lab.cap("r2", 10);
    noise(&lab.dir.path().join("in"), 100_000_000);
    let mut receivers = catch_all(&lab, 3, "-q");
    let options = "--slow evict --min-rate 60M --slow-grace 1s";
    let sender = lab.start("s", &format!("sealcast cast -n 3 {options} < in"));
    receivers.remove(1).ends_with(7, 30);
    for receiver in receivers {
        receiver.ends_with(0, 30);
    }
    sender.ends_with(6, 10);
    let sent = std::fs::read(lab.dir.path().join("in")).unwrap();
    for good in ["out1", "out3"] {
        assert!(
            std::fs::read(lab.dir.path().join(good)).unwrap() == sent,
            "{good}"
        );
    }
}

#[test]
fn a_steady_slow_consumer_slows_the_cast_without_loss() {
    let Some(lab) = lab(2) else { return };
    noise(&lab.dir.path().join("in"), 60_000_000);
    let program = std::env::current_exe().unwrap();
    let slow = format!(
        "{} rates::consumer --exact --ignored --nocapture",
        program.display()
    );
    let receivers = [
        lab.start("r1", &format!("sealcast catch -q --memory 8M | {slow}")),
        lab.start("r2", "sealcast catch -q > out2"),
    ];
    let sender = lab.start("s", "sealcast cast -v -n 2 < in");
    sender.says("asked for repair", 30);
    let said = sender.said();
    sender.ends_with(0, 10);
    for receiver in receivers {
        receiver.ends_with(0, 10);
    }
    assert!(said.contains(" 0 of them asked for repair"), "{said}");
    let took = said.split(" in ").nth(1).unwrap();
    let took: f64 = took.split(' ').next().unwrap().parse().unwrap();
    // What the two sides keep in memory need not be taken before the end is sent, but it is.
    assert!((2.5..4.5).contains(&took), "60 MB at 20 MB/s took {took} s");
}

/// Not a test of its own: takes 20 MB a second from standard input.
#[test]
#[ignore = "run by a test, on a node"]
fn consumer() {
    let (began, mut taken, mut buf) = (Instant::now(), 0, vec![0; 1 << 16]);
    loop {
        let n = std::io::stdin().read(&mut buf).unwrap();
        if n == 0 {
            return;
        }
        taken += n;
        let due = Duration::from_secs_f64(taken as f64 / 20e6);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
}

#[test]
fn bursts_are_short() {
    let Some(lab) = lab(1) else { return };
    noise(&lab.dir.path().join("in"), 30_000_000);
    // Work beside it moves datagrams in time after they were due: the best of a few shows our own.
    let bursts = (0..4).map(|_| {
        let watcher = lab.start("s", "exec tcpdump -i eth0 -s 64 -w trace -B 8192 udp");
        watcher.says("listening", 10);
        seconds(&lab, 1, "-r 200M");
        lab.signal("s", "INT", "tcpdump");
        watcher.ends_with(0, 10);
        let trace = std::fs::read(lab.dir.path().join("trace")).unwrap();
        // What the system kept the sender from sending it makes good at twice the rate.
        let burst = longest_burst(&trace, 410e6 / 8.0);
        println!("longest burst {burst:.0} bytes");
        burst
    });
    // To the datagrams that leave at once come the headers of Ethernet, and a POLL or two.
    assert!(bursts.into_iter().any(|burst| burst <= 65_536.0));
}

/// The most bytes of a trace that came beyond a rate at once: the highest level of a bucket that
/// empties at that rate. The trace is in the format of pcap-savefile(5).
fn longest_burst(trace: &[u8], bytes_per_s: f64) -> f64 {
    let number = |at: usize| f64::from(u32::from_le_bytes(*trace[at..].first_chunk().unwrap()));
    let (mut level, mut most, mut last, mut at) = (0.0f64, 0.0f64, None, 24);
    while at < trace.len() {
        let (s, us, kept, bytes) = (number(at), number(at + 4), number(at + 8), number(at + 12));
        let now = s + us / 1e6;
        level = (level - (now - last.unwrap_or(now)) * bytes_per_s).max(0.0) + bytes;
        most = most.max(level);
        last = Some(now);
        at += 16 + kept as usize;
    }
    most
}
