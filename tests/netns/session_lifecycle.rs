//! The life of a session: how it starts, whom it waits for, how it ends, and what both sides then
//! say of it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cast_files::{catch_all, noise, same};
use crate::lab;
use crate::topology::{Job, Lab};

/// The events of a report.
fn events(lab: &Lab, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(lab.dir.path().join(name)).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The fields of an event, in order.
fn fields(event: &Value) -> String {
    let object = event.as_object().unwrap();
    let names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.join(" ")
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e["event"] == kind).collect()
}

fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Waits for a process that SIGTERM ends, and that ends what it started first.
fn terminated(job: Job) {
    let status = job.end(5);
    assert_eq!(status.code().unwrap_or(143), 143, "{status}");
}

#[test]
fn a_consumers_status_reaches_the_sender() {
    let Some(lab) = lab(4) else { return };
    noise(&lab.dir.path().join("in"), 2_000_000);
    let scripts = [
        "cat > out1; sleep 1",
        "cat > out2; exit 3",
        "cat > out3; kill -9 $$",
        "exec head -c 1000 > out4",
    ];
    let receivers: Vec<_> = (1..)
        .zip(scripts)
        .map(|(i, script)| {
            let line = format!("sealcast catch --as n{i} --report r{i} -- sh -c '{script}'");
            lab.start(&format!("r{i}"), &line)
        })
        .collect();
    let sender = lab.start("s", "sealcast cast -n 4 --require 25% --report report < in");
    sender.says("its consumer ended with status 3", 10);
    let said = sender.wait(10);
    assert_eq!(said.0, Some(0), "{}", said.1);
    for word in [
        "n2 ",
        "ended by signal 9",
        "its consumer went away",
        "has everything",
    ] {
        assert!(said.1.contains(word), "no {word} in\n{}", said.1);
    }
    for (receiver, code) in receivers.into_iter().zip([0, 6, 6, 6]) {
        receiver.ends_with(code, 10);
    }
    same(&lab, 1);

    // How often the reason for the rate changes is chance.
    let (rates, events): (Vec<_>, Vec<_>) = events(&lab, "report")
        .into_iter()
        .partition(|e| e["event"] == "rate");
    for rate in &rates {
        let names = "bits_s event name pass reason receiver t_us v";
        assert_eq!(fields(rate), names);
    }
    let kinds: Vec<&str> = events
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[0], "announced");
    assert_eq!(kinds[5], "started");
    assert_eq!(kinds[10..], ["ended"]);
    let finished = of_kind(&events, "finished");
    let fate = |n: &str| finished.iter().find(|e| e["name"] == n).unwrap()["fate"].clone();
    assert_eq!(fate("n2"), "its consumer ended with status 3");
    assert_eq!(fate("n1"), "has everything");
    let end = events.last().unwrap();
    assert_eq!(end["success"], true);
    assert_eq!(end["complete"], false);
    // Programs rely on these names.
    assert_eq!(
        fields(&events[0]),
        "answer_port event mtu name one_way pass session t_us to unix_s v"
    );
    let joined = "address event key name pass receiver t_us v";
    assert_eq!(fields(&events[1]), joined);
    assert_eq!(fields(&events[5]), "event pass receivers t_us v");
    let done = "done event fate name pass receiver t_us v";
    assert_eq!(fields(finished[0]), done);
    assert_eq!(
        fields(end),
        "bytes complete datagrams elapsed_us event feedbacks limited_us missing nacks pass passes \
         rate_bits_s rate_reason receivers refused repair source success t_us v wire_bytes"
    );
    assert_eq!(
        fields(&end["receivers"][0]),
        "address arrived awaited done fate key nacks name pass receiver sent"
    );
    catch_report(&lab);
}

/// What a receiver's report has in it.
fn catch_report(lab: &Lab) {
    let events = events(lab, "r1");
    let lines: Vec<String> = events.iter().map(fields).collect();
    assert_eq!(
        lines,
        [
            "address event name one_way session signer t_us unix_s v",
            "event receiver t_us v",
            "event t_us v",
            "bytes event t_us v",
            "bytes complete datagrams elapsed_us event feedbacks lost nacks refused repaired \
             t_us v",
        ]
    );
    let events = self::events(lab, "r2");
    let end = events.last().unwrap();
    assert_eq!(fields(end), "complete error event t_us v");
}

#[test]
fn a_consumer_may_take_longer_than_anybody_would_wait_otherwise() {
    let Some(lab) = lab(2) else { return };
    noise(&lab.dir.path().join("in"), 1_000_000);
    let receivers = [
        lab.start("r1", "sealcast catch -- sh -c 'cat > out1; sleep 7'"),
        lab.start("r2", "sealcast catch -- sh -c 'cat > out2; sleep 11'"),
    ];
    let sender = lab.start(
        "s",
        "sealcast cast -n 2 --stall-timeout 1s --finish-timeout 8s < in",
    );
    let [first, second] = receivers;
    sender.says("waiting for the consumers of 2 receivers", 10);
    first.ends_with(0, 20);
    let said = sender.wait(20);
    assert_eq!(said.0, Some(6), "{}", said.1);
    assert!(said.1.contains("--finish-timeout"), "{}", said.1);
    assert!(said.1.contains("has everything"), "{}", said.1);
    // The second one was let go, but is left to its work.
    let (status, said) = second.wait(10);
    assert_eq!(status, Some(6), "{said}");
    assert!(said.contains("the sender's --finish-timeout"), "{said}");
    assert!(!said.contains("not the whole stream"), "{said}");
    same(&lab, 2);
}

