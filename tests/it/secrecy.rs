//! What a process with secrets shows of them to others.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{have, root, run};

#[test]
fn nobody_looks_into_a_process_with_secrets() {
    if !root() || !have("setpriv") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let (program, key) = (dir.path().join("sealcast"), dir.path().join("key"));
    fs::copy(env!("CARGO_BIN_EXE_sealcast"), &program).unwrap();
    assert!(
        run(&["keygen", "-o", key.to_str().unwrap()], b"")
            .status
            .success()
    );
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let mut waiting = Command::new("setpriv")
        .args(["--reuid", "54321", "--regid", "54321", "--clear-groups"])
        .arg(&program)
        .args(["open", "-q", "--unsigned", "-i"])
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let proc = format!("/proc/{}", waiting.id());
    let until = Instant::now() + Duration::from_secs(60);
    let protected = || {
        let limits = fs::read_to_string(format!("{proc}/limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let name = fs::read_to_string(format!("{proc}/comm")).unwrap();
        // What others may look into belongs to the user, and else to root.
        let owner = fs::metadata(format!("{proc}/mem")).unwrap().uid();
        let none = core.unwrap().split_whitespace().nth(4) == Some("0");
        name == "sealcast\n" && none && owner == 0
    };
    while !protected() {
        assert!(Instant::now() < until, "others may look into it");
        std::thread::sleep(Duration::from_millis(10));
    }
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}
