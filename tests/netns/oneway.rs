//! One-way sessions: receivers that cannot send a single datagram.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cast_files::{catch_all, noise, same};
use crate::lab;
use crate::topology::Lab;

/// How a report ends.
fn ended(lab: &Lab, name: &str) -> Value {
    let text = std::fs::read_to_string(lab.dir.path().join(name)).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// A lab whose receivers are mute.
fn muted(receivers: usize) -> Option<Lab> {
    let lab = lab(receivers)?;
    (1..=receivers).for_each(|i| lab.mute(&format!("r{i}")));
    Some(lab)
}

fn nobody_spoke(lab: &Lab, receivers: usize) {
    for i in 1..=receivers {
        assert_eq!(lab.spoken(&format!("r{i}")), 0, "receiver {i} has sent");
    }
}

#[test]
fn receivers_that_cannot_speak_get_everything_in_spite_of_loss() {
    let Some(lab) = muted(4) else { return };
    lab.lose(1.0);
    noise(&lab.dir.path().join("in"), 30_000_000);
    let before = lab.wire_bytes();
    let receivers = [
        lab.start("r1", "sealcast catch --one-way --report caught > out1"),
        lab.start("r2", "sealcast catch --one-way -o out2"),
        lab.start(
            "r3",
            "sealcast catch --one-way -- sh -c 'cat > out3; sleep 7'",
        ),
        lab.start("r4", "sealcast catch --one-way --name feed > out4"),
    ];
    let line = "sealcast cast --one-way -r 200M --name feed --report sent < in";
    let (status, said) = lab.start("s", line).wait(20);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("whether a receiver has it is not known"),
        "{said}"
    );
    for receiver in receivers {
        receiver.ends_with(0, 10);
    }
    same(&lab, 4);
    nobody_spoke(&lab, 4);
    let (sent, caught) = (ended(&lab, "sent"), ended(&lab, "caught"));
    assert_eq!(
        (&sent["success"], &sent["complete"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(
        (&caught["complete"], &caught["feedbacks"]),
        (&true.into(), &0.into())
    );
    assert!(caught["repaired"].as_u64().unwrap() > 50, "{caught}");
    let overhead = (lab.wire_bytes() - before) as f64 / 30e6;
    println!("one-way with 10 % parity: {overhead:.3} bytes on the wire for each byte");
    assert!((1.1..1.35).contains(&overhead), "{overhead}");
    // With somebody to speak, the counter would have seen it.
    lab.start("r1", "echo > /dev/udp/10.83.0.1/9 || true")
        .end(5);
    assert!(lab.spoken("r1") > 0);
}

#[test]
fn keys_decide_who_takes_part() {
    let Some(lab) = muted(4) else { return };
    noise(&lab.dir.path().join("in"), 3_000_000);
    let secrets = "umask 077; echo right horse > a; echo wrong horse > b";
    let signers = "for k in s t; do sealcast keygen --sign -o $k.key > $k.pub || exit; done";
    for setup in [secrets, signers] {
        lab.start("s", setup).ends_with(0, 5);
    }
    let catch = |i: u32, keys: &str| {
        let line = format!("sealcast catch --one-way --start-timeout 6s {keys} > out{i}");
        lab.start(&format!("r{i}"), &line)
    };
    let receivers = [
        catch(1, "--key a --from s.pub"),
        catch(2, "--key a"),
        catch(3, "--key b --from s.pub"),
        catch(4, "--key a --from t.pub"),
    ];
    let line = "sealcast cast --one-way -r 100M -6 --key a -s s.key < in";
    lab.start("s", line).ends_with(0, 20);
    let said: Vec<String> = receivers
        .into_iter()
        .zip([0, 0, 6, 6])
        .map(|(receiver, code)| {
            let (status, said) = receiver.wait(10);
            assert_eq!(status, Some(code), "{said}");
            said
        })
        .collect();
    assert!(said[2].contains("another shared secret"), "{}", said[2]);
    assert!(said[3].contains("its signer is not named"), "{}", said[3]);
    same(&lab, 2);
    nobody_spoke(&lab, 4);
}

#[test]
fn who_comes_late_waits_for_the_next_round() {
    let Some(lab) = muted(2) else { return };
    noise(&lab.dir.path().join("in"), 3_000_000);
    let first = lab.start("r1", "sealcast catch --one-way > out1");
    let line = "exec sealcast cast --one-way -r 20M --min-wait 2s --repeat < in";
    let sender = lab.start("s", line);
    first.says("found one-way session", 5);
    sender.says("sending to all that listen", 5);
    let late = lab.start("r2", "sealcast catch --one-way > out2");
    late.says("waiting for the next pass", 5);
    first.ends_with(0, 10);
    late.ends_with(0, 10);
    same(&lab, 2);
    nobody_spoke(&lab, 2);
    let rounds = |said: &str| said.matches("whether a receiver has it").count();
    let deadline = Instant::now() + Duration::from_secs(10);
    while rounds(&sender.said()) < 2 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Nothing is being sent now.
    lab.signal("s", "TERM", "cast");
    sender.ends_with(0, 5);
}

#[test]
fn what_is_lost_for_good_is_an_error() {
    let Some(lab) = muted(2) else { return };
    lab.lose(20.0);
    // More than one group of blocks: what a shorter one lacks in length it gets in parity.
    noise(&lab.dir.path().join("in"), 14_000_000);
    let receivers = [
        lab.start("r1", "sealcast catch --one-way > out1"),
        lab.start("r2", "sealcast catch --one-way -o out2"),
    ];
    let cast = |more: &str| {
        let line = format!("sealcast cast --one-way -r 100M {more} < in");
        lab.start("s", &line).ends_with(0, 20);
    };
    cast("");
    for receiver in receivers {
        let (status, said) = receiver.wait(10);
        assert_eq!(status, Some(6), "{said}");
        assert!(said.contains("lost too much: block"), "{said}");
        assert!(said.contains("a greater --redundancy"), "{said}");
    }
    assert!(
        !lab.dir.path().join("out2").exists(),
        "a part of it appears"
    );
    let receivers = catch_all(&lab, 2, "--one-way");
    cast("--redundancy 60");
    receivers.into_iter().for_each(|r| r.ends_with(0, 10));
    same(&lab, 2);
    nobody_spoke(&lab, 2);
}

#[test]
fn who_is_late_or_left_alone_is_told_so() {
    let Some(lab) = muted(3) else { return };
    noise(&lab.dir.path().join("in"), 40_000_000);
    let killed = lab.start("r1", "sealcast catch --one-way --name feed -o out1");
    let aborted = lab.start("r2", "sealcast catch --one-way --name other > out2");
    let sender = lab.start("s", "exec sealcast cast --one-way -r 50M --name feed < in");
    let line = "exec sealcast cast --one-way -r 20M --name other --min-wait 1h < in";
    let other = lab.start("s", line);
    sender.says("sending to all that listen", 10);
    // Long before its time.
    lab.signal("s", "USR1", "--name other");
    other.says("sending to all that listen", 2);
    aborted.says("receiving", 2);
    std::thread::sleep(Duration::from_millis(1_500));
    let came = Instant::now();
    let (status, said) = lab.start("r3", "sealcast catch --one-way > out3").wait(10);
    assert_eq!(status, Some(6), "{said}");
    assert!(said.contains("came too late"), "{said}");
    assert!(
        came.elapsed() < Duration::from_secs(4),
        "{:?}",
        came.elapsed()
    );

    lab.signal("s", "INT", "--name other");
    other.end(5);
    let (status, said) = aborted.wait(3);
    assert_eq!(status, Some(6), "{said}");
    assert!(said.contains("the sender was stopped"), "{said}");

    std::thread::sleep(Duration::from_millis(1_500));
    lab.signal("s", "KILL", "--name feed");
    let died = Instant::now();
    sender.end(5);
    let (status, said) = killed.wait(8);
    assert_eq!(status, Some(6), "{said}");
    assert!(said.contains("lost the sender"), "{said}");
    assert!(
        died.elapsed() < Duration::from_millis(5_500),
        "{:?}",
        died.elapsed()
    );
    nobody_spoke(&lab, 3);
}

#[test]
fn a_consumer_below_the_rate_is_told_so() {
    let Some(lab) = muted(1) else { return };
    noise(&lab.dir.path().join("in"), 60_000_000);
    let slow = "sealcast catch --one-way --memory 16M | (sleep 4; cat > out1)";
    let receiver = lab.start("r1", slow);
    let line = "sealcast cast --one-way -r 200M --memory 16M < in";
    lab.start("s", line).ends_with(0, 20);
    let (status, said) = receiver.wait(15);
    assert_eq!(status, Some(6), "{said}");
    assert!(said.contains("our consumer is slower"), "{said}");
    nobody_spoke(&lab, 1);
}
