//! Admission: HELLOs that are answered by cookies, JOINs that bring them back, ACCEPTs and REJECTs
//! that answer those.

use std::net::SocketAddr;

use super::join_limit::JoinLimiter;
use super::members::Member;
use crate::crypt::agree::{PublicKey, SecretKey};
use crate::crypt::kdf;
use crate::crypt::secret::Secret;
use crate::proto::keys::{Listed, SHARED_LEN, SenderKeys};
use crate::proto::protect::{
    AccessKey, AnnounceHash, CookieMaker, Handshake, PeerCiphers, open, reply_nonce, seal,
};
use crate::units::Instant;
use crate::wire::{
    ACCEPT_NONCE_LEN, Accept, COOKIE_LEN, Cookie, DatagramKind, HELLO_NONCE_LEN, HandshakeHeader,
    Hello, Join, RejectReason, SessionId,
};

/// The JOIN of a receiver that is not known, opened.
#[derive(Debug)]
pub(super) struct OpenJoin {
    pub(super) join: Join,
    /// The receiver's key of this session.
    pub(super) receiver_key: PublicKey,
    handshake: Handshake,
}

/// What the sender draws for a session.
#[derive(Debug)]
pub(super) struct SessionSecrets {
    /// The secret of the session's multicast key.
    pub(super) multicast: Secret<32>,
    /// The sender's key of this session.
    pub(super) key: SecretKey,
    /// What cookies and the nonces of ACCEPTs are made from.
    pub(super) root: Secret<32>,
}

/// What a JOIN shows before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It comes from where it says; it is so many bytes long without what shows that.
    Granted(usize),
    /// It may come from anywhere: its receiver is to ask again with this cookie.
    Unproven(Cookie),
}

/// The sender's key of this session, and the secret that it gives to receivers that may take part.
#[derive(Debug)]
pub(super) struct Admission {
    session: SessionId,
    announced: AnnounceHash,
    access: AccessKey,
    cookies: CookieMaker,
    secrets: SessionSecrets,
    shared: Option<Secret<SHARED_LEN>>,
    listed: Option<Vec<Listed>>,
    limiter: JoinLimiter,
}

impl Admission {
    pub(super) fn new(
        (session, announced): (SessionId, AnnounceHash),
        secrets: SessionSecrets,
        keys: &SenderKeys,
        limiter: JoinLimiter,
    ) -> Self {
        let cookies = kdf::derive(secrets.root.expose(), &session.0, b"sealcast v3 cookies");
        Self {
            session,
            announced,
            access: AccessKey::new(session, keys.shared.as_ref()),
            cookies: CookieMaker::new(cookies),
            secrets,
            shared: keys.shared.clone(),
            listed: keys.listed.clone(),
            limiter,
        }
    }

    /// The sender's public key of this session, for tests that join by hand.
    #[cfg(test)]
    pub(super) fn public(&self) -> PublicKey {
        self.secrets.key.public()
    }

    /// Answers a HELLO by a cookie; nothing when the HELLO is forged, or one of too many.
    pub(super) fn answer_hello(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<Vec<u8>> {
        let hello = Hello::parse(self.access.open(datagram)?).ok()?;
        let cookie = self.cookie(now, from, hello.nonce);
        self.emit_cookie(now, cookie)
    }

    /// Writes a COOKIE, unless it is one of too many.
    pub(super) fn emit_cookie(&mut self, now: Instant, cookie: Cookie) -> Option<Vec<u8>> {
        if !self.limiter.allow_cookie(now) {
            return None;
        }
        let mut out = vec![];
        cookie.emit(&mut out);
        self.access.seal(&mut out);
        Some(out)
    }

    /// Checks what stands behind a JOIN; nothing when its MAC is wrong.
    pub(super) fn check_access(
        &self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<Access> {
        let text = self.access.open(datagram)?;
        let (join, cookie) = text.split_last_chunk::<COOKIE_LEN>()?;
        if self.cookies.is_good(now, from, *cookie) {
            return Some(Access::Granted(join.len()));
        }
        let header = HandshakeHeader::parse(join).ok()?;
        let nonce = *header.receiver_key.first_chunk::<HELLO_NONCE_LEN>()?;
        Some(Access::Unproven(self.cookie(now, from, nonce)))
    }

    fn cookie(&self, now: Instant, from: SocketAddr, nonce: [u8; HELLO_NONCE_LEN]) -> Cookie {
        Cookie {
            tag: self.session.tag(),
            nonce,
            cookie: self.cookies.make(now, from),
        }
    }

    /// Whether a JOIN of an unknown receiver may be looked at: each costs a key agreement.
    pub(super) fn allow(&mut self, now: Instant, from: SocketAddr) -> bool {
        self.limiter.allow(now, from.ip())
    }

    /// Opens the JOIN of an unknown receiver that saw this session's ANNOUNCE; nothing when it is
    /// forged or meant for another session.
    pub(super) fn open_join(
        &self,
        header: &HandshakeHeader,
        datagram: &mut [u8],
    ) -> Option<OpenJoin> {
        let receiver_key = PublicKey(header.receiver_key);
        let (session, shared) = (self.session, self.shared.as_ref());
        let handshake = Handshake::agree(
            session,
            &self.secrets.key,
            &receiver_key,
            &receiver_key,
            self.announced,
            shared,
        )?;
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
            Some(identity) => Some((identity, self.secrets.key.agree(identity).ok()?)),
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

    /// What a receiver is told by its ACCEPT: the same each time.
    pub(super) fn acceptance(&self, receiver_key: &[u8; 32]) -> Accept {
        let info = [b"sealcast v3 accept\0".as_slice(), receiver_key].concat();
        let drawn = kdf::derive(self.secrets.root.expose(), &self.session.0, &info);
        let mut nonce = [0; ACCEPT_NONCE_LEN];
        nonce.copy_from_slice(&drawn.expose()[..ACCEPT_NONCE_LEN]);
        Accept {
            session_secret: *self.secrets.multicast.expose(),
            nonce,
        }
    }

    /// An ACCEPT for the receiver of this number.
    pub(super) fn accept(&self, receiver: u32, member: &Member) -> Vec<u8> {
        let number = u16::try_from(receiver).unwrap_or(u16::MAX);
        let mut out = self.header(DatagramKind::Accept, number, member.key);
        self.acceptance(&member.key).emit(&mut out);
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
    use crate::proto::limits::JOINS_AT_ONCE_MAX;
    use crate::proto::sender::outgoing::announcement;

    const SESSION: SessionId = SessionId([3; 16]);

    const AT: Instant = Instant::from_us(1);

    fn announced(depth: u16) -> AnnounceHash {
        let config = crate::proto::SenderConfig::default();
        let key = SecretKey::from_seed([1; 32]);
        AnnounceHash::of(&announcement(&config, SESSION, &key.public(), depth))
    }

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 9))
    }

    fn admission(keys: &SenderKeys) -> Admission {
        let secrets = SessionSecrets {
            multicast: Secret::new([5; 32]),
            key: SecretKey::from_seed([1; 32]),
            root: Secret::new([6; 32]),
        };
        let limiter = JoinLimiter::new(Instant::ZERO, 7);
        Admission::new((SESSION, announced(1)), secrets, keys, limiter)
    }

    /// A JOIN of the receiver with this key, which claims an identity, sealed for an ANNOUNCE.
    fn join(
        own: &SecretKey,
        sender: &PublicKey,
        announced: AnnounceHash,
        identity: Option<[u8; 32]>,
    ) -> (HandshakeHeader, Vec<u8>) {
        let handshake =
            Handshake::agree(SESSION, own, sender, &own.public(), announced, None).unwrap();
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
            mtu: 1_500,
            name: "a".into(),
            identity,
        }
        .emit(&mut out);
        let nonce = reply_nonce(DatagramKind::Join, 0);
        seal(&handshake.join, &nonce, &mut out, 0, HandshakeHeader::LEN);
        (header, out)
    }

