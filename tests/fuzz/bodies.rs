//! What the fuzzer runs on any bytes, and the tests on those of the corpus. Nothing may panic, and
//! what is taken must come back the same when it is written again.

use std::io::{Read, Write};

use sealcast::crypt::sign::SigningKey;
use sealcast::seal::cut::PlainCutter;
use sealcast::seal::opener::{Checker, Policy};
use sealcast::seal::signed::Preamble;
use sealcast::seal::stream::buffer;
use sealcast::seal::{
    Error, FileKey, Header, Identity, Passphrase, Recipient, Ring, Sender, armor, parse_recipients,
    parse_senders, parse_signing_key,
};

/// An armored file has one text, give or take line ends and white space around it.
pub fn armor(data: &[u8]) {
    let mut decoded = Vec::new();
    let taken = armor::Reader::new(data).read_to_end(&mut decoded).is_ok();
    let white = |c: char| " \t\r\n".contains(c);
    let text = String::from_utf8_lossy(data);
    let text = text.trim_matches(white);
    if !taken || !text.starts_with('-') {
        return;
    }
    let mut again = Vec::new();
    let mut writer = armor::Writer::new(&mut again).unwrap();
    writer.write_all(&decoded).unwrap();
    writer.finish().unwrap();
    assert_eq!(again, (text.replace("\r\n", "\n") + "\n").as_bytes());
}

/// A header is what was read, and its stanzas go into identities of all types.
pub fn header(data: &[u8]) {
    let Ok((header, rest)) = Header::read(&mut &*data, 64 << 10) else {
        return;
    };
    assert_eq!([header.bytes(), &rest].concat(), data);
    assert!(header.bytes().len() <= 64 << 10);
    let signing = SigningKey::from_seed([2; 32]);
    let ring = Ring::new(&[
        Identity::from_seed([1; 32]),
        Identity::Ssh(Box::new(signing)),
        Identity::hybrid_from_seed([3; 32]),
    ]);
    let _ = ring.unwrap(&header);
    let _ = Passphrase::fits(&header);
    // Deriving a key takes its time; a header without a fitting work factor is looked at all the
    // same.
    let work = header.stanzas(0..1).find_map(|stanza| {
        let [_, work] = stanza.args()?;
        work.parse::<u8>().ok()
    });
    if work.is_none_or(|work| work < 4) {
        let passphrase = Passphrase::new(zeroize::Zeroizing::new("blue sky".into()));
        let _ = passphrase.unwrap(&header);
    }
    let _ = header.verify(&FileKey::new([0; 16]));
}

/// Keys that are taken are written as they can be read again.
pub fn keys(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for named in parse_recipients(text).iter().flat_map(|list| &list.keys) {
        let again: Recipient = named.key.to_string().parse().unwrap();
        assert_eq!(again, named.key);
        assert_eq!(named.key.fingerprint().len(), 32);
    }
    for named in parse_senders(text).iter().flat_map(|list| &list.keys) {
        let again: Sender = named.key.to_string().parse().unwrap();
        assert_eq!(again, named.key);
    }
    for identity in Identity::parse_file(text, None).iter().flatten() {
        if let Some(line) = identity.to_line() {
            let again = Identity::parse_file(&line, None).unwrap();
            assert_eq!(again[0].recipient(), identity.recipient());
        }
    }
    let _ = parse_signing_key(text, None);
}

/// A payload that nobody signed is never released, whatever it says of itself.
pub fn payload(data: &[u8]) {
    if let Ok(Some((preamble, len))) = Preamble::parse(data) {
        assert_eq!(preamble.emit().unwrap(), data[..len]);
    }
    let file_key = FileKey::new([1; 16]);
    let stanza = Identity::from_seed([1; 32])
        .recipient()
        .wrap(&file_key, [2; 32]);
    let bytes = Header::emit(&[stanza.unwrap()], &file_key);
    let (header, _) = Header::read(&mut &*bytes, 1 << 10).unwrap();
    let sender = Sender::new(SigningKey::from_seed([4; 32]).public());
    let mut cutter = PlainCutter::of_payload(data);
    let first = cutter.next(buffer()).unwrap().unwrap();
    let trust = (&[sender][..], &Policy::default());
    let begun = Checker::begin(&header, &[0; 16], first, trust);
    let error = begun.map(|_| ()).unwrap_err();
    assert!(matches!(
        error,
        Error::Unsigned
            | Error::Preamble { .. }
            | Error::UnknownSender { .. }
            | Error::Segment { .. }
    ));
}
