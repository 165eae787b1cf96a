//! Key files that are encrypted with a passphrase.

use std::io::{Read, Write};

use zeroize::{Zeroize, Zeroizing};

use super::passphrase::Passphrase;
use crate::seal::batches::{EndCheck, SealedBatcher};
use crate::seal::header::{FileKey, HEADER_BYTES_MAX, Header};
use crate::seal::sealer::Sealer;
use crate::seal::stream::{self, ChunkCipher, NONCE_BYTES};
use crate::seal::{Error, armor};

/// Whether the bytes of a key file are an age file, and its keys encrypted.
pub fn is_encrypted(bytes: &[u8]) -> bool {
    bytes.starts_with(b"age-encryption.org/")
        || bytes.trim_ascii_start().starts_with(b"-----BEGIN AGE")
}

/// The content of a short age file that is encrypted with a passphrase, such as a key file, in
/// armor or not.
///
/// # Errors
/// [`Error::Locked`] without a passphrase, and all that can be wrong with an age file.
pub fn decrypt(bytes: &[u8], passphrase: Option<&Passphrase>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut input = armor::ArmorReader::new(bytes);
    let (header, rest) = Header::read(&mut input, HEADER_BYTES_MAX)?;
    if !Passphrase::fits(&header) {
        return Err(Error::Key("a file encrypted to keys, not to a passphrase"));
    }
    let file_key = passphrase.ok_or(Error::Locked)?.unwrap(&header)?;
    let mut input = rest.chain(input);
    let payload_at = header.bytes().len();
    let nonce = stream::read_nonce(&mut input, payload_at)?;
    let cipher = ChunkCipher::new(&file_key, &nonce);
    let payload_at = (payload_at + NONCE_BYTES) as u64;
    let mut batcher = SealedBatcher::new(input);
    let mut end_check = EndCheck::new(payload_at);
    // Room for all of it at once: a buffer that grows leaves copies of the secret behind.
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut buf = stream::buffer();
    while let Some(batch) = batcher.next(buf)? {
        let (plain, problem) = batch.open(&cipher, payload_at, || {});
        let in_place = end_check.check(&plain);
        plain
            .slices(0)
            .for_each(|slice| out.extend_from_slice(slice));
        buf = plain.into_buffer();
        buf.as_mut_slice().zeroize();
        in_place?;
        if let Some(problem) = problem {
            return Err(problem);
        }
    }
    end_check.finish()?;
    Ok(out)
}

/// Encrypts a short text, such as keys, with a passphrase into an age file in armor. `seeds` are
/// twice 32 random bytes that serve this once.
///
/// # Errors
/// [`Error::System`] when there is not enough memory.
pub fn encrypt(
    text: &str,
    passphrase: &Passphrase,
    seeds: [[u8; 32]; 2],
    work_log2: u8,
) -> Result<Vec<u8>, Error> {
    let mut file_key = FileKey::new([0; 16]);
    let mut nonce = [0; NONCE_BYTES];
    file_key.expose_mut().copy_from_slice(&seeds[0][..16]);
    nonce.copy_from_slice(&seeds[0][16..]);
    let stanza = passphrase.wrap(&file_key, seeds[1], work_log2)?;
    let sealer = Sealer::new(&[stanza], &file_key, &nonce, None)?;
    let mut out = Vec::new();
    let mut armor = armor::ArmorWriter::new(&mut out)?;
    armor.write_all(sealer.head())?;
    let mut batcher = sealer.batcher(text.as_bytes());
    let mut buf = stream::buffer();
    while let Some(batch) = batcher.next(buf)? {
        let sealed = sealer.seal(batch, || {})?;
        armor.write_all(sealed.bytes())?;
        buf = sealed.into_buffer();
    }
    armor.finish()?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.into()))
    }

    #[test]
    fn a_text_comes_back_for_the_passphrase_alone() {
        let file = encrypt("AGE-SECRET", &passphrase("blue"), [[1; 32], [2; 32]], 2).unwrap();
        assert!(is_encrypted(&file));
        let text = decrypt(&file, Some(&passphrase("blue"))).unwrap();
        assert_eq!(text.as_slice(), b"AGE-SECRET");
        let wrong = decrypt(&file, Some(&passphrase("bleu")));
        assert!(matches!(wrong, Err(Error::WrongPassphrase)));
        assert!(matches!(decrypt(&file, None), Err(Error::Locked)));
    }
}
