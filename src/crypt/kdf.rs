//! Keys from keys: HKDF-SHA256 (RFC 5869).

use hkdf::Hkdf;
use sha2::Sha256;

use super::aead::Key;

/// The 32 bytes that HKDF-SHA256 makes of `ikm`, `salt` and `info`.
pub fn derive(ikm: &[u8], salt: &[u8], info: &[u8]) -> Key {
    let mut out = [0; 32];
    expand(ikm, salt, info, &mut out);
    Key::new(out)
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
