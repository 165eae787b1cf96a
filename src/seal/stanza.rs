//! The body of a stanza: the wrapped file key.

use super::Error;
use super::header::{FileKey, Stanza};
use super::text::base64;
use crate::crypt::aead;
use crate::crypt::secret::Secret;

/// The 32 bytes of a wrapped file key. Only its one length is decrypted, so that no text fits many
/// keys.
pub(crate) fn body(stanza: &Stanza<'_>) -> Result<[u8; 32], Error> {
    stanza
        .body()
        .ok_or_else(|| stanza.wrong("a wrapped file key is not 32 bytes"))
}

/// Unwraps a file key; `None` when `key` is not the one that wrapped it.
pub(crate) fn open(key: &aead::Key, body: [u8; 32]) -> Option<FileKey> {
    let (inner, tag) = body.split_at(16);
    let mut file_key = Secret::new(inner.try_into().ok()?);
    let tag = tag.try_into().ok()?;
    aead::open_in_place(key, &[0; 12], b"", file_key.expose_mut(), tag).ok()?;
    Some(file_key)
}

/// Wraps a file key: the body of a stanza, a line of 43 characters: the file key under a key that
/// serves this once.
pub(crate) fn wrap(key: &aead::Key, file_key: &FileKey) -> String {
    let mut body = [0; 32];
    let (inner, tag) = body.split_at_mut(16);
    inner.copy_from_slice(file_key.expose());
    let made = aead::seal_in_place(key, &[0; 12], b"", inner);
    tag.copy_from_slice(&made);
    base64(&body)
}
