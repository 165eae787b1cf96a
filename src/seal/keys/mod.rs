//! Keys: identities and recipients, signing keys and sender keys, passphrases; and the files and
//! lists that hold them.

mod any_key;
mod encrypted_file;
mod identity;
mod list;
pub mod passphrase;
mod recipient;
mod sender_key;
mod ssh;

pub use any_key::{AnyKey, parse_any_keys};
pub use encrypted_file::{decrypt, encrypt, is_encrypted};
pub use identity::{Identity, Keyring, check};
pub use list::{KeyList, NamedKey};
pub use passphrase::Passphrase;
pub use recipient::{Recipient, check_mix, parse_recipients};
pub use sender_key::{SenderKey, parse_sender_keys, parse_signing_key, signing_key_line};
