//! Streams against other people's age, both ways, at every edge of a chunk, for each kind of key
//! and in armor.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::seal_cli::{Keys, text};
use crate::support::{feed, have, run};

const SIZES: [usize; 10] = [
    0, 1, 65_535, 65_536, 65_537, 131_072, 1_048_575, 1_048_576, 1_048_577, 10_485_760,
];

fn age_tool(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut age = Command::new("age");
    age.args(args);
    let out = feed(age, input);
    assert!(out.status.success(), "age {args:?}: {out:?}");
    out.stdout
}

fn sealcast(args: &[&str], input: &[u8]) -> Vec<u8> {
    let out = run(args, input);
    assert!(out.status.success(), "{args:?}: {out:?}");
    out.stdout
}

/// Seals a text as another program does, in armor or not.
type Encrypt<'a> = &'a dyn Fn(&[u8], bool) -> Vec<u8>;
/// Opens a stream as another program does.
type Decrypt<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// Both ways between our program and another's, with and without armor, at all sizes.
fn both_ways(ours: (&[&str], &[&str]), theirs: (Encrypt<'_>, Decrypt<'_>)) {
    for len in SIZES {
        let text = text(len);
        for armor in [false, true] {
            let more: &[&str] = if armor { &["-a"] } else { &[] };
            let sealed = sealcast(&[ours.0, more].concat(), &text);
            assert_eq!(
                armor,
                sealed.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n")
            );
            assert!(theirs.1(&sealed) == text, "ours, {len}, armor: {armor}");
            let sealed = theirs.0(&text, armor);
            assert!(
                sealcast(ours.1, &sealed) == text,
                "theirs, {len}, armor: {armor}"
            );
        }
    }
}

/// The same with age and the arguments for a recipient and an identity.
fn with_the_tool(recipient: [&str; 2], identity: &str) {
    let [option, value] = recipient;
    let encrypt = |text: &[u8], armor: bool| {
        let more: &[&str] = if armor { &["-a"] } else { &[] };
        age_tool(&[&[option, value], more].concat(), text)
    };
    let decrypt = |sealed: &[u8]| age_tool(&["-d", "-i", identity], sealed);
    both_ways(
        (
            &["seal", "-q", "--unsigned", option, value],
            &["open", "-q", "--unsigned", "-i", identity],
        ),
        (&encrypt, &decrypt),
    );
}

#[test]
fn x25519_with_the_tool() {
    if !have("age") {
        return;
    }
    let keys = Keys::new();
    with_the_tool(["-R", &keys.path("nodes.txt")], &keys.path("node.key"));
    // A signed stream is an age file, too.
    let identity = keys.path("node.key");
    let back = age_tool(
        &["-d", "-i", &identity],
        &keys.signed(&[], &text(3_000_000)),
    );
    assert!(back.starts_with(b"sealcast-signed1"));
    assert_eq!(back.len(), 3_000_000 + 70 + 3 * 64);
}

#[test]
fn ssh_with_the_tool() {
    if !have("age") || !have("ssh-keygen") {
        return;
    }
    let keys = Keys::new();
    let host = keys.path("host");
    ssh_keygen(&host, "");
    let public = fs::read_to_string(format!("{host}.pub")).unwrap();
    with_the_tool(["-r", public.trim()], &host);
}

pub(crate) fn ssh_keygen(path: &str, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args([
            "-q",
            "-t",
            "ed25519",
            "-C",
            "root@node",
            "-N",
            passphrase,
            "-f",
            path,
        ])
        .status()
        .unwrap();
    assert!(made.success());
}

/// Runs a command on a terminal where somebody types `lines`.
fn on_a_terminal(command: &str, lines: &str) {
    let mut script = Command::new("script");
    script.args(["-qec", command, "/dev/null"]);
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(lines.as_bytes()).unwrap();
    // A terminal that is gone would take the command with it.
    let out = child.wait_with_output().unwrap();
    drop(keyboard);
    assert!(out.status.success(), "{command}: {out:?}");
}

#[test]
fn passphrases_with_the_tool() {
    if !have("age") || !have("script") {
        return;
    }
    let keys = Keys::new();
    let [phrase, plain, sealed, back] = ["phrase", "plain", "sealed", "back"].map(|n| keys.path(n));
    fs::write(&phrase, "blue sky\n").unwrap();
    for (len, armor) in SIZES.into_iter().zip(["", " -a"].into_iter().cycle()) {
        let text = text(len);
        fs::write(&plain, &text).unwrap();
        let encrypt = format!("age -p{armor} -o {sealed} {plain}");
        on_a_terminal(&encrypt, "blue sky\nblue sky\n");
        let open = ["open", "-q", "-p", "--unsigned", "--passphrase-file"];
        let theirs = fs::read(&sealed).unwrap();
        assert!(
            sealcast(&[&open[..], &[&phrase]].concat(), &theirs) == text,
            "{len}"
        );
        let seal = ["seal", "-q", "-p", "--passphrase-file", &phrase];
        let more: Vec<_> = armor.split_ascii_whitespace().collect();
        fs::write(&sealed, sealcast(&[&seal, &more[..]].concat(), &text)).unwrap();
        on_a_terminal(&format!("age -d -o {back} {sealed}"), "blue sky\n");
        // Of nothing it makes no file.
        assert!(fs::read(&back).unwrap_or_default() == text, "{len}");
        let _ = fs::remove_file(&back);
    }
}

#[test]
fn a_payload_that_age_decrypted_is_checked() {
    if !have("age") {
        return;
    }
    let keys = Keys::new();
    let (identity, sender) = (keys.path("node.key"), keys.path("admin.pub"));
    for len in [0, 1, 3_000_000] {
        let text = text(len);
        let sealed = keys.signed(&["--label", "lab"], &text);
        let path = keys.path("sealed");
        fs::write(&path, &sealed).unwrap();
        let payload = age_tool(&["-d", "-i", &identity], &sealed);
        let open = ["open", "--inner", &path, "--from", &sender];
        let back = run(&open, &payload);
        assert!(back.status.success() && back.stdout == text, "{back:?}");
        let said = String::from_utf8(back.stderr).unwrap();
        assert!(said.contains("label `lab`"), "{said}");
        // Another stream's header, a change, a cut, and something more.
        let mut bad = payload.clone();
        *bad.last_mut().unwrap() ^= 1;
        let cut = &payload[..payload.len() - 1];
        let more = [&payload[..], b"x"].concat();
        for bad in [&bad[..], cut, &more] {
            let out = run(&open, bad);
            assert_eq!(out.status.code(), Some(3), "{out:?}");
            assert!(text.starts_with(&out.stdout) && out.stdout.len() <= len);
        }
        fs::write(&path, keys.signed(&["--label", "lab"], &text)).unwrap();
        let out = run(&open, &payload);
        assert_eq!((out.status.code(), out.stdout.len()), (Some(3), 0));
        let out = run(&open, b"not a payload");
        assert_eq!((out.status.code(), out.stdout.len()), (Some(5), 0));
    }
}
