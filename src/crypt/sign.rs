//! Signatures: Ed25519 (RFC 8032), verified strictly.

use std::fmt;

use ed25519_dalek::Signer;

use super::agree;
pub use super::error::{BadKey, BadSignature};
use super::secret::Secret;

/// Length of a signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// The public half, a sound point: on the curve, and not one of those that fit every text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// [`BadKey`] when they are no point, or one of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BadKey> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| BadKey)?;
        if key.is_weak() {
            return Err(BadKey);
        }
        Ok(Self(key))
    }

    /// The bytes of the point.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Checks that the holder of this key signed `text`, by the strict rules: one signature has one
    /// encoding and fits one key.
    ///
    /// # Errors
    /// [`BadSignature`] otherwise.
    pub fn verify_strict(
        &self,
        text: &[u8],
        signature: &[u8; SIGNATURE_LEN],
    ) -> Result<(), BadSignature> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0
            .verify_strict(text, &signature)
            .map_err(|_| BadSignature)
    }

    /// The same key for X25519, as ssh keys in age files are used.
    pub fn to_agreement(&self) -> agree::PublicKey {
        agree::PublicKey(self.0.to_montgomery().to_bytes())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", hex::encode(self.as_bytes()))
    }
}

/// The secret half.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key made of `seed`, 32 random bytes or the bytes of a key file.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// The public half.
    pub fn public(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Signs `text`.
    pub fn sign(&self, text: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.0.sign(text).to_bytes()
    }

    /// The seed, for a key file.
    pub fn expose(&self) -> Secret<32> {
        Secret::new(self.0.to_bytes())
    }

    /// The same key for X25519, as ssh keys in age files are used.
    pub fn to_agreement(&self) -> agree::SecretKey {
        agree::SecretKey::from_seed(self.0.to_scalar_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    fn check(seed: &str, public: &str, text: &[u8], signature: &str) {
        let key = SigningKey::from_seed(bytes(seed));
        assert_eq!(hex::encode(key.public().as_bytes()), public);
        assert_eq!(hex::encode(key.sign(text)), signature);
        let public = VerifyingKey::from_bytes(&bytes(public)).unwrap();
        assert_eq!(public.verify_strict(text, &bytes(signature)), Ok(()));
        let mut longer = text.to_vec();
        longer.push(0);
        assert_eq!(
            public.verify_strict(&longer, &bytes(signature)),
            Err(BadSignature)
        );
    }

    #[test]
    fn the_vectors_of_rfc_8032() {
        check(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            b"",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac\
             c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        );
        check(
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            &[0x72],
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e\
             458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
    }

    #[test]
    fn keys_that_fit_every_text_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(VerifyingKey::from_bytes(&identity), Err(BadKey));
        assert_eq!(VerifyingKey::from_bytes(&[0; 32]), Err(BadKey));
        // No x fits y = 2.
        let mut off = [0; 32];
        off[0] = 2;
        assert_eq!(VerifyingKey::from_bytes(&off), Err(BadKey));
    }

    #[test]
    fn both_halves_agree_as_x25519_keys() {
        let key = SigningKey::from_seed([5; 32]);
        assert_eq!(key.to_agreement().public(), key.public().to_agreement());
    }
}
