//! Receivers that come too late or are too slow, and the passes that serve them.

use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cast_files::{noise, same};
use crate::lab;
use crate::topology::{Job, Lab};

/// Waits until a receiver has written so many bytes.
fn grows(lab: &Lab, name: &str, bytes: u64) {
    let path = lab.dir.path().join(name);
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::fs::metadata(&path).map_or(0, |m| m.len()) < bytes {
        assert!(Instant::now() < deadline, "{name} does not grow");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The last event of a report.
fn ended(lab: &Lab, name: &str) -> Value {
    let text = std::fs::read_to_string(lab.dir.path().join(name)).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// A cast of 30 MB of which one receiver has half, and another one comes only now.
fn half_way(lab: &Lab, late: &str) -> [Job; 3] {
    noise(&lab.dir.path().join("in"), 30_000_000);
    let first = lab.start("r1", "sealcast catch > out1");
    let sender = lab.start(
        "s",
        "exec sealcast cast -n 1 -r 40M --memory 4M --report report < in",
    );
    grows(lab, "out1", 15_000_000);
    let late = lab.start("r2", late);
    sender.says("came too late, and waits for another pass", 5);
    [sender, first, late]
}

#[test]
fn who_comes_at_half_time_ends_complete() {
    let Some(lab) = lab(2) else { return };
    let [sender, first, late] = half_way(&lab, "sealcast catch > out2");
    first.ends_with(0, 10);
    late.ends_with(0, 20);
    sender.ends_with(0, 5);
    same(&lab, 2);
    let end = ended(&lab, "report");
    assert_eq!(
        (&end["complete"], &end["passes"]),
        (&true.into(), &2.into())
    );
    let receivers = end["receivers"].as_array().unwrap();
    let of_pass = |pass: u32| receivers.iter().find(|r| r["pass"] == pass).unwrap();
    assert_eq!(of_pass(1)["awaited"], true);
    assert_eq!(of_pass(2)["awaited"], false);
    assert_eq!(of_pass(2)["done"], true);
}

#[test]
fn an_input_that_changes_between_passes_is_noticed() {
    let Some(lab) = lab(2) else { return };
    let [sender, first, late] = half_way(&lab, "sealcast catch -o out2");
    let path = lab.dir.path().join("in");
    let mut file = std::fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(1_000)).unwrap();
    file.write_all(b"something else").unwrap();
    first.ends_with(0, 10);
    let (status, said) = late.wait(20);
    assert_eq!(status, Some(6), "{said}");
    assert!(
        said.contains("not what it was in the pass before"),
        "{said}"
    );
    let (status, said) = sender.wait(5);
    assert_eq!(status, Some(6), "{said}");
    assert!(said.contains("the input changed"), "{said}");
    // How it went before is not lost.
    let end = ended(&lab, "report");
    assert_eq!(
        (&end["success"], &end["passes"]),
        (&false.into(), &1.into())
    );
    assert_eq!(end["receivers"][0]["done"], true);
    assert!(!lab.dir.path().join("out2").exists());
}

#[test]
fn who_is_killed_while_it_waits_keeps_nobody() {
    let Some(lab) = lab(2) else { return };
    let [sender, first, late] = half_way(&lab, "exec sealcast catch > out2");
    lab.signal("r2", "KILL", "catch");
    late.end(5);
    first.ends_with(0, 10);
    // At most: a pass that waits for nobody.
    let begun = Instant::now();
    let (status, said) = sender.wait(10);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("no receiver came for it"), "{said}");
    assert_eq!(said.matches("on the wire").count(), 1, "{said}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    same(&lab, 1);
}

#[test]
fn a_sender_that_goes_leaves_nobody_waiting() {
    let Some(lab) = lab(2) else { return };
    let [sender, first, late] = half_way(&lab, "sealcast catch > out2");
    late.says("came too late for this pass, and waits for the next", 5);
    lab.signal("s", "KILL", "cast");
    sender.end(5);
    first.ends_with(6, 7);
    let (status, said) = late.wait(17);
    assert_eq!(status, Some(6), "{said}");
    assert!(said.contains("lost the sender"), "{said}");
}

#[test]
fn late_receivers_may_be_refused() {
    let Some(lab) = lab(2) else { return };
    noise(&lab.dir.path().join("in"), 10_000_000);
    for line in ["-n 1 --late refuse < in", "-n 1 -- cat in"] {
        let first = lab.start("r1", "sealcast catch > out1");
        let line = format!("sealcast cast -r 40M --memory 2M {line}");
        let sender = lab.start("s", &line);
        sender.says("sending", 10);
        grows(&lab, "out1", 6_000_000);
        let late = lab.start("r2", "sealcast catch > out2");
        let (status, said) = late.wait(5);
        assert_eq!(status, Some(6), "{said}");
        assert!(said.contains("came too late"), "{said}");
        first.ends_with(0, 10);
        sender.ends_with(0, 5);
        same(&lab, 1);
        std::fs::remove_file(lab.dir.path().join("out1")).unwrap();
    }
}

#[test]
fn slow_receivers_get_the_rest_later() {
    let Some(lab) = lab(3) else { return };
    noise(&lab.dir.path().join("in"), 10_000_000);
    // A consumer of 0.8 MB a second, which sees one stream.
    let slow =
        "while head -c 200000 > piece && [ -s piece ]; do cat piece; sleep 0.25; done > out3";
    let fast = [1, 2].map(|i| lab.start(&format!("r{i}"), &format!("sealcast catch > out{i}")));
    let line = format!("sealcast catch --memory 2M -- bash -c '{slow}'");
    let slow = lab.start("r3", &line);
    let options = "--slow later --min-rate 20M --slow-grace 1s --memory 2M";
    let line = format!("sealcast cast -n 3 -r 100M {options} --report report < in");
    let begun = Instant::now();
    let sender = lab.start("s", &line);
    for receiver in fast {
        receiver.ends_with(0, 20);
    }
    // The slow one alone takes 12 s.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}: {}", sender.said());
    slow.says("too slow for the others", 1);
    slow.ends_with(0, 30);
    sender.ends_with(0, 5);
    same(&lab, 3);
    let end = ended(&lab, "report");
    assert_eq!(
        (&end["complete"], &end["passes"]),
        (&true.into(), &2.into())
    );
    assert_eq!(end["receivers"].as_array().unwrap().len(), 3);
}

#[test]
fn a_source_that_is_repeated_serves_round_after_round() {
    let Some(lab) = lab(2) else { return };
    noise(&lab.dir.path().join("in"), 2_000_000);
    for input in ["< in", "-- sh -c 'echo run >> runs; cat in'"] {
        let line = format!("exec sealcast cast -n 2 --repeat --report report {input}");
        let sender = lab.start("s", &line);
        for _ in 0..2 {
            let receivers = [1, 2].map(|i| {
                let line = format!("sealcast catch > out{i}");
                lab.start(&format!("r{i}"), &line)
            });
            for receiver in receivers {
                receiver.ends_with(0, 10);
            }
            same(&lab, 2);
        }
        std::thread::sleep(Duration::from_millis(500));
        lab.signal("s", "TERM", "sealcast cast");
        sender.ends_with(0, 5);
        assert_eq!(ended(&lab, "report")["success"], true);
    }
    // A file is read when there is somebody to read it for.
    let sender = lab.start("s", "exec sealcast cast -n 1 --repeat < in");
    sender.says("waiting for receivers", 5);
    std::thread::sleep(Duration::from_millis(300));
    std::fs::write(lab.dir.path().join("in"), "new").unwrap();
    lab.start("r1", "sealcast catch > out1").ends_with(0, 10);
    same(&lab, 1);
    lab.signal("s", "TERM", "sealcast cast");
    sender.ends_with(0, 5);
    noise(&lab.dir.path().join("in"), 2_000_000);
    // Nothing is run for those who do not come.
    let runs = std::fs::read_to_string(lab.dir.path().join("runs")).unwrap();
    assert_eq!(runs.lines().count(), 2);

    // Within a session a signal is what it always is, and a round that failed is remembered.
    let sender = lab.start("s", "exec sealcast cast -n 1 -r 10M --repeat < in");
    let receiver = lab.start("r1", "exec sealcast catch > out1");
    sender.says("sending", 10);
    lab.signal("r1", "INT", "sealcast catch");
    receiver.end(5);
    sender.says("no receiver is left", 5);
    lab.signal("s", "TERM", "sealcast cast");
    sender.ends_with(6, 5);
    let sender = lab.start("s", "exec sealcast cast -n 1 -r 10M --repeat < in");
    let receiver = lab.start("r1", "exec sealcast catch > out1");
    sender.says("sending", 10);
    lab.signal("s", "TERM", "sealcast cast");
    sender.end(5);
    receiver.ends_with(6, 5);
}
