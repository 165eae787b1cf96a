//! keygen, seal and open as programs: against age and ssh, statuses, files and pipes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests, too, fail by panicking"
)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use sealcast::seal::Identity;

use crate::support::{feed, have, run, sealcast};

/// Data bytes of a segment.
const SEGMENT: usize = (1 << 20) - 64;

pub(crate) fn text(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// Keys in a directory, made by the program.
pub(crate) struct Keys(tempfile::TempDir);

impl Keys {
    pub(crate) fn new() -> Self {
        let keys = Self(tempfile::tempdir().unwrap());
        let node = run(&["keygen", "-o", &keys.path("node.key")], b"");
        fs::write(keys.path("nodes.txt"), &node.stdout).unwrap();
        let admin = run(&["keygen", "--sign", "-o", &keys.path("admin.key")], b"");
        fs::write(keys.path("admin.pub"), &admin.stdout).unwrap();
        assert!(node.status.success() && admin.status.success());
        keys
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    pub(crate) fn seal(&self, more: &[&str], text: &[u8]) -> Vec<u8> {
        let nodes = self.path("nodes.txt");
        let args = [&["seal", "-q", "-R", &nodes], more].concat();
        let out = run(&args, text);
        assert!(out.status.success(), "{out:?}");
        out.stdout
    }

    pub(crate) fn signed(&self, more: &[&str], text: &[u8]) -> Vec<u8> {
        self.seal(&[&["-s", &self.path("admin.key")], more].concat(), text)
    }

    pub(crate) fn open(&self, more: &[&str], bytes: &[u8]) -> (Option<i32>, Vec<u8>, String) {
        let key = self.path("node.key");
        let out = run(&[&["open", "-i", &key], more].concat(), bytes);
        let said = String::from_utf8(out.stderr).unwrap();
        (out.status.code(), out.stdout, said)
    }
}

#[test]
fn ssh_keys_seal_sign_and_open() {
    if !have("ssh-keygen") || !have("age") {
        return;
    }
    let keys = Keys::new();
    let host = keys.path("host");
    let made = Command::new("ssh-keygen")
        .args([
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "root@node",
            "-f",
            &host,
        ])
        .status()
        .unwrap();
    assert!(made.success());
    let public = fs::read_to_string(format!("{host}.pub")).unwrap();
    let known = keys.path("known_hosts");
    let list = format!("# hosts\nnode,10.0.0.7 {public}node ssh-rsa AAAAB3NzaC1yc2E\n");
    fs::write(&known, list).unwrap();
    let text = text(100_000);
    let bytes = run(&["seal", "-R", &known, "-s", &host], &text);
    assert!(bytes.status.success(), "{bytes:?}");
    let back = run(&["open", "-i", &host, "--from", &known], &bytes.stdout);
    assert!(back.status.success() && back.stdout == text, "{back:?}");
    let back = run(&["open", "-i", &host, "--from", &public], &bytes.stdout);
    assert!(back.status.success());

    let ours = run(&["seal", "--unsigned", "-r", &public], &text).stdout;
    let mut age = Command::new("age");
    age.args(["-d", "-i", &host]);
    assert!(feed(age, &ours).stdout == text);
    let mut age = Command::new("age");
    age.args(["-r", public.trim()]);
    let theirs = feed(age, &text).stdout;
    let back = run(&["open", "--unsigned", "-i", &host], &theirs);
    assert!(back.stdout == text);
}

#[test]
fn each_refusal_has_its_status() {
    let keys = Keys::new();
    let text = text(2_000_000);
    let bytes = keys.signed(&["--label", "lab", "--serial", "7"], &text);
    let admin = keys.path("admin.pub");
    let check = |more: &[&str], bytes: &[u8], status: i32, out: usize, word: &str| {
        let (found, data, said) = keys.open(more, bytes);
        assert_eq!(found, Some(status), "{more:?}: {said}");
        assert_eq!(data.len(), out, "{more:?}");
        assert!(data == text[..out]);
        assert!(said.contains(word), "{said}");
    };
    let first = SEGMENT - 73;
    let from = ["--from", &admin];
    let with = |more: &[&'static str]| [&["--from", &admin][..], more].concat();
    check(&from, &bytes, 0, text.len(), "signed by");
    check(
        &with(&["--label", "lab"]),
        &bytes,
        0,
        text.len(),
        "label `lab`",
    );
    check(
        &with(&["--min-serial", "7"]),
        &bytes,
        0,
        text.len(),
        "serial 7",
    );
    check(
        &with(&["--max-age", "1h"]),
        &bytes,
        0,
        text.len(),
        "signed by",
    );
    check(&with(&["-q"]), &bytes, 0, text.len(), "");
    check(&from, &bytes[..1_500_000], 3, first, "cut short");
    check(&from, &bytes[..100], 3, 0, "truncated");
    check(&from, b"", 3, 0, "empty");
    check(&from, b"junk", 3, 0, "not a sealed stream");
    check(&with(&["--max-header", "64"]), &bytes, 3, 0, "--max-header");
    check(&["--unsigned"], &bytes, 5, 0, "--from");
    check(&with(&["--label", "other"]), &bytes, 5, 0, "`other`");
    check(&with(&["--min-serial", "8"]), &bytes, 5, 0, "at least 8");
    check(
        &from,
        &keys.seal(&["--unsigned"], &text),
        5,
        0,
        "not signed",
    );
    let other = Keys::new();
    let stranger = other.path("admin.pub");
    check(&["--from", &stranger], &bytes, 5, 0, "not trusted");
    check(&["--from", &keys.path("nodes.txt")], &bytes, 2, 0, "line 1");
    check(&["--from", &keys.path("none")], &bytes, 1, 0, "none");
    check(&[], &bytes, 2, 0, "--from");
    check(&with(&["--unsigned"]), &bytes, 2, 0, "cannot be used");
    check(
        &["--unsigned", "--label", "x"],
        &bytes,
        2,
        0,
        "cannot be used",
    );
    let (status, data, _) = other.open(&from, &bytes);
    assert_eq!((status, data.len()), (Some(4), 0));
    let mut bad = bytes;
    bad[1_800_000] ^= 1;
    check(&from, &bad, 3, first, "forged");
}

#[test]
fn an_output_file_is_whole_or_absent() {
    let keys = Keys::new();
    let text = text(3_000_000);
    let bytes = keys.signed(&[], &text);
    let out = keys.path("out");
    let admin = keys.path("admin.pub");
    let args = ["--from", &admin, "-o", &out];
    assert_eq!(keys.open(&args, &bytes[..2_500_000]).0, Some(3));
    assert!(!Path::new(&out).exists());
    assert_eq!(keys.open(&args, &bytes).0, Some(0));
    assert!(fs::read(&out).unwrap() == text);
    assert_eq!(keys.open(&args, &bytes[..2_500_000]).0, Some(3));
    assert!(fs::read(&out).unwrap() == text);
}

#[test]
fn seal_says_what_it_needs() {
    let keys = Keys::new();
    let status = |args: &[&str]| {
        let out = run(args, b"x");
        assert!(out.stdout.is_empty(), "{args:?}");
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let nodes = keys.path("nodes.txt");
    assert_eq!(status(&["seal"]).0, Some(2));
    assert_eq!(status(&["seal", "-r", "age1nonsense"]).0, Some(2));
    assert_eq!(status(&["seal", "-R", &nodes, "--label", "x"]).0, Some(2));
    assert_eq!(status(&["seal", "-R", &keys.path("absent")]).0, Some(1));
    fs::write(keys.path("empty"), "# nobody\n").unwrap();
    assert_eq!(status(&["seal", "-R", &keys.path("empty")]).0, Some(2));
    let long = "x".repeat(256);
    let admin = keys.path("admin.key");
    let (code, said) = status(&["seal", "-R", &nodes, "-s", &admin, "--label", &long]);
    assert!(code == Some(2) && said.contains("255"), "{said}");
    let secret = fs::read_to_string(keys.path("node.key")).unwrap();
    let secret = secret.lines().last().unwrap();
    let (code, said) = status(&["seal", "-r", secret]);
    assert!(code == Some(2) && !said.contains(secret), "{said}");
    let warned = run(&["seal", "-R", &nodes], b"x");
    assert!(String::from_utf8_lossy(&warned.stderr).contains("not signed"));
    let silent = run(&["seal", "-R", &nodes, "--unsigned"], b"x");
    assert!(silent.stderr.is_empty());
}

/// Starts sealcast between pipes.
fn piped(args: &[&str]) -> (Child, ChildStdin, ChildStdout) {
    let mut child = sealcast()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    (child, stdin.unwrap(), stdout.unwrap())
}

#[test]
fn a_segment_is_released_as_soon_as_all_of_it_is_there() {
    let keys = Keys::new();
    let text = text(3 * SEGMENT);
    let bytes = keys.signed(&[], &text);
    let mac = bytes.windows(5).position(|w| w == b"\n--- ").unwrap();
    let header = mac + 1 + "--- ".len() + 43 + "\n".len();
    // Header, nonce, and twice 16 chunks with their tags.
    let end = |segments: usize| header + 16 + segments * ((1 << 20) + 16 * 16);
    let (key, admin) = (keys.path("node.key"), keys.path("admin.pub"));
    let (mut child, mut stdin, mut stdout) = piped(&["open", "-i", &key, "--from", &admin]);
    let first = SEGMENT - 70;
    let mut read = vec![0; first];
    stdin.write_all(&bytes[..end(1)]).unwrap();
    stdout.read_exact(&mut read).unwrap();
    assert!(read == text[..first]);
    read.resize(SEGMENT, 0);
    stdin.write_all(&bytes[end(1)..end(2)]).unwrap();
    stdout.read_exact(&mut read).unwrap();
    assert!(read == text[first..][..SEGMENT]);
    // Two whole segments are not the stream.
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(stdout.read(&mut read).unwrap(), 0);
}

#[test]
fn memory_is_bounded_whatever_the_stream_and_its_recipients() {
    let keys = Keys::new();
    let list = keys.path("many");
    let mut lines: Vec<_> = (0..10_000u32)
        .map(|i| {
            let mut seed = [7; 32];
            seed[..4].copy_from_slice(&i.to_be_bytes());
            Identity::from_seed(seed).recipient().to_string() + "\n"
        })
        .collect();
    lines.push(fs::read_to_string(keys.path("nodes.txt")).unwrap());
    fs::write(&list, lines.concat()).unwrap();
    let (key, admin, public) = (
        keys.path("node.key"),
        keys.path("admin.key"),
        keys.path("admin.pub"),
    );
    let seal = piped(&["seal", "-R", &list, "-s", &admin]);
    let open = piped(&["open", "-i", &key, "--from", &public]);
    let (mut sealer, mut input, mut sealed) = seal;
    let (mut opener, mut stream, mut output) = open;
    let block = text(1 << 20);
    let blocks = 100;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::io::copy(&mut sealed, &mut stream).unwrap();
        });
        let read = scope.spawn(move || {
            let mut read = vec![0; 1 << 20];
            (0..blocks).for_each(|_| output.read_exact(&mut read).unwrap());
            output.read(&mut read).unwrap()
        });
        (0..blocks).for_each(|_| input.write_all(&block).unwrap());
        for (name, child) in [("seal", &sealer), ("open", &opener)] {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
            let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            let peak = peak.unwrap().trim().trim_end_matches(" kB");
            let peak: u32 = peak.parse().unwrap();
            assert!(peak < 32 << 10, "{name}: {peak} KiB");
        }
        drop(input);
        assert_eq!(read.join().unwrap(), 0);
    });
    assert!(sealer.wait().unwrap().success());
    assert!(opener.wait().unwrap().success());
}

