//! ChaCha20-Poly1305 (RFC 8439), in place, with the tag kept apart.

use std::fmt;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

pub use super::error::Forged;
use super::secret::Secret;

/// Length of a tag in bytes.
pub const TAG_LEN: usize = 16;
/// Length of a nonce in bytes.
pub const NONCE_LEN: usize = 12;

/// A key of 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Secret<32>);

impl Key {
    /// Takes the bytes of a key over.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The bytes, for deriving further keys and for MACs.
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// A cipher with its key set up, to be used many times and from many threads.
#[derive(Clone)]
pub struct Cipher(ChaCha20Poly1305);

impl Cipher {
    /// Sets the key up.
    pub fn new(key: &Key) -> Self {
        Self(ChaCha20Poly1305::new(key.expose().into()))
    }

    /// Encrypts `buf` in place and returns the tag over it and `aad`. A nonce serves once a key.
    pub fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
    ) -> [u8; TAG_LEN] {
        #[expect(
            clippy::expect_used,
            reason = "the cipher's limit is 256 GiB for one nonce; buffers are far smaller"
        )]
        let tag = self
            .0
            .encrypt_inout_detached(nonce.into(), aad, buf.into())
            .expect("buffer within the cipher's limit");
        tag.into()
    }

    /// Checks `tag` over `buf` and `aad`, then decrypts `buf` in place.
    ///
    /// # Errors
    /// [`Forged`]; `buf` is then as it was.
    pub fn open_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Forged> {
        self.0
            .decrypt_inout_detached(nonce.into(), aad, buf.into(), tag.into())
            .map_err(|_| Forged)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}

/// Encrypts one buffer in place; for many with one key use a [`Cipher`].
pub fn seal_in_place(
    key: &Key,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    buf: &mut [u8],
) -> [u8; TAG_LEN] {
    Cipher::new(key).seal_in_place(nonce, aad, buf)
}

/// Checks and decrypts one buffer in place; for many with one key use a [`Cipher`].
///
/// # Errors
/// [`Forged`]; `buf` is then as it was.
pub fn open_in_place(
    key: &Key,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    buf: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), Forged> {
    Cipher::new(key).open_in_place(nonce, aad, buf, tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, section 2.8.2.
    const TEXT: &[u8] = b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
        tip for the future, sunscreen would be it.";

    fn rfc() -> (Key, [u8; 12], Vec<u8>) {
        let key = std::array::from_fn(|i| 0x80 + u8::try_from(i).unwrap());
        let nonce = hex::decode("070000004041424344454647").unwrap();
        let aad = hex::decode("50515253c0c1c2c3c4c5c6c7").unwrap();
        (Key::new(key), nonce.try_into().unwrap(), aad)
    }

    #[test]
    fn the_vector_of_rfc_8439() {
        let (key, nonce, aad) = rfc();
        let mut buf = TEXT.to_vec();
        let tag = seal_in_place(&key, &nonce, &aad, &mut buf);
        assert_eq!(hex::encode(&buf[..16]), "d31a8d34648e60db7b86afbc53ef7ec2");
        assert_eq!(hex::encode(&buf[112..]), "6116");
        assert_eq!(hex::encode(tag), "1ae10b594f09e26a7e902ecbd0600691");
        open_in_place(&key, &nonce, &aad, &mut buf, &tag).unwrap();
        assert_eq!(buf, TEXT);
    }

    #[test]
    fn a_flip_anywhere_is_refused_and_nothing_is_decrypted() {
        let (key, nonce, aad) = rfc();
        let cipher = Cipher::new(&key);
        let mut sealed = TEXT.to_vec();
        let tag = cipher.seal_in_place(&nonce, &aad, &mut sealed);
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            let before = bad.clone();
            assert_eq!(
                cipher.open_in_place(&nonce, &aad, &mut bad, &tag),
                Err(Forged)
            );
            assert_eq!(bad, before);
        }
        for i in 0..TAG_LEN {
            let mut bad = tag;
            bad[i] ^= 0x80;
            assert!(
                cipher
                    .open_in_place(&nonce, &aad, &mut sealed.clone(), &bad)
                    .is_err()
            );
        }
        assert!(
            cipher
                .open_in_place(&nonce, b"", &mut sealed, &tag)
                .is_err()
        );
    }
}
