//! Long-lived keys of both sides, and what they ask of each other.

use std::collections::TryReserveError;

use crate::crypt::agree::{PublicKey, SecretKey};
use crate::crypt::kdf;
use crate::crypt::secret::Secret;
use crate::crypt::sign::{SigningKey, VerifyingKey};

/// Bytes of a secret that all sides have in common.
pub const SHARED_LEN: usize = 32;

/// The salt and the cost, as a power of two in KiB, that make a shared secret of any text.
pub const SHARED_SALT: &[u8] = b"sealcast v3 shared key";
/// See [`SHARED_SALT`].
pub const SHARED_WORK_LOG2: u8 = 16;

/// The secret that all sides have in common, of a key or passphrase. It takes 64 MiB of memory and
/// part of a second, so that whoever records an ANNOUNCE guesses slowly.
///
/// # Errors
/// When there is not so much memory.
pub fn shared_secret(text: &[u8]) -> Result<Secret<SHARED_LEN>, TryReserveError> {
    let key = kdf::stretch(text, SHARED_SALT, SHARED_WORK_LOG2)?;
    Ok(Secret::new(*key.expose()))
}

/// A receiver that may take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its long-lived key.
    pub key: PublicKey,
    /// What people call it: the name by which it is expected, whatever it calls itself.
    pub name: String,
}

/// What a sender proves, and whom it takes in. The default proves nothing and takes everybody.
#[derive(Clone, Debug, Default)]
pub struct SenderKeys {
    /// Signs the ANNOUNCE, every block and the end.
    pub signing: Option<SigningKey>,
    /// Only receivers that hold the secret half of one of these are taken in.
    pub listed: Option<Vec<Listed>>,
    /// All sides have this in common.
    pub shared: Option<Secret<SHARED_LEN>>,
}

impl SenderKeys {
    /// Whether anybody can take part, and pass for this sender.
    pub fn is_empty(&self) -> bool {
        self.signing.is_none() && self.listed.is_none() && self.shared.is_none()
    }
}

/// What a receiver proves, and whom it believes. The default proves nothing and believes anybody.
#[derive(Clone, Debug, Default)]
pub struct ReceiverKeys {
    /// Only sessions signed by one of these are joined; any session when there is none.
    pub from: Vec<VerifyingKey>,
    /// By one of these the sender knows us, tried in this order.
    pub identities: Vec<SecretKey>,
    /// All sides have this in common; only sessions made with it are joined.
    pub shared: Option<Secret<SHARED_LEN>>,
}
