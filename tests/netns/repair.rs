//! What repair costs on a link of 100 Mbit/s: symbols sent for those of the stream.

use crate::cast_files::{cast_to_all, noise};
use crate::lab;
use crate::topology::Lab;

/// Casts the input to all receivers; returns the symbols sent for each one of the stream.
fn overhead(lab: &Lab, count: usize, options: &str) -> f64 {
    let said = cast_to_all(lab, count, options);
    // "…; 816 repair symbols to 5843"
    let (before, after) = said.split_once(" repair symbols to ").unwrap();
    let number = |word: Option<&str>| word.unwrap().parse::<f64>().unwrap();
    let repair = number(before.rsplit(' ').next());
    1.0 + repair / number(after.split_whitespace().next())
}

/// Fails when independent losses cost more than the figures given for them.
fn independent(count: usize, bytes: usize, options: &str, figures: &[(f64, f64)]) {
    let Some(lab) = lab(count) else { return };
    lab.cap("s", 100);
    noise(&lab.dir.path().join("in"), bytes);
    for &(percent, most) in figures {
        lab.lose(percent);
        let overhead = overhead(&lab, count, options);
        println!("{count} receivers at {percent} %: {overhead:.4}");
        assert!(overhead <= most, "{overhead} at {percent} %");
    }
}

/// What udpcast sends: 1.20 and 1.67 times the bytes. So many on one machine lose more than they
/// are meant to when they have to hurry, hence the rate.
#[test]
fn sixteen_receivers_cost_little_more_than_one() {
    independent(16, 40_000_000, "-r 40M", &[(1.0, 1.03), (5.0, 1.09)]);
}

/// What udpcast sends: 2.22 times the bytes.
#[test]
fn sixty_four_receivers_cost_little_more_than_sixteen() {
    independent(64, 25_000_000, "-r 20M", &[(5.0, 1.11)]);
}

/// The queue of the link, which is full at about 100 Mbit/s, must not overflow all the time.
#[test]
fn finding_the_rate_costs_little() {
    independent(16, 50_000_000, "", &[(1.0, 1.05)]);
}

#[test]
fn bursts_cost_little() {
    let Some(lab) = lab(16) else { return };
    lab.cap("s", 100);
    noise(&lab.dir.path().join("in"), 120_000_000);
    lab.lose_in_bursts(0.1, 10.0);
    let overhead = overhead(&lab, 16, "");
    let (begun, lost) = lab.bursts();
    let mean = lost as f64 / begun as f64;
    println!("16 receivers, {begun} bursts of {mean:.1}: {overhead:.4}");
    assert!(
        begun > 60 && (7.0..14.0).contains(&mean),
        "{begun} of {mean}"
    );
    assert!(overhead <= 1.04, "{overhead}");
}
