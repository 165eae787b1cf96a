//! Families, groups, broadcast and single peers: the ways from a sender to its receivers.

use crate::cast_files::{catch_all, noise, same};
use crate::lab;
use crate::topology::Lab;

/// Casts to `count` receivers that know nothing of the way.
fn arrives(lab: &Lab, count: usize, cast: &str, catch: &str) -> String {
    noise(&lab.dir.path().join("in"), 2_000_000);
    let receivers = catch_all(lab, count, catch);
    let sender = lab.start("s", &format!("sealcast cast -v -n {count} {cast} < in"));
    let (status, said) = sender.wait(20);
    assert_eq!(status, Some(0), "{cast}: {said}");
    for receiver in receivers {
        receiver.ends_with(0, 10);
    }
    same(lab, count);
    said
}

#[test]
fn receivers_hear_every_way_without_being_told() {
    let Some(lab) = lab(3) else { return };
    lab.lose(1.0);
    let said = arrives(&lab, 3, "-6", "");
    assert!(said.contains("to [ff15::5343]:8367, MTU 1500"), "{said}");
    let said = arrives(&lab, 3, "--broadcast -I eth0", "");
    assert!(said.contains("to 10.83.0.255:8367, MTU 1500"), "{said}");
    let said = arrives(&lab, 1, "--to 10.83.0.2", "");
    assert!(said.contains("to 10.83.0.2:8367, MTU 1500"), "{said}");
    arrives(&lab, 1, "--to [fd83::2]:8367", "");
    let group = "--group ff12::83 -I eth0";
    arrives(&lab, 2, group, group);
    arrives(&lab, 2, "--group 239.1.2.3", "--group 239.1.2.3");
}

#[test]
fn one_host_may_have_several_receivers() {
    let Some(lab) = lab(1) else { return };
    noise(&lab.dir.path().join("in"), 2_000_000);
    for cast in ["", "-6", "--broadcast -I eth0"] {
        let receivers: Vec<_> = (1..=3)
            .map(|i| lab.start("r1", &format!("sealcast catch > out{i}")))
            .collect();
        let line = format!("sealcast cast -n 3 {cast} < in");
        lab.start("s", &line).ends_with(0, 20);
        for receiver in receivers {
            receiver.ends_with(0, 10);
        }
        same(&lab, 3);
    }
}

#[test]
fn other_groups_are_not_heard() {
    let Some(lab) = lab(1) else { return };
    // Another program on the host is in the sender's group; we are not.
    let member = lab.start("r1", "sealcast catch --group 239.9.9.9 --port 9999 > other");
    let receiver = lab.start("r1", "sealcast catch --start-timeout 2s > out1");
    receiver.says("waiting", 5);
    let sender = lab.start(
        "s",
        "echo x | sealcast cast --group 239.9.9.9 --start-timeout 3s",
    );
    receiver.ends_with(6, 5);
    sender.ends_with(6, 5);
    lab.signal("r1", "INT", "9999");
    member.end(5);
}

#[test]
fn long_datagrams_are_used_where_they_fit() {
    let Some(lab) = lab(2) else { return };
    lab.mtu(9000);
    let said = arrives(&lab, 2, "", "");
    assert!(said.contains("MTU 9000"), "{said}");
    // One receiver is behind a shorter cable: it says so, and what to do.
    lab.mtu_of("r2", 1500);
    let receiver = lab.start("r2", "sealcast catch > out2");
    let sender = lab.start("s", "exec sealcast cast -n 1 --stall-timeout 2s < in");
    receiver.says("it needs --mtu 1500", 10);
    sender.ends_with(6, 15);
    receiver.ends_with(6, 10);
    arrives(&lab, 2, "--mtu 1500", "");
}

#[test]
fn two_casts_at_once_do_not_meet() {
    let Some(lab) = lab(3) else { return };
    noise(&lab.dir.path().join("in"), 3_000_000);
    // The first receiver is a sender, too.
    let a = lab.start("r2", "sealcast catch --name red > out1");
    let b = lab.start("r3", "sealcast catch --name blue > blue");
    let red = lab.start("s", "sealcast cast -n 1 -r 50M --name red < in");
    let blue = lab.start(
        "r1",
        "head -c 2000000 in | sealcast cast -n 1 -r 50M --name blue",
    );
    for job in [red, blue, a, b] {
        job.ends_with(0, 20);
    }
    same(&lab, 1);
    let sent = std::fs::read(lab.dir.path().join("in")).unwrap();
    assert!(std::fs::read(lab.dir.path().join("blue")).unwrap() == sent[..2_000_000]);
    // Without names each receiver takes part in one of them, and gets all of that.
    let receivers = catch_all(&lab, 3, "");
    // All may take the same one: the other gives up.
    let alone = "sealcast cast --settle 1s --start-timeout 3s < in";
    let senders = [(); 2].map(|()| lab.start("s", alone));
    for receiver in receivers {
        receiver.ends_with(0, 15);
    }
    same(&lab, 3);
    let statuses = senders.map(|job| job.wait(10).0.unwrap());
    assert!(statuses.contains(&0), "{statuses:?}");
}
