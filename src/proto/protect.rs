//! Keys of a session, and the sealing of each kind of datagram.
//!
//! Each key has one purpose and one sender. Nonces: multicast datagrams count transmissions,
//! FEEDBACK and BYE carry a counter, JOIN, ACCEPT and REJECT are constant under keys that are new
//! with each receiver's key, their kind and reason being in the nonce.

use zeroize::Zeroizing;

use super::keys::{SHARED_LEN, SenderKeys};
use crate::crypt::aead::{Cipher, Key, NONCE_LEN};
use crate::crypt::agree::{PublicKey, SecretKey, SharedSecret};
use crate::crypt::secret::Secret;
use crate::crypt::sign::{SigningKey, VerifyingKey};
use crate::crypt::{BadSignature, hash, kdf};
use crate::wire::{self, DatagramKind, SIGNATURE_LEN, SessionId, TAG_LEN};

/// Makes the cipher of what the sender multicasts.
pub(super) fn multicast_cipher(session: SessionId, secret: &[u8; 32]) -> Cipher {
    Cipher::new(&kdf::derive(secret, &session.0, b"sealcast v3 multicast"))
}

/// What an ANNOUNCE says about the stream: who changes it on the way gets no agreement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) k: u16,
    pub(super) symbol_len: u16,
    pub(super) depth: u16,
    pub(super) series: SessionId,
}

impl Shape {
    pub(super) fn of(announce: &wire::Announce) -> Self {
        Self {
            k: announce.k,
            symbol_len: announce.symbol_len,
            depth: announce.depth,
            series: announce.series,
        }
    }

    fn bytes(self) -> [u8; 22] {
        let mut bytes = [0; 22];
        for (n, figure) in [self.k, self.symbol_len, self.depth].iter().enumerate() {
            bytes[n * 2..][..2].copy_from_slice(&figure.to_be_bytes());
        }
        bytes[6..].copy_from_slice(&self.series.0);
        bytes
    }
}

/// The secret of a one-way session: nobody hands it out, but who heard the ANNOUNCE and has what
/// all sides have in common, if they have, can make it. What the ANNOUNCE says is bound to it.
pub(super) fn one_way_secret(
    session: SessionId,
    sender: &PublicKey,
    shape: Shape,
    signer: Option<&VerifyingKey>,
    shared: Option<&Secret<SHARED_LEN>>,
) -> Key {
    let info = [
        b"sealcast v3 one-way\0".as_slice(),
        sender.as_bytes(),
        &shape.bytes(),
        signer.map_or(&[][..], |key| key.as_bytes()),
    ];
    let secret = shared.map_or(&[][..], |s| s.expose());
    kdf::derive(secret, &session.0, &info.concat())
}

/// What the sender and one receiver agree on with their keys of this session, before the receiver
/// has shown who it is.
#[derive(Clone, Debug)]
pub(super) struct Greeting {
    session: SessionId,
    agreed: Key,
    pub(super) join: Cipher,
    pub(super) reject: Cipher,
}

