//! The sealed stream against those who would change, forge or re-address it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests, too, fail by panicking"
)]

use std::fs;
use std::path::Path;

use sealcast::crypt::sign::SigningKey;
use sealcast::crypt::{aead, kdf};
use sealcast::filters::{Monitor, SealedInput, seal_with, wrap};
use sealcast::seal::opener::{Policy, Trust};
use sealcast::seal::sealer::{Sealer, Signer};
use sealcast::seal::stream::{BATCH_BYTES, BATCH_PLAIN_BYTES, CHUNK_BYTES, SLOT_BYTES};
use sealcast::seal::{
    Error, FileKey, Header, Identity, Keyring, Recipient, SenderKey, signing_key_line,
};

const LABEL: &str = "lab";
const PREAMBLE: usize = 70 + LABEL.len();
/// Data bytes of a segment, and of the first one.
pub(crate) const SEGMENT: usize = BATCH_PLAIN_BYTES - 64;
pub(crate) const FIRST: usize = SEGMENT - PREAMBLE;
const NONCE: [u8; 16] = [22; 16];

fn file_key() -> FileKey {
    FileKey::new([11; 16])
}

pub(crate) fn node() -> Identity {
    Identity::from_seed([1; 32])
}

pub(crate) fn admin() -> SigningKey {
    SigningKey::from_seed([2; 32])
}

pub(crate) fn text(len: usize) -> Vec<u8> {
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
    seal_with(&sealer, text, &mut out, 2, Monitor::default()).unwrap();
    out
}

pub(crate) fn sealed(text: &[u8]) -> Vec<u8> {
    sealed_by(Some(signer(admin())), &stanzas(), NONCE, text)
}

fn opened_as(bytes: &[u8], trust: Trust) -> (Vec<u8>, Result<(), Error>) {
    let mut out = Vec::new();
    let mut open = || {
        let incoming = SealedInput::read(bytes, 1 << 20)?;
        let key = incoming.unwrap(&Keyring::new(&[node()]))?;
        incoming.open(&key, &trust, &mut out, 2, Monitor::default())
    };
    let result = open().map(|_| ());
    (out, result)
}

fn opened(bytes: &[u8]) -> (Vec<u8>, Result<(), Error>) {
    let senders = vec![SenderKey::new(admin().public())];
    opened_as(bytes, Trust::Senders(senders, Policy::default()))
}

/// Opens `bad` and checks that it is refused after the first `segments` of `text`.
pub(crate) fn refused(bad: &[u8], text: &[u8], segments: usize, what: &str) -> Error {
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

pub(crate) fn head_len() -> usize {
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
        let whole = len.saturating_sub(head) / BATCH_BYTES;
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
            // A full segment is released before it is known what follows.
            let whole = (len + PREAMBLE) / SEGMENT;
            let error = refused(&bytes, &text, whole, &format!("{len} and {junk}"));
            let trailing = matches!(error, Error::Trailing { .. });
            assert_eq!(trailing, whole > 0, "{len} and {junk}: {error}");
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
    let error = refused(&join(&[0, 1, 2]), &text, 3, "cut");
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
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
        let senders = keys.iter().map(|k| SenderKey::new(k.public())).collect();
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
    let result = seal_with(&sealer, &looks[..], &mut Vec::new(), 2, Monitor::default());
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
    let sender = SenderKey::new(admin().public());
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
