//! The payload of an age file: chunks of 64 KiB, each with a tag, counted, and the last one marked.
//!
//! Chunks are worked on in batches of 16, in one buffer: it has a slot for each chunk with its tag.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};

use crate::crypt::aead::{Cipher, TAG_LEN};
use crate::crypt::hash::Blake3;
use crate::crypt::sign::SIGNATURE_LEN;
use crate::crypt::{Forged, kdf};

use super::Error;
use super::header::FileKey;
use super::input::read_full;

/// Plaintext bytes of a chunk; only the last may have fewer.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Ciphertext bytes of a chunk.
pub const SLOT_BYTES: usize = CHUNK_BYTES + TAG_LEN;
/// Chunks of a batch.
pub const BATCH_CHUNKS: usize = 16;
/// Plaintext bytes of a batch: 1 MiB.
pub const BATCH_PLAIN_BYTES: usize = BATCH_CHUNKS * CHUNK_BYTES;
/// Ciphertext bytes of a batch.
pub const BATCH_BYTES: usize = BATCH_CHUNKS * SLOT_BYTES;
/// Chunks between two pauses: they take 0.1 ms or so.
const STRETCH_CHUNKS: usize = 4;
/// Bytes of the nonce between header and chunks.
pub const NONCE_BYTES: usize = 16;

/// The cipher of one stream's chunks.
#[derive(Debug)]
pub struct ChunkCipher(Cipher);

impl ChunkCipher {
    /// The cipher for a file key and the nonce that follows the header.
    pub fn new(file_key: &FileKey, nonce: &[u8; NONCE_BYTES]) -> Self {
        let key = kdf::derive(file_key.expose(), nonce, b"payload");
        Self(Cipher::new(&key))
    }

    fn seal(&self, chunk: u64, last: bool, buf: &mut [u8]) -> [u8; TAG_LEN] {
        self.0.seal_in_place(&nonce(chunk, last), b"", buf)
    }

    /// Decrypts the second of two slots into the first; the second stays as it was.
    fn open<'a>(&self, chunk: u64, last: bool, slots: &'a mut [u8]) -> Result<&'a [u8], Forged> {
        let nonce = nonce(chunk, last);
        let text = self.0.open_to_start(&nonce, b"", slots, SLOT_BYTES)?;
        Ok(text)
    }
}

