//! Admission: JOINs that are opened, ACCEPTs and REJECTs that answer them.

use std::net::IpAddr;

use super::join_limit::JoinLimiter;
use super::members::Member;
use crate::crypt::agree::{PublicKey, SecretKey};
use crate::crypt::secret::Secret;
use crate::proto::keys::{Listed, SHARED_LEN, SenderKeys};
use crate::proto::protect::{Handshake, PeerCiphers, StreamInfo, open, reply_nonce, seal};
use crate::units::Instant;
use crate::wire::{Accept, DatagramKind, HandshakeHeader, Join, RejectReason, SessionId};

/// The JOIN of a receiver that is not known, opened.
#[derive(Debug)]
pub(super) struct OpenJoin {
    pub(super) join: Join,
    /// The receiver's key of this session.
    pub(super) receiver_key: PublicKey,
    handshake: Handshake,
}

/// The sender's key of this session, and the secret that it gives to receivers that may take part.
#[derive(Debug)]
pub(super) struct Admission {
    session: SessionId,
    secret: Secret<32>,
    key: SecretKey,
    public: PublicKey,
    shared: Option<Secret<SHARED_LEN>>,
    listed: Option<Vec<Listed>>,
    limiter: JoinLimiter,
}

impl Admission {
    /// `secret` is that of the session's multicast key.
    pub(super) fn new(
        session: SessionId,
        secret: Secret<32>,
        key: SecretKey,
        keys: &SenderKeys,
        limiter: JoinLimiter,
    ) -> Self {
        Self {
            session,
            secret,
            public: key.public(),
            key,
            shared: keys.shared.clone(),
            listed: keys.listed.clone(),
            limiter,
        }
    }

    /// The sender's public key of this session, for tests that join by hand.
    #[cfg(test)]
    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Whether a JOIN of an unknown receiver may be looked at: each costs a key agreement.
    pub(super) fn allow(&mut self, now: Instant, from: IpAddr) -> bool {
        self.limiter.allow(now, from)
    }

    /// Opens the JOIN of an unknown receiver to a session of this stream; nothing when it is forged
    /// or meant for another session.
    pub(super) fn open_join(
        &self,
        stream: StreamInfo,
        header: &HandshakeHeader,
        datagram: &mut [u8],
    ) -> Option<OpenJoin> {
        let receiver_key = PublicKey(header.receiver_key);
        let both = [&self.public, &receiver_key];
        let (session, shared) = (self.session, self.shared.as_ref());
        let handshake = Handshake::agree(session, &self.key, &receiver_key, both, stream, shared)?;
        let nonce = reply_nonce(DatagramKind::Join, 0);
        let body = open(&handshake.join, &nonce, datagram, HandshakeHeader::LEN)?;
        let join = Join::parse(body)
            .ok()
            .filter(|join| join.session == session)?;
        Some(OpenJoin {
            join,
            receiver_key,
            handshake,
        })
    }

    /// A receiver's place in the list of those that may take part, if there is a list.
    ///
    /// # Errors
    /// Why it may not take part.
    pub(super) fn place(&self, join: &Join) -> Result<Option<usize>, RejectReason> {
        match (&self.listed, join.identity) {
            (None, _) => Ok(None),
            (Some(_), None) => Err(RejectReason::KeyNeeded),
            (Some(list), Some(key)) => {
                let place = list.iter().position(|l| l.key.0 == key);
                place.map(Some).ok_or(RejectReason::NotListed)
            }
        }
    }

    /// The name by which a receiver is expected: that of its listed key, or else what it calls
    /// itself.
    pub(super) fn known_as<'a>(&'a self, member: &'a Member) -> &'a str {
        let listed = self.listed.as_ref().zip(member.listed);
        let name = listed.and_then(|(list, at)| list.get(at)).map(|l| &l.name);
        name.unwrap_or(&member.name)
    }

    /// The ciphers of a receiver; nothing when the identity that it claims is no proper key.
    pub(super) fn ciphers(&self, opened: &OpenJoin) -> Option<PeerCiphers> {
        let identity = opened.join.identity.map(PublicKey);
        let agreed = match &identity {
            Some(identity) => Some((identity, self.key.agree(identity).ok()?)),
            None => None,
        };
        let proof = agreed.as_ref().map(|(key, secret)| (*key, secret));
        Some(opened.handshake.ciphers(proof))
    }

