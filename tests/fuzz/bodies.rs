//! What the fuzzer runs on any bytes, and the tests on those of the corpus. Nothing may panic, and
//! what is taken must come back the same when it is written again.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use sealcast::archive::{self, Decoder, Entry, Kind, Reader, XattrChoice, name};
use sealcast::crypt::sign::SigningKey;
use sealcast::proto::{
    OneWay, Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent, SenderConfig, SenderKeys,
};
use sealcast::seal::batches::PlainBatcher;
use sealcast::seal::opener::{Checker, Policy};
use sealcast::seal::signed::Preamble;
use sealcast::seal::stream::buffer;
use sealcast::seal::{
    Error, FileKey, Header, Identity, Keyring, Passphrase, Recipient, SenderKey, armor,
    parse_recipients, parse_sender_keys, parse_signing_key,
};
use sealcast::tree::{Existing, Limits, TreeUnpackConfig, unpack};
use sealcast::units::{Duration, Instant};
use sealcast::wire;

/// An armored file has one text, give or take line ends and white space around it.
pub fn armor(data: &[u8]) {
    let mut decoded = Vec::new();
    let taken = armor::ArmorReader::new(data)
        .read_to_end(&mut decoded)
        .is_ok();
    let white = |c: char| " \t\r\n".contains(c);
    let text = String::from_utf8_lossy(data);
    let text = text.trim_matches(white);
    if !taken || !text.starts_with('-') {
        return;
    }
    let mut again = Vec::new();
    let mut writer = armor::ArmorWriter::new(&mut again).unwrap();
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
    let ring = Keyring::new(&[
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
    for named in parse_sender_keys(text).iter().flat_map(|list| &list.keys) {
        let again: SenderKey = named.key.to_string().parse().unwrap();
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
    let sender = SenderKey::new(SigningKey::from_seed([4; 32]).public());
    let mut batcher = PlainBatcher::of_payload(data);
    let first = batcher.next(buffer()).unwrap().unwrap();
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

/// A tar stream with the checksums of its headers made right: a change reaches what lies behind.
fn mended(data: &[u8]) -> Vec<u8> {
    let mut tar = data.to_vec();
    for block in tar.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    tar
}

/// What is decompressed at most.
const TAR_BYTES_MAX: u64 = 8 << 20;

/// The entries of an archive with their content.
fn entries(data: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, archive::Error> {
    let input = BufReader::new(Decoder::new(data)?.take(TAR_BYTES_MAX));
    let mut reader = Reader::new(input, &|_, name| u32::try_from(name.len()).ok());
    let mut list = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut content = Vec::new();
        loop {
            let piece = reader.data()?;
            if piece.is_empty() {
                break;
            }
            content.extend_from_slice(piece);
            let len = piece.len();
            reader.consume(len);
        }
        list.push((entry, content));
    }
    assert_eq!(reader.seen().entries, list.len() as u64);
    Ok(list)
}

/// Whether our writer can tell an entry: a packer leaves others out.
fn can_be_told(entry: &Entry) -> bool {
    let meta = &entry.meta;
    let records = meta
        .xattrs
        .iter()
        .map(|x| 3 * x.name.len() + x.value.len() + 32);
    entry.path.len() < name::PATH_BYTES_MAX
        && records.sum::<usize>() + meta.uname.len() + meta.gname.len() < 1 << 19
        && ![&meta.uname, &meta.gname]
            .iter()
            .any(|name| name.contains(&0))
}

/// Entries that are taken stay below their root, store no more than came, and are the same when
/// they are written and read again.
pub fn archive(data: &[u8]) {
    for data in [data, &mended(data)] {
        let Ok(list) = entries(data) else {
            continue;
        };
        let mut writer = archive::Writer::new(Vec::new()).unwrap();
        for (entry, content) in &list {
            let bad = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
            assert!(entry.path.is_empty() || !entry.path.split(|&b| b == b'/').any(bad));
            let stored = match &entry.kind {
                Kind::File(content) => content.stored(),
                _ => 0,
            };
            assert_eq!(content.len() as u64, stored);
            if !can_be_told(entry) {
                return;
            }
            writer.entry(entry).unwrap();
            writer.data(content).unwrap();
        }
        let (again, totals) = writer.finish().unwrap();
        assert_eq!(totals.entries, list.len() as u64);
        let back = entries(&again).unwrap();
        assert!(back == list, "{back:?} for {list:?}");
    }
}

/// Everything in a directory, with what an extraction could change of it.
fn state(dir: &Path) -> Vec<(std::path::PathBuf, u32, u64, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        if meta.is_dir() {
            found.extend(state(&path));
        }
        found.push((path, meta.mode(), meta.nlink(), content));
    }
    found.sort();
    found
}

/// Whatever an archive holds, it is restored whole or not at all, and nothing is touched outside of
/// its target: neither beside it nor through links that are in it already.
pub fn extract(data: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let (area, victim) = (dir.path().join("area"), dir.path().join("victim"));
    fs::create_dir_all(victim.join("d")).unwrap();
    fs::write(victim.join("a"), "a").unwrap();
    fs::create_dir_all(area.join("old")).unwrap();
    symlink("../../victim", area.join("old/l")).unwrap();
    symlink("../../victim/a", area.join("old/a")).unwrap();
    let merge = data.len() % 2 == 1;
    let config = TreeUnpackConfig {
        target: area.join(if merge { "old" } else { "new" }),
        existing: if merge {
            Existing::Merge
        } else {
            Existing::Refuse
        },
        keep_partial: false,
        devices: false,
        setuid: true,
        xattrs: XattrChoice::default(),
        same_owner: true,
        owners: Default::default(),
        sync: false,
        limits: Limits {
            entries: 200,
            bytes: 1 << 20,
            memory: 1 << 20,
        },
    };
    for data in [data, &mended(data)] {
        let (before, there) = (state(dir.path()), state(&victim));
        let input = Decoder::new(data).map(|decoder| BufReader::new(decoder.take(TAR_BYTES_MAX)));
        let Ok(input) = input else {
            return;
        };
        let taken = unpack(&config, input, &|_| {}).is_ok();
        assert_eq!(state(&victim), there);
        let mut names: Vec<_> = fs::read_dir(&area)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        let new = config.target.exists() && !merge;
        assert_eq!(names, if new { &["new", "old"][..] } else { &["old"] });
        if !taken && !merge {
            assert!(state(dir.path()) == before);
        }
    }
}

/// What a datagram says is what it is written as.
pub fn wire(data: &[u8]) {
    assert!(!wire::show(data).is_empty());
    let _ = wire::peek(data);
    macro_rules! same {
        ($($parsed:expr),*) => {$(
            if let Ok(value) = $parsed {
                let mut again = Vec::new();
                value.emit(&mut again);
                assert_eq!(again[..], data[..again.len()]);
            }
        )*};
    }
    same!(
        wire::MulticastHeader::parse(data),
        wire::HandshakeHeader::parse(data),
        wire::MemberHeader::parse(data),
        wire::Announce::parse(data),
        wire::Join::parse(data),
        wire::Accept::parse(data),
        wire::Poll::parse(data),
        wire::End::parse(data),
        wire::Abort::parse(data),
        wire::Feedback::parse(data),
        wire::Bye::parse(data),
        wire::SymbolHashes::parse(data),
        wire::Hello::parse(data),
        wire::Cookie::parse(data)
    );
}

/// A sender, two receivers and what the network does to their datagrams, each byte a step: whatever
/// comes out is what went in, and who says that it is complete has all of it.
pub fn session(data: &[u8]) {
    session_of(data, None);
    session_of(data, Some(OneWay::default()));
}

fn session_of(data: &[u8], one_way: Option<OneWay>) {
    let config = SenderConfig {
        one_way,
        k: 4,
        symbol_len: 64,
        receivers: 2,
        floor: Some(sealcast::units::Rate::from_bits_per_s(1_000_000)),
        keys: SenderKeys {
            signing: (data.len() % 2 == 1).then(|| SigningKey::from_seed([9; 32])),
            ..SenderKeys::default()
        },
        ..SenderConfig::default()
    };
    let mut now = Instant::from_us(1);
    let mut sender = sealcast::proto::Sender::new(config, [1; 32], now);
    let mut receivers: Vec<Peer> = [[2; 32], [3; 32]]
        .map(|seed| Peer::new(seed, one_way.is_some(), now))
        .into_iter()
        .collect();
    let stream: Vec<u8> = (0..4_000u32).map(|n| (n * 7 / 3) as u8).collect();
    let (mut pushed, mut buf) = (0, Vec::new());
    let from = |n: usize| SocketAddr::from(([10, 0, 0, n as u8], 9));
    for (at, &step) in data.iter().enumerate() {
        let (what, how) = (step & 7, usize::from(step >> 3));
        match what {
            // Mostly moments, and now and then seconds.
            0 => now = now + Duration::from_us(1 << if how < 30 { how % 18 } else { how - 9 }),
            1 => {
                let end = stream.len().min(pushed + how * 20);
                pushed += sender.push(&stream[pushed..end]);
            }
            2 if pushed == stream.len() => sender.finish(),
            3 => {
                // Made from the bytes to come: it opens nowhere.
                let mut junk = data[at..data.len().min(at + how * 4)].to_vec();
                sender.handle_datagram(now, from(3), &mut junk);
                receivers[how % 2]
                    .receiver
                    .handle_datagram(now, from(3), &mut junk);
            }
            _ => {}
        }
        sender.handle_timeout(now);
        while let Some(transmit) = sender.poll_transmit(now, &mut buf) {
            for datagram in buf.chunks(transmit.segment) {
                for (n, peer) in receivers.iter_mut().enumerate() {
                    // Lost, damaged, doubled or whole.
                    if what != 4 || how & (1 << n) == 0 {
                        peer.hear(now, from(9), datagram, what == 5 && how % 2 == n);
                    }
                }
            }
        }
        for (n, peer) in receivers.iter_mut().enumerate() {
            for mut datagram in peer.run(now, &stream) {
                assert!(one_way.is_none(), "an answer that nobody hears");
                if what != 6 || how % 2 != n {
                    sender.handle_datagram(now, from(n), &mut datagram);
                }
            }
        }
        while sender.poll_event().is_some() {}
    }
}

/// A receiver and how far it is.
struct Peer {
    receiver: Receiver,
    taken: usize,
}

impl Peer {
    fn new(seed: [u8; 32], one_way: bool, now: Instant) -> Self {
        let config = ReceiverConfig {
            one_way,
            ..ReceiverConfig::default()
        };
        Self {
            receiver: Receiver::new(config, seed, now),
            taken: 0,
        }
    }

    fn hear(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], damaged: bool) {
        let mut copy = datagram.to_vec();
        if damaged {
            let at = self.taken % copy.len();
            copy[at] ^= 4;
            self.receiver.handle_datagram(now, from, &mut copy);
            copy = datagram.to_vec();
        }
        self.receiver.handle_datagram(now, from, &mut copy);
    }

    /// Takes what is there, and returns what is to be sent.
    fn run(&mut self, now: Instant, stream: &[u8]) -> Vec<Vec<u8>> {
        let (mut out, mut buf) = (Vec::new(), Vec::new());
        self.receiver.handle_timeout(now);
        while let Some(delivery) = self.receiver.pull(now) {
            assert!(stream[self.taken..].starts_with(&delivery.buf[..delivery.len]));
            self.taken += delivery.len;
            self.receiver.recycle(delivery.buf);
        }
        while let Some(event) = self.receiver.poll_event() {
            match event {
                ReceiverEvent::Complete { length } => {
                    assert_eq!(length, self.taken as u64);
                    self.receiver.consumed(now);
                }
                ReceiverEvent::Ended(ReceiverEnd::Complete) => {
                    assert_eq!(self.taken, stream.len());
                }
                ReceiverEvent::Ended(ReceiverEnd::Corrupt) => panic!("honest and yet corrupt"),
                _ => {}
            }
        }
        while self.receiver.poll_transmit(now, &mut buf).is_some() {
            out.push(buf.clone());
        }
        out
    }
}