impl Greeting {
    /// Agrees; nothing when the other side's key is no proper key. `shared` is what all sides have
    /// in common, if they have.
    pub(super) fn agree(
        session: SessionId,
        own: &SecretKey,
        theirs: &PublicKey,
        [sender, receiver]: [&PublicKey; 2],
        shape: Shape,
        shared: Option<&Secret<SHARED_LEN>>,
    ) -> Option<Self> {
        let ours = own.agree(theirs).ok()?;
        let secret = join_secrets(ours.expose(), shared);
        let info = [
            b"sealcast v3 agreed\0",
            sender.as_bytes().as_slice(),
            receiver.as_bytes(),
            &shape.bytes(),
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

    /// The ciphers of the session. A receiver with an identity proves it: `identity` is its public
    /// key, and what that and the sender's key of this session agree on.
    pub(super) fn pair(&self, identity: Option<(&PublicKey, &SharedSecret)>) -> Pair {
        let secret = match identity {
            None => self.agreed.clone(),
            Some((key, shared)) => {
                let info = [b"sealcast v3 identified\0", key.as_bytes().as_slice()].concat();
                let both = join_secrets(self.agreed.expose(), Some(shared));
                kdf::derive(&both, &self.session.0, &info)
            }
        };
        let cipher =
            |info: &[u8]| Cipher::new(&kdf::derive(secret.expose(), &self.session.0, info));
        Pair {
            join: self.join.clone(),
            reply: cipher(b"sealcast v3 reply"),
            feedback: cipher(b"sealcast v3 feedback"),
            bye: cipher(b"sealcast v3 bye"),
        }
    }
}

/// Two secrets as one, the second of which may be missing.
fn join_secrets(first: &[u8; 32], second: Option<&Secret<32>>) -> Zeroizing<Vec<u8>> {
    let second = second.map_or(&[][..], |s| s.expose());
    Zeroizing::new([first.as_slice(), second].concat())
}

/// The four ciphers between the sender and one receiver.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) join: Cipher,
    pub(super) reply: Cipher,
    pub(super) feedback: Cipher,
    pub(super) bye: Cipher,
}

/// The nonce of transmission `tx`.
pub(super) fn multicast_nonce(tx: u64) -> [u8; NONCE_LEN] {
    counter_nonce(0, tx)
}

/// The nonce of the `count`th datagram of a kind.
pub(super) fn counter_nonce(kind: u8, count: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[0] = kind;
    nonce[4..].copy_from_slice(&count.to_be_bytes());
    nonce
}

/// The nonce of the `count`th FEEDBACK of this receiver, or BYE to it.
pub(super) fn member_nonce(kind: DatagramKind, receiver: u32, count: u32) -> [u8; NONCE_LEN] {
    counter_nonce(kind as u8, u64::from(receiver) << 32 | u64::from(count))
}

/// The nonce of a JOIN, ACCEPT or REJECT; `detail` tells two texts of one kind apart.
pub(super) fn reply_nonce(kind: DatagramKind, detail: u16) -> [u8; NONCE_LEN] {
    counter_nonce(kind as u8, u64::from(detail))
}

/// Seals the body that begins at `body` of the datagram that begins at `start`, and appends its
/// tag. What stands between is authenticated with it.
pub(super) fn seal(
    cipher: &Cipher,
    nonce: &[u8; NONCE_LEN],
    out: &mut Vec<u8>,
    start: usize,
    body: usize,
) {
    let (head, text) = out.split_at_mut(body);
    let tag = cipher.seal_in_place(nonce, &head[start..], text);
    out.extend_from_slice(&tag);
}

/// Opens a datagram in place and returns its body; nothing when it is forged or too short, and it
/// is then lost.
pub(super) fn open<'a>(
    cipher: &Cipher,
    nonce: &[u8; NONCE_LEN],
    datagram: &'a mut [u8],
    header_len: usize,
) -> Option<&'a mut [u8]> {
    let (head, rest) = datagram.split_at_mut_checked(header_len)?;
    cipher.open_in_place(nonce, head, rest).ok()
}

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
pub(super) fn emit_announce(announce: &wire::Announce, keys: &SenderKeys, out: &mut Vec<u8>) {
    let (start, session) = (out.len(), announce.session);
    announce.emit(out);
    if let Some(key) = &keys.signing {
        let signature = sign(key, Purpose::Announce, session, &out[start..]);
        out.extend_from_slice(&signature);
    }
    let tag = announce_tag(&session.0, keys.shared.as_ref(), &out[start..]);
    out.extend_from_slice(tag.expose());
}

/// An ANNOUNCE whose tag is right, and whose signature is still to be checked.
#[derive(Debug)]
pub(super) struct Announced<'a> {
    pub(super) announce: wire::Announce,
    signed: Option<(&'a [u8], &'a [u8; SIGNATURE_LEN])>,
}