    #[test]
    fn a_join_opens_for_what_was_announced() {
        let admission = admission(&SenderKeys::default());
        let own = SecretKey::from_seed([2; 32]);
        let (header, mut bytes) = join(&own, &admission.public(), announced(1), None);
        let opened = admission.open_join(&header, &mut bytes);
        assert_eq!(opened.unwrap().join.name, "a");
        let (header, mut bytes) = join(&own, &admission.public(), announced(2), None);
        let opened = admission.open_join(&header, &mut bytes);
        assert!(opened.is_none(), "an attacker changed the ANNOUNCE");
    }

    #[test]
    fn access_is_granted_to_an_address_that_was_sent_a_cookie() {
        let mut admission = admission(&SenderKeys::default());
        let own = SecretKey::from_seed([2; 32]);
        let (_, bytes) = join(&own, &admission.public(), announced(1), None);
        let with = |admission: &Admission, cookie: [u8; COOKIE_LEN]| {
            let mut datagram = [bytes.clone(), cookie.to_vec()].concat();
            admission.access.seal(&mut datagram);
            datagram
        };
        let first = with(&admission, [0; COOKIE_LEN]);
        let Some(Access::Unproven(cookie)) = admission.check_access(AT, addr(1), &first) else {
            panic!("a JOIN without a cookie is looked at");
        };
        assert_eq!(cookie.nonce, own.public().0[..8]);
        let second = with(&admission, cookie.cookie);
        let granted = Some(Access::Granted(bytes.len()));
        assert_eq!(admission.check_access(AT, addr(1), &second), granted);
        assert_ne!(admission.check_access(AT, addr(2), &second), granted);
        let mut bad = second;
        bad[50] ^= 1;
        assert_eq!(admission.check_access(AT, addr(1), &bad), None);

        let mut hello = vec![];
        Hello {
            tag: SESSION.tag(),
            nonce: cookie.nonce,
        }
        .emit(&mut hello);
        admission.access.seal(&mut hello);
        let answer = admission.answer_hello(AT, addr(1), &hello).unwrap();
        let answer = Cookie::parse(admission.access.open(&answer).unwrap());
        assert_eq!(answer, Ok(cookie));
        let answers = (0..2 * u64::from(JOINS_AT_ONCE_MAX))
            .filter_map(|_| admission.answer_hello(AT, addr(1), &hello));
        assert!(answers.count() < JOINS_AT_ONCE_MAX as usize);
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
            let (header, mut bytes) = join(&own, &admission.public(), announced(1), identity);
            let opened = admission.open_join(&header, &mut bytes).unwrap();
            admission.place(&opened.join)
        };
        assert_eq!(place(&open, None), Ok(None));
        assert_eq!(place(&closed, None), Err(RejectReason::KeyNeeded));
        assert_eq!(place(&closed, Some(listed(4).key.0)), Ok(Some(1)));
        let stranger = listed(5).key.0;
        assert_eq!(place(&closed, Some(stranger)), Err(RejectReason::NotListed));
    }
}