/// Eleven bytes that count, one that marks the last chunk.
fn nonce(chunk: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&chunk.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

/// Reads the nonce that follows the header, which ends before byte `at`.
///
/// # Errors
/// [`Error::Truncated`] and [`Error::Read`].
pub fn read_nonce(input: &mut impl Read, at: usize) -> Result<[u8; NONCE_BYTES], Error> {
    let mut nonce = [0; NONCE_BYTES];
    let got = read_full(input, &mut nonce)?;
    if got < NONCE_BYTES {
        let offset = (at + got) as u64;
        return Err(Error::Truncated { offset });
    }
    Ok(nonce)
}

/// A buffer for one batch, to be used again and again.
pub fn buffer() -> Vec<u8> {
    vec![0; SLOT_BYTES + BATCH_BYTES]
}

/// Up to 16 chunks of plaintext. All are full, except perhaps the last of the stream.
#[derive(Debug)]
pub struct Plain {
    pub(super) index: u64,
    pub(super) last: bool,
    pub(super) len: usize,
    pub(super) buf: Vec<u8>,
}

/// Up to 16 chunks of ciphertext, one after the other.
#[derive(Debug)]
pub struct Sealed {
    len: usize,
    buf: Vec<u8>,
}

/// Up to 16 chunks of ciphertext from elsewhere, one after the other. They begin with the second
/// slot of the buffer: each is decrypted into the slot before its own.
#[derive(Debug)]
pub struct Unopened {
    index: u64,
    len: usize,
    buf: Vec<u8>,
}

impl Plain {
    /// The batch's number in the stream, from zero.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Whether the stream ends with this batch; of one that was opened, whether it says so.
    pub const fn last(&self) -> bool {
        self.last
    }

    /// Forgets the plaintext.
    pub(crate) const fn clear(&mut self) {
        self.len = 0;
    }

    /// How many bytes of plaintext there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no plaintext.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The plaintext from byte `skip` on, slot by slot.
    pub fn slices(&self, skip: usize) -> impl Iterator<Item = &[u8]> {
        let mut at = skip;
        std::iter::from_fn(move || {
            if at >= self.len {
                return None;
            }
            let within = at % CHUNK_BYTES;
            let take = (CHUNK_BYTES - within).min(self.len - at);
            let place = place(at);
            at += take;
            Some(&self.buf[place..place + take])
        })
    }

    /// The free places up to byte `end` of the plaintext, slot by slot.
    pub(super) fn spaces(&mut self, end: usize) -> Vec<IoSliceMut<'_>> {
        let first = self.len / CHUNK_BYTES;
        let slots = self.buf.chunks_mut(SLOT_BYTES).enumerate().skip(first);
        let spaces = slots.filter_map(|(slot, buf)| {
            let start = slot * CHUNK_BYTES;
            let free = self.len.saturating_sub(start)..CHUNK_BYTES.min(end.checked_sub(start)?);
            (!free.is_empty()).then(|| IoSliceMut::new(&mut buf[free]))
        });
        spaces.collect()
    }

    /// Adds `bytes` at the end. The batcher leaves room for a signature.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.buf[place(self.len)] = *byte;
            self.len += 1;
        }
    }

    /// Takes the last `N` bytes off; `None` when there are not so many.
    pub(crate) fn strip<const N: usize>(&mut self) -> Option<[u8; N]> {
        let start = self.len.checked_sub(N)?;
        let mut bytes = [0; N];
        for (byte, at) in bytes.iter_mut().zip(start..) {
            *byte = self.buf[place(at)];
        }
        self.len = start;
        Some(bytes)
    }

    /// The BLAKE3 hash of what precedes a signature at the end.
    pub(crate) fn signed_hash(&self) -> [u8; 32] {
        let mut remaining = self.len.saturating_sub(SIGNATURE_LEN);
        let mut hash = Blake3::default();
        for slice in self.slices(0) {
            let take = remaining.min(slice.len());
            hash.update(&slice[..take]);
            remaining -= take;
        }
        hash.finish()
    }

    /// The plaintext of the first chunk.
    pub(crate) fn first_chunk(&self) -> &[u8] {
        &self.buf[..self.len.min(CHUNK_BYTES)]
    }

    /// Encrypts all chunks in place; `between` is called between them.
    pub fn seal(self, cipher: &ChunkCipher, between: impl FnMut()) -> Sealed {
        self.seal_from(0, cipher, between)
    }

    /// Encrypts all chunks in place with a signature behind the data, which `sign` makes of the
    /// batch and the BLAKE3 hash of its data. Each chunk is hashed and encrypted in one go, while
    /// the processor has it at hand.
    pub(crate) fn seal_signed(
        mut self,
        cipher: &ChunkCipher,
        mut between: impl FnMut(),
        sign: impl FnOnce(&Self, [u8; 32]) -> [u8; SIGNATURE_LEN],
    ) -> Sealed {
        let mut hash = Blake3::default();
        // The signature does not reach into chunks that the data fills.
        let full = self.len / CHUNK_BYTES;
        for slot in 0..full {
            hash.update(&self.buf[slot * SLOT_BYTES..][..CHUNK_BYTES]);
            self.seal_slot(cipher, slot, false);
            pause(slot, &mut between);
        }
        self.slices(full * CHUNK_BYTES)
            .for_each(|slice| hash.update(slice));
        let signature = sign(&self, hash.finish());
        self.append(&signature);
        self.seal_from(full, cipher, between)
    }

    fn seal_from(
        mut self,
        first: usize,
        cipher: &ChunkCipher,
        mut between: impl FnMut(),
    ) -> Sealed {
        let chunks = self.len.div_ceil(CHUNK_BYTES).max(1);
        for slot in first..chunks {
            self.seal_slot(cipher, slot, self.last && slot + 1 == chunks);
            pause(slot, &mut between);
        }
        Sealed {
            len: self.len + chunks * TAG_LEN,
            buf: self.buf,
        }
    }

    fn seal_slot(&mut self, cipher: &ChunkCipher, slot: usize, last: bool) {
        let chunk = self.index * BATCH_CHUNKS as u64 + slot as u64;
        let len = CHUNK_BYTES.min(self.len - slot * CHUNK_BYTES);
        let buf = &mut self.buf[slot * SLOT_BYTES..][..len + TAG_LEN];
        let (text, tag) = buf.split_at_mut(len);
        tag.copy_from_slice(&cipher.seal(chunk, last, text));
    }

    /// Writes the plaintext from byte `skip` on.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, out: &mut impl Write, skip: usize) -> Result<(), Error> {
        let mut slices: Vec<_> = self.slices(skip).map(IoSlice::new).collect();
        let mut remaining = &mut slices[..];
        while !remaining.is_empty() {
            match out.write_vectored(remaining) {
                Ok(0) => return Err(Error::Write(io::ErrorKind::WriteZero.into())),
                Ok(written) => IoSlice::advance_slices(&mut remaining, written),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::Write(e)),
            }
        }
        Ok(())
    }

    /// Gives the buffer back.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buf
    }
}

