//! What a datagram must show before it costs anything: the MAC of HELLO, COOKIE and JOIN, and the
//! cookie that a JOIN brings back from the address that it comes from.

use std::net::{IpAddr, SocketAddr};

use crate::crypt::aead::Key;
use crate::crypt::secret::Secret;
use crate::crypt::{hash, kdf};
use crate::proto::keys::SHARED_LEN;
use crate::proto::limits::COOKIE_TIME;
use crate::units::Instant;
use crate::wire::{COOKIE_LEN, SessionId, TAG_LEN};

/// The first bytes of HMAC-SHA256.
pub(super) fn short_mac(key: &Key, text: &[u8]) -> Secret<TAG_LEN> {
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&hash::mac(key, text)[..TAG_LEN]);
    Secret::new(tag)
}

/// The key of the MACs under HELLO, COOKIE and JOIN. It is made from the shared secret, if there is
/// one: a machine that does not have it costs the sender one MAC. Else the MAC finds corruption.
#[derive(Clone, Debug)]
pub(in crate::proto) struct AccessKey(Key);

impl AccessKey {
    pub(in crate::proto) fn new(session: SessionId, shared: Option<&Secret<SHARED_LEN>>) -> Self {
        let secret = shared.map_or(&[][..], |s| s.expose());
        Self(kdf::derive(secret, &session.0, b"sealcast v3 access"))
    }

    /// Appends the MAC of a datagram.
    pub(in crate::proto) fn seal(&self, datagram: &mut Vec<u8>) {
        let mac = short_mac(&self.0, datagram);
        datagram.extend_from_slice(mac.expose());
    }

    /// The datagram without its MAC, if that is right.
    pub(in crate::proto) fn open<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (text, mac) = datagram.split_last_chunk::<TAG_LEN>()?;
        (short_mac(&self.0, text) == Secret::new(*mac)).then_some(text)
    }
}

/// Makes cookies and checks them, without a memory of those that it made: a cookie is the MAC of an
/// address and of the time.
#[derive(Debug)]
pub(in crate::proto) struct CookieMaker(Key);

impl CookieMaker {
    pub(in crate::proto) fn new(key: Key) -> Self {
        Self(key)
    }

    /// The cookie of an address.
    pub(in crate::proto) fn make(&self, now: Instant, addr: SocketAddr) -> [u8; COOKIE_LEN] {
        *self.of(now.as_us() / COOKIE_TIME.as_us(), addr).expose()
    }

    /// Whether this is a cookie that the address was sent lately.
    pub(in crate::proto) fn is_good(
        &self,
        now: Instant,
        addr: SocketAddr,
        cookie: [u8; COOKIE_LEN],
    ) -> bool {
        let (period, cookie) = (now.as_us() / COOKIE_TIME.as_us(), Secret::new(cookie));
        self.of(period, addr) == cookie || period > 0 && self.of(period - 1, addr) == cookie
    }

    fn of(&self, period: u64, addr: SocketAddr) -> Secret<COOKIE_LEN> {
        let mut text = period.to_be_bytes().to_vec();
        text.extend_from_slice(&addr.port().to_be_bytes());
        match addr.ip() {
            IpAddr::V4(ip) => text.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => text.extend_from_slice(&ip.octets()),
        }
        short_mac(&self.0, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Duration;

    #[test]
    fn a_cookie_is_of_an_address_and_of_its_time() {
        let maker = CookieMaker::new(Key::new([1; 32]));
        let addr = |host, port| SocketAddr::from(([10, 0, 0, host], port));
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let cookie = maker.make(at(100), addr(1, 9));
        for (secs, good) in [(0, true), (100, true), (230, true), (241, false)] {
            assert_eq!(
                maker.is_good(at(secs), addr(1, 9), cookie),
                good,
                "{secs} s"
            );
        }
        assert!(!maker.is_good(at(100), addr(2, 9), cookie));
        assert!(!maker.is_good(at(100), addr(1, 8), cookie));
        let other = CookieMaker::new(Key::new([2; 32]));
        assert!(!other.is_good(at(100), addr(1, 9), cookie));
    }

    #[test]
    fn a_mac_is_of_those_with_the_shared_secret() {
        let session = SessionId([3; 16]);
        let shared = Secret::new([4; 32]);
        let keys = [None, Some(&shared)].map(|shared| AccessKey::new(session, shared));
        let mut datagram = b"hello".to_vec();
        keys[1].seal(&mut datagram);
        assert_eq!(keys[1].open(&datagram), Some(&b"hello"[..]));
        assert_eq!(keys[0].open(&datagram), None);
        for at in 0..datagram.len() {
            datagram[at] ^= 1;
            assert_eq!(keys[1].open(&datagram), None, "byte {at}");
            datagram[at] ^= 1;
            assert_eq!(keys[1].open(&datagram[..at]), None, "{at} bytes");
        }
    }
}
