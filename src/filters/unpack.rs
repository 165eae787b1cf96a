//! Unpacking on several threads: some read and decompress, and others restore from the memory
//! that they lend.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, RecvError, SendError, Sender, channel};
use std::thread::Builder;

use bytes::{Buf, Bytes};

use crate::archive::{self, Announced, Decoder, Decompressor, FRAME_BYTES, ReadBytes};
use crate::image;
use crate::tree::{self, Error, TreeRestored};

use super::frame::FrameBuffer;
use crate::parallel::{Pool, ordered};
use crate::sys::sandbox::Sandbox;

/// The size of the pieces in which a stream without announced frames is decompressed.
const PIECE_BYTES: usize = 1 << 20;

/// More threads than this decompress faster than anything restores.
const THREADS_MAX: usize = 3;

/// More pieces than this at a time only take memory.
const PIECES_MAX: usize = 4;

/// Restores a tree from an archive, compressed or not. `stop` is called when the rest of the input
/// is not wanted, so that a reader that blocks can be woken.
///
/// # Errors
/// Those of [`tree::unpack`].
pub fn unpack(
    config: &tree::TreeUnpackConfig,
    input: impl Read + Send,
    stop: impl Fn(),
    tell: &dyn Fn(&str),
) -> Result<TreeRestored, Error> {
    decompress(input, stop, |frames| tree::unpack(config, frames, tell))
}

/// Restores a disk image likewise.
///
/// # Errors
/// Those of [`image::unpack`].
pub fn unpack_image(
    config: &image::ImageUnpackConfig,
    input: impl Read + Send,
    stop: impl Fn(),
    tell: &dyn Fn(&str),
) -> Result<image::ImageRestored, image::Error> {
    decompress(input, stop, |frames| image::unpack(config, frames, tell))
}

/// What holds back the threads that read an archive, in words. One of them finds it out.
///
/// # Errors
/// That no thread can be started.
pub fn unpack_sandbox() -> io::Result<String> {
    let thread = Builder::new().name("sc-probe".into());
    let thread = thread.spawn(|| Sandbox::enter(None).to_string())?;
    thread
        .join()
        .map_err(|_| io::Error::other("it has panicked"))
}

/// Hands what `input` decompresses to on to `restore`.
fn decompress<T, E: From<io::Error>>(
    input: impl Read + Send,
    stop: impl Fn(),
    restore: impl FnOnce(FrameReader) -> Result<T, E>,
) -> Result<T, E> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(THREADS_MAX);
    let (pieces_in, pieces_out) = channel();
    let (free_in, free_out) = channel();
    // One for each that decompresses, one to be read and one to be written, within reason: that
    // bounds the memory.
    for _ in 0..PIECES_MAX.min(threads + 2) {
        let _ = free_in.send(FrameBuffer::new(FRAME_BYTES)?);
    }
    std::thread::scope(|scope| {
        Builder::new()
            .name("sc-decode".into())
            .spawn_scoped(scope, move || {
                // It reads what is open already, and so do those that it starts.
                Sandbox::enter(None);
                // A receiver that is gone has its own reasons.
                let _ = match decode(input, threads, &pieces_in, free_out) {
                    Err(Stop::Failed(e)) => pieces_in.send(Err(e)),
                    Ok(()) => pieces_in.send(Ok(None)),
                    Err(Stop::Unwanted) => Ok(()),
                };
            })?;
        let frames = FrameReader {
            pieces: pieces_out,
            free: free_in,
            piece: Bytes::new(),
            ended: false,
        };
        let result = restore(frames);
        if result.is_err() {
            stop();
        }
        result
    })
}

/// A piece of the tar stream, or its sound end.
type Piece = Result<Option<FrameBuffer>, archive::Error>;

/// Why no more pieces come.
enum Stop {
    Failed(archive::Error),
    Unwanted,
}

