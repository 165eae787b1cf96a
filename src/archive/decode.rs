//! From the input's bytes to the tar stream: zstd frames one after the other, or plain tar.

use std::io::{self, Read};

pub use zstd::bulk::Decompressor;
use zstd::stream::raw::{Decoder as Raw, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::{self, DParameter};

use super::compress::{ANNOUNCE_MAGIC, ANNOUNCEMENT_BYTES, FRAME_BYTES};
use super::own_record::{OWN_MAGIC, TEXT_BYTES_MAX, blocks, is_own};
use super::{BLOCK_BYTES, Error, ForeignFormat, header};

/// The largest window that a frame may ask for, as a power of two: 128 MiB.
pub const WINDOW_LOG_MAX: u32 = 27;

/// The same in bytes.
pub const WINDOW_BYTES_MAX: u64 = 1 << WINDOW_LOG_MAX;

/// The longest frame to skip over.
pub const SKIPPABLE_BYTES_MAX: u32 = 64 << 10;

const INPUT_BYTES: usize = 1 << 20;
const LAYER: &str = "the compressed stream";

/// The longest header of a frame (RFC 8878, section 3.1.1.1, with the magic number).
const FRAME_HEADER_BYTES_MAX: usize = 18;

/// A frame that was announced, and can be decompressed by itself.
#[derive(Debug)]
pub struct Announced {
    /// Where it begins in the input.
    at: u64,
    frame: Vec<u8>,
    /// Whether it is a part of the tar stream as it stands.
    bare: bool,
}

impl Announced {
    /// Puts the content of the frame at the beginning of `out`, which has [`FRAME_BYTES`], and
    /// returns its length.
    ///
    /// # Errors
    /// [`Error::Compression`] when the frame is damaged.
    pub fn expand(
        &self,
        decompressor: &mut Decompressor<'_>,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        if self.bare {
            let len = self.frame.len().min(out.len());
            out[..len].copy_from_slice(&self.frame[..len]);
            return Ok(len);
        }
        let done = decompressor.decompress_to_buffer(&self.frame, out);
        done.map_err(|e| Error::Compression {
            at: self.at,
            what: e.to_string(),
        })
    }

    /// The memory of the frame, for another.
    pub fn into_memory(self) -> Vec<u8> {
        self.frame
    }
}

/// Decompresses an archive; what it reads is the tar stream. Errors are [`Error`]s inside
/// [`io::Error`]s.
pub struct Decoder<R> {
    input: R,
    buf: Vec<u8>,
    pos: usize,
    end: usize,
    eof: bool,
    /// Bytes of the input before `buf[pos]`.
    at: u64,
    raw: Raw<'static>,
    state: State,
    /// The part of the tar stream that an own record stands for, and is not read yet.
    own: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first frame.
    First,
    /// Between frames.
    Between,
    /// Inside a frame; true when the decoder may hold output back.
    Frame {
        pending: bool,
    },
    /// Not compressed at all.
    Plain,
    Done,
}

impl<R: Read> Decoder<R> {
    /// Decompresses `input`.
    ///
    /// # Errors
    /// [`Error::Read`] when there is no memory for a decompressor.
    pub fn new(input: R) -> Result<Self, Error> {
        let mut raw = Raw::new().map_err(Error::Read)?;
        raw.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(Error::Read)?;
        Ok(Self {
            input,
            buf: vec![0; INPUT_BYTES],
            pos: 0,
            end: 0,
            eof: false,
            at: 0,
            raw,
            state: State::First,
            own: Vec::new(),
        })
    }

