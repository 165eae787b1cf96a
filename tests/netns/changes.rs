//! Networks that change: interfaces, addresses and routes that come, go and come back, and
//! firewalls that know ports.

use crate::cast_files::{catch_all, noise, same};
use crate::lab;
use crate::topology::{Job, Lab};

/// Amid the session: so many bytes take some seconds at 40 Mbit/s.
const BYTES: usize = 25_000_000;

/// A session of one receiver that is under way, and will be for some seconds.
fn under_way(lab: &Lab, catch: &str, cast: &str) -> (Job, Job) {
    noise(&lab.dir.path().join("in"), BYTES);
    let receiver = lab.start("r1", &format!("sealcast catch {catch} > out1"));
    let sender = lab.start("s", &format!("sealcast cast -r 40M -n 1 {cast} < in"));
    receiver.says("receiving", 20);
    std::thread::sleep(std::time::Duration::from_secs(1));
    (receiver, sender)
}

/// Both sides end well, and said these words.
fn survived(lab: &Lab, (receiver, sender): (Job, Job), words: [&str; 2]) {
    for (job, word) in [(receiver, words[0]), (sender, words[1])] {
        let (status, said) = job.wait(60);
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains(word), "{word}: {said}");
    }
    same(lab, 1);
}

#[test]
fn the_network_may_come_later() {
    let Some(lab) = lab(1) else { return };
    noise(&lab.dir.path().join("in"), 1_000_000);
    for node in ["s", "r1"] {
        lab.ip(node, "link set eth0 down\nlink set eth0 name later0\n");
    }
    let receiver = lab.start("r1", "sealcast catch > out1");
    let sender = lab.start("s", "sealcast cast -n 1 -I eth0 < in");
    receiver.says("waiting for a route to 239.255.83.67", 20);
    sender.says("waiting for the interface eth0", 20);
    let r1 = "link set later0 name eth0\nlink set eth0 up\nroute add default via 10.83.0.1\n";
    lab.ip("s", "link set later0 name eth0\nlink set eth0 up\n");
    lab.ip("r1", r1);
    receiver.says("waiting for a sender on 239.255.83.67:8367", 20);
    sender.ends_with(0, 30);
    receiver.ends_with(0, 30);
    same(&lab, 1);
}

#[test]
fn a_network_that_does_not_come_is_named() {
    let Some(lab) = lab(1) else { return };
    lab.ip("r1", "link set eth0 down\n");
    for (line, status, word) in [
        (
            "sealcast catch --start-timeout 1s",
            1,
            "no route to 239.255.83.67",
        ),
        (
            "sealcast catch -I eth9 --start-timeout 1s",
            2,
            "no network interface eth9",
        ),
        (
            "sealcast cast --start-timeout 1s < /dev/null",
            1,
            "no route to 239.255.83.67",
        ),
        (
            "sealcast cast -I eth9 --start-timeout 1s < /dev/null",
            2,
            "interface eth9",
        ),
    ] {
        let (found, said) = lab.start("r1", line).wait(20);
        assert_eq!(found, Some(status), "{line}: {said}");
        assert!(
            said.contains("error: ") && said.contains(word),
            "{line}: {said}"
        );
    }
}

#[test]
fn one_of_two_families_is_enough() {
    let Some(lab) = lab(2) else { return };
    noise(&lab.dir.path().join("in"), 1_000_000);
    for (node, address) in [("s", "10.83.0.1/24"), ("r1", "10.83.0.2/24")] {
        lab.ip(node, &format!("addr del {address} dev eth0\n"));
    }
    let lines = "addr flush dev eth0\naddr add 10.83.0.3/24 dev eth0\n\
                 route add 224.0.0.0/4 dev eth0\n";
    lab.ip("r2", lines);
    for (cast, count, way) in [("-6 -I eth0", 1, "r1"), ("--group 239.255.83.67", 2, "r2")] {
        if way == "r2" {
            lab.ip(
                "s",
                "addr add 10.83.0.1/24 dev eth0\nroute add 224.0.0.0/4 dev eth0\n",
            );
        }
        let receiver = lab.start(way, &format!("sealcast catch > out{count}"));
        lab.start("s", &format!("sealcast cast -n 1 {cast} < in"))
            .ends_with(0, 30);
        receiver.ends_with(0, 30);
    }
    same(&lab, 2);
}

#[test]
fn an_interface_may_be_made_anew() {
    let Some(lab) = lab(1) else { return };
    for catch in ["-I eth0", ""] {
        noise(&lab.dir.path().join("in"), 1_000_000);
        let receiver = lab.start("r1", &format!("sealcast catch {catch} > out1"));
        receiver.says("waiting for a sender", 20);
        lab.renew("r1");
        lab.start("s", "sealcast cast -n 1 < in").ends_with(0, 40);
        receiver.ends_with(0, 30);
        same(&lab, 1);
    }
    // And amid the session, on either side.
    let jobs = under_way(
        &lab,
        "--silence-timeout 30s",
        "--silence-timeout 30s -I eth0",
    );
    lab.renew("r1");
    lab.renew("s");
    survived(&lab, jobs, ["complete", "repair symbols"]);
}

