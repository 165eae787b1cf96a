//! Streams cut into batches, and whether they end where their batches say.

use std::io::{IoSliceMut, Read};

use super::Error;
use super::input::read_some;
use super::stream::{BATCH_BYTES, BATCH_PLAIN_BYTES, Plain, Unopened, batch_at};

/// Cuts plaintext into batches.
#[derive(Debug)]
pub struct PlainBatcher<R> {
    input: R,
    /// What goes before the input.
    prefix: Vec<u8>,
    /// Bytes of each batch that are left free for a signature.
    reserve: usize,
    ahead: Option<u8>,
    index: u64,
    done: bool,
}

impl<R: Read> PlainBatcher<R> {
    /// Cuts the payload of a stream that was decrypted elsewhere.
    pub const fn of_payload(input: R) -> Self {
        Self::new(input, Vec::new(), 0)
    }

    /// Cuts `prefix`, at most half a chunk, and then `input`, leaving `reserve` bytes free in each
    /// batch.
    pub(crate) const fn new(input: R, prefix: Vec<u8>, reserve: usize) -> Self {
        Self {
            input,
            prefix,
            reserve,
            ahead: None,
            index: 0,
            done: false,
        }
    }

    /// The next batch, in `buf` from [`super::stream::buffer`]; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn next(&mut self, buf: Vec<u8>) -> Result<Option<Plain>, Error> {
        if self.done {
            return Ok(None);
        }
        let mut batch = Plain {
            index: self.index,
            last: false,
            len: 0,
            buf,
        };
        batch.append(&std::mem::take(&mut self.prefix));
        batch.append(self.ahead.take().as_slice());
        let room = BATCH_PLAIN_BYTES - self.reserve;
        // Whether a full batch is the last one, only the next byte tells.
        let mut one = [0];
        while batch.len <= room && !self.done {
            let mut slices = batch.spaces(room);
            slices.push(IoSliceMut::new(&mut one));
            match read_some(&mut self.input, &mut slices)? {
                0 => self.done = true,
                got => batch.len += got,
            }
        }
        if batch.len > room {
            batch.len = room;
            self.ahead = Some(one[0]);
        }
        batch.last = self.done;
        self.index += 1;
        Ok(Some(batch))
    }
}

/// Cuts the chunks that follow header and nonce into batches.
#[derive(Debug)]
pub struct SealedBatcher<R> {
    input: R,
    index: u64,
    done: bool,
}

impl<R: Read> SealedBatcher<R> {
    /// Cuts `input`, which stands at the first chunk.
    pub const fn new(input: R) -> Self {
        Self {
            input,
            index: 0,
            done: false,
        }
    }

    /// The next batch, in `buf` from [`super::stream::buffer`], as soon as all of it is there;
    /// `None` after the last. The first may be empty.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn next(&mut self, buf: Vec<u8>) -> Result<Option<Unopened>, Error> {
        if self.done {
            return Ok(None);
        }
        let batch = Unopened::read(self.index, &mut self.input, buf)?;
        self.done = batch.len() < BATCH_BYTES;
        if batch.len() == 0 && self.index > 0 {
            return Ok(None);
        }
        self.index += 1;
        Ok(Some(batch))
    }
}

/// Compares what the batches of a stream say of its end with where its input ends.
#[derive(Debug)]
pub struct EndCheck {
    payload_at: u64,
    /// Batches taken.
    taken: u64,
    /// Whether the latest said that it is the last.
    said: bool,
}

impl EndCheck {
    /// Begins with a stream whose chunks begin at `payload_at`.
    pub const fn new(payload_at: u64) -> Self {
        Self {
            payload_at,
            taken: 0,
            said: false,
        }
    }

    /// Takes the next batch that was opened, before any of it is released.
    ///
    /// # Errors
    /// [`Error::Trailing`] when an earlier one was the last.
    pub const fn check(&mut self, batch: &Plain) -> Result<(), Error> {
        let offset = batch_at(self.payload_at, self.taken);
        if self.said {
            return Err(Error::Trailing { offset });
        }
        self.taken += 1;
        self.said = batch.last();
        Ok(())
    }

    /// Ends where the input ends, when all batches were good.
    ///
    /// # Errors
    /// [`Error::Truncated`] when none said that it is the last.
    pub const fn finish(&self) -> Result<(), Error> {
        if self.said {
            return Ok(());
        }
        let offset = batch_at(self.payload_at, self.taken);
        Err(Error::Truncated { offset })
    }
}
