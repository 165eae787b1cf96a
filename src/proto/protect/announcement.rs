//! The tag and the signature of an ANNOUNCE, which is not encrypted, and what of it keys are bound
//! to.

use super::access::short_mac;
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
    short_mac(
        &kdf::derive(secret, session, b"sealcast v3 announce"),
        announce,
    )
}

/// The hash of everything in an ANNOUNCE but how far the session is, which changes. Keys are bound
/// to it: both sides have the same only if they saw the same ANNOUNCE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct AnnounceHash([u8; 32]);

impl AnnounceHash {
    pub(in crate::proto) fn of(announce: &wire::Announce) -> Self {
        let constant = wire::Announce {
            status: wire::SessionStatus::default(),
            sequence: 0,
            ..announce.clone()
        };
        let mut text = b"sealcast v3 session\0".to_vec();
        constant.emit(&mut text);
        Self(hash::blake3(&text))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Appends an ANNOUNCE with its signature, if it has a signer, padding up to `padded_len` bytes in
/// all, and its tag.
pub(in crate::proto) fn emit_announce(
    announce: &wire::Announce,
    keys: &SenderKeys,
    padded_len: usize,
    out: &mut Vec<u8>,
) {
    let (start, session) = (out.len(), announce.session);
    announce.emit(out);
    if let Some(key) = &keys.signing {
        let signature = sign(key, SignatureContext::Announce, session, &out[start..]);
        out.extend_from_slice(&signature);
    }
    let len = (start + padded_len).saturating_sub(TAG_LEN);
    out.resize(len.max(out.len()), 0);
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
        let (announce, rest) = wire::Announce::split(whole).ok()?;
        let body = &whole[..whole.len() - rest.len()];
        let (signed, padding) = if announce.protection.signer.is_some() {
            let (signature, padding) = rest.split_first_chunk::<SIGNATURE_LEN>()?;
            (Some((body, signature)), padding)
        } else {
            (None, rest)
        };
        let is_zero = padding.iter().all(|&byte| byte == 0);
        is_zero.then_some(Self { announce, signed })
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

    fn announce() -> wire::Announce {
        wire::Announce {
            session: SESSION,
            series: SESSION,
            sender_key: [2; 32],
            k: 256,
            symbol_len: 1_436,
            depth: 1,
            status: wire::SessionStatus::default(),
            sequence: 0,
            protection: wire::Protection::default(),
            name: "lab".into(),
        }
    }

    #[test]
    fn an_announce_is_its_signers_and_of_its_group() {
        let signing = SigningKey::from_seed([9; 32]);
        let keys = SenderKeys {
            signing: Some(signing.clone()),
            shared: Some(Secret::new([4; 32])),
            ..SenderKeys::default()
        };
        let announce = wire::Announce {
            protection: wire::Protection {
                signer: Some(*signing.public().as_bytes()),
                shared: true,
                ..wire::Protection::default()
            },
            ..announce()
        };
        let mut datagram = Vec::new();
        emit_announce(&announce, &keys, 0, &mut datagram);
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
        emit_announce(&announce, &other, 548, &mut forged);
        assert_eq!(forged.len(), 548);
        let opened = OpenedAnnounce::open(&forged, keys.shared.as_ref()).unwrap();
        assert_eq!(opened.verify(), Err(BadSignature));
    }

    #[test]
    fn keys_are_bound_to_all_that_does_not_change() {
        let announce = announce();
        let later = wire::SessionStatus {
            started: true,
            joined: 7,
            ..wire::SessionStatus::default()
        };
        let hash = AnnounceHash::of(&announce);
        let with = |change: &dyn Fn(&mut wire::Announce)| {
            let mut changed = announce.clone();
            change(&mut changed);
            AnnounceHash::of(&changed)
        };
        assert_eq!(with(&|a| (a.status, a.sequence) = (later, 9)), hash);
        let changes: [&dyn Fn(&mut wire::Announce); 9] = [
            &|a| a.session.0[15] ^= 1,
            &|a| a.series.0[0] ^= 1,
            &|a| a.sender_key[0] ^= 1,
            &|a| a.k += 1,
            &|a| a.symbol_len += 2,
            &|a| a.depth += 1,
            &|a| a.protection.signer = Some([1; 32]),
            &|a| a.protection.listed = true,
            &|a| a.name.push('s'),
        ];
        for (n, change) in changes.into_iter().enumerate() {
            assert_ne!(with(change), hash, "change {n}");
        }
    }
}
