//! A signed stream of three segments with each of its bytes changed, and cut at every length.
//!
//! An ordinary run tries every byte of the header, those around each edge of a chunk, the
//! signatures, the end, and every 127th of the rest; `SEALCAST_EXHAUSTIVE=1` tries them all, which
//! takes about twenty minutes on two processors. That a chunk refuses every change is tested in
//! full beside the chunks, in `src/seal/stream.rs`.

use std::io::{Cursor, Read};

use sealcast::seal::batches::{EndCheck, SealedBatcher};
use sealcast::seal::opener::{Opener, Policy, Trust};
use sealcast::seal::stream::{BATCH_BYTES, NONCE_BYTES, SLOT_BYTES, buffer};
use sealcast::seal::{Error, FileKey, Header, Keyring, SenderKey};

use crate::seal::{FIRST, SEGMENT, admin, head_len, node, refused, sealed, text};

/// Bytes of the last segment: two chunks and a bit.
const LAST: usize = 2 * 65_536 + 100;

/// The stream as it was sealed, and what a reader knows after its true first segment.
struct Stream {
    text: Vec<u8>,
    bytes: Vec<u8>,
    head: usize,
    trust: Trust,
    header: Header,
    file_key: FileKey,
    nonce: [u8; NONCE_BYTES],
}

impl Stream {
    fn new() -> Self {
        let text = text(FIRST + SEGMENT + LAST);
        let bytes = sealed(&text);
        let (header, rest) = Header::read(&mut &*bytes, 1 << 20).unwrap();
        let mut nonce = [0; NONCE_BYTES];
        Cursor::new(rest)
            .chain(&bytes[..])
            .read_exact(&mut nonce)
            .unwrap();
        let file_key = Keyring::new(&[node()]).unwrap(&header).unwrap();
        let senders = vec![SenderKey::new(admin().public())];
        Self {
            text,
            head: head_len(),
            bytes,
            trust: Trust::Senders(senders, Policy::default()),
            header,
            file_key,
            nonce,
        }
    }

    /// The segment in which byte `at` is, of three.
    fn segment(&self, at: usize) -> usize {
        (at - self.head) / BATCH_BYTES
    }

    /// The places from the first segment on that this run tries.
    fn places(&self) -> Vec<usize> {
        let every = std::env::var_os("SEALCAST_EXHAUSTIVE").is_some();
        let edge = |at: &usize| {
            let slot = (at - self.head) % SLOT_BYTES;
            let batch = (at - self.head) % BATCH_BYTES;
            slot <= 20 || slot >= SLOT_BYTES - 20 || batch >= BATCH_BYTES - 100
        };
        let end = self.bytes.len() - 100;
        (self.head..self.bytes.len())
            .filter(|at| every || at % 127 == 0 || *at >= end || edge(at))
            .collect()
    }

    /// Opens one segment as it stands in `bytes`, after those before it as they were sealed.
    fn open(&self, bytes: &[u8], segment: usize) -> Result<(), Error> {
        let begin = |first| {
            let (header, key, nonce) = (&self.header, &self.file_key, &self.nonce);
            Opener::begin(header, key, nonce, first, &self.trust)
        };
        let mut batcher = SealedBatcher::new(&bytes[self.head..]);
        let mut batch = batcher.next(buffer())?.unwrap();
        for _ in 0..segment {
            batch = batcher.next(batch.into_buffer())?.unwrap();
        }
        let opened = match segment {
            0 => begin(batch)?.1,
            _ => OPENER.with(|opener| {
                let opener = opener.get_or_init(|| {
                    let mut batcher = SealedBatcher::new(&self.bytes[self.head..]);
                    begin(batcher.next(buffer()).unwrap().unwrap()).unwrap().0
                });
                opener.open(batch, || {})
            }),
        };
        let mut ending = EndCheck::new(self.head as u64);
        let (_, free) = opened.release(&mut ending, &mut std::io::sink())?;
        match batcher.next(free)? {
            Some(_) => Ok(()),
            None => ending.finish(),
        }
    }

    /// Runs `check` for all places, on two threads.
    fn each(&self, check: impl Fn(&mut Vec<u8>, usize) + Sync) {
        let places = self.places();
        std::thread::scope(|scope| {
            for half in places.chunks(places.len().div_ceil(2)) {
                let check = &check;
                scope.spawn(move || {
                    let mut bytes = self.bytes.clone();
                    half.iter().for_each(|at| check(&mut bytes, *at));
                });
            }
        });
    }
}

thread_local! {
    static OPENER: std::cell::OnceCell<Opener> = const { std::cell::OnceCell::new() };
}

#[test]
fn the_true_stream_opens_segment_by_segment() {
    let stream = Stream::new();
    for segment in 0..3 {
        stream.open(&stream.bytes, segment).unwrap();
    }
}

#[test]
fn every_flip_in_a_segment_refuses_it() {
    let stream = Stream::new();
    stream.each(|bytes, at| {
        bytes[at] ^= 1 << (at % 8);
        let error = stream.open(bytes, stream.segment(at)).expect_err("a flip");
        assert!(matches!(error, Error::Chunk { .. }), "byte {at}: {error}");
        bytes[at] ^= 1 << (at % 8);
    });
}

#[test]
fn every_cut_in_a_segment_refuses_it() {
    let stream = Stream::new();
    stream.each(|bytes, at| {
        if at == stream.head {
            return;
        }
        // What ends with a segment lacks the last one.
        let segment = stream.segment(at - 1);
        let error = stream.open(&bytes[..at], segment).expect_err("a cut");
        let known = matches!(error, Error::Chunk { .. } | Error::Truncated { .. });
        assert!(known, "{at} bytes: {error}");
    });
}

#[test]
fn every_flip_and_cut_of_the_header_releases_nothing() {
    let stream = Stream::new();
    for at in 0..stream.head {
        for bit in 0..8 {
            let mut bad = stream.bytes.clone();
            bad[at] ^= 1 << bit;
            refused(&bad, &stream.text, 0, &format!("byte {at}, bit {bit}"));
        }
        refused(&stream.bytes[..at], &stream.text, 0, &format!("{at} bytes"));
    }
}
