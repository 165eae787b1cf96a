//! The fuzzer's corpus, and mutations of it, through the bodies that the fuzzer runs.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[path = "../fuzz/bodies.rs"]
mod bodies;

/// Runs `body` on every file of its corpus, and on each with bytes changed, taken out and put in.
fn replay(name: &str, body: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut files: Vec<Vec<u8>> = std::fs::read_dir(dir.join(name))
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    files.sort();
    assert!(files.len() >= 4, "{} files of {name}", files.len());
    for file in &files {
        body(file);
    }
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    let edits = prop::collection::vec(edit, 1..6);
    let file = prop::sample::select(files);
    let mut runner = TestRunner::new(Config {
        cases: 2000,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&(file, edits), |(mut file, edits)| {
        for (at, byte, how) in edits {
            if file.is_empty() {
                file.push(byte);
                continue;
            }
            let at = at.index(file.len());
            match how {
                0 => file[at] = byte,
                1 => file[at] ^= 1 << (byte % 8),
                2 => file.insert(at, byte),
                _ => {
                    file.remove(at);
                }
            }
        }
        body(&file);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn armor() {
    replay("armor", bodies::armor);
}

#[test]
fn header() {
    replay("header", bodies::header);
}

#[test]
fn keys() {
    replay("keys", bodies::keys);
}

#[test]
fn payload() {
    replay("payload", bodies::payload);
}