/// Calls `between` when enough chunks have been worked on in one go.
fn pause(slot: usize, between: &mut impl FnMut()) {
    if (slot + 1).is_multiple_of(STRETCH_CHUNKS) {
        between();
    }
}

/// Where byte `at` of the plaintext is in the buffer.
const fn place(at: usize) -> usize {
    at / CHUNK_BYTES * SLOT_BYTES + at % CHUNK_BYTES
}

impl Sealed {
    /// The ciphertext.
    pub fn bytes(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    /// Gives the buffer back.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buf
    }
}

impl Unopened {
    /// Reads the batch with number `index`, in `buf` from [`buffer`], when all of it is there.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(super) fn read(index: u64, input: &mut impl Read, mut buf: Vec<u8>) -> Result<Self, Error> {
        let len = read_full(input, &mut buf[SLOT_BYTES..])?;
        Ok(Self { index, len, buf })
    }

    /// How many bytes there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Checks and decrypts the chunks, up to the first that does not hold. The plaintext is all
    /// that held; it is the age file's true content as far as it goes, whatever the error.
    ///
    /// A full batch may be the last or not, as its last chunk says: [`super::batches::EndCheck`]
    /// compares that with what follows, so that nobody has to wait for it.
    ///
    /// `payload_at` is where the first chunk of the stream begins, for the sake of errors;
    /// `between` is called between chunks.
    pub fn open(
        self,
        cipher: &ChunkCipher,
        payload_at: u64,
        between: impl FnMut(),
    ) -> (Plain, Option<Error>) {
        self.open_each(cipher, payload_at, |_, _| {}, between)
    }

    /// The same for a batch that ends in a signature; also gives the BLAKE3 hash of what precedes
    /// that. Each chunk is decrypted and hashed in one go, while the processor has it at hand.
    pub(crate) fn open_signed(
        self,
        cipher: &ChunkCipher,
        payload_at: u64,
        between: impl FnMut(),
    ) -> (Plain, Option<Error>, [u8; 32]) {
        let tags = self.len.div_ceil(SLOT_BYTES) * TAG_LEN;
        let data = self.len.saturating_sub(tags + SIGNATURE_LEN);
        let mut hash = Blake3::default();
        let see = |at: usize, text: &[u8]| {
            hash.update(&text[..text.len().min(data.saturating_sub(at))]);
        };
        let (plain, problem) = self.open_each(cipher, payload_at, see, between);
        (plain, problem, hash.finish())
    }

    /// `each` sees every chunk of plaintext and where in the batch it begins.
    fn open_each(
        mut self,
        cipher: &ChunkCipher,
        payload_at: u64,
        mut each: impl FnMut(usize, &[u8]),
        mut between: impl FnMut(),
    ) -> (Plain, Option<Error>) {
        let (mut good, mut last, mut problem) = (0, false, None);
        let start = batch_at(payload_at, self.index);
        // Without any bytes there is still a chunk to miss.
        for slot in 0..self.len.div_ceil(SLOT_BYTES).max(1) {
            let at = slot * SLOT_BYTES;
            let end = self.len.min(at + SLOT_BYTES);
            let place = ChunkPlace {
                chunk: self.index * BATCH_CHUNKS as u64 + slot as u64,
                offset: start.saturating_add(at as u64),
                last: (end < BATCH_BYTES).then_some(end == self.len),
            };
            let slots = &mut self.buf[at..SLOT_BYTES + end];
            let text;
            (text, last, problem) = place.open(cipher, slots);
            each(good, text);
            good += text.len();
            if problem.is_some() {
                break;
            }
            pause(slot, &mut between);
        }
        let plain = Plain {
            index: self.index,
            last,
            len: good,
            buf: self.buf,
        };
        (plain, problem)
    }

    /// The batch's number in the stream, from zero.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The ciphertext.
    pub fn bytes(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    /// Gives the buffer back.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buf
    }
}