#[test]
fn a_failed_writer_ends_a_reader_that_waits() {
    let keys = Keys::new();
    let bytes = keys.signed(&[], &text(4_000_000));
    let (nodes, key, admin) = (
        keys.path("nodes.txt"),
        keys.path("node.key"),
        keys.path("admin.pub"),
    );
    let text = text(4_000_000);
    let cases: [(&[&str], &[u8]); 2] = [
        (&["seal", "--unsigned", "-R", &nodes], &text),
        (&["open", "-i", &key, "--from", &admin], &bytes[..3_500_000]),
    ];
    for (args, input) in cases {
        let mut child = sealcast()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut stdin = child.stdin.take().unwrap();
        // The pipe stays open: only the failed write can end the filter.
        let _ = stdin.write_all(input);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(141), "{args:?}");
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(said, "");
        drop(stdin);
    }
}

#[test]
fn keys_are_private_shown_alike_and_never_overwritten() {
    let keys = Keys::new();
    let (node, admin) = (keys.path("node.key"), keys.path("admin.key"));
    for (path, public) in [(&node, "nodes.txt"), (&admin, "admin.pub")] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let shown = run(&["keygen", "-y", path], b"");
        assert_eq!(shown.stdout, fs::read(keys.path(public)).unwrap());
        let before = fs::read(path).unwrap();
        assert_eq!(run(&["keygen", "-o", path], b"").status.code(), Some(1));
        assert_eq!(fs::read(path).unwrap(), before);
    }
    let out = run(&["keygen"], b"");
    let secret = String::from_utf8(out.stdout).unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        secret
            .lines()
            .last()
            .unwrap()
            .starts_with("AGE-SECRET-KEY-1")
    );
    assert!(said.contains("public key: age1"));

    let fingerprint = |out: std::process::Output| {
        let said = String::from_utf8(out.stderr).unwrap();
        let word = said
            .split_whitespace()
            .find(|w| w.len() == 32 && w.bytes().all(|b| b.is_ascii_hexdigit()));
        word.unwrap_or_else(|| panic!("{said}")).to_string()
    };
    let made = fingerprint(run(&["keygen", "-v", "-y", &admin], b""));
    let nodes = keys.path("nodes.txt");
    let sealed = run(&["seal", "-v", "-R", &nodes, "-s", &admin], b"x");
    let bytes = sealed.stdout.clone();
    let said = String::from_utf8(sealed.stderr).unwrap();
    assert!(said.contains(&format!("sender {made}")), "{said}");
    let listed = String::from_utf8(run(&["keygen", "-l", &nodes], b"").stdout).unwrap();
    let recipient = listed.split(' ').next().unwrap();
    assert!(said.contains(&format!("recipient {recipient}")), "{said}");
    let public = keys.path("admin.pub");
    let opened = run(&["open", "-i", &node, "--from", &public], &bytes);
    assert_eq!(fingerprint(opened), made);

    fs::set_permissions(&node, fs::Permissions::from_mode(0o644)).unwrap();
    let (status, _, said) = keys.open(&["--from", &public], &bytes);
    assert!(status == Some(0) && said.contains("warning"), "{said}");
}

