//! What both sides of a session agree on: the secrets of a session, and the ciphers of each pair of
//! a sender and a receiver.

use zeroize::Zeroizing;

use super::announcement::AnnounceHash;
use crate::crypt::aead::{Cipher, Key};
use crate::crypt::agree::{PublicKey, SecretKey, SharedSecret};
use crate::crypt::kdf;
use crate::crypt::secret::Secret;
use crate::proto::keys::SHARED_LEN;
use crate::wire::{Accept, SessionId};

/// Makes the cipher of what the sender multicasts.
pub(in crate::proto) fn multicast_cipher(session: SessionId, secret: &[u8; 32]) -> Cipher {
    Cipher::new(&kdf::derive(secret, &session.0, b"sealcast v3 multicast"))
}

/// The secret of a one-way session: nobody hands it out, but who heard the ANNOUNCE and has what
/// all sides have in common, if they have, can make it. What the ANNOUNCE says is bound to it.
pub(in crate::proto) fn one_way_secret(
    session: SessionId,
    announced: AnnounceHash,
    shared: Option<&Secret<SHARED_LEN>>,
) -> Key {
    let info = [
        b"sealcast v3 one-way\0".as_slice(),
        announced.bytes().as_slice(),
    ];
    let secret = shared.map_or(&[][..], |s| s.expose());
    kdf::derive(secret, &session.0, &info.concat())
}

/// What the sender and one receiver agree on with their keys of this session, before the receiver
/// has shown who it is.
#[derive(Clone, Debug)]
pub(in crate::proto) struct Handshake {
    session: SessionId,
    agreed: Key,
    pub(in crate::proto) join: Cipher,
    pub(in crate::proto) reject: Cipher,
}

impl Handshake {
    /// Agrees; nothing when the other side's key is no proper key. `receiver` is the receiver's
    /// key, and `shared` what all sides have in common, if they have.
    pub(in crate::proto) fn agree(
        session: SessionId,
        own: &SecretKey,
        theirs: &PublicKey,
        receiver: &PublicKey,
        announced: AnnounceHash,
        shared: Option<&Secret<SHARED_LEN>>,
    ) -> Option<Self> {
        let ours = own.agree(theirs).ok()?;
        let secret = join_secrets(ours.expose(), shared);
        let info = [
            b"sealcast v3 agreed\0".as_slice(),
            receiver.as_bytes(),
            announced.bytes(),
        ];
        let agreed = kdf::derive(&secret, &session.0, &info.concat());
        let cipher = |info: &[u8]| Cipher::new(&kdf::derive(agreed.expose(), &session.0, info));
        Some(Self {
            session,
            join: cipher(b"sealcast v3 join"),
            reject: cipher(b"sealcast v3 reject"),
            agreed,
        })
    }

    /// The ciphers of the handshake. A receiver with an identity proves it: `identity` is its
    /// public key, and what that and the sender's key of this session agree on.
    pub(in crate::proto) fn ciphers(
        &self,
        identity: Option<(&PublicKey, &SharedSecret)>,
    ) -> PeerCiphers {
        let secret = match identity {
            None => self.agreed.clone(),
            Some((key, shared)) => {
                let info = [b"sealcast v3 identified\0", key.as_bytes().as_slice()].concat();
                let both = join_secrets(self.agreed.expose(), Some(shared));
                kdf::derive(&both, &self.session.0, &info)
            }
        };
        let reply = kdf::derive(secret.expose(), &self.session.0, b"sealcast v3 reply");
        PeerCiphers {
            join: self.join.clone(),
            reply: Cipher::new(&reply),
            session: self.session,
            identified: secret,
        }
    }
}

/// Two secrets as one, the second of which may be missing.
fn join_secrets(first: &[u8; 32], second: Option<&Secret<32>>) -> Zeroizing<Vec<u8>> {
    let second = second.map_or(&[][..], |s| s.expose());
    Zeroizing::new([first.as_slice(), second].concat())
}

/// The ciphers between the sender and one receiver until that was admitted.
#[derive(Clone, Debug)]
pub(in crate::proto) struct PeerCiphers {
    pub(in crate::proto) join: Cipher,
    pub(in crate::proto) reply: Cipher,
    session: SessionId,
    identified: Key,
}

impl PeerCiphers {
    /// The ciphers after an ACCEPT: only a receiver that got it has them, so its FEEDBACK shows
    /// that it is where it says.
    pub(in crate::proto) fn member(&self, accept: &Accept) -> MemberCiphers {
        let secret = Zeroizing::new(
            [
                self.identified.expose().as_slice(),
                &accept.session_secret,
                &accept.nonce,
            ]
            .concat(),
        );
        let cipher = |info: &[u8]| Cipher::new(&kdf::derive(&secret, &self.session.0, info));
        MemberCiphers {
            feedback: cipher(b"sealcast v3 feedback"),
            bye: cipher(b"sealcast v3 bye"),
        }
    }
}

/// The ciphers between the sender and one receiver that takes part.
#[derive(Clone, Debug)]
pub(in crate::proto) struct MemberCiphers {
    pub(in crate::proto) feedback: Cipher,
    pub(in crate::proto) bye: Cipher,
}

