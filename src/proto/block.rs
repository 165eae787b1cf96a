//! The inside of a block: data, zero padding, and a trailer that chains it to all blocks before.

use crate::crypt::hash::Blake3;
use crate::wire::SessionId;

/// Bytes of the trailer: data length u32, block u32, stream offset u64, chain value 32.
pub const TRAILER_LEN: usize = 48;

/// The state of the chain between two blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    value: [u8; 32],
    block: u32,
    offset: u64,
}

impl Chain {
    /// The chain before the first block of a session.
    pub(super) fn new(session: SessionId) -> Self {
        let mut hash = Blake3::default();
        hash.update(b"sealcast v1 stream\0");
        hash.update(&session.0);
        Self {
            value: hash.finish(),
            block: 0,
            offset: 0,
        }
    }

    /// The chain value: a digest of the stream so far.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.value
    }

    /// Bytes of the stream so far.
    pub(super) fn length(&self) -> u64 {
        self.offset
    }

    fn trailer(&self, data: &[u8]) -> [u8; TRAILER_LEN] {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let mut trailer = [0; TRAILER_LEN];
        trailer[..4].copy_from_slice(&len.to_be_bytes());
        trailer[4..8].copy_from_slice(&self.block.to_be_bytes());
        trailer[8..16].copy_from_slice(&self.offset.to_be_bytes());
        let mut hash = Blake3::default();
        hash.update(b"sealcast v1 block\0");
        hash.update(&self.value);
        hash.update(&trailer[..16]);
        hash.update(data);
        trailer[16..].copy_from_slice(&hash.finish());
        trailer
    }

    fn advance(&mut self, trailer: &[u8; TRAILER_LEN], data_len: usize) {
        self.value.copy_from_slice(&trailer[16..]);
        self.block += 1;
        self.offset += data_len as u64;
    }

    /// Finishes a block: pads `block`, which holds the data, to whole symbols and writes the
    /// trailer. Returns the number of symbols.
    pub(super) fn close(&mut self, block: &mut Vec<u8>, symbol_len: usize) -> u16 {
        let data_len = block.len();
        let trailer = self.trailer(block);
        let k = (data_len + TRAILER_LEN).div_ceil(symbol_len);
        block.resize(k * symbol_len - TRAILER_LEN, 0);
        block.extend_from_slice(&trailer);
        self.advance(&trailer, data_len);
        u16::try_from(k).unwrap_or(u16::MAX)
    }

    /// Checks a block against its trailer and the chain. Returns how many bytes of it are data.
    pub(super) fn check(&mut self, block: &[u8]) -> Option<usize> {
        let (body, trailer) = block.split_last_chunk::<TRAILER_LEN>()?;
        let len = u32::from_be_bytes(*trailer.first_chunk()?);
        let data_len = usize::try_from(len).ok()?;
        let data = body.get(..data_len)?;
        let genuine = self.trailer(data) == *trailer && body[data_len..].iter().all(|&b| b == 0);
        genuine.then(|| self.advance(trailer, data_len))?;
        Some(data_len)
    }
}

/// Bytes of data that a block of `k` symbols carries.
pub(super) fn capacity(k: u16, symbol_len: u16) -> usize {
    usize::from(k) * usize::from(symbol_len) - TRAILER_LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_close_and_check_in_order() {
        let session = SessionId([7; 16]);
        let (mut ours, mut theirs) = (Chain::new(session), Chain::new(session));
        for data_len in [1, 51, 52, 53, 100, 952] {
            let data: Vec<u8> = (0..data_len).map(|n| n as u8).collect();
            let mut block = data.clone();
            let k = ours.close(&mut block, 100);
            assert_eq!(block.len(), usize::from(k) * 100);
            let len = theirs.check(&block).unwrap();
            assert_eq!(&block[..len], &data[..]);
        }
        assert_eq!(ours, theirs);
        assert_eq!(ours.length(), 1 + 51 + 52 + 53 + 100 + 952);
    }

    #[test]
    fn a_changed_block_is_refused() {
        let session = SessionId([7; 16]);
        let mut block = b"data".to_vec();
        Chain::new(session).close(&mut block, 100);
        for i in 0..block.len() {
            let mut bad = block.clone();
            bad[i] ^= 1;
            assert_eq!(Chain::new(session).check(&bad), None, "byte {i}");
        }
        assert_eq!(Chain::new(SessionId([8; 16])).check(&block), None);
        assert_eq!(Chain::new(session).check(&block[..20]), None);
        let mut later = Chain::new(session);
        assert!(later.check(&block).is_some());
        assert_eq!(later.check(&block), None, "the same block twice");
    }
}