impl<'a> Announced<'a> {
    /// Reads an ANNOUNCE and checks its tag, made with `shared` if there is one.
    pub(super) fn open(datagram: &'a [u8], shared: Option<&Secret<SHARED_LEN>>) -> Option<Self> {
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
    pub(super) fn verify(&self) -> Result<Option<VerifyingKey>, BadSignature> {
        let (Some(key), Some((body, signature))) = (self.announce.protection.signer, self.signed)
        else {
            return Ok(None);
        };
        let key = VerifyingKey::from_bytes(&key).map_err(|_| BadSignature)?;
        verify(
            &key,
            Purpose::Announce,
            self.announce.session,
            body,
            signature,
        )?;
        Ok(Some(key))
    }
}

/// What a signature is for: none fits another purpose.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Announce,
    Block,
    Hashes,
    Poll,
    End,
    Abort,
}

impl Purpose {
    fn text(self, session: SessionId, body: &[u8]) -> Vec<u8> {
        let purpose: &[u8] = match self {
            Self::Announce => b"sealcast v3 announce\0",
            Self::Block => b"sealcast v3 block\0",
            Self::Hashes => b"sealcast v3 hashes\0",
            Self::Poll => b"sealcast v3 poll\0",
            Self::End => b"sealcast v3 end\0",
            Self::Abort => b"sealcast v3 abort\0",
        };
        [purpose, &session.0, body].concat()
    }
}

/// Signs a text of a session.
pub(super) fn sign(
    key: &SigningKey,
    purpose: Purpose,
    session: SessionId,
    body: &[u8],
) -> [u8; SIGNATURE_LEN] {
    key.sign(&purpose.text(session, body))
}

/// Checks a signature of [`sign`].
///
/// # Errors
/// [`BadSignature`].
pub(super) fn verify(
    key: &VerifyingKey,
    purpose: Purpose,
    session: SessionId,
    body: &[u8],
    signature: &[u8; SIGNATURE_LEN],
) -> Result<(), BadSignature> {
    key.verify_strict(&purpose.text(session, body), signature)
}

/// Which transmissions were heard: a sliding window, so that none counts twice.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    end: u64,
    bits: Vec<u64>,
}

/// Transmissions further back than this are not told from replays, and dropped.
const HEARD_WINDOW: u64 = 1 << 16;

impl Heard {
    pub(super) fn new() -> Self {
        Self {
            end: 0,
            bits: vec![0; usize::try_from(HEARD_WINDOW / 64).unwrap_or(0)],
        }
    }

    /// One more than the highest transmission heard.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether `tx` may still be new.
    pub(super) fn is_new(&self, tx: u64) -> bool {
        tx >= self.end || (self.end - tx <= HEARD_WINDOW && !self.bit(tx))
    }

    /// Marks `tx`, which is authentic, as heard.
    pub(super) fn mark(&mut self, tx: u64) {
        if tx >= self.end {
            if tx - self.end >= HEARD_WINDOW {
                self.bits.fill(0);
            } else {
                for skipped in self.end..=tx {
                    self.set(skipped, false);
                }
            }
            self.end = tx + 1;
        }
        self.set(tx, true);
    }

    fn place(&self, tx: u64) -> (usize, u64) {
        let slot = tx % HEARD_WINDOW;
        (usize::try_from(slot / 64).unwrap_or(0), 1 << (slot % 64))
    }

    fn bit(&self, tx: u64) -> bool {
        let (word, mask) = self.place(tx);
        self.bits[word] & mask != 0
    }