    /// The next frame, in memory that has served before, if it is announced, not empty and no
    /// longer than ours. Otherwise there is nothing, and [`Decoder::decode`] goes on from here.
    ///
    /// # Errors [`Error::Truncated`], [`Error::Read`], and [`Error::Compression`] when the frame is
    /// not as long as its announcement says.
    pub fn announced(&mut self, mut frame: Vec<u8>) -> Result<Option<Announced>, Error> {
        if !matches!(self.state, State::First | State::Between) || !self.own.is_empty() {
            return Ok(None);
        }
        let at = self.at;
        if let Some(frame) = self.own_record()? {
            let bare = true;
            return Ok(Some(Announced { at, frame, bare }));
        }
        self.have(ANNOUNCEMENT_BYTES + FRAME_HEADER_BYTES_MAX)?;
        let words = [0, 4, 8].map(|offset| self.peek_u32(offset));
        let [Some(ANNOUNCE_MAGIC), Some(4), Some(size)] = words else {
            return Ok(None);
        };
        let size = size as usize;
        let header = &self.buf[self.pos + ANNOUNCEMENT_BYTES..self.end];
        let content = match zstd_safe::get_frame_content_size(header) {
            Ok(Some(content)) => usize::try_from(content).unwrap_or(usize::MAX),
            _ => return Ok(None),
        };
        if content == 0 || content > FRAME_BYTES || size > zstd_safe::compress_bound(FRAME_BYTES) {
            return Ok(None);
        }
        self.state = State::Between;
        self.advance(ANNOUNCEMENT_BYTES);
        let at = self.at;
        let here = size.min(self.end - self.pos);
        frame.clear();
        frame.reserve(size);
        frame.extend_from_slice(&self.buf[self.pos..self.pos + here]);
        self.advance(here);
        let read = (&mut self.input)
            .take((size - here) as u64)
            .read_to_end(&mut frame);
        self.at += read.map_err(Error::Read)? as u64;
        if frame.len() < size {
            return Err(self.truncated());
        }
        match zstd_safe::find_frame_compressed_size(&frame) {
            Ok(whole) if whole == size => {
                let bare = false;
                Ok(Some(Announced { at, frame, bare }))
            }
            _ => Err(Error::Compression {
                at,
                what: "a frame is not as long as announced".into(),
            }),
        }
    }

    /// Fills `out` as far as the stream goes; zero bytes mean its sound end.
    ///
    /// # Errors
    /// Every reason to refuse the stream.
    pub fn decode(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < out.len() {
            if !self.own.is_empty() {
                let n = self.own.len().min(out.len() - filled);
                out[filled..filled + n].copy_from_slice(&self.own[..n]);
                self.own.drain(..n);
                filled += n;
                continue;
            }
            match self.state {
                State::Done => break,
                State::First | State::Between => self.begin()?,
                State::Frame { pending } => filled += self.frame(&mut out[filled..], pending)?,
                State::Plain => {
                    if self.have(1)? == 0 {
                        self.state = State::Done;
                        break;
                    }
                    let n = (self.end - self.pos).min(out.len() - filled);
                    out[filled..filled + n].copy_from_slice(&self.buf[self.pos..self.pos + n]);
                    self.advance(n);
                    filled += n;
                }
            }
        }
        Ok(filled)
    }

    /// At the first byte of a frame, or at the end.
    fn begin(&mut self) -> Result<(), Error> {
        let first = self.state == State::First;
        let have = self.have(4)?;
        if have == 0 {
            if first {
                return Err(Error::Empty);
            }
            self.state = State::Done;
            return Ok(());
        }
        let magic = self.peek_u32(0).unwrap_or(0);
        if magic == 0xFD2F_B528 {
            self.have(FRAME_HEADER_BYTES_MAX)?;
            let bytes = window_bytes(&self.buf[self.pos..self.end]);
            if let Some(bytes) = bytes.filter(|&bytes| bytes > WINDOW_BYTES_MAX) {
                return Err(Error::Window {
                    at: self.at,
                    bytes,
                    bytes_max: WINDOW_BYTES_MAX,
                });
            }
            self.state = State::Frame { pending: false };
            return self.raw.reinit().map_err(Error::Read);
        }
        if let Some(own) = self.own_record()? {
            self.own = own;
            return Ok(());
        }
        if magic & 0xFFFF_FFF0 == 0x184D_2A50 {
            return self.skip();
        }
        if !first {
            return Err(if have < 4 {
                self.truncated()
            } else {
                Error::Trailing {
                    at: self.at,
                    layer: LAYER,
                }
            });
        }
        self.have(BLOCK_BYTES)?;
        let start = &self.buf[self.pos..self.end];
        if !header::looks_like_tar(start) {
            return Err(Error::NotArchive(foreign_format(start)));
        }
        self.state = State::Plain;
        Ok(())
    }

    /// What an own record stands for, if one is next.
    fn own_record(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.have(8)?;
        let [Some(OWN_MAGIC), Some(len)] = [0, 4].map(|offset| self.peek_u32(offset)) else {
            return Ok(None);
        };
        let whole = 8 + len as usize;
        if whole > 8 + TEXT_BYTES_MAX || self.have(whole)? < whole {
            return Ok(None);
        }
        let text = &self.buf[self.pos + 8..self.pos + whole];
        if !is_own(text) {
            return Ok(None);
        }
        let blocks = blocks(text);
        self.advance(whole);
        self.state = State::Between;
        Ok(Some(blocks))
    }

    fn skip(&mut self) -> Result<(), Error> {
        if self.have(8)? < 8 {
            return Err(self.truncated());
        }
        let len = self.peek_u32(4).unwrap_or(u32::MAX);
        if len > SKIPPABLE_BYTES_MAX {
            return Err(Error::Compression {
                at: self.at,
                what: format!("a frame to skip has {len} bytes"),
            });
        }
        let whole = 8 + len as usize;
        if self.have(whole)? < whole {
            return Err(self.truncated());
        }
        self.advance(whole);
        self.state = State::Between;
        Ok(())
    }

