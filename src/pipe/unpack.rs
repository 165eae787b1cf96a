//! Unpacking on several threads: some read and decompress, the caller's parses and restores.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, RecvError, SendError, Sender, channel};
use std::thread::Builder;

use crate::archive::{self, Announced, Decoder, Decompressor};
use crate::edge::image;
use crate::edge::tree::{self, Error, Restored};

use super::ordered;
use super::spare::Spare;

/// The size of the pieces in which a stream without announced frames is decompressed.
const PIECE_BYTES: usize = 1 << 20;

/// More threads than this decompress faster than anything restores.
const THREADS_MAX: usize = 3;

/// Restores a tree from an archive, compressed or not. `stop` is called when the rest of the input
/// is not wanted, so that a reader that blocks can be woken.
///
/// # Errors
/// Those of [`tree::unpack`].
pub fn unpack(
    config: &tree::Unpack,
    input: impl Read + Send,
    stop: impl Fn(),
    tell: &dyn Fn(&str),
) -> Result<Restored, Error> {
    decompress(input, stop, |conveyor| tree::unpack(config, conveyor, tell))
}

/// Restores a disk image likewise.
///
/// # Errors
/// Those of [`image::unpack`].
pub fn unpack_image(
    config: &image::Unpack,
    input: impl Read + Send,
    stop: impl Fn(),
    tell: &dyn Fn(&str),
) -> Result<image::Restored, image::Error> {
    decompress(input, stop, |conveyor| {
        image::unpack(config, conveyor, tell)
    })
}

/// Hands what `input` decompresses to on to `restore`.
fn decompress<T, E: From<io::Error>>(
    input: impl Read + Send,
    stop: impl Fn(),
    restore: impl FnOnce(Conveyor) -> Result<T, E>,
) -> Result<T, E> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(THREADS_MAX);
    let (pieces_in, pieces_out) = channel();
    let (free_in, free_out) = channel();
    // One for each that decompresses and one for the restorer: that bounds the memory.
    for _ in 0..=threads {
        let _ = free_in.send(Vec::new());
    }
    std::thread::scope(|scope| {
        Builder::new()
            .name("sc-decode".into())
            .spawn_scoped(scope, move || {
                // A receiver that is gone has its own reasons.
                let _ = match decode(input, threads, &pieces_in, free_out) {
                    Err(Stop::Failed(e)) => pieces_in.send(Err(e)),
                    Ok(()) => pieces_in.send(Ok(Vec::new())),
                    Err(Stop::Unwanted) => Ok(()),
                };
            })?;
        let conveyor = Conveyor {
            pieces: pieces_out,
            free: free_in,
            piece: Vec::new(),
            pos: 0,
            ended: false,
        };
        let result = restore(conveyor);
        if result.is_err() {
            stop();
        }
        result
    })
}

/// A piece of the tar stream; an empty one is its sound end.
type Piece = Result<Vec<u8>, archive::Error>;

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
    mut free: Receiver<Vec<u8>>,
) -> Result<(), Stop> {
    let mut decoder = Decoder::new(input)?;
    frames(&mut decoder, threads, pieces, &mut free)?;
    loop {
        let mut piece = free.recv()?;
        piece.resize(PIECE_BYTES, 0);
        let len = decoder.decode(&mut piece)?;
        if len == 0 {
            return Ok(());
        }
        piece.truncate(len);
        pieces.send(Ok(piece))?;
    }
}

/// Sends the contents of announced frames, up to the first that is none.
fn frames<R: Read + Send>(
    decoder: &mut Decoder<R>,
    threads: usize,
    pieces: &Sender<Piece>,
    free: &mut Receiver<Vec<u8>>,
) -> Result<(), Stop> {
    let (used, decompressors) = (&Spare::new(), &Spare::new());
    let next = move || -> Result<Option<(Announced, Vec<u8>)>, Stop> {
        let memory = used.take().unwrap_or_default();
        match decoder.announced(memory)? {
            // In the order of the frames: the first in line never lacks a buffer.
            Some(frame) => Ok(Some((frame, free.recv()?))),
            None => Ok(None),
        }
    };
    let expand = |(frame, mut piece): (Announced, Vec<u8>)| {
        let mut decompressor = match decompressors.take() {
            Some(decompressor) => decompressor,
            None => Decompressor::new().map_err(archive::Error::Read)?,
        };
        let memory = frame.expand(&mut decompressor, &mut piece)?;
        decompressors.give(decompressor);
        used.give(memory);
        Ok(piece)
    };
    let send = |piece| Ok(pieces.send(Ok(piece))?);
    ordered(threads, next, expand, send, || {})
}

struct Conveyor {
    pieces: Receiver<Piece>,
    free: Sender<Vec<u8>>,
    piece: Vec<u8>,
    pos: usize,
    ended: bool,
}

impl Read for Conveyor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let have = self.fill_buf()?;
        let len = have.len().min(buf.len());
        buf[..len].copy_from_slice(&have[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for Conveyor {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.pos == self.piece.len() && !self.ended {
            if self.piece.capacity() > 0 {
                // Nobody wants it any more near the end.
                let _ = self.free.send(std::mem::take(&mut self.piece));
            }
            self.piece = self.pieces.recv().map_err(io::Error::other)??;
            self.pos = 0;
            self.ended = self.piece.is_empty();
        }
        Ok(&self.piece[self.pos..])
    }

    fn consume(&mut self, n: usize) {
        self.pos = (self.pos + n).min(self.piece.len());
    }
}
