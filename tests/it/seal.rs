//! The sealed stream against age, and against hostile input.
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
use std::process::{Command, Stdio};

use sealcast::crypt::sign::SigningKey;
use sealcast::crypt::{aead, kdf};
use sealcast::edge::stdio::Cancel;
use sealcast::pipe::seal::{OpenConfig, open, seal, wrap};
use sealcast::seal::opener::{Policy, Trust};
use sealcast::seal::sealer::{Sealer, Signer};
use sealcast::seal::stream::{BATCH_BYTES, BATCH_PLAIN_BYTES, CHUNK_BYTES, SLOT_BYTES};
use sealcast::seal::{Error, FileKey, Header, Identity, Recipient, Ring, Sender, signing_key_line};

use crate::support::{feed, have, run, sealcast};

const LABEL: &str = "lab";
const PREAMBLE: usize = 70 + LABEL.len();
/// Data bytes of a segment, and of the first one.
const SEGMENT: usize = BATCH_PLAIN_BYTES - 64;
const FIRST: usize = SEGMENT - PREAMBLE;
const NONCE: [u8; 16] = [22; 16];

fn file_key() -> FileKey {
    FileKey::new([11; 16])
}

fn node() -> Identity {
    Identity::from_seed([1; 32])
}

fn admin() -> SigningKey {
    SigningKey::from_seed([2; 32])
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 253) as u8).collect()
}

fn stanzas() -> Vec<String> {
    vec![node().recipient().wrap(&file_key(), [3; 32]).unwrap()]
}

fn signer(key: SigningKey) -> Signer {
    Signer {
        key,
        time_s: 1_000_000,
        serial: 5,
        label: LABEL.into(),
    }
}

/// A stream with a known file key, as an insider has it.
fn sealed_by(signer: Option<Signer>, stanzas: &[String], nonce: [u8; 16], text: &[u8]) -> Vec<u8> {
    let sealer = Sealer::new(stanzas, &file_key(), &nonce, signer).unwrap();
    let mut out = Vec::new();
    seal(text, &mut out, &sealer, &Cancel::new().unwrap(), 2, |_| {}).unwrap();
    out
}

fn sealed(text: &[u8]) -> Vec<u8> {
    sealed_by(Some(signer(admin())), &stanzas(), NONCE, text)
}

fn opened_as(bytes: &[u8], trust: Trust) -> (Vec<u8>, Result<(), Error>) {
    let config = OpenConfig {
        ring: Ring::new(&[node()]),
        trust,
        now_s: 1_000_060,
        header_bytes_max: 1 << 20,
        workers: 2,
    };
    let mut out = Vec::new();
    let result = open(bytes, &mut out, &config, &Cancel::new().unwrap(), |_| {});
    (out, result.map(|_| ()))
}

fn opened(bytes: &[u8]) -> (Vec<u8>, Result<(), Error>) {
    let senders = vec![Sender::new(admin().public())];
    opened_as(bytes, Trust::Senders(senders, Policy::default()))
}

/// Opens `bad` and checks that it is refused after the first `segments` of `text`.
fn refused(bad: &[u8], text: &[u8], segments: usize, what: &str) -> Error {
    let (out, result) = opened(bad);
    let wanted = match segments {
        0 => 0,
        n => (FIRST + (n - 1) * SEGMENT).min(text.len()),
    };
    assert!(
        out == text[..wanted],
        "{what}: {} bytes of {wanted}",
        out.len()
    );
    result.expect_err(what)
}

fn head_len() -> usize {
    Header::emit(&stanzas(), &file_key()).len() + NONCE.len()
}

/// Encrypts any payload under the known file key, as every recipient can.
fn insider(head: &[u8], payload: &[u8]) -> Vec<u8> {
    let key = kdf::derive(file_key().expose(), &NONCE, b"payload");
    let mut out = head.to_vec();
    let chunks = payload.len().div_ceil(CHUNK_BYTES);
    for (i, chunk) in payload.chunks(CHUNK_BYTES).enumerate() {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&(i as u64).to_be_bytes());
        nonce[11] = u8::from(i + 1 == chunks);
        let mut chunk = chunk.to_vec();
        let tag = aead::seal_in_place(&key, &nonce, b"", &mut chunk);
        out.extend(chunk);
        out.extend(tag);
    }
    out
}