#[test]
fn the_vectors_open() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/seal");
    let path = |name: &str| vectors.join(name).to_str().unwrap().to_string();
    let (node, admin, secret) = (path("node.key"), path("admin.pub"), path("admin.key"));
    let check = |args: &[&str], name: &str, wanted: &[u8]| {
        let bytes = fs::read(path(name)).unwrap();
        let out = run(&[&["open"], args].concat(), &bytes);
        assert!(out.status.success(), "{name}: {out:?}");
        assert_eq!(out.stdout, wanted, "{name}");
    };
    let signed = ["-i", &node, "--from", &admin, "--label", "lab"];
    check(&signed, "signed.sealed", b"hello, nodes\n");
    check(&signed, "signed-empty.sealed", b"");
    let unsigned = ["-i", &node, "--unsigned"];
    check(&unsigned, "unsigned.sealed", b"hello, nodes\n");
    let public = run(&["keygen", "-y", &secret], b"").stdout;
    let listed = fs::read(&admin).unwrap();
    assert!(listed.starts_with(public.trim_ascii_end()));
    let said = run(&["keygen", "-v", "-y", &secret], b"").stderr;
    let wanted = fs::read_to_string(path("admin.fingerprint")).unwrap();
    assert!(String::from_utf8(said).unwrap().contains(wanted.trim()));
}

