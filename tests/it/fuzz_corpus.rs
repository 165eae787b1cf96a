//! The fuzzer's corpus, and mutations of it, through the bodies that the fuzzer runs.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[path = "../fuzz/bodies.rs"]
mod bodies;

/// How many mutations are tried of what is quick.
const CASES: u32 = 2000;

/// Runs `body` on every file of its corpus, and on each with bytes changed, taken out and put in.
fn replay(name: &str, cases: u32, body: fn(&[u8])) {
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
        cases,
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

/// Whether this process runs one test only. Otherwise `test` is run in one that does: it changes
/// what all threads of a process share.
fn alone(test: &str) -> bool {
    if std::env::var_os("NEXTEST").is_some() || std::env::var_os("SEALCAST_ALONE").is_some() {
        return true;
    }
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test]).env("SEALCAST_ALONE", "1");
    assert!(again.status().unwrap().success());
    false
}

#[test]
fn archive() {
    replay("archive", CASES, bodies::archive);
}

#[test]
fn extract() {
    // The mask for modes of new files is the process's.
    if alone("fuzz_corpus::extract") {
        replay("archive", 100, bodies::extract);
    }
}

#[test]
fn armor() {
    replay("armor", CASES, bodies::armor);
}

#[test]
fn header() {
    replay("header", CASES, bodies::header);
}

#[test]
fn keys() {
    replay("keys", CASES, bodies::keys);
}

#[test]
fn payload() {
    replay("payload", CASES, bodies::payload);
}

#[test]
fn wire() {
    replay("wire", CASES, bodies::wire);
}

#[test]
fn session() {
    replay("session", 200, bodies::session);
}