/// The signed payload inside a stream.
fn payload(bytes: &[u8]) -> Vec<u8> {
    let key = kdf::derive(file_key().expose(), &NONCE, b"payload");
    let chunks: Vec<_> = bytes[head_len()..].chunks(SLOT_BYTES).collect();
    let mut out = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&(i as u64).to_be_bytes());
        nonce[11] = u8::from(i + 1 == chunks.len());
        let (text, tag) = chunk.split_last_chunk().unwrap();
        let mut text = text.to_vec();
        aead::open_in_place(&key, &nonce, b"", &mut text, tag).unwrap();
        out.extend(text);
    }
    out
}

#[test]
fn signed_streams_come_back_at_every_edge() {
    let edges = [
        0,
        1,
        CHUNK_BYTES - PREAMBLE,
        FIRST,
        FIRST + SEGMENT,
        BATCH_PLAIN_BYTES,
        3 * BATCH_PLAIN_BYTES,
    ];
    for edge in edges {
        for len in [edge.saturating_sub(1), edge, edge + 1] {
            let text = text(len);
            let bytes = sealed(&text);
            let segments = (len + PREAMBLE).div_ceil(SEGMENT);
            let plain = len + PREAMBLE + 64 * segments;
            let chunks = plain.div_ceil(CHUNK_BYTES);
            assert_eq!(bytes.len(), head_len() + plain + 16 * chunks, "{len}");
            let (out, result) = opened(&bytes);
            result.unwrap();
            assert!(out == text, "{len}");
        }
    }
}

#[test]
fn flips_are_refused_and_only_whole_segments_released() {
    let text = text(FIRST + SEGMENT + 3000);
    let bytes = sealed(&text);
    let head = head_len();
    let mut places: Vec<_> = (0..head + 100).collect();
    for edge in [SLOT_BYTES, BATCH_BYTES, 2 * BATCH_BYTES] {
        places.extend(head + edge - 100..head + edge + 20);
    }
    places.extend(bytes.len() - 100..bytes.len());
    places.extend((head..bytes.len()).step_by(40_009));
    let mut bad = bytes.clone();
    for at in places {
        bad[at] ^= 1 << (at % 8);
        let whole = at.saturating_sub(head) / BATCH_BYTES;
        refused(&bad, &text, whole, &format!("byte {at}"));
        bad[at] = bytes[at];
    }
}

#[test]
fn truncations_are_refused_and_only_whole_segments_released() {
    let text = text(FIRST + SEGMENT + 3000);
    let bytes = sealed(&text);
    let head = head_len();
    let mut places: Vec<_> = (0..head + 40).collect();
    for slot in 0..34 {
        let edge = head + slot * SLOT_BYTES;
        places.extend([edge - 1, edge, edge + 1, edge + 15, edge + 16, edge + 17]);
    }
    places.extend((head..bytes.len()).step_by(50_021));
    places.extend(bytes.len() - 20..bytes.len());
    places.retain(|len| *len < bytes.len());
    for len in places {
        // A segment is whole only when the byte behind it shows that it is not the last.
        let whole = len.saturating_sub(head + 1) / BATCH_BYTES;
        refused(&bytes[..len], &text, whole, &format!("{len} bytes"));
    }
}

#[test]
fn what_follows_the_end_is_refused() {
    for len in [10, FIRST, FIRST + SEGMENT] {
        let text = text(len);
        for junk in [1, 16, 80, SLOT_BYTES] {
            let mut bytes = sealed(&text);
            bytes.extend(vec![0; junk]);
            let whole = len / (SEGMENT + 1);
            refused(&bytes, &text, whole, &format!("{len} and {junk}"));
        }
    }
}

