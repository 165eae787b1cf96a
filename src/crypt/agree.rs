//! Agreement on a secret: X25519 (RFC 7748).

use std::fmt;

use x25519_dalek::StaticSecret;

pub use super::error::LowOrder;
use super::secret::Secret;

/// The public half: a u-coordinate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The bytes of the u-coordinate.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex::encode(self.0))
    }
}

/// What both sides know after agreement. Derive keys from it; do not use it as one.
pub type SharedSecret = Secret<32>;

/// The secret half: a scalar, clamped when it is used.
#[derive(Clone)]
pub struct SecretKey(StaticSecret);

impl SecretKey {
    /// The key whose scalar is `seed`, 32 random bytes or the bytes of a key file.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(StaticSecret::from(seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&self.0).to_bytes())
    }

    /// The secret that this key and the other side's have in common.
    ///
    /// # Errors
    /// [`LowOrder`] when the other side's key would make the secret zero.
    pub fn agree(&self, theirs: &PublicKey) -> Result<SharedSecret, LowOrder> {
        let shared = self
            .0
            .diffie_hellman(&x25519_dalek::PublicKey::from(theirs.0));
        if shared.was_contributory() {
            Ok(Secret::new(shared.to_bytes()))
        } else {
            Err(LowOrder)
        }
    }

    /// The scalar, for a key file.
    pub fn expose(&self) -> Secret<32> {
        Secret::new(self.0.to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_vector_of_rfc_7748() {
        let alice = SecretKey::from_seed(bytes(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        ));
        let bob = SecretKey::from_seed(bytes(
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ));
        assert_eq!(
            alice.public().0,
            bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        );
        assert_eq!(
            bob.public().0,
            bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
        let shared = bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(alice.agree(&bob.public()).unwrap().expose(), &shared);
        assert_eq!(bob.agree(&alice.public()).unwrap().expose(), &shared);
    }

    #[test]
    fn points_of_low_order_are_refused() {
        let key = SecretKey::from_seed([7; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        let order_eight = bytes("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
        for low in [[0; 32], one, order_eight] {
            assert_eq!(key.agree(&PublicKey(low)), Err(LowOrder));
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(
            format!("{:?}", SecretKey::from_seed([1; 32])),
            "SecretKey(..)"
        );
    }
}
