//! One-way sessions that a receiver heard of. It asks none: the first datagram under the key of one
//! makes it the receiver's own, so that an attacker's repeated ANNOUNCE does not keep it from the
//! true one.

use crate::crypt::aead::Cipher;
use crate::crypt::sign::VerifyingKey;
use crate::proto::keys::ReceiverKeys;
use crate::proto::limits::{CANDIDATE_PATIENCE, PEER_SILENT_MAX};
use crate::proto::protect::{
    AnnounceHash, OpenedAnnounce, multicast_cipher, multicast_nonce, one_way_secret, open,
};
use crate::units::Instant;
use crate::wire::{Announce, HEADER_LEN, MulticastHeader};

/// A one-way session of which we heard an ANNOUNCE.
#[derive(Debug)]
pub(super) struct OneWayCandidate {
    pub(super) announce: Announce,
    pub(super) signer: Option<VerifyingKey>,
    pub(super) cipher: Cipher,
    heard_at: Instant,
    /// It sent before we heard of it.
    missed: bool,
    /// It sends, be it that nothing of it comes through.
    late: bool,
}

impl OneWayCandidate {
    pub(super) fn new(
        announce: Announce,
        signer: Option<VerifyingKey>,
        keys: &ReceiverKeys,
        now: Instant,
    ) -> Self {
        let (id, announced) = (announce.session, AnnounceHash::of(&announce));
        let secret = one_way_secret(id, announced, keys.shared.as_ref());
        Self {
            cipher: multicast_cipher(id, secret.expose()),
            missed: announce.status.is_late(),
            late: announce.status.is_late(),
            announce,
            signer,
            heard_at: now,
        }
    }

    /// Whether an ANNOUNCE seems to be of this session.
    pub(super) fn is_of(&self, announce: &Announce) -> bool {
        AnnounceHash::of(&self.announce) == AnnounceHash::of(announce)
    }

    /// Whether an ANNOUNCE of it comes from its signer, if it has one.
    pub(super) fn is_signed(&self, announced: &OpenedAnnounce<'_>) -> bool {
        announced.verify() == Ok(self.signer)
    }

    /// It was heard again, and `late` that it has begun without us.
    pub(super) fn hear(&mut self, now: Instant, late: bool) {
        self.heard_at = now;
        self.late |= late;
    }

    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// Whether it is over for us, and none follows.
    pub(super) fn is_missed(&self) -> bool {
        self.late && !self.announce.status.next_pass
    }

    /// When it is forgotten, if it is not heard again.
    pub(super) fn ends_at(&self) -> Instant {
        self.heard_at + PEER_SILENT_MAX
    }

    pub(super) fn makes_room(&self, now: Instant) -> bool {
        self.late || now.since(self.heard_at) >= CANDIDATE_PATIENCE
    }

    /// Whether a datagram is of this session, and we can still take part.
    pub(super) fn recognises(&self, datagram: &[u8]) -> bool {
        let Ok(header) = MulticastHeader::parse(datagram) else {
            return false;
        };
        if self.missed || header.tag != self.announce.session.tag() {
            return false;
        }
        // Opened for good it is by the session that it makes ours.
        let mut copy = datagram.to_vec();
        let nonce = multicast_nonce(header.sequence);
        open(&self.cipher, &nonce, &mut copy, HEADER_LEN).is_some()
    }
}