#[test]
fn segments_keep_their_places() {
    let text = text(FIRST + 2 * SEGMENT + 100);
    let bytes = sealed(&text);
    let (head, body) = bytes.split_at(head_len());
    let parts: Vec<_> = body.chunks(BATCH_BYTES).collect();
    let join = |order: &[usize]| {
        let mut out = head.to_vec();
        for i in order {
            out.extend(parts[*i]);
        }
        out
    };
    refused(&join(&[0, 2, 1, 3]), &text, 1, "swapped");
    refused(&join(&[1, 0, 2, 3]), &text, 0, "first swapped");
    refused(&join(&[0, 2, 3]), &text, 1, "dropped");
    refused(&join(&[0, 1, 1, 2, 3]), &text, 2, "doubled");
    refused(&join(&[0, 1, 2]), &text, 2, "cut");
    // Even an insider, who can make every age tag hold.
    let inner = payload(&bytes);
    let parts: Vec<_> = inner.chunks(BATCH_PLAIN_BYTES).collect();
    let cases: [(&[usize], usize, &str); 6] = [
        (&[0, 2, 1, 3], 1, "swapped"),
        (&[0, 2, 3], 1, "dropped"),
        (&[0, 1, 1, 2, 3], 2, "doubled"),
        (&[0, 1, 2], 2, "cut and marked as the end"),
        (&[0], 0, "cut to one"),
        (&[3], 0, "only the last"),
    ];
    for (order, whole, what) in cases {
        let joined: Vec<u8> = order.iter().flat_map(|i| parts[*i]).copied().collect();
        let error = refused(&insider(head, &joined), &text, whole, what);
        assert!(
            matches!(error, Error::Segment { .. } | Error::Unsigned),
            "{what}: {error}"
        );
    }
}

#[test]
fn insiders_cannot_speak_for_the_sender() {
    let text = text(FIRST + SEGMENT);
    let bytes = sealed(&text);
    let head = &bytes[..head_len()];
    let inner = payload(&bytes);
    assert!(insider(head, &inner) == bytes);

    for at in [PREAMBLE, BATCH_PLAIN_BYTES + 5, inner.len() - 1] {
        let mut changed = inner.clone();
        changed[at] ^= 1;
        let whole = at / BATCH_PLAIN_BYTES;
        let error = refused(&insider(head, &changed), &text, whole, "data changed");
        assert!(matches!(error, Error::Segment { segment, .. } if segment == whole as u64));
    }
    // Time, serial and label are signed.
    for at in [53, 61, 71] {
        let mut changed = inner.clone();
        changed[at] ^= 1;
        let error = refused(&insider(head, &changed), &text, 0, "preamble changed");
        assert!(
            matches!(error, Error::Segment { segment: 0, .. }),
            "{error}"
        );
    }
    let raw = refused(&insider(head, &text), &text, 0, "stripped");
    assert!(matches!(raw, Error::Unsigned));
    let mut longer = inner;
    longer.extend([0; 100]);
    refused(&insider(head, &longer), &text, 1, "made longer");
}

#[test]
fn a_stream_cannot_be_passed_on_under_another_header() {
    let text = text(1000);
    let bytes = sealed(&text);
    let mut more = stanzas();
    let eve = Identity::from_seed([9; 32]).recipient();
    more.push(eve.wrap(&file_key(), [10; 32]).unwrap());
    let mut head = Header::emit(&more, &file_key());
    head.extend(NONCE);
    head.extend(&bytes[head_len()..]);
    let error = refused(&head, &text, 0, "recipient added");
    assert!(matches!(error, Error::Segment { segment: 0, .. }));
}

#[test]
fn streams_do_not_mix() {
    let one = text(FIRST + SEGMENT);
    let two: Vec<_> = one.iter().map(|b| b ^ 0xff).collect();
    let (a, b) = (
        sealed(&one),
        sealed_by(Some(signer(admin())), &stanzas(), [23; 16], &two),
    );
    let cut = head_len() + BATCH_BYTES;
    let spliced = [&a[..cut], &b[cut..]].concat();
    refused(&spliced, &one, 1, "spliced");
    // The same with the age layer made to agree.
    let mut inner = payload(&a);
    let key = kdf::derive(file_key().expose(), &[23; 16], b"payload");
    let mut part = b[cut..]
        .chunks(SLOT_BYTES)
        .enumerate()
        .flat_map(|(i, chunk)| {
            let mut nonce = [0; 12];
            nonce[3..11].copy_from_slice(&(16 + i as u64).to_be_bytes());
            nonce[11] = u8::from(cut + (i + 1) * SLOT_BYTES >= b.len());
            let (text, tag) = chunk.split_last_chunk().unwrap();
            let mut text = text.to_vec();
            aead::open_in_place(&key, &nonce, b"", &mut text, tag).unwrap();
            text
        });
    inner[BATCH_PLAIN_BYTES..].fill_with(|| part.next().unwrap());
    let error = refused(
        &insider(&a[..head_len()], &inner),
        &one,
        1,
        "spliced inside",
    );
    assert!(matches!(error, Error::Segment { segment: 1, .. }));
}

