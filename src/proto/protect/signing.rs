//! Signatures of a session's signer, each bound to what it is for.

use crate::crypt::BadSignature;
use crate::crypt::sign::{SigningKey, VerifyingKey};
use crate::wire::{SIGNATURE_LEN, SessionId};

/// What a signature is for: none fits another purpose.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) enum SignatureContext {
    Announce,
    Block,
    Hashes,
    Poll,
    End,
    Abort,
}

impl SignatureContext {
    fn text(self, session: SessionId, body: &[u8]) -> Vec<u8> {
        let context: &[u8] = match self {
            Self::Announce => b"sealcast v3 announce\0",
            Self::Block => b"sealcast v3 block\0",
            Self::Hashes => b"sealcast v3 hashes\0",
            Self::Poll => b"sealcast v3 poll\0",
            Self::End => b"sealcast v3 end\0",
            Self::Abort => b"sealcast v3 abort\0",
        };
        [context, &session.0, body].concat()
    }
}

/// Signs a text of a session.
pub(in crate::proto) fn sign(
    key: &SigningKey,
    context: SignatureContext,
    session: SessionId,
    body: &[u8],
) -> [u8; SIGNATURE_LEN] {
    key.sign(&context.text(session, body))
}

/// Checks a signature of [`sign`].
///
/// # Errors
/// [`BadSignature`].
pub(in crate::proto) fn verify(
    key: &VerifyingKey,
    context: SignatureContext,
    session: SessionId,
    body: &[u8],
    signature: &[u8; SIGNATURE_LEN],
) -> Result<(), BadSignature> {
    key.verify_strict(&context.text(session, body), signature)
}
