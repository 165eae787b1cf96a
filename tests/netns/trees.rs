//! Whole trees through the whole pipeline.

use std::path::{Path, PathBuf};

use sealcast::tree;

use crate::lab;
use crate::topology::{Job, Lab};

const COUNT: usize = 4;

/// Keys for the sender and each receiver, and a tree to send.
fn prepare(lab: &Lab) -> PathBuf {
    let dir = lab.dir.path();
    let script = format!(
        "sealcast keygen --sign -o admin.key > admin.pub
         for i in $(seq {COUNT}); do sealcast keygen -o node$i.key >> nodes.txt; done"
    );
    lab.start("s", &script).ends_with(0, 10);
    let source = dir.join("tree");
    std::fs::create_dir(&source).unwrap();
    tree::sample(&source).unwrap();
    source
}

fn receive_all(lab: &Lab, round: &str) -> Vec<Job> {
    (1..=COUNT)
        .map(|i| {
            let script = format!(
                "sealcast catch | sealcast open -i node{i}.key --from admin.pub | \
                 sealcast unpack --no-sync -C {round}{i}; echo status ${{PIPESTATUS[@]}}"
            );
            lab.start(&format!("r{i}"), &script)
        })
        .collect()
}

fn nothing_looks_complete(dir: &Path, round: &str) {
    for i in 1..=COUNT {
        assert!(
            !dir.join(format!("{round}{i}")).exists(),
            "{round}{i} looks complete"
        );
    }
    let left: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn four_receivers_get_identical_trees() {
    let Some(lab) = lab(COUNT) else { return };
    let source = prepare(&lab);
    for percent in [0, 5] {
        lab.lose(f64::from(percent));
        let round = format!("at{percent}-");
        let receivers = receive_all(&lab, &round);
        lab.start(
            "s",
            "sealcast pack tree | sealcast seal -R nodes.txt -s admin.key | sealcast cast -n 4",
        )
        .ends_with(0, 60);
        for (i, receiver) in (1..).zip(receivers) {
            receiver.says("status 0 0 0", 20);
            let copy = lab.dir.path().join(format!("{round}{i}"));
            assert_eq!(tree::differences(&source, &copy).unwrap(), [""; 0]);
        }
    }
}

#[test]
fn a_sender_killed_half_way_leaves_nothing_that_looks_complete() {
    let Some(lab) = lab(COUNT) else { return };
    prepare(&lab);
    let receivers = receive_all(&lab, "half");
    let sender = lab.start(
        "s",
        "sealcast pack tree | sealcast seal -R nodes.txt -s admin.key | sealcast cast -n 4 -r 8M",
    );
    receivers[0].says("receiving", 20);
    std::thread::sleep(std::time::Duration::from_millis(500));
    lab.signal("s", "KILL", "cast");
    sender.end(10);
    for receiver in receivers {
        receiver.says("status 6 3 3", 15);
    }
    nothing_looks_complete(lab.dir.path(), "half");
}

#[test]
fn an_archiver_that_fails_upstream_is_noticed_everywhere() {
    let Some(lab) = lab(COUNT) else { return };
    prepare(&lab);
    // Seen by `cast` itself: all receivers are told.
    let receivers = receive_all(&lab, "told");
    lab.start(
        "s",
        "sealcast cast -n 4 -- bash -o pipefail -c \
         'tar -cf - tree no-such-file 2> /dev/null | zstd | \
         sealcast seal -R nodes.txt -s admin.key'",
    )
    .ends_with(6, 30);
    for receiver in receivers {
        receiver.says("status 6 ", 15);
    }
    nothing_looks_complete(lab.dir.path(), "told");
    // In a plain pipeline: an archive without its end is no archive.
    let receivers = receive_all(&lab, "plain");
    lab.start(
        "s",
        "(tar -cf - tree | head -c 2000000) | zstd | sealcast seal -R nodes.txt -s admin.key | \
         sealcast cast -n 4",
    )
    .end(30);
    for receiver in receivers {
        receiver.says("status 0 0 3", 15);
    }
    nothing_looks_complete(lab.dir.path(), "plain");
}

#[test]
fn only_the_right_keys_open_what_everybody_hears() {
    let Some(lab) = lab(COUNT) else { return };
    prepare(&lab);
    let script =
        "sealcast keygen --sign -o other.key > other.pub; sealcast keygen -o no.key > no.txt";
    lab.start("s", script).ends_with(0, 10);
    let open = |i: usize, key: &str, from: &str| {
        let script = format!(
            "sealcast catch | sealcast open -i {key} --from {from} | \
             sealcast unpack --no-sync -C keys{i}; \
             echo status ${{PIPESTATUS[@]}}"
        );
        lab.start(&format!("r{i}"), &script)
    };
    let receivers = [
        open(1, "no.key", "admin.pub"),
        open(2, "node2.key", "other.pub"),
    ];
    let sender = lab.start(
        "s",
        "sealcast pack tree | sealcast seal -R nodes.txt -s admin.key | sealcast cast -n 2",
    );
    receivers[0].says(" 4 3", 20);
    receivers[1].says(" 5 3", 20);
    sender.end(20);
    nothing_looks_complete(lab.dir.path(), "keys");
}

#[test]
fn a_relay_passes_a_session_on() {
    let Some(lab) = lab(2) else { return };
    let source = lab.dir.path().join("tree");
    std::fs::create_dir(&source).unwrap();
    tree::sample(&source).unwrap();
    lab.lose(1.0);
    let last = lab.start(
        "r2",
        "sealcast catch --port 9000 | sealcast unpack --no-sync -C end",
    );
    let relay = lab.start("r1", "sealcast catch | sealcast cast -n 1 --port 9000");
    lab.start("s", "sealcast pack tree | sealcast cast -n 1")
        .ends_with(0, 30);
    relay.ends_with(0, 20);
    last.ends_with(0, 20);
    assert_eq!(
        tree::differences(&source, &lab.dir.path().join("end")).unwrap(),
        [""; 0]
    );
}