#[test]
fn only_the_named_senders_count() {
    let other = SigningKey::from_seed([4; 32]);
    let text = text(500);
    let theirs = sealed_by(Some(signer(other.clone())), &stanzas(), NONCE, &text);
    let error = refused(&theirs, &text, 0, "another sender");
    assert!(matches!(error, Error::UnknownSender { .. }));
    // Both are trusted, but one does not speak for the other.
    let both = || {
        let keys = [admin(), other.clone()];
        let senders = keys.iter().map(|k| Sender::new(k.public())).collect();
        Trust::Senders(senders, Policy::default())
    };
    opened_as(&theirs, both()).1.unwrap();
    let mut inner = payload(&theirs);
    inner[16..48].copy_from_slice(admin().public().as_bytes());
    let forged = insider(&theirs[..head_len()], &inner);
    let (out, result) = opened_as(&forged, both());
    assert!(out.is_empty());
    assert!(matches!(result, Err(Error::Segment { segment: 0, .. })));
}

#[test]
fn a_signed_stream_is_not_opened_unchecked_nor_an_unsigned_one_trusted() {
    let text = text(500);
    let (out, result) = opened_as(&sealed(&text), Trust::Unsigned);
    assert!(out.is_empty());
    assert!(matches!(result, Err(Error::Signed)));
    let plain = sealed_by(None, &stanzas(), NONCE, &text);
    assert!(matches!(
        refused(&plain, &text, 0, "unsigned"),
        Error::Unsigned
    ));
    assert_eq!(opened_as(&plain, Trust::Unsigned).0, text);
    // What would be taken for a signed payload is not sealed without a signature.
    let sealer = Sealer::new(&stanzas(), &file_key(), &NONCE, None).unwrap();
    let looks = payload(&sealed(&text));
    let cancel = Cancel::new().unwrap();
    let result = seal(&looks[..], &mut Vec::new(), &sealer, &cancel, 2, |_| {});
    assert!(matches!(result, Err(Error::Ambiguous)));
}

#[test]
fn many_recipients_are_wrapped_and_found() {
    let recipients: Vec<_> = (0..150u8)
        .map(|i| Identity::from_seed([i + 100; 32]).recipient())
        .chain([node().recipient()])
        .collect();
    let seed = || Ok([7; 32]);
    let stanzas = wrap(&recipients, &file_key(), seed, 2).unwrap();
    let text = text(100);
    let bytes = sealed_by(Some(signer(admin())), &stanzas, NONCE, &text);
    let (out, result) = opened(&bytes);
    result.unwrap();
    assert_eq!(out, text);
    let none = sealed_by(None, &stanzas[..150], NONCE, &text);
    let (out, result) = opened_as(&none, Trust::Unsigned);
    assert!(out.is_empty());
    assert!(matches!(result, Err(Error::NoIdentity { stanzas: 150 })));
}

/// Compares with `tests/vectors/seal/NAME`, or writes it when `SEALCAST_BLESS` is set.
fn vector(name: &str, made: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/seal");
    let path = path.join(name);
    if std::env::var_os("SEALCAST_BLESS").is_some() && !path.exists() {
        fs::write(&path, made).unwrap();
    }
    assert!(fs::read(&path).unwrap() == made, "{name} is not as it was");
}