/// Where the batch with number `index` begins in a stream whose chunks begin at `payload_at`.
pub(crate) const fn batch_at(payload_at: u64, index: u64) -> u64 {
    payload_at.saturating_add(index.saturating_mul(BATCH_BYTES as u64))
}

/// Where a chunk stands in its stream.
struct ChunkPlace {
    chunk: u64,
    offset: u64,
    /// Whether the input ends behind it; `None` when that is not known yet.
    last: Option<bool>,
}

impl ChunkPlace {
    /// Opens the chunk in the second of two slots; returns what may be released, whether it says
    /// that it is the last, and what is wrong.
    fn open<'a>(
        &self,
        cipher: &ChunkCipher,
        slots: &'a mut [u8],
    ) -> (&'a [u8], bool, Option<Error>) {
        let &Self { chunk, offset, .. } = self;
        let len = slots.len() - SLOT_BYTES;
        let end = offset.saturating_add(len as u64);
        if len < TAG_LEN {
            return (&[], false, Some(Error::Truncated { offset: end }));
        }
        let likely = self.last.unwrap_or(false);
        if cipher.open(chunk, likely, slots).is_ok() {
            let text = &slots[..len - TAG_LEN];
            // Only the one chunk of an empty payload is empty.
            let empty = text.is_empty() && chunk > 0;
            let problem = empty.then_some(Error::EmptyChunk { chunk, offset });
            return (text, likely, problem);
        }
        // The chunk may be true but not where the input ends: that says more than that it is
        // refused.
        if len == SLOT_BYTES
            && let Ok(text) = cipher.open(chunk, !likely, slots)
        {
            let problem = self.last.map(|last| match last {
                true => Error::Truncated { offset: end },
                false => Error::Trailing { offset: end },
            });
            return (text, !likely, problem);
        }
        (&[], false, Some(Error::Chunk { chunk, offset }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::batches::{EndCheck, PlainBatcher, SealedBatcher};
    use super::*;

    fn cipher() -> ChunkCipher {
        ChunkCipher::new(&FileKey::new([1; 16]), &[2; NONCE_BYTES])
    }

    fn seal(text: &[u8]) -> Vec<u8> {
        let mut batcher = PlainBatcher::new(text, Vec::new(), 0);
        let mut out = Vec::new();
        while let Some(batch) = batcher.next(buffer()).unwrap() {
            out.extend_from_slice(batch.seal(&cipher(), || {}).bytes());
        }
        out
    }

    fn open(bytes: &[u8]) -> (Vec<u8>, Option<Error>) {
        let mut batcher = SealedBatcher::new(bytes);
        let mut end_check = EndCheck::new(1000);
        let mut out = Vec::new();
        while let Some(batch) = batcher.next(buffer()).unwrap() {
            let (plain, problem) = batch.open(&cipher(), 1000, || {});
            if let Err(trailing) = end_check.check(&plain) {
                return (out, Some(trailing));
            }
            plain.write(&mut out, 0).unwrap();
            if problem.is_some() {
                return (out, problem);
            }
        }
        (out, end_check.finish().err())
    }

    fn text(len: usize) -> Vec<u8> {
        (0..=250).cycle().take(len).collect()
    }

    #[test]
    fn all_sizes_come_back() {
        let (c, b) = (CHUNK_BYTES, BATCH_PLAIN_BYTES);
        for len in [0, 1, c - 1, c, c + 1, 2 * c, b - 1, b, b + 1, b + c, 3 * b] {
            let sealed = seal(&text(len));
            assert_eq!(sealed.len(), len + 16 * len.div_ceil(c).max(1));
            let (back, problem) = open(&sealed);
            assert!(problem.is_none(), "{len}: {problem:?}");
            assert!(back == text(len), "{len}");
        }
    }

    #[test]
    fn what_is_cut_off_is_missed_and_chunks_are_released() {
        let len = BATCH_PLAIN_BYTES + 3 * CHUNK_BYTES;
        let sealed = seal(&text(len));
        for chunks in 0..19 {
            let (back, problem) = open(&sealed[..chunks * SLOT_BYTES]);
            let end = 1000 + (chunks * SLOT_BYTES) as u64;
            assert!(
                matches!(problem, Some(Error::Truncated { offset }) if offset == end),
                "{chunks}: {problem:?}"
            );
            assert!(back == text(chunks * CHUNK_BYTES));
            for more in [1, 15, 16, 17, 4000, SLOT_BYTES - 1] {
                let (back, problem) = open(&sealed[..chunks * SLOT_BYTES + more]);
                assert!(problem.is_some());
                assert!(back == text(chunks * CHUNK_BYTES));
            }
        }
    }

    #[test]
    fn what_follows_the_end_is_noticed() {
        for len in [0, 5, CHUNK_BYTES, BATCH_PLAIN_BYTES] {
            for junk in [1, 12, 16, 20, SLOT_BYTES] {
                let mut sealed = seal(&text(len));
                sealed.extend(std::iter::repeat_n(7, junk));
                let (back, problem) = open(&sealed);
                assert!(problem.is_some(), "{len} {junk}");
                assert!(back == text(len / CHUNK_BYTES * CHUNK_BYTES));
                if len > 5 {
                    assert!(
                        matches!(problem, Some(Error::Trailing { .. })),
                        "{problem:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_full_stream_has_no_empty_chunk_behind_it() {
        let cipher = cipher();
        let mut sealed = seal(&text(2 * CHUNK_BYTES))[..SLOT_BYTES].to_vec();
        sealed.extend(cipher.seal(1, true, &mut []));
        let (back, problem) = open(&sealed);
        assert!(matches!(problem, Some(Error::EmptyChunk { chunk: 1, .. })));
        assert!(back == text(CHUNK_BYTES));
    }

    #[test]
    fn a_flip_stops_the_release_at_its_chunk() {
        let sealed = seal(&text(BATCH_PLAIN_BYTES + 100));
        for at in (0..sealed.len()).step_by(32 * 1024 + 7) {
            let mut bad = sealed.clone();
            bad[at] ^= 0x10;
            let (back, problem) = open(&bad);
            let number = at / SLOT_BYTES;
            assert!(
                matches!(problem, Some(Error::Chunk { chunk, .. }) if chunk == number as u64),
                "{at}: {problem:?}"
            );
            assert!(back == text(number * CHUNK_BYTES));
        }
    }

    #[test]
    fn short_reads_change_nothing() {
        struct Drip<'a>(&'a [u8]);
        impl Read for Drip<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let take = (self.0.len() % 4099 + 1).min(buf.len()).min(self.0.len());
                let (head, tail) = self.0.split_at(take);
                buf[..take].copy_from_slice(head);
                self.0 = tail;
                Ok(take)
            }
        }
        let text = text(BATCH_PLAIN_BYTES + CHUNK_BYTES);
        let mut batcher = PlainBatcher::new(Drip(&text), Vec::new(), 0);
        let mut out = Vec::new();
        while let Some(batch) = batcher.next(buffer()).unwrap() {
            out.extend_from_slice(batch.seal(&cipher(), || {}).bytes());
        }
        assert!(out == seal(&text));
    }

    #[test]
    fn a_chunk_refuses_every_flip_and_every_cut() {
        let cipher = cipher();
        let (full, short) = (CHUNK_BYTES, 1000);
        for (len, last, known) in [
            (full, false, true),
            (full, false, false),
            (full, true, true),
            (full, true, false),
            (short, true, true),
        ] {
            let place = ChunkPlace {
                chunk: 3,
                offset: 0,
                last: known.then_some(last),
            };
            let mut slot = text(len);
            let tag = cipher.seal(3, last, &mut slot);
            slot.extend(tag);
            let mut work = [vec![0; SLOT_BYTES], slot.clone()].concat();
            let (_, said, problem) = place.open(&cipher, &mut work);
            assert!(problem.is_none() && said == last);
            for at in 0..slot.len() {
                work[SLOT_BYTES + at] ^= 1 << (at % 8);
                let (text, _, problem) = place.open(&cipher, &mut work);
                assert!(matches!(problem, Some(Error::Chunk { .. })), "byte {at}");
                assert!(text.is_empty());
                work[SLOT_BYTES + at] ^= 1 << (at % 8);
                let (text, _, problem) = place.open(&cipher, &mut work[..SLOT_BYTES + at]);
                assert!(problem.is_some() && text.is_empty(), "{at} bytes");
            }
            assert!(work[SLOT_BYTES..] == slot);
        }
    }
}
