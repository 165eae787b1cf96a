//! What cryptography can refuse. Each operation has one way to fail, so each has its own type.

/// The tag does not fit the key, nonce, associated data and ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication tag does not hold")]
pub struct Forged;

/// The other side's point lies in a small subgroup, so that the agreed secret is known to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("x25519 public key has low order")]
pub struct LowOrder;

/// The signature was not made over this text by the holder of this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ed25519 signature does not hold")]
pub struct BadSignature;

/// The bytes are no public key: for Ed25519 no point on the curve, or one of the few that sign
/// anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sound public key")]
pub struct BadKey;