#[test]
fn a_cut_stream_is_not_taken_for_a_whole_one() {
    let Some(lab) = lab(2) else { return };
    noise(&lab.dir.path().join("in"), 20_000_000);
    let catch = |node: &str| {
        // The shell and what it starts are one group.
        let line = format!(
            "sealcast catch -- \
             sh -c '(cat > /dev/null; touch {node}.done) | cat; touch {node}.done'"
        );
        lab.start(node, &line)
    };
    let receivers = [catch("r1"), catch("r2")];
    let sender = lab.start("s", "exec sealcast cast -n 2 -r 20M < in");
    receivers[1].says("receiving", 10);
    lab.signal("r2", "TERM", "catch");
    let [first, second] = receivers;
    terminated(second);
    lab.signal("s", "INT", "cast");
    sender.end(5);
    first.ends_with(6, 5);
    for node in ["r1", "r2"] {
        let done = lab.dir.path().join(format!("{node}.done"));
        assert!(!done.exists(), "{node} took the beginning for the whole");
    }
}

#[test]
fn no_command_is_left_behind() {
    let Some(lab) = lab(2) else { return };
    let stubborn = "sealcast catch -- sh -c 'trap \"\" TERM; cat > /dev/null; touch r1.done'";
    let receivers = [
        lab.start("r1", stubborn),
        lab.start("r2", "sealcast catch > /dev/null"),
    ];
    let line = "exec sealcast cast -n 2 -r 20M -- sh -c 'sleep 60 & cat /dev/zero'";
    let sender = lab.start("s", line);
    sender.says("sending", 10);
    // Who is in a hurry asks twice.
    lab.signal("r1", "TERM", "sealcast catch");
    pause(500);
    assert!(!lab.running("r1", "sealcast catch").is_empty());
    lab.signal("r1", "TERM", "sealcast catch");
    let [first, second] = receivers;
    terminated(first);
    assert_eq!(lab.running("r1", "trap"), [""; 0]);
    let done = lab.dir.path().join("r1.done");
    assert!(!done.exists(), "it took the beginning for the whole");

    assert!(!lab.running("s", "sleep 60").is_empty());
    lab.signal("s", "INT", "sealcast cast");
    second.ends_with(6, 2);
    sender.end(4);
    assert_eq!(lab.running("s", "sleep 60"), [""; 0]);
}

#[test]
fn people_start_a_session() {
    let Some(lab) = lab(2) else { return };
    noise(&lab.dir.path().join("in"), 500_000);
    let sender = lab.start("s", "exec sealcast cast -n 2 < in");
    sender.says("0 of 2 here", 10);
    lab.signal("s", "USR1", "cast");
    sender.says("no receiver has joined; still waiting", 5);
    let receivers = catch_all(&lab, 1, "");
    sender.says("joined", 10);
    receivers[0].says("1 of 2 receivers are there", 5);
    lab.signal("s", "USR1", "cast");
    sender.ends_with(0, 10);
    for receiver in receivers {
        receiver.ends_with(0, 5);
    }
    same(&lab, 1);

    // Enter, on a terminal; an empty line that was typed before is not it.
    let receivers = catch_all(&lab, 1, "");
    let typed = "(sleep 2; echo; sleep 1) | script -qec 'sealcast cast -n 2 < in' /dev/null";
    let sender = lab.start("s", typed);
    sender.says("Enter starts now", 10);
    sender.says("sending to 1 receiver", 10);
    for receiver in receivers {
        receiver.ends_with(0, 10);
    }
    sender.end(10);
    same(&lab, 1);
}

#[test]
fn names_and_times_decide_the_start() {
    let Some(lab) = lab(3) else { return };
    noise(&lab.dir.path().join("in"), 500_000);
    let sender = lab.start("s", "sealcast cast --expect a,b < in");
    let other = lab.start("r3", "sealcast catch --as c > out3");
    sender.says("c (10.83.0.4) joined", 10);
    let first = lab.start("r1", "sealcast catch --as a > out1");
    sender.says("1 of 2 here, without b", 10);
    // One that goes away again is waited for again.
    lab.signal("r1", "INT", "catch");
    first.end(5);
    sender.says("0 of 2 here, without a, b\n", 5);
    let second = lab.start("r2", "sealcast catch --as b > out2");
    let first = lab.start("r1", "sealcast catch --as a > out1");
    sender.ends_with(0, 10);
    for receiver in [first, second, other] {
        receiver.ends_with(0, 5);
    }
    same(&lab, 3);

    let receivers = catch_all(&lab, 2, "");
    let begun = Instant::now();
    let sender = lab.start("s", "sealcast cast -n 2 --min-wait 2s < in");
    sender.ends_with(0, 10);
    assert!(
        begun.elapsed() > Duration::from_secs(2),
        "that was too early"
    );
    for receiver in receivers {
        receiver.ends_with(0, 5);
    }
}

