//! Encryption to a hybrid public key that also withstands quantum computers: HPKE (RFC 9180) in
//! base mode with the KEM MLKEM768-X25519 (X-Wing), HKDF-SHA256 and ChaCha20-Poly1305.

use std::fmt;

use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand::SeedableRng;
use rand::rngs::StdRng;
use shake::Shake256;
use shake::digest::{ExtendableOutput, Update, XofReader};
use zeroize::Zeroizing;

use super::agree::{PublicKey, SecretKey};
use super::error::{BadKey, Forged, LowOrder};
use super::secret::Secret;

/// Bytes of a public key.
pub const PUBLIC_LEN: usize = 1216;
/// Bytes of what a sender sends along, from which the holder of the secret key derives the key.
pub const ENCAPSULATED_LEN: usize = 1120;
/// Bytes by which a text grows.
pub const TAG_LEN: usize = 16;

type Aead = hpke::aead::ChaCha20Poly1305;
type Kdf = hpke::kdf::HkdfSha256;

/// The public half.
#[derive(Clone, PartialEq, Eq)]
pub struct HybridPublicKey(<XWing as Kem>::PublicKey);

impl HybridPublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`BadKey`] when it is not in the range of such keys.
    pub fn from_bytes(bytes: &[u8; PUBLIC_LEN]) -> Result<Self, BadKey> {
        check_point(bytes).map_err(|_| BadKey)?;
        <XWing as Kem>::PublicKey::from_bytes(bytes)
            .map(Self)
            .map_err(|_| BadKey)
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> [u8; PUBLIC_LEN] {
        self.0.to_bytes().into()
    }

    /// Encrypts `text` for the purpose `info`; returns the encapsulated key and the ciphertext.
    /// `seed` is 32 random bytes that serve this once.
    ///
    /// # Errors
    /// [`BadKey`] when nothing can be encrypted to this key.
    pub fn seal(
        &self,
        info: &[u8],
        text: &[u8],
        seed: [u8; 32],
    ) -> Result<([u8; ENCAPSULATED_LEN], Vec<u8>), BadKey> {
        let (key, sealed) = hpke::single_shot_seal_with_rng::<Aead, Kdf, XWing>(
            &OpModeS::Base,
            &self.0,
            info,
            text,
            b"",
            &mut StdRng::from_seed(seed),
        )
        .map_err(|_| BadKey)?;
        Ok((key.to_bytes().into(), sealed))
    }
}

impl HybridPublicKey {
    /// The X25519 half, for agreement alone.
    pub fn to_agreement(&self) -> PublicKey {
        let bytes = self.to_bytes();
        let mut point = [0; 32];
        point.copy_from_slice(&bytes[PUBLIC_LEN - 32..]);
        PublicKey(point)
    }
}

impl fmt::Debug for HybridPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HybridPublicKey(..)")
    }
}

/// Checks the X25519 half of an encapsulated or a public key, its last 32 bytes. X-Wing itself
/// takes every point, but those of low order contribute nothing.
///
/// # Errors
/// [`LowOrder`].
pub fn check_point(bytes: &[u8]) -> Result<(), LowOrder> {
    let point = bytes.last_chunk().ok_or(LowOrder)?;
    // Whatever the scalar, a point of low order gives zero.
    let any = SecretKey::from_seed([0; 32]);
    any.agree(&PublicKey(*point)).map(|_| ())
}

/// The secret half: a seed of 32 bytes.
#[derive(Clone)]
pub struct HybridSecretKey(Secret<32>);

impl HybridSecretKey {
    /// The key that `seed` stands for, 32 random bytes or the bytes of a key file.
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        Self(Secret::new(seed))
    }

    fn key(&self) -> <XWing as Kem>::PrivateKey {
        #[expect(clippy::expect_used, reason = "every 32 bytes are a secret key")]
        <XWing as Kem>::PrivateKey::from_bytes(self.0.expose()).expect("32 bytes")
    }

    /// The public half.
    pub fn public(&self) -> HybridPublicKey {
        HybridPublicKey(XWing::sk_to_pk(&self.key()))
    }

    /// Decrypts what [`HybridPublicKey::seal`] made for the purpose `info`.
    ///
    /// # Errors
    /// [`Forged`] when it was not made for this key and purpose.
    pub fn open(
        &self,
        info: &[u8],
        encapsulated: &[u8; ENCAPSULATED_LEN],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Forged> {
        let encapsulated =
            <XWing as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| Forged)?;
        hpke::single_shot_open::<Aead, Kdf, XWing>(
            &OpModeR::Base,
            &self.key(),
            &encapsulated,
            info,
            sealed,
            b"",
        )
        .map_err(|_| Forged)
    }

    /// The X25519 half, for agreement alone: the last 32 of the 96 bytes that SHAKE256 makes of the
    /// seed (draft-connolly-cfrg-xwing-kem, section 5.2).
    pub fn to_agreement(&self) -> SecretKey {
        let mut halves = Zeroizing::new([0; 96]);
        let mut shake = Shake256::default();
        shake.update(self.0.expose());
        shake.finalize_xof().read(&mut *halves);
        let mut scalar = [0; 32];
        scalar.copy_from_slice(&halves[64..]);
        SecretKey::from_seed(scalar)
    }

    /// The seed, for a key file.
    pub const fn expose(&self) -> &Secret<32> {
        &self.0
    }
}

impl fmt::Debug for HybridSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HybridSecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_agree_as_x25519_keys() {
        let key = HybridSecretKey::from_seed([1; 32]);
        assert_eq!(key.to_agreement().public(), key.public().to_agreement());
    }

    #[test]
    fn what_is_sealed_opens_for_its_key_and_purpose() {
        let key = HybridSecretKey::from_seed([1; 32]);
        let public = HybridPublicKey::from_bytes(&key.public().to_bytes()).unwrap();
        let (share, mut sealed) = public.seal(b"tea", b"secret", [2; 32]).unwrap();
        assert_eq!(sealed.len(), 6 + TAG_LEN);
        assert_eq!(key.open(b"tea", &share, &sealed).unwrap(), b"secret");
        assert_eq!(key.open(b"coffee", &share, &sealed), Err(Forged));
        let other = HybridSecretKey::from_seed([3; 32]);
        assert_eq!(other.open(b"tea", &share, &sealed), Err(Forged));
        sealed[0] ^= 1;
        assert_eq!(key.open(b"tea", &share, &sealed), Err(Forged));
    }
}