#[test]
fn endless_headers_are_refused_soon_and_in_little_memory() {
    let keys = Keys::new();
    let body = "A".repeat(43);
    let shortest = "-> a\n\n".to_string();
    let x25519 = format!("-> X25519 {body}\n{body}\n");
    let one_line = "A".repeat(64) + "\n";
    for stanza in [shortest, x25519, one_line] {
        let start = "age-encryption.org/v1\n-> X25519 A\n";
        let begun = std::time::Instant::now();
        let mut child = Command::new("bash")
            .args(["-c", "ulimit -d 32768; exec \"$@\"", "bash"])
            .args([env!("CARGO_BIN_EXE_sealcast"), "open", "--unsigned", "-i"])
            .arg(keys.path("node.key"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let block = stanza.repeat(1000);
        stdin.write_all(start.as_bytes()).unwrap();
        if stanza.starts_with('-') {
            stdin.write_all(b"\n").unwrap();
        }
        // A gibibyte, if anybody takes it.
        let mut written = 0;
        while written < 1 << 30 && stdin.write_all(block.as_bytes()).is_ok() {
            written += block.len();
        }
        drop(stdin);
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(3), "{said}");
        assert!(said.contains("longer than 2097152 bytes"), "{said}");
        assert!(written < 8 << 20, "{written} bytes were read");
        assert!(begun.elapsed().as_secs_f32() < 5.0, "{:?}", begun.elapsed());
    }
}
