//! The inside of a block: data, zero padding, and a trailer that chains it to all blocks before.

use super::protect::{SignatureContext, sign, verify};
use crate::crypt::hash::{Blake3, blake3};
use crate::crypt::sign::{SigningKey, VerifyingKey};
use crate::wire::{SIGNATURE_LEN, SYMBOL_HASH_LEN, SessionId};

/// Bytes of the trailer: data length u32, block u32, stream offset u64, chain value 32.
const CHAINED_LEN: usize = 48;
/// Bytes of the trailer, with its signature if the sender signs.
pub const fn trailer_len(signed: bool) -> usize {
    if signed {
        CHAINED_LEN + SIGNATURE_LEN
    } else {
        CHAINED_LEN
    }
}

/// The state of the chain between two blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    session: SessionId,
    value: [u8; 32],
    block: u32,
    offset: u64,
}

impl Chain {
    /// The chain before the first block of the first session of a series.
    pub(super) fn new(session: SessionId) -> Self {
        let mut hash = Blake3::default();
        hash.update(b"sealcast v3 stream\0");
        hash.update(&session.0);
        Self {
            session,
            value: hash.finish(),
            block: 0,
            offset: 0,
        }
    }

    /// The same chain in another session of its series: a stream has the same values in all of
    /// them, while signatures are a session's own.
    pub(super) fn in_session(self, session: SessionId) -> Self {
        Self { session, ..self }
    }

    /// Blocks of the stream so far.
    pub(super) fn blocks(&self) -> u32 {
        self.block
    }

    /// The chain value: a digest of the stream so far.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.value
    }

    /// Bytes of the stream so far.
    pub(super) fn length(&self) -> u64 {
        self.offset
    }

    fn trailer(&self, data: &[u8]) -> [u8; CHAINED_LEN] {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let mut trailer = [0; CHAINED_LEN];
        trailer[..4].copy_from_slice(&len.to_be_bytes());
        trailer[4..8].copy_from_slice(&self.block.to_be_bytes());
        trailer[8..16].copy_from_slice(&self.offset.to_be_bytes());
        let mut hash = Blake3::default();
        hash.update(b"sealcast v3 block\0");
        hash.update(&self.value);
        hash.update(&trailer[..16]);
        hash.update(data);
        trailer[16..].copy_from_slice(&hash.finish());
        trailer
    }

    fn advance(&mut self, trailer: &[u8; CHAINED_LEN], data_len: usize) {
        self.value.copy_from_slice(&trailer[16..]);
        self.block += 1;
        self.offset += data_len as u64;
    }

    /// Finishes a block: pads `block`, which holds the data, to whole symbols and writes the
    /// trailer, signed if there is a key. Returns the number of symbols.
    pub(super) fn close(
        &mut self,
        block: &mut Vec<u8>,
        symbol_len: usize,
        signing: Option<&SigningKey>,
    ) -> u16 {
        let data_len = block.len();
        let trailer = self.trailer(block);
        let len = trailer_len(signing.is_some());
        let k = (data_len + len).div_ceil(symbol_len);
        block.resize(k * symbol_len - len, 0);
        block.extend_from_slice(&trailer);
        if let Some(key) = signing {
            let signature = sign(key, SignatureContext::Block, self.session, &trailer);
            block.extend_from_slice(&signature);
        }
        self.advance(&trailer, data_len);
        u16::try_from(k).unwrap_or(u16::MAX)
    }

    /// Checks a block against its trailer, the chain and the sender's key, if it signs. Returns how
    /// many bytes of it are data.
    pub(super) fn check(&mut self, block: &[u8], signer: Option<&VerifyingKey>) -> Option<usize> {
        let (block, signature) = match signer {
            Some(key) => {
                let (block, signature) = block.split_last_chunk::<SIGNATURE_LEN>()?;
                (block, Some((key, signature)))
            }
            None => (block, None),
        };
        let (body, trailer) = block.split_last_chunk::<CHAINED_LEN>()?;
        let len = u32::from_be_bytes(*trailer.first_chunk()?);
        let data_len = usize::try_from(len).ok()?;
        let data = body.get(..data_len)?;
        let signed = signature.is_none_or(|(key, signature)| {
            verify(
                key,
                SignatureContext::Block,
                self.session,
                trailer,
                signature,
            )
            .is_ok()
        });
        let genuine =
            signed && self.trailer(data) == *trailer && body[data_len..].iter().all(|&b| b == 0);
        genuine.then(|| self.advance(trailer, data_len))?;
        Some(data_len)
    }
}

/// The hash of a source symbol, as HASHES has it.
pub(super) fn symbol_hash(symbol: &[u8]) -> [u8; SYMBOL_HASH_LEN] {
    let mut hash = [0; SYMBOL_HASH_LEN];
    hash.copy_from_slice(&blake3(symbol)[..SYMBOL_HASH_LEN]);
    hash
}

/// Bytes of data that a block of `k` symbols carries.
pub(super) fn capacity(k: u16, symbol_len: u16, signed: bool) -> usize {
    usize::from(k) * usize::from(symbol_len) - trailer_len(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed([n; 32])
    }

    #[test]
    fn blocks_close_and_check_in_order() {
        let session = SessionId([7; 16]);
        for signing in [None, Some(key(1))] {
            let public = signing.as_ref().map(SigningKey::public);
            let (mut ours, mut theirs) = (Chain::new(session), Chain::new(session));
            for data_len in [1, 51, 52, 53, 100, 952] {
                let data: Vec<u8> = (0..data_len).map(|n| n as u8).collect();
                let mut block = data.clone();
                let k = ours.close(&mut block, 100, signing.as_ref());
                assert_eq!(block.len(), usize::from(k) * 100);
                let len = theirs.check(&block, public.as_ref()).unwrap();
                assert_eq!(&block[..len], &data[..]);
            }
            assert_eq!(ours, theirs);
            assert_eq!(ours.length(), 1 + 51 + 52 + 53 + 100 + 952);
        }
    }

    #[test]
    fn a_changed_block_is_refused() {
        let session = SessionId([7; 16]);
        for signing in [None, Some(key(1))] {
            let public = signing.as_ref().map(SigningKey::public);
            let new = |n| Chain::new(SessionId([n; 16]));
            let mut block = b"data".to_vec();
            Chain::new(session).close(&mut block, 200, signing.as_ref());
            for i in 0..block.len() {
                let mut bad = block.clone();
                bad[i] ^= 1;
                assert_eq!(new(7).check(&bad, public.as_ref()), None, "byte {i}");
            }
            assert_eq!(new(8).check(&block, public.as_ref()), None);
            assert_eq!(new(7).check(&block[..20], public.as_ref()), None);
            assert_eq!(new(7).check(&block, Some(&key(2).public())), None);
            let mut later = Chain::new(session);
            assert!(later.check(&block, public.as_ref()).is_some());
            let again = later.check(&block, public.as_ref());
            assert_eq!(again, None, "the same block twice");
        }
    }
}