#[test]
fn the_format_stays_as_it_is() {
    let line = node().to_line().unwrap();
    vector("node.key", format!("{}\n", line.as_str()).as_bytes());
    let line = signing_key_line(&admin());
    vector("admin.key", format!("{}\n", line.as_str()).as_bytes());
    let sender = Sender::new(admin().public());
    vector("admin.pub", format!("{sender} admin\n").as_bytes());
    let fingerprint = sender.fingerprint();
    vector("admin.fingerprint", format!("{fingerprint}\n").as_bytes());
    vector("signed.sealed", &sealed(b"hello, nodes\n"));
    vector("signed-empty.sealed", &sealed(b""));
    let plain = sealed_by(None, &stanzas(), NONCE, b"hello, nodes\n");
    vector("unsigned.sealed", &plain);
    let ssh = Recipient::Ssh(admin().public());
    let stanza = ssh.wrap(&file_key(), [3; 32]).unwrap();
    let plain = sealed_by(None, &[stanza], NONCE, b"hello, host\n");
    vector("ssh.sealed", &plain);
}

/// Keys in a directory, made by the program.
struct Keys(tempfile::TempDir);

impl Keys {
    fn new() -> Self {
        let keys = Self(tempfile::tempdir().unwrap());
        let node = run(&["keygen", "-o", &keys.path("node.key")], b"");
        fs::write(keys.path("nodes.txt"), &node.stdout).unwrap();
        let admin = run(&["keygen", "--sign", "-o", &keys.path("admin.key")], b"");
        fs::write(keys.path("admin.pub"), &admin.stdout).unwrap();
        assert!(node.status.success() && admin.status.success());
        keys
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    fn seal(&self, more: &[&str], text: &[u8]) -> Vec<u8> {
        let nodes = self.path("nodes.txt");
        let args = [&["seal", "-q", "-R", &nodes], more].concat();
        let out = run(&args, text);
        assert!(out.status.success(), "{out:?}");
        out.stdout
    }

    fn signed(&self, more: &[&str], text: &[u8]) -> Vec<u8> {
        self.seal(&[&["-s", &self.path("admin.key")], more].concat(), text)
    }

    fn open(&self, more: &[&str], bytes: &[u8]) -> (Option<i32>, Vec<u8>, String) {
        let key = self.path("node.key");
        let out = run(&[&["open", "-i", &key], more].concat(), bytes);
        let said = String::from_utf8(out.stderr).unwrap();
        (out.status.code(), out.stdout, said)
    }
}

#[test]
fn age_opens_ours_and_we_open_ages() {
    if !have("age") {
        return;
    }
    let keys = Keys::new();
    let sizes = [
        0, 1, 65_535, 65_536, 65_537, 131_072, 1_048_575, 1_048_576, 1_048_577, 10_485_760,
    ];
    for len in sizes {
        let text = text(len);
        let ours = keys.seal(&["--unsigned"], &text);
        let mut age = Command::new("age");
        age.args(["-d", "-i", &keys.path("node.key")]);
        let back = feed(age, &ours);
        assert!(back.status.success() && back.stdout == text, "{len}");
        let mut age = Command::new("age");
        age.args(["-R", &keys.path("nodes.txt")]);
        let theirs = feed(age, &text).stdout;
        let (status, back, _) = keys.open(&["--unsigned"], &theirs);
        assert!(status == Some(0) && back == text, "{len}");
    }
    // A signed stream is an age file, too.
    let text = text(3_000_000);
    let mut age = Command::new("age");
    age.args(["-d", "-i", &keys.path("node.key")]);
    let back = feed(age, &keys.signed(&[], &text));
    assert!(back.status.success());
    assert!(back.stdout.starts_with(b"sealcast-signed1"));
    assert_eq!(back.stdout.len(), 3_000_000 + 70 + 3 * 64);
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
    check(&from, b"", 3, 0, "not a sealed stream");
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
    assert_eq!(fingerprint(sealed), made);
    let public = keys.path("admin.pub");
    let opened = run(&["open", "-i", &node, "--from", &public], &bytes);
    assert_eq!(fingerprint(opened), made);

    fs::set_permissions(&node, fs::Permissions::from_mode(0o644)).unwrap();
    let (status, _, said) = keys.open(&["--from", &public], &bytes);
    assert!(status == Some(0) && said.contains("warning"), "{said}");
}
