//! Keys of a session, and the sealing of each kind of datagram.
//!
//! Each key has one purpose and one sender. Nonces: multicast datagrams count transmissions,
//! FEEDBACK and BYE carry a counter, JOIN, ACCEPT and REJECT are constant under keys that are new
//! with each receiver's key, their kind and reason being in the nonce.

use crate::crypt::aead::{Cipher, NONCE_LEN};
use crate::crypt::agree::{PublicKey, SecretKey};
use crate::crypt::{hash, kdf};
use crate::wire::{self, Kind, SessionId, TAG_LEN};

/// Makes the cipher of what the sender multicasts.
pub(super) fn multicast_cipher(session: SessionId, secret: &[u8; 32]) -> Cipher {
    Cipher::new(&kdf::derive(secret, &session.0, b"sealcast v1 multicast"))
}

/// The four ciphers between the sender and one receiver.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) join: Cipher,
    pub(super) reply: Cipher,
    pub(super) feedback: Cipher,
    pub(super) bye: Cipher,
}

impl Pair {
    /// Agrees on the ciphers; nothing when the other side's key is no proper key.
    pub(super) fn agree(
        session: SessionId,
        own: &SecretKey,
        theirs: &PublicKey,
        sender: &PublicKey,
        receiver: &PublicKey,
    ) -> Option<Self> {
        let shared = own.agree(theirs).ok()?;
        let cipher = |purpose: &[u8]| {
            let info = [
                b"sealcast v1 ",
                purpose,
                b"\0",
                sender.as_bytes(),
                receiver.as_bytes(),
            ];
            Cipher::new(&kdf::derive(shared.expose(), &session.0, &info.concat()))
        };
        Some(Self {
            join: cipher(b"join"),
            reply: cipher(b"reply"),
            feedback: cipher(b"feedback"),
            bye: cipher(b"bye"),
        })
    }
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

/// The nonce of a JOIN, ACCEPT or REJECT; `detail` tells two texts of one kind apart.
pub(super) fn reply_nonce(kind: Kind, detail: u8) -> [u8; NONCE_LEN] {
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
fn announce_tag(session: SessionId, announce: &[u8]) -> [u8; TAG_LEN] {
    let key = kdf::derive(b"", &session.0, b"sealcast v1 announce");
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&hash::mac(&key, announce)[..TAG_LEN]);
    tag
}

/// Appends an ANNOUNCE with its tag.
pub(super) fn emit_announce(announce: &wire::Announce, out: &mut Vec<u8>) {
    let start = out.len();
    announce.emit(out);
    let tag = announce_tag(announce.session, &out[start..]);
    out.extend_from_slice(&tag);
}

/// Reads an ANNOUNCE and checks its tag.
pub(super) fn parse_announce(datagram: &[u8]) -> Option<wire::Announce> {
    let (body, tag) = datagram.split_last_chunk::<TAG_LEN>()?;
    let announce = wire::Announce::parse(body).ok()?;
    (announce_tag(announce.session, body) == *tag).then_some(announce)
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

    #[test]
    fn both_sides_agree() {
        let session = SessionId([3; 16]);
        let (s, r) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
        let ours = Pair::agree(session, &s, &r.public(), &s.public(), &r.public()).unwrap();
        let theirs = Pair::agree(session, &r, &s.public(), &s.public(), &r.public()).unwrap();
        let mut out = b"?head-body".to_vec();
        let nonce = counter_nonce(9, 1);
        seal(&ours.feedback, &nonce, &mut out, 1, 6);
        assert_eq!(
            open(&theirs.feedback, &nonce, &mut out[1..].to_vec(), 5).unwrap(),
            b"body"
        );
        for at in 1..out.len() {
            let mut bad = out[1..].to_vec();
            bad[at - 1] ^= 1;
            assert!(
                open(&theirs.feedback, &nonce, &mut bad, 5).is_none(),
                "byte {at}"
            );
        }
        assert!(open(&theirs.bye, &nonce, &mut out[1..].to_vec(), 5).is_none());
        assert!(open(&theirs.feedback, &nonce, &mut out[1..10].to_vec(), 5).is_none());
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
