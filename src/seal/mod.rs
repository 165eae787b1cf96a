//! The sealed stream: an age v1 file outside, a sender's signatures inside.
//!
//! The age layer is [`header`], [`Recipient`], [`Identity`] and [`stream`]; it stands on its own.
//! [`signed`] puts signatures into what the age layer encrypts, and [`sealer`] and [`opener`] join
//! both. Work comes in batches of 16 chunks, so that the caller can spread it over threads: cut
//! batches off the input in turn, work on them anywhere, write them in turn.
//!
//! Nothing here knows of files, clocks or randomness: seeds and times are arguments.

pub mod armor;
pub mod batches;
mod error;
pub mod header;
mod input;
pub mod keys;
pub mod opener;
pub mod sealer;
pub mod signed;
mod stanza;
pub mod stream;
mod text;

pub use error::Error;
pub use header::{FileKey, Header};
pub use keys::{
    AnyKey, Identity, KeyList, Keyring, NamedKey, Passphrase, Recipient, SenderKey, check,
    check_mix, decrypt, encrypt, is_encrypted, parse_any_keys, parse_recipients, parse_sender_keys,
    parse_signing_key, passphrase, signing_key_line,
};
pub use sealer::Signer;