#[cfg(test)]
mod tests {
    use super::super::{counter_nonce, open, seal};
    use super::*;
    use crate::wire::{Announce, Protection, SessionStatus};
    use std::collections::BTreeSet;

    const SESSION: SessionId = SessionId([3; 16]);
    const ACCEPT: Accept = Accept {
        session_secret: [4; 32],
        nonce: [5; 16],
    };

    fn announce() -> Announce {
        Announce {
            session: SESSION,
            series: SESSION,
            sender_key: [1; 32],
            k: 256,
            symbol_len: 1_436,
            depth: 1,
            status: SessionStatus::default(),
            sequence: 0,
            protection: Protection::default(),
            name: String::new(),
        }
    }

    /// The handshake of both sides.
    fn handshakes(shared: [Option<Secret<32>>; 2]) -> [Handshake; 2] {
        let (s, r) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
        let (sp, rp) = (s.public(), r.public());
        let ([a, b], announced) = (shared, AnnounceHash::of(&announce()));
        [
            Handshake::agree(SESSION, &s, &rp, &rp, announced, a.as_ref()).unwrap(),
            Handshake::agree(SESSION, &r, &sp, &rp, announced, b.as_ref()).unwrap(),
        ]
    }

    fn fits(ours: &Cipher, theirs: &Cipher) -> bool {
        let mut out = b"head-body".to_vec();
        let nonce = counter_nonce(9, 1);
        seal(ours, &nonce, &mut out, 0, 5);
        open(theirs, &nonce, &mut out, 5).is_some_and(|body| body == b"body")
    }

    #[test]
    fn both_sides_agree() {
        let pairs = handshakes([None, None]).map(|h| h.ciphers(None));
        let [ours, theirs] = pairs.each_ref().map(|pair| pair.member(&ACCEPT));
        assert!(fits(&ours.feedback, &theirs.feedback) && !fits(&ours.feedback, &theirs.bye));
        let mut out = b"?head-body".to_vec();
        let nonce = counter_nonce(9, 1);
        seal(&ours.feedback, &nonce, &mut out, 1, 6);
        for at in 1..out.len() {
            let mut bad = out[1..].to_vec();
            bad[at - 1] ^= 1;
            assert!(
                open(&theirs.feedback, &nonce, &mut bad, 5).is_none(),
                "byte {at}"
            );
        }
        assert!(open(&theirs.feedback, &nonce, &mut out[1..10].to_vec(), 5).is_none());
    }

    #[test]
    fn a_shared_secret_and_an_identity_are_part_of_the_keys() {
        let key = |n| Some(Secret::new([n; 32]));
        let [a, b] = handshakes([key(1), key(1)]);
        assert!(fits(&a.join, &b.join));
        for other in [[key(1), key(2)], [key(1), None]] {
            let [a, b] = handshakes(other);
            assert!(!fits(&a.join, &b.join) && !fits(&a.reject, &b.reject));
            assert!(!fits(&a.ciphers(None).reply, &b.ciphers(None).reply));
        }
        let [id, dh] = [PublicKey([7; 32]), PublicKey([8; 32])];
        let (right, wrong) = (Secret::new([5; 32]), Secret::new([6; 32]));
        let pairs = [
            a.ciphers(Some((&id, &right))),
            b.ciphers(Some((&id, &right))),
            b.ciphers(Some((&id, &wrong))),
            b.ciphers(Some((&dh, &right))),
            b.ciphers(None),
        ];
        let same: Vec<_> = pairs[1..]
            .iter()
            .map(|p| fits(&pairs[0].reply, &p.reply))
            .collect();
        assert_eq!(same, [true, false, false, false]);
    }

    #[test]
    fn only_a_receiver_that_got_the_accept_can_speak() {
        let [ours, theirs] = handshakes([None, None]).map(|h| h.ciphers(None));
        let right = ours.member(&ACCEPT);
        let mut other = ACCEPT;
        other.nonce[15] ^= 1;
        assert!(fits(&right.feedback, &theirs.member(&ACCEPT).feedback));
        assert!(!fits(&right.feedback, &theirs.member(&other).feedback));
        assert!(!fits(&right.bye, &theirs.member(&other).bye));
        (other.nonce, other.session_secret[0]) = (ACCEPT.nonce, 9);
        assert!(!fits(&right.feedback, &theirs.member(&other).feedback));
    }

    #[test]
    fn the_key_of_a_one_way_session_is_bound_to_its_announce() {
        let shared = [Secret::new([3; 32]), Secret::new([4; 32])];
        let (announced, mut other) = (AnnounceHash::of(&announce()), announce());
        other.sender_key[0] ^= 1;
        let secrets = [
            one_way_secret(SESSION, announced, None),
            one_way_secret(SessionId([4; 16]), announced, None),
            one_way_secret(SESSION, AnnounceHash::of(&other), None),
            one_way_secret(SESSION, announced, Some(&shared[0])),
            one_way_secret(SESSION, announced, Some(&shared[1])),
        ];
        let different: BTreeSet<[u8; 32]> = secrets.iter().map(|s| *s.expose()).collect();
        assert_eq!(different.len(), secrets.len());
        let again = one_way_secret(SESSION, announced, Some(&shared[1]));
        assert!(different.contains(again.expose()));
    }
}