/// A stage of a session in which somebody is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Waiting,
    Sending,
    /// A consumer works on what is complete.
    Finishing,
}

impl Stage {
    /// Two receivers and a sender that have reached this stage.
    fn reach(self, lab: &Lab) -> (Vec<Job>, Job) {
        noise(&lab.dir.path().join("in"), 5_000_000);
        let (count, rate, says, later) = match self {
            Self::Waiting => (3, "1G", "joined", 500),
            Self::Sending => (2, "10M", "sending", 500),
            Self::Finishing => (2, "1G", "sending", 1_500),
        };
        let catch = "sealcast catch -- sh -c 'cat > /dev/null; sleep 4'";
        let receivers = (1..=2)
            .map(|i| lab.start(&format!("r{i}"), catch))
            .collect();
        let line = format!("sealcast cast -n {count} --max-wait 8s -r {rate} < in");
        let sender = lab.start("s", &line);
        sender.says(says, 10);
        pause(later);
        (receivers, sender)
    }
}

fn a_sender_is_killed(stage: Stage) {
    let Some(lab) = lab(2) else { return };
    let (receivers, sender) = stage.reach(&lab);
    lab.signal("s", "KILL", "cast");
    sender.end(5);
    for receiver in receivers {
        // What is complete stays so: DONE is said for 5 s, after the consumer's 4.
        let (status, seconds) = if stage == Stage::Finishing {
            (0, 11)
        } else {
            (6, 7)
        };
        receiver.ends_with(status, seconds);
    }
}

fn a_receiver_is_killed(stage: Stage) {
    let Some(lab) = lab(2) else { return };
    let (mut receivers, sender) = stage.reach(&lab);
    lab.signal("r1", "KILL", "catch");
    receivers.remove(0).end(5);
    let (status, said) = sender.wait(20);
    // Whoever falls silent before the start is forgotten.
    let expected = if stage == Stage::Waiting { 0 } else { 6 };
    assert_eq!(status, Some(expected), "{stage:?}: {said}");
    assert!(
        said.contains("nothing was heard of it within --silence-timeout"),
        "{stage:?}: {said}"
    );
    receivers.remove(0).ends_with(0, 5);
}

#[test]
fn whoever_is_killed_keeps_nobody() {
    std::thread::scope(|scope| {
        for stage in [Stage::Waiting, Stage::Sending, Stage::Finishing] {
            scope.spawn(move || a_sender_is_killed(stage));
            scope.spawn(move || a_receiver_is_killed(stage));
        }
    });
}

#[test]
fn the_first_datagrams_may_be_lost() {
    let Some(lab) = lab(2) else { return };
    noise(&lab.dir.path().join("in"), 500_000);
    lab.lose_first(10);
    let receivers = catch_all(&lab, 2, "");
    lab.start("s", "sealcast cast -n 2 < in").ends_with(0, 30);
    for receiver in receivers {
        receiver.ends_with(0, 10);
    }
    same(&lab, 2);
}

#[test]
fn a_firewall_of_the_senders_that_drops_something_is_loss() {
    let Some(lab) = lab(2) else { return };
    noise(&lab.dir.path().join("in"), 5_000_000);
    let receivers = catch_all(&lab, 2, "");
    let sender = lab.start("s", "sealcast cast -n 2 -r 20M < in");
    sender.says("sending", 10);
    lab.nft(
        "s",
        "table ip wall {\nchain out { type filter hook output priority 0; policy accept;\n\
         meta l4proto udp numgen random mod 100 < 10 drop; }\n}\n",
    );
    let (status, said) = sender.wait(20);
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("cannot send"), "{said}");
    for receiver in receivers {
        receiver.ends_with(0, 10);
    }
    same(&lab, 2);

    // Nothing at all is another matter.
    let wall = "table ip silence {\n\
                chain out { type filter hook output priority 0; policy accept;\n\
                meta l4proto udp drop; }\n}\n";
    lab.nft("s", wall);
    let sender = lab.start("s", "sealcast cast < in");
    sender.says("cannot send to 239.255.83.67: Operation not permitted", 5);
    sender.ends_with(1, 5);
}

#[test]
fn an_mtu_that_does_not_fit_is_noticed() {
    let Some(lab) = lab(1) else { return };
    noise(&lab.dir.path().join("in"), 500_000);
    let sender = lab.start("s", "sealcast cast -I eth0 -n 1 --mtu 1501 < in");
    sender.says("do not fit interface eth0, whose MTU is 1500", 5);
    sender.ends_with(2, 5);
    // The way becomes narrow when it is too late to look.
    let sender = lab.start("s", "sealcast cast -n 1 --mtu 1500 < in");
    sender.says("0 of 1 here", 5);
    lab.mtu_of("s", 1400);
    let receiver = lab.start("r1", "sealcast catch > out1");
    receiver.says("the sender's system failed: datagrams of 1500 bytes", 5);
    receiver.ends_with(6, 1);
    sender.ends_with(2, 1);
}