    /// A REJECT.
    pub(super) fn reject(&self, opened: &OpenJoin, reason: RejectReason) -> Vec<u8> {
        let mut out = self.header(DatagramKind::Reject, 0, opened.receiver_key.0);
        out.push(reason as u8);
        let nonce = reply_nonce(DatagramKind::Reject, reason as u16);
        let cipher = &opened.handshake.reject;
        seal(cipher, &nonce, &mut out, 0, HandshakeHeader::LEN);
        out
    }

    /// An ACCEPT for the receiver of this number.
    pub(super) fn accept(&self, receiver: u32, member: &Member) -> Vec<u8> {
        let number = u16::try_from(receiver).unwrap_or(u16::MAX);
        let mut out = self.header(DatagramKind::Accept, number, member.key);
        let session_secret = *self.secret.expose();
        Accept { session_secret }.emit(&mut out);
        let nonce = reply_nonce(DatagramKind::Accept, number);
        seal(
            &member.pair.reply,
            &nonce,
            &mut out,
            0,
            HandshakeHeader::LEN,
        );
        out
    }

    fn header(&self, kind: DatagramKind, number: u16, receiver_key: [u8; 32]) -> Vec<u8> {
        let mut out = vec![];
        HandshakeHeader {
            kind,
            number,
            tag: self.session.tag(),
            receiver_key,
        }
        .emit(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId([3; 16]);

    const STREAM: StreamInfo = StreamInfo {
        k: 4,
        symbol_len: 64,
        depth: 1,
        series: SESSION,
    };

    fn admission(keys: &SenderKeys) -> Admission {
        let key = SecretKey::from_seed([1; 32]);
        let limiter = JoinLimiter::new(Instant::ZERO, 7);
        Admission::new(SESSION, Secret::new([5; 32]), key, keys, limiter)
    }

    /// A JOIN of the receiver with this key, which claims an identity, sealed for a stream.
    fn join(
        own: &SecretKey,
        sender: &PublicKey,
        stream: StreamInfo,
        identity: Option<[u8; 32]>,
    ) -> (HandshakeHeader, Vec<u8>) {
        let both = [sender, &own.public()];
        let handshake = Handshake::agree(SESSION, own, sender, both, stream, None).unwrap();
        let header = HandshakeHeader {
            kind: DatagramKind::Join,
            number: 0,
            tag: SESSION.tag(),
            receiver_key: own.public().0,
        };
        let mut out = vec![];
        header.emit(&mut out);
        Join {
            session: SESSION,
            window_blocks: 9,
            socket_bytes: 200_000,
            name: "a".into(),
            identity,
        }
        .emit(&mut out);
        let nonce = reply_nonce(DatagramKind::Join, 0);
        seal(&handshake.join, &nonce, &mut out, 0, HandshakeHeader::LEN);
        (header, out)
    }

    #[test]
    fn a_join_opens_for_the_stream_that_was_announced() {
        let admission = admission(&SenderKeys::default());
        let own = SecretKey::from_seed([2; 32]);
        let (header, mut bytes) = join(&own, admission.public(), STREAM, None);
        let opened = admission.open_join(STREAM, &header, &mut bytes.clone());
        assert_eq!(opened.unwrap().join.name, "a");
        let other = StreamInfo { depth: 2, ..STREAM };
        let opened = admission.open_join(other, &header, &mut bytes);
        assert!(opened.is_none(), "somebody changed the ANNOUNCE");
    }

    #[test]
    fn only_listed_identities_have_a_place() {
        let listed = |n: u8| Listed {
            key: SecretKey::from_seed([n; 32]).public(),
            name: format!("node {n}"),
        };
        let keys = SenderKeys {
            listed: Some(vec![listed(3), listed(4)]),
            ..SenderKeys::default()
        };
        let (open, closed) = (admission(&SenderKeys::default()), admission(&keys));
        let own = SecretKey::from_seed([2; 32]);
        let place = |admission: &Admission, identity: Option<[u8; 32]>| {
            let (header, mut bytes) = join(&own, admission.public(), STREAM, identity);
            let opened = admission.open_join(STREAM, &header, &mut bytes).unwrap();
            admission.place(&opened.join)
        };
        assert_eq!(place(&open, None), Ok(None));
        assert_eq!(place(&closed, None), Err(RejectReason::KeyNeeded));
        assert_eq!(place(&closed, Some(listed(4).key.0)), Ok(Some(1)));
        let stranger = listed(5).key.0;
        assert_eq!(place(&closed, Some(stranger)), Err(RejectReason::NotListed));
    }
}
