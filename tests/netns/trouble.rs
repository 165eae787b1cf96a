//! Receivers in trouble, or that make some: each costs the others a bounded time, and is named.

use crate::cast_files::noise;
use crate::lab;
use crate::topology::Lab;

/// Whether a receiver's output is the input.
fn arrived(lab: &Lab, n: usize) {
    let read = |name: String| std::fs::read(lab.dir.path().join(name)).unwrap();
    assert!(read("in".into()) == read(format!("out{n}")), "receiver {n}");
}

#[test]
fn a_receiver_that_gets_no_long_datagrams_is_named_and_left_out() {
    let Some(lab) = lab(3) else { return };
    for (bytes, name) in [(20_000_000, "long"), (1_000, "short")] {
        noise(&lab.dir.path().join("in"), bytes);
        lab.nft(
            "r2",
            "add table ip hole
             add chain ip hole in { type filter hook input priority 0; }
             add rule ip hole in udp length > 1000 drop",
        );
        let receivers: Vec<_> = (1..=3)
            .map(|n| {
                let script = format!("sealcast catch -q --as n{n} > out{n}");
                lab.start(&format!("r{n}"), &script)
            })
            .collect();
        let sender = lab.start("s", "sealcast cast -n 3 < in");
        sender.says("n2 is out: only short datagrams reach it", 60);
        sender.ends_with(6, 20);
        for (receiver, code) in receivers.into_iter().zip([0, 6, 0]) {
            receiver.ends_with(code, 20);
        }
        arrived(&lab, 1);
        arrived(&lab, 3);
        lab.nft("r2", "delete table ip hole");
        println!("{name}: named");
    }
}

#[test]
fn a_receiver_that_takes_little_holds_the_others_up_for_a_bounded_time() {
    let Some(lab) = lab(2) else { return };
    noise(&lab.dir.path().join("in"), 40_000_000);
    let honest = lab.start("r1", "sealcast catch -q > out1");
    // A block each 5 s.
    let little = "while [ $(head -c 367000 | wc -c) -gt 0 ]; do sleep 5; done";
    let script = format!("sealcast catch -q --as n2 --memory 8M | ({little})");
    let greedy = lab.start("r2", &format!("set -o pipefail; {script}"));
    let sender = lab.start("s", "sealcast cast -n 2 < in");
    // It may take 20 s, and the machine may be busy.
    honest.ends_with(0, 60);
    arrived(&lab, 1);
    sender.says("n2", 10);
    sender.says("too slow for the rest", 10);
    sender.ends_with(6, 10);
    // It reads what is in its pipe.
    greedy.ends_with(7, 90);
}
