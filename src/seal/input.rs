//! Reads that signals do not disturb, with errors of this room.

use std::io::{self, IoSliceMut, Read};

use super::Error;

/// One read that is not disturbed by signals.
pub(super) fn read_some(
    input: &mut impl Read,
    bufs: &mut [IoSliceMut<'_>],
) -> Result<usize, Error> {
    loop {
        match input.read_vectored(bufs) {
            Ok(got) => return Ok(got),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(read_failed(e)),
        }
    }
}

/// The input failed, or its armor is malformed.
pub(super) fn read_failed(error: io::Error) -> Error {
    let malformed = error.get_ref().and_then(|e| e.downcast_ref());
    match malformed {
        Some(malformed) => Error::Armor(*malformed),
        None => Error::Read(error),
    }
}

/// Reads until `buf` is full or the input ends; returns how much there is.
pub(super) fn read_full(input: &mut impl Read, buf: &mut [u8]) -> Result<usize, Error> {
    let mut len = 0;
    while len < buf.len() {
        match read_some(input, &mut [IoSliceMut::new(&mut buf[len..])])? {
            0 => break,
            got => len += got,
        }
    }
    Ok(len)
}