    fn set(&mut self, tx: u64, on: bool) {
        let (word, mask) = self.place(tx);
        if on {
            self.bits[word] |= mask;
        } else {
            self.bits[word] &= !mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SESSION: SessionId = SessionId([3; 16]);
    const SHAPE: Shape = Shape {
        k: 256,
        symbol_len: 1_436,
        depth: 1,
        series: SESSION,
    };

    /// The greeting of both sides.
    fn greetings(shared: [Option<Secret<32>>; 2]) -> [Greeting; 2] {
        let (s, r) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
        let (sp, rp) = (s.public(), r.public());
        let [a, b] = shared;
        [
            Greeting::agree(SESSION, &s, &rp, [&sp, &rp], SHAPE, a.as_ref()).unwrap(),
            Greeting::agree(SESSION, &r, &sp, [&sp, &rp], SHAPE, b.as_ref()).unwrap(),
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
        let [ours, theirs] = greetings([None, None]).map(|g| g.pair(None));
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
        let [a, b] = greetings([key(1), key(1)]);
        assert!(fits(&a.join, &b.join));
        for other in [[key(1), key(2)], [key(1), None]] {
            let [a, b] = greetings(other);
            assert!(!fits(&a.join, &b.join) && !fits(&a.reject, &b.reject));
            assert!(!fits(&a.pair(None).reply, &b.pair(None).reply));
        }
        let [id, dh] = [PublicKey([7; 32]), PublicKey([8; 32])];
        let (right, wrong) = (Secret::new([5; 32]), Secret::new([6; 32]));
        let pairs = [
            a.pair(Some((&id, &right))),
            b.pair(Some((&id, &right))),
            b.pair(Some((&id, &wrong))),
            b.pair(Some((&dh, &right))),
            b.pair(None),
        ];
        let same: Vec<_> = pairs[1..]
            .iter()
            .map(|p| fits(&pairs[0].reply, &p.reply))
            .collect();
        assert_eq!(same, [true, false, false, false]);
    }

    #[test]
    fn the_key_of_a_one_way_session_is_bound_to_its_announce() {
        let sender = PublicKey([1; 32]);
        let signer = SigningKey::from_seed([2; 32]).public();
        let shared = [Secret::new([3; 32]), Secret::new([4; 32])];
        let deeper = Shape { depth: 2, ..SHAPE };
        let other = PublicKey([9; 32]);
        let secrets = [
            one_way_secret(SESSION, &sender, SHAPE, None, None),
            one_way_secret(SessionId([4; 16]), &sender, SHAPE, None, None),
            one_way_secret(SESSION, &other, SHAPE, None, None),
            one_way_secret(SESSION, &sender, deeper, None, None),
            one_way_secret(SESSION, &sender, SHAPE, Some(&signer), None),
            one_way_secret(SESSION, &sender, SHAPE, None, Some(&shared[0])),
            one_way_secret(SESSION, &sender, SHAPE, None, Some(&shared[1])),
        ];
        let different: BTreeSet<[u8; 32]> = secrets.iter().map(|s| *s.expose()).collect();
        assert_eq!(different.len(), secrets.len());
        let again = one_way_secret(SESSION, &sender, SHAPE, None, Some(&shared[1]));
        assert!(different.contains(again.expose()));
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
        let opened = Announced::open(&datagram, keys.shared.as_ref()).unwrap();
        assert_eq!(opened.announce, announce);
        assert_eq!(opened.verify(), Ok(Some(signing.public())));
        assert!(Announced::open(&datagram, None).is_none());
        assert!(Announced::open(&datagram, Some(&Secret::new([5; 32]))).is_none());
        // Who has the shared secret can make a tag, but no signature.
        let mut forged = Vec::new();
        let other = SenderKeys {
            signing: Some(SigningKey::from_seed([8; 32])),
            shared: keys.shared.clone(),
            ..SenderKeys::default()
        };
        emit_announce(&announce, &other, &mut forged);
        let opened = Announced::open(&forged, keys.shared.as_ref()).unwrap();
        assert_eq!(opened.verify(), Err(BadSignature));
    }

    #[test]
    fn a_transmission_counts_once() {
        let mut heard = Heard::new();
        let mut model = BTreeSet::new();
        let mut tx = 1u64;
        for n in 0..20_000u64 {
            tx = tx
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let candidate = n * 20 + (tx >> 33) % 3_000;
            if heard.is_new(candidate) {
                assert!(model.insert(candidate), "{candidate} twice");
                heard.mark(candidate);
            } else {
                assert!(model.contains(&candidate), "{candidate} lost");
            }
        }
        heard.mark(1 << 40);
        assert!(!heard.is_new(1 << 40) && !heard.is_new(5));
        assert!(heard.is_new((1 << 40) - 1));
    }
}
