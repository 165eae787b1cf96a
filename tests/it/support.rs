//! What the integration tests share.
#![allow(dead_code, reason = "not every topic uses every helper")]

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The program under test.
pub(crate) fn sealcast() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sealcast"))
}

/// Runs sealcast with `args`, feeding it `input`; the child may stop reading early.
pub(crate) fn run<S: AsRef<OsStr>>(args: &[S], input: &[u8]) -> Output {
    let mut command = sealcast();
    command.args(args);
    feed(command, input)
}

/// Runs `command`, feeding it `input`, and collects what it says.
pub(crate) fn feed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A child that refuses its input closes the pipe; its status tells the story.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    })
}

/// Whether `tool` is here. A missing tool skips a test with a word, and fails it in CI.
pub(crate) fn have(tool: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {tool}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|s| s.success());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{tool} is missing");
        eprintln!("SKIPPED: {tool} is missing");
    }
    found
}

/// The first of 64 UDP ports that this test process has for itself: other runs of the tests on this
/// machine would hear it otherwise.
pub(crate) fn ports() -> usize {
    10_000 + std::process::id() as usize % 340 * 64
}

/// Whether we are root. Tests that need it are skipped with a word, and fail in CI.
pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "not root");
        eprintln!("SKIPPED: needs root");
    }
    root
}
