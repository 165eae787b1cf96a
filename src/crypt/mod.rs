//! Keys and ciphers behind one small interface. Nothing here draws randomness: seeds and nonces are
//! arguments. Every secret is overwritten when it is dropped, and none can be printed.

pub mod aead;
pub mod agree;
mod error;
pub mod hash;
pub mod hybrid;
pub mod kdf;
pub mod secret;
pub mod sign;

pub use error::{BadKey, BadSignature, Forged, LowOrder};
