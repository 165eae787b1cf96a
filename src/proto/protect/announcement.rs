//! The tag and the signature of an ANNOUNCE, which is not encrypted.

use super::signing::{SignatureContext, sign, verify};
use crate::crypt::secret::Secret;
use crate::crypt::sign::VerifyingKey;
use crate::crypt::{BadSignature, hash, kdf};
use crate::proto::keys::{SHARED_LEN, SenderKeys};
use crate::wire::{self, SIGNATURE_LEN, TAG_LEN};

/// The tag of an ANNOUNCE. Without a shared secret it stops corruption, not forgery: who takes part
/// has the sender's key from the ANNOUNCE itself, and a forged one leads to no session.
fn announce_tag(
    session: &[u8; 16],
    shared: Option<&Secret<SHARED_LEN>>,
    announce: &[u8],
) -> Secret<TAG_LEN> {
    let secret = shared.map_or(&[][..], |s| s.expose());
    let key = kdf::derive(secret, session, b"sealcast v3 announce");
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&hash::mac(&key, announce)[..TAG_LEN]);
    Secret::new(tag)
}

/// Appends an ANNOUNCE with its signature, if it has a signer, and its tag.
pub(in crate::proto) fn emit_announce(
    announce: &wire::Announce,
    keys: &SenderKeys,
    out: &mut Vec<u8>,
) {
    let (start, session) = (out.len(), announce.session);
    announce.emit(out);
    if let Some(key) = &keys.signing {
        let signature = sign(key, SignatureContext::Announce, session, &out[start..]);
        out.extend_from_slice(&signature);
    }
    let tag = announce_tag(&session.0, keys.shared.as_ref(), &out[start..]);
    out.extend_from_slice(tag.expose());
}

/// An ANNOUNCE whose tag is right, and whose signature is still to be checked.
#[derive(Debug)]
pub(in crate::proto) struct OpenedAnnounce<'a> {
    pub(in crate::proto) announce: wire::Announce,
    signed: Option<(&'a [u8], &'a [u8; SIGNATURE_LEN])>,
}

impl<'a> OpenedAnnounce<'a> {
    /// Reads an ANNOUNCE and checks its tag, made with `shared` if there is one.
    pub(in crate::proto) fn open(
        datagram: &'a [u8],
        shared: Option<&Secret<SHARED_LEN>>,
    ) -> Option<Self> {
        let (whole, tag) = datagram.split_last_chunk::<TAG_LEN>()?;
        let session = whole.get(8..24)?.first_chunk()?;
        if announce_tag(session, shared, whole) != Secret::new(*tag) {
            return None;
        }
        let (is_signed, _) = wire::Announce::peek(whole);
        let signed = if is_signed {
            Some(whole.split_last_chunk::<SIGNATURE_LEN>()?)
        } else {
            None
        };
        let body = signed.map_or(whole, |(body, _)| body);
        let announce = wire::Announce::parse(body).ok()?;
        Some(Self { announce, signed })
    }

    /// The key that signed it, or nothing if nobody did.
    ///
    /// # Errors
    /// [`BadSignature`] when it was not the key that it names.
    pub(in crate::proto) fn verify(&self) -> Result<Option<VerifyingKey>, BadSignature> {
        let (Some(key), Some((body, signature))) = (self.announce.protection.signer, self.signed)
        else {
            return Ok(None);
        };
        let key = VerifyingKey::from_bytes(&key).map_err(|_| BadSignature)?;
        verify(
            &key,
            SignatureContext::Announce,
            self.announce.session,
            body,
            signature,
        )?;
        Ok(Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::sign::SigningKey;
    use crate::wire::SessionId;

    const SESSION: SessionId = SessionId([3; 16]);

    #[test]
    fn an_announce_is_its_signers_and_of_its_group() {
        let signing = SigningKey::from_seed([9; 32]);
        let keys = SenderKeys {
            signing: Some(signing.clone()),
            shared: Some(Secret::new([4; 32])),
            ..SenderKeys::default()
        };
        let announce = wire::Announce {
            session: SESSION,
            series: SESSION,
            sender_key: [2; 32],
            k: 256,
            symbol_len: 1_436,
            depth: 1,
            status: wire::SessionStatus::default(),
            protection: wire::Protection {
                signer: Some(*signing.public().as_bytes()),
                shared: true,
                ..wire::Protection::default()
            },
            name: "lab".into(),
        };
        let mut datagram = Vec::new();
        emit_announce(&announce, &keys, &mut datagram);
        let opened = OpenedAnnounce::open(&datagram, keys.shared.as_ref()).unwrap();
        assert_eq!(opened.announce, announce);
        assert_eq!(opened.verify(), Ok(Some(signing.public())));
        assert!(OpenedAnnounce::open(&datagram, None).is_none());
        assert!(OpenedAnnounce::open(&datagram, Some(&Secret::new([5; 32]))).is_none());
        // Who has the shared secret can make a tag, but no signature.
        let mut forged = Vec::new();
        let other = SenderKeys {
            signing: Some(SigningKey::from_seed([8; 32])),
            shared: keys.shared.clone(),
            ..SenderKeys::default()
        };
        emit_announce(&announce, &other, &mut forged);
        let opened = OpenedAnnounce::open(&forged, keys.shared.as_ref()).unwrap();
        assert_eq!(opened.verify(), Err(BadSignature));
    }
}
