//! Hashes and the one MAC: BLAKE3, SHA-256 and HMAC-SHA256.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::aead::Key;
use super::error::Forged;

/// BLAKE3 of bytes that come in parts.
#[derive(Clone, Debug, Default)]
pub struct Blake3(blake3::Hasher);

impl Blake3 {
    /// Adds the next part.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The hash of all parts.
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// BLAKE3 of `bytes`.
pub fn blake3(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn keyed(key: &Key, bytes: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("any key length");
    mac.update(bytes);
    mac
}

/// HMAC-SHA256 of `bytes` under `key`.
pub fn mac(key: &Key, bytes: &[u8]) -> [u8; 32] {
    keyed(key, bytes).finalize().into_bytes().into()
}

/// Checks an HMAC-SHA256 in constant time.
///
/// # Errors
/// [`Forged`] when it is another one.
pub fn verify_mac(key: &Key, bytes: &[u8], mac: &[u8; 32]) -> Result<(), Forged> {
    keyed(key, bytes).verify_slice(mac).map_err(|_| Forged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        assert_eq!(
            hex::encode(sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(hex::encode(blake3(b"")), empty);
        let mut parts = Blake3::default();
        parts.update(b"ab");
        parts.update(b"c");
        assert_eq!(parts.finish(), blake3(b"abc"));
    }

    #[test]
    fn a_known_mac_of_rfc_4231() {
        // Case 3, whose key of 20 bytes is padded with zeros to 32: HMAC pads the same way.
        let mut key = [0; 32];
        key[..20].fill(0xaa);
        let key = Key::new(key);
        let tag = mac(&key, &[0xdd; 50]);
        assert_eq!(
            hex::encode(tag),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
        );
        assert_eq!(verify_mac(&key, &[0xdd; 50], &tag), Ok(()));
        assert_eq!(verify_mac(&key, &[0xdd; 49], &tag), Err(Forged));
    }
}