#[test]
fn a_senders_link_may_blink() {
    let Some(lab) = lab(1) else { return };
    let jobs = under_way(&lab, "", "");
    lab.ip("s", "link set eth0 down\n");
    jobs.1.says("no route to 239.255.83.67", 20);
    lab.ip("s", "link set eth0 up\nroute add 224.0.0.0/4 dev eth0\n");
    survived(&lab, jobs, ["complete", "get out again"]);
}

#[test]
fn a_senders_address_may_change() {
    let Some(lab) = lab(1) else { return };
    let jobs = under_way(&lab, "", "");
    // The first address takes those of its network with it.
    let lines = "addr del 10.83.0.1/24 dev eth0\naddr add 10.83.0.77/24 dev eth0\n\
                 route replace 224.0.0.0/4 dev eth0\n";
    lab.ip("s", lines);
    survived(
        &lab,
        jobs,
        [
            "the sender has the address 10.83.0.77 now",
            "repair symbols",
        ],
    );
}

#[test]
fn an_outage_may_be_as_long_as_both_sides_are_told() {
    let Some(lab) = lab(1) else { return };
    let patient = "--silence-timeout 1min";
    let jobs = under_way(&lab, patient, patient);
    lab.cable("r1", false);
    std::thread::sleep(std::time::Duration::from_secs(8));
    lab.cable("r1", true);
    survived(&lab, jobs, ["complete", "repair symbols"]);
}

/// Lets nothing into a node but what these rules accept.
fn firewall(lab: &Lab, node: &str, accept: &str) {
    let chain = "chain in {\ntype filter hook input priority 0; policy drop;\niif lo accept\n\
                 meta l4proto { igmp, ipv6-icmp } accept\nct state established,related accept\n";
    lab.nft(
        node,
        &format!("table inet wall {{\n{chain}{accept}\n}}\n}}"),
    );
}

#[test]
fn a_firewall_needs_to_know_two_ports() {
    let Some(lab) = lab(1) else { return };
    noise(&lab.dir.path().join("in"), 1_000_000);
    firewall(&lab, "s", "udp dport 8368 accept\nudp dport 5555 accept");
    firewall(&lab, "r1", "udp dport 8367 accept");
    for cast in ["", "--answer-port 5555"] {
        let receivers = catch_all(&lab, 1, "");
        let (status, said) = lab
            .start("s", &format!("sealcast cast -n 1 {cast} < in"))
            .wait(30);
        assert_eq!(status, Some(0), "{cast}: {said}");
        for receiver in receivers {
            receiver.ends_with(0, 30);
        }
        same(&lab, 1);
    }
    // The port is taken: another one is found, and said; one that was asked for must be free.
    let first = lab.start("s", "sealcast cast -v < in");
    first.says("answers on UDP port 8368", 20);
    let second = lab.start("s", "sealcast cast -v --start-timeout 1s < in");
    let (status, said) = second.wait(20);
    assert_eq!(status, Some(6), "{said}");
    assert!(
        !said.contains("UDP port 8368\n") && said.contains("answers on UDP port "),
        "{said}"
    );
    let (status, said) = lab
        .start("s", "sealcast cast --answer-port 8368 < in")
        .wait(20);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("UDP port 8368 is in use"), "{said}");
}

#[test]
fn a_firewall_that_is_in_the_way_is_named() {
    let Some(lab) = lab(1) else { return };
    noise(&lab.dir.path().join("in"), 1_000);
    // Answers do not get in at the sender.
    firewall(&lab, "s", "");
    let sender = lab.start("s", "sealcast cast -n 1 --start-timeout 4s < in");
    let (status, said) = lab
        .start("r1", "sealcast catch --start-timeout 2s > out1")
        .wait(20);
    assert_eq!(status, Some(6), "{said}");
    assert!(
        said.contains("10.83.0.1 announced a session, and did not answer"),
        "{said}"
    );
    assert!(
        said.contains("let in UDP port 8368") && !said.contains("running"),
        "{said}"
    );
    let (status, said) = sender.wait(20);
    assert_eq!(status, Some(6), "{said}");
    assert!(said.contains("one here UDP port 8368"), "{said}");
    // Nothing gets out.
    for node in ["s", "r1"] {
        lab.mute(node);
    }
    let (status, said) = lab.start("s", "sealcast cast -n 1 < in").wait(20);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("firewall of this machine"), "{said}");
    lab.nft("s", "delete table inet mute");
    let sender = lab.start("s", "sealcast cast -n 1 --start-timeout 8s < in");
    let (status, said) = lab
        .start("r1", "sealcast catch --start-timeout 2s > out1")
        .wait(20);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("cannot send to 10.83.0.1") && said.contains("firewall"),
        "{said}"
    );
    sender.ends_with(6, 20);
}
