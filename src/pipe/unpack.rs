//! Unpacking on two threads: one reads and decompresses, the caller's parses and restores.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

use crate::archive::{self, Decoder};
use crate::edge::image;
use crate::edge::tree::{self, Error, Restored};

/// The size of the pieces that go from one thread to the other, and how many may be on the way.
const PIECE_BYTES: usize = 256 << 10;
const PIECES_MAX: usize = 16;

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
    let (pieces_in, pieces_out) = sync_channel(PIECES_MAX);
    let (used_in, used_out) = sync_channel(PIECES_MAX + 2);
    std::thread::scope(|scope| {
        Builder::new()
            .name("sc-decode".into())
            .spawn_scoped(scope, move || decode(input, &pieces_in, &used_out))?;
        let conveyor = Conveyor {
            pieces: pieces_out,
            used: used_in,
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

fn decode(input: impl Read, pieces: &SyncSender<Piece>, used: &Receiver<Vec<u8>>) {
    let mut decoder = match Decoder::new(input) {
        Ok(decoder) => decoder,
        Err(e) => {
            // A receiver that is gone has its own reasons.
            let _ = pieces.send(Err(e));
            return;
        }
    };
    loop {
        let mut piece = used.try_recv().unwrap_or_default();
        piece.resize(PIECE_BYTES, 0);
        let piece = decoder.decode(&mut piece).map(|len| {
            piece.truncate(len);
            piece
        });
        let last = !matches!(&piece, Ok(piece) if !piece.is_empty());
        if pieces.send(piece).is_err() || last {
            return;
        }
    }
}

struct Conveyor {
    pieces: Receiver<Piece>,
    used: SyncSender<Vec<u8>>,
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
            let next = self.pieces.recv().map_err(io::Error::other)??;
            self.ended = next.is_empty();
            let used = std::mem::replace(&mut self.piece, next);
            self.pos = 0;
            // Nobody wants it any more near the end.
            let _ = self.used.try_send(used);
        }
        Ok(&self.piece[self.pos..])
    }

    fn consume(&mut self, n: usize) {
        self.pos = (self.pos + n).min(self.piece.len());
    }
}