    fn frame(&mut self, out: &mut [u8], pending: bool) -> Result<usize, Error> {
        let have = self.have(1)?;
        if have == 0 && !pending {
            return Err(self.truncated());
        }
        let mut input = InBuffer::around(&self.buf[self.pos..self.end]);
        let mut output = OutBuffer::around(out);
        let hint = self.raw.run(&mut input, &mut output);
        let (used, made) = (input.pos(), output.pos());
        let full = made == out.len();
        self.advance(used);
        let hint = hint.map_err(|e| Error::Compression {
            at: self.at,
            what: e.to_string(),
        })?;
        self.state = if hint == 0 {
            State::Between
        } else {
            State::Frame { pending: full }
        };
        Ok(made)
    }

    /// Sees to it that `want` bytes are in the buffer, if the input has them; returns how many.
    fn have(&mut self, want: usize) -> Result<usize, Error> {
        while self.end - self.pos < want && !self.eof {
            if self.pos == self.end {
                (self.pos, self.end) = (0, 0);
            } else if self.buf.len() - self.pos < want {
                self.buf.copy_within(self.pos..self.end, 0);
                (self.pos, self.end) = (0, self.end - self.pos);
            }
            match self.input.read(&mut self.buf[self.end..]) {
                Ok(0) => self.eof = true,
                Ok(n) => self.end += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::Read(e)),
            }
        }
        Ok(self.end - self.pos)
    }

    fn peek_u32(&self, offset: usize) -> Option<u32> {
        let from = self.pos + offset;
        let bytes = self.buf[..self.end].get(from..from + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn advance(&mut self, n: usize) {
        self.pos += n;
        self.at += n as u64;
    }

    fn truncated(&self) -> Error {
        Error::Truncated {
            at: self.at + (self.end - self.pos) as u64,
            layer: LAYER,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.decode(buf)?)
    }
}

/// The window that a frame asks for (RFC 8878, section 3.1.1.1.2), from its first bytes.
fn window_bytes(header: &[u8]) -> Option<u64> {
    let single_segment = header.get(4)? & 0x20 != 0;
    if single_segment {
        return zstd_safe::get_frame_content_size(header).ok()?;
    }
    let descriptor = header.get(5)?;
    let base = 1u64 << (10 + (descriptor >> 3));
    Some(base + (base >> 3) * u64::from(descriptor & 7))
}

fn foreign_format(start: &[u8]) -> ForeignFormat {
    let known: [(&[u8], ForeignFormat); 7] = [
        (b"age-encryption.org", ForeignFormat::Sealed),
        (b"-----BEGIN AGE", ForeignFormat::Sealed),
        (b"\x1f\x8b", ForeignFormat::Compressed("gzip")),
        (b"\xfd7zXZ\0", ForeignFormat::Compressed("xz")),
        (b"BZh", ForeignFormat::Compressed("bzip2")),
        (b"\x04\x22\x4d\x18", ForeignFormat::Compressed("lz4")),
        (b"PK\x03\x04", ForeignFormat::Compressed("zip")),
    ];
    known
        .into_iter()
        .find(|(magic, _)| start.starts_with(magic))
        .map_or(ForeignFormat::Unknown, |(_, looks)| looks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::FrameCompressor;

    fn read_all(bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        Decoder::new(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    /// Takes announced frames apart from the rest, as several threads would.
    fn read_frames(bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let (mut decoder, mut out) = (Decoder::new(bytes)?, Vec::new());
        let mut decompressor = Decompressor::new().unwrap();
        let mut piece = vec![0; FRAME_BYTES];
        while let Some(frame) = decoder.announced(Vec::new())? {
            let len = frame.expand(&mut decompressor, &mut piece)?;
            out.extend_from_slice(&piece[..len]);
        }
        decoder.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn announced_frames_are_the_same_and_lies_are_seen() {
        let noise = noise(4000);
        let all = compressed(&[&noise, b"", b"second"]);
        let whole = [&noise[..], b"second"].concat();
        assert_eq!(read_frames(&all).unwrap(), whole);
        // With a frame that was not announced before, and between, all is read all the same.
        let mixed = [&all[12..], &all].concat();
        assert_eq!(read_frames(&mixed).unwrap(), whole.repeat(2));
        for cut in 0..all.len() {
            assert_eq!(
                read_frames(&all[..cut]).ok(),
                read_all(&all[..cut]).ok(),
                "{cut}"
            );
        }
        for at in 0..all.len() {
            let mut bad = all.clone();
            bad[at] ^= 4;
            let read = read_frames(&bad);
            assert!(read.is_err() || read.unwrap() == whole, "{at}");
        }
    }

    fn noise(len: u32) -> Vec<u8> {
        (0..len).map(|n| ((n * n) >> 3).to_le_bytes()[0]).collect()
    }

    fn compressed(parts: &[&[u8]]) -> Vec<u8> {
        let mut squeezer = FrameCompressor::new().unwrap();
        let mut out = Vec::new();
        for part in parts {
            let mut frame = Vec::new();
            out.extend(squeezer.compress(part, 3, &mut frame).unwrap());
            out.extend(frame);
        }
        out
    }

    #[test]
    fn frames_join() {
        let big = vec![7; 3 << 20];
        let all = compressed(&[b"one", &big, b"", b"two"]);
        assert_eq!(read_all(&all).unwrap(), [b"one", &big[..], b"two"].concat());
    }

    #[test]
    fn every_cut_but_between_frames_is_seen() {
        let noise = noise(4000);
        let all = compressed(&[&noise, b"second"]);
        let first = compressed(&[&noise]).len();
        for cut in 0..all.len() {
            let result = read_all(&all[..cut]);
            // The tar layer above sees these two: it has no end.
            if cut == first || cut == first + 12 || cut == 12 {
                assert!(result.is_ok());
            } else if cut < 4 {
                assert!(result.is_err());
            } else {
                assert!(
                    matches!(result, Err(Error::Truncated { .. } | Error::Empty)),
                    "{cut}"
                );
            }
        }
    }

    #[test]
    fn flipped_bits_are_seen() {
        let noise = noise(2000);
        let all = compressed(&[&noise]);
        for at in 12..all.len() {
            let mut bad = all.clone();
            bad[at] ^= 4;
            assert!(read_all(&bad).ok() != Some(Vec::new()), "{at}");
            assert!(read_all(&bad).map_or(true, |out| out == noise), "{at}");
        }
    }

    #[test]
    fn strangers_are_named() {
        let foreign_format = |bytes: &[u8]| match read_all(bytes) {
            Err(Error::NotArchive(looks)) => looks,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            foreign_format(b"age-encryption.org/v1\n"),
            ForeignFormat::Sealed
        );
        assert_eq!(
            foreign_format(b"\x1f\x8b\x08\0"),
            ForeignFormat::Compressed("gzip")
        );
        assert_eq!(foreign_format(b"hello"), ForeignFormat::Unknown);
        assert!(matches!(read_all(b""), Err(Error::Empty)));
        let mut tail = compressed(&[b"x"]);
        tail.extend_from_slice(b"tail");
        assert!(matches!(read_all(&tail), Err(Error::Trailing { .. })));
    }

    #[test]
    fn wide_windows_are_refused() {
        // A frame that asks for a window of 2 GiB: descriptor without content size, window byte.
        let mut frame = 0xFD2F_B528u32.to_le_bytes().to_vec();
        frame.extend_from_slice(&[0x00, (31 - 10) << 3, 0x01, 0x00, 0x00]);
        let error = read_all(&frame).unwrap_err();
        assert!(matches!(error, Error::Window { at: 0, .. }), "{error}");
        assert!(
            error.to_string().contains("a window of 2048 MiB"),
            "{error}"
        );
        // The greatest that is granted is none too many, but there is nothing in it.
        frame[5] = (27 - 10) << 3;
        assert!(read_all(&frame).is_ok());
        frame[5] += 1;
        assert!(matches!(read_all(&frame), Err(Error::Window { .. })));
    }

    #[test]
    fn own_records_are_a_part_of_the_tar_stream_for_us_alone() {
        use crate::archive::own_record::{blocks, own_frame};
        let text = "sealcast totals 1 2 3";
        let all = [own_frame(text), compressed(&[b"entries"]), own_frame(text)].concat();
        let seen = [
            &blocks(text.as_bytes())[..],
            b"entries",
            &blocks(text.as_bytes()),
        ]
        .concat();
        assert_eq!(read_all(&all).unwrap(), seen);
        assert_eq!(read_frames(&all).unwrap(), seen);
        let theirs = zstd::decode_all(&all[..]).unwrap();
        assert_eq!(theirs, b"entries");
        // Others may use the same number for what is theirs.
        for other in ["sealcas", &format!("sealcast {}", "x".repeat(92))] {
            let all = [own_frame(other), compressed(&[b"entries"])].concat();
            assert_eq!(read_all(&all).unwrap(), b"entries");
            assert_eq!(read_frames(&all).unwrap(), b"entries");
        }
    }
}
