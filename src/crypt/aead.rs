//! ChaCha20-Poly1305 (RFC 8439), in place, with the tag kept apart.
//!
//! A [`Cipher`] has one key for bulk data, chunks and datagrams: there `ring` is 1.7 times as fast
//! as the portable code at 64 KiB and 3.5 times at 1.4 kB on a processor with AVX2. What is sealed
//! once under a key of its own, such as a file key, goes through `chacha20poly1305`, which wipes
//! its keys.

use std::fmt;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

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
///
/// Its copy of the key is not wiped when it is dropped; it lives as long as a stream or session.
#[derive(Clone)]
pub struct Cipher(LessSafeKey);

impl Cipher {
    /// Sets the key up.
    pub fn new(key: &Key) -> Self {
        #[expect(clippy::expect_used, reason = "the algorithm's keys have 32 bytes")]
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.expose()).expect("a key of 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts `buf` in place and returns the tag over it and `aad`. A nonce serves once a key.
    pub fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
    ) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        #[expect(
            clippy::expect_used,
            reason = "the cipher's limit is 256 GiB for one nonce; buffers are far smaller"
        )]
        let made = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), buf)
            .expect("buffer within the cipher's limit");
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(made.as_ref());
        tag
    }

    /// Decrypts in place what precedes the tag that `buf` ends in; returns it.
    ///
    /// # Errors
    /// [`Forged`] when the tag does not hold over it and `aad`, or there is none. The content of
    /// `buf` is then lost.
    pub fn open_in_place<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &'a mut [u8],
    ) -> Result<&'a mut [u8], Forged> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place(nonce, Aad::from(aad), buf)
            .map_err(|_| Forged)
    }

    /// Decrypts to the start of `buf` what stands in it from byte `at` on, with its tag behind it;
    /// returns the plaintext. When it is no longer than `at`, it stays as it was.
    ///
    /// # Errors
    /// [`Forged`] when the tag does not hold over it and `aad`, or there is none.
    pub fn open_to_start<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &'a mut [u8],
        at: usize,
    ) -> Result<&'a mut [u8], Forged> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_within(nonce, Aad::from(aad), buf, at..)
            .map_err(|_| Forged)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}

/// Encrypts one buffer in place under a key that serves this once.
pub fn seal_in_place(
    key: &Key,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    buf: &mut [u8],
) -> [u8; TAG_LEN] {
    #[expect(
        clippy::expect_used,
        reason = "the cipher's limit is 256 GiB for one nonce; buffers are far smaller"
    )]
    let tag = ChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(nonce.into(), aad, buf.into())
        .expect("buffer within the cipher's limit");
    tag.into()
}

/// Checks `tag` over `buf` and `aad`, then decrypts `buf` in place.
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
    ChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(nonce.into(), aad, buf.into(), tag.into())
        .map_err(|_| Forged)
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
    fn both_ways_are_one_cipher() {
        let (key, nonce, aad) = rfc();
        let cipher = Cipher::new(&key);
        for len in [0, 1, 15, 16, 17, 63, 64, 65, 511, 512, 513, 1452, 65_536] {
            let text: Vec<u8> = (0..len).map(|i: usize| i.to_le_bytes()[0]).collect();
            let (mut once, mut bulk) = (text.clone(), text.clone());
            let tag = seal_in_place(&key, &nonce, &aad, &mut once);
            assert_eq!(cipher.seal_in_place(&nonce, &aad, &mut bulk), tag, "{len}");
            assert_eq!(bulk, once, "{len}");
            bulk.extend(tag);
            let mut moved = [&vec![7; len], &bulk[..]].concat();
            let opened = cipher.open_to_start(&nonce, &aad, &mut moved, len).unwrap();
            assert_eq!(opened, text, "{len}");
            assert_eq!(moved[len..], bulk, "{len}: as it was");
            assert_eq!(
                cipher.open_in_place(&nonce, &aad, &mut bulk).unwrap(),
                text,
                "{len}"
            );
        }
    }

    #[test]
    fn a_flip_anywhere_is_refused() {
        let (key, nonce, aad) = rfc();
        let cipher = Cipher::new(&key);
        let mut sealed = TEXT.to_vec();
        let tag = cipher.seal_in_place(&nonce, &aad, &mut sealed);
        sealed.extend(tag);
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            let (text, tag) = bad.split_last_chunk_mut().unwrap();
            let before = text.to_vec();
            assert_eq!(open_in_place(&key, &nonce, &aad, text, tag), Err(Forged));
            assert_eq!(text, before, "nothing is decrypted");
            let mut moved = [&[0; TEXT.len()], &bad[..]].concat();
            let opened = cipher.open_to_start(&nonce, &aad, &mut moved, TEXT.len());
            assert_eq!(opened, Err(Forged));
            assert_eq!(moved, [&[0; TEXT.len()], &bad[..]].concat());
            assert_eq!(cipher.open_in_place(&nonce, &aad, &mut bad), Err(Forged));
        }
        let short = &mut sealed.clone()[..15];
        assert_eq!(cipher.open_in_place(&nonce, &aad, short), Err(Forged));
        assert_eq!(cipher.open_in_place(&nonce, b"", &mut sealed), Err(Forged));
    }
}
