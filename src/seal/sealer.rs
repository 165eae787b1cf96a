//! Sealing: header, nonce, and batches that are signed and encrypted.

use std::io::Read;

use crate::crypt::hash;
use crate::crypt::sign::{SIGNATURE_LEN, SigningKey};

use super::Error;
use super::batches::PlainBatcher;
use super::header::{FileKey, Header};
use super::keys::SenderKey;
use super::signed::{self, MAGIC, Preamble};
use super::stream::{ChunkCipher, NONCE_BYTES, Plain, Sealed};

/// Who signs, and what they say of the stream.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The secret key.
    pub key: SigningKey,
    /// The time of sealing, in seconds since 1970.
    pub time_s: u64,
    /// A number that grows from stream to stream; zero when there is none.
    pub serial: u64,
    /// What the stream is; at most 255 bytes.
    pub label: String,
}

/// Seals one stream.
#[derive(Debug)]
pub struct Sealer {
    head: Vec<u8>,
    cipher: ChunkCipher,
    /// The key, with what the signatures bind to.
    signing: Option<(SigningKey, [u8; 32])>,
    preamble: Vec<u8>,
}

impl Sealer {
    /// A sealer for the recipients whose `stanzas` carry `file_key`. File key and nonce are random
    /// and serve this once.
    ///
    /// # Errors
    /// [`Error::LabelTooLong`].
    pub fn new(
        stanzas: &[String],
        file_key: &FileKey,
        nonce: &[u8; NONCE_BYTES],
        signer: Option<Signer>,
    ) -> Result<Self, Error> {
        let mut head = Header::emit(stanzas, file_key);
        head.extend_from_slice(nonce);
        let mut preamble = Vec::new();
        let mut signing = None;
        if let Some(signer) = signer {
            preamble = Preamble {
                sender: SenderKey::new(signer.key.public()),
                time_s: signer.time_s,
                serial: signer.serial,
                label: signer.label,
            }
            .emit()?;
            signing = Some((signer.key, hash::blake3(&head)));
        }
        Ok(Self {
            head,
            cipher: ChunkCipher::new(file_key, nonce),
            signing,
            preamble,
        })
    }

    /// Header and nonce: the first bytes of the stream.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Cuts the input into the batches of this stream.
    pub fn batcher<R: Read>(&self, input: R) -> PlainBatcher<R> {
        let reserve = match &self.signing {
            Some(_) => SIGNATURE_LEN,
            None => 0,
        };
        PlainBatcher::new(input, self.preamble.clone(), reserve)
    }

    /// Signs and encrypts one batch. `between` is called between its chunks, so that the caller can
    /// let others have the processor.
    ///
    /// # Errors
    /// [`Error::Ambiguous`] when the input of a stream without a signature looks signed.
    pub fn seal(&self, batch: Plain, between: impl FnMut()) -> Result<Sealed, Error> {
        if let Some((key, stream)) = &self.signing {
            let sign = |batch: &Plain, hash| signed::sign(key, stream, batch, &hash);
            return Ok(batch.seal_signed(&self.cipher, between, sign));
        }
        if batch.index() == 0 && batch.first_chunk().starts_with(MAGIC) {
            return Err(Error::Ambiguous);
        }
        Ok(batch.seal(&self.cipher, between))
    }
}