impl From<archive::Error> for Stop {
    fn from(error: archive::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<RecvError> for Stop {
    fn from(_: RecvError) -> Self {
        Self::Unwanted
    }
}

impl<T> From<SendError<T>> for Stop {
    fn from(_: SendError<T>) -> Self {
        Self::Unwanted
    }
}

/// Sends the pieces of the tar stream but the last, in buffers that come by `free`.
fn decode(
    input: impl Read + Send,
    threads: usize,
    pieces: &Sender<Piece>,
    mut free: Receiver<FrameBuffer>,
) -> Result<(), Stop> {
    let mut decoder = Decoder::new(input)?;
    frames(&mut decoder, threads, pieces, &mut free)?;
    loop {
        let mut piece = free.recv()?;
        piece.fill(|memory| decoder.decode(&mut memory[..PIECE_BYTES]))?;
        if piece.bytes().is_empty() {
            return Ok(());
        }
        pieces.send(Ok(Some(piece)))?;
    }
}

/// Sends the contents of announced frames, up to the first that is none.
fn frames<R: Read + Send>(
    decoder: &mut Decoder<R>,
    threads: usize,
    pieces: &Sender<Piece>,
    free: &mut Receiver<FrameBuffer>,
) -> Result<(), Stop> {
    let (used, decompressors) = (&Pool::new(), &Pool::new());
    let next = move || -> Result<Option<(Announced, FrameBuffer)>, Stop> {
        let memory = used.take().unwrap_or_default();
        match decoder.announced(memory)? {
            // In the order of the frames: the first in line never lacks a buffer.
            Some(frame) => Ok(Some((frame, free.recv()?))),
            None => Ok(None),
        }
    };
    let expand = |(frame, mut piece): (Announced, FrameBuffer)| {
        let mut decompressor = match decompressors.take() {
            Some(decompressor) => decompressor,
            None => Decompressor::new().map_err(archive::Error::Read)?,
        };
        piece.fill(|memory| frame.expand(&mut decompressor, memory))?;
        decompressors.put(decompressor);
        used.put(frame.into_memory());
        Ok(piece)
    };
    let send = |piece| Ok(pieces.send(Ok(Some(piece)))?);
    ordered(threads, next, expand, send, || {})
}

/// A piece whose memory goes back for the next one when its bytes are not wanted any more.
struct PooledBytes {
    /// There until it goes back.
    piece: Option<FrameBuffer>,
    free: Sender<FrameBuffer>,
}

impl AsRef<[u8]> for PooledBytes {
    fn as_ref(&self) -> &[u8] {
        self.piece.as_ref().map_or(&[], FrameBuffer::bytes)
    }
}

impl Drop for PooledBytes {
    fn drop(&mut self) {
        // Near the end there is no next one.
        let _ = self.piece.take().map(|piece| self.free.send(piece));
    }
}

struct FrameReader {
    pieces: Receiver<Piece>,
    free: Sender<FrameBuffer>,
    /// What is left of the present piece.
    piece: Bytes,
    ended: bool,
}

impl Read for FrameReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.len().min(buf.len());
        self.piece.copy_to_slice(&mut buf[..len]);
        Ok(len)
    }
}

impl BufRead for FrameReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.is_empty() && !self.ended {
            // Before the wait: its memory may be what is waited for.
            self.piece = Bytes::new();
            let piece = self.pieces.recv().map_err(io::Error::other)??;
            self.ended = piece.is_none();
            let free = self.free.clone();
            self.piece = Bytes::from_owner(PooledBytes { piece, free });
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, n: usize) {
        self.piece.advance(n.min(self.piece.len()));
    }
}

impl ReadBytes for FrameReader {
    fn take_bytes(&mut self, len: usize) -> Bytes {
        self.piece.split_to(len.min(self.piece.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_the_last_byte_of_it_is_let_go() {
        let (pieces_in, pieces) = channel();
        let (free, free_out) = channel();
        let mut frames = FrameReader {
            pieces,
            free,
            piece: Bytes::new(),
            ended: false,
        };
        let mut piece = FrameBuffer::new(FRAME_BYTES).unwrap();
        let put = |memory: &mut [u8]| {
            memory[..6].copy_from_slice(b"abcdef");
            Ok::<_, io::Error>(6)
        };
        piece.fill(put).unwrap();
        pieces_in.send(Ok(Some(piece))).unwrap();
        pieces_in.send(Ok(None)).unwrap();
        assert_eq!(frames.fill_buf().unwrap(), b"abcdef");
        let lent = frames.take_bytes(2);
        frames.consume(4);
        assert!(frames.fill_buf().unwrap().is_empty());
        assert_eq!(&lent[..], b"ab");
        assert!(free_out.try_recv().is_err());
        drop(lent);
        assert_eq!(free_out.try_recv().unwrap().bytes(), b"abcdef");
        assert!(frames.fill_buf().unwrap().is_empty());
    }
}
