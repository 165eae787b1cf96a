//! Keys from keys: HKDF-SHA256 (RFC 5869); and from passphrases: scrypt (RFC 7914).

use std::collections::TryReserveError;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::aead::Key;

/// The 32 bytes that HKDF-SHA256 makes of `ikm`, `salt` and `info`.
pub fn derive(ikm: &[u8], salt: &[u8], info: &[u8]) -> Key {
    let mut out = [0; 32];
    expand(ikm, salt, info, &mut out);
    Key::new(out)
}

/// The greatest work factor of [`stretch`].
pub const WORK_LOG2_MAX: u8 = 22;

/// The 32 bytes that scrypt (RFC 7914) makes of a secret that may be a passphrase, with r 8, p 1
/// and the cost 2 to the power of `work_log2`, 1 to [`WORK_LOG2_MAX`]: that many KiB of memory.
///
/// # Errors
/// When there is not so much memory.
pub fn stretch(secret: &[u8], salt: &[u8], work_log2: u8) -> Result<Key, TryReserveError> {
    let work_log2 = work_log2.clamp(1, WORK_LOG2_MAX);
    // The stretching itself would end the process.
    Vec::<u8>::new().try_reserve_exact(1 << (work_log2 + 10))?;
    #[expect(
        clippy::expect_used,
        reason = "the work factor is from 1 to 22, for which scrypt has parameters"
    )]
    let params = scrypt::Params::new(work_log2, 8, 1).expect("sound parameters");
    let mut key = Zeroizing::new([0; 32]);
    #[expect(
        clippy::expect_used,
        reason = "scrypt makes 32 bytes whatever it is given"
    )]
    scrypt::scrypt(secret, salt, &params, &mut *key).expect("a length in range");
    Ok(Key::new(*key))
}

fn expand(ikm: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) {
    #[expect(
        clippy::expect_used,
        reason = "HKDF-SHA256 gives up to 8160 bytes; all callers ask for less"
    )]
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand(info, out)
        .expect("a length that HKDF can give");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ikm: &str, salt: &str, info: &str, okm: &str) {
        let bytes = |text| hex::decode(text).unwrap();
        let mut out = vec![0; okm.len() / 2];
        expand(&bytes(ikm), &bytes(salt), &bytes(info), &mut out);
        assert_eq!(hex::encode(&out), okm);
        let key = derive(&bytes(ikm), &bytes(salt), &bytes(info));
        assert_eq!(key.expose()[..], out[..32]);
    }

    #[test]
    fn the_vector_of_rfc_7914() {
        // The third of section 12, of which 32 bytes are taken.
        let key = stretch(b"pleaseletmein", b"SodiumChloride", 14).unwrap();
        assert_eq!(
            hex::encode(key.expose()),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        );
    }

    #[test]
    fn the_vectors_of_rfc_5869() {
        check(
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        );
        check(
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "",
            "",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        );
    }
}
