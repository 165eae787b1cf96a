//! Bytes that outlive the buffer's next filling.

use std::io::{BufRead, BufReader, Read};

use bytes::Bytes;

/// A buffered reader whose bytes may be kept by others while it goes on.
pub trait ReadBytes: BufRead {
    /// Consumes the next `len` bytes, which [`BufRead::fill_buf`] has shown, and gives them away.
    fn take_bytes(&mut self, len: usize) -> Bytes;
}

/// Its buffer is its own: what it lends is a copy.
impl<R: Read> ReadBytes for BufReader<R> {
    fn take_bytes(&mut self, len: usize) -> Bytes {
        let shown = self.buffer();
        let lent = Bytes::copy_from_slice(&shown[..len.min(shown.len())]);
        self.consume(lent.len());
        lent
    }
}
