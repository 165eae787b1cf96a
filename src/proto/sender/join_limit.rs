//! How many HELLOs are answered, each of which costs a datagram, and how many JOINs of unknown
//! receivers are looked at, each of which costs a key agreement.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use crate::proto::limits::{
    COOKIES_PER_S_MAX, JOINS_AT_ONCE_MAX, JOINS_PER_ADDRESS_S_MAX, JOINS_PER_S_MAX,
};
use crate::units::{Instant, Rate};

/// Addresses share this many buckets.
const BUCKETS: usize = 64;

/// A token bucket: so many in a burst, and so many a second.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u64,
    filled_at: Instant,
}

impl Bucket {
    fn fill(&mut self, now: Instant, per_s: u32) {
        let rate = Rate::from_bytes_per_s(u64::from(per_s));
        let earned = rate.bytes_in(now.since(self.filled_at));
        if earned > 0 {
            self.tokens = (self.tokens + earned).min(u64::from(JOINS_AT_ONCE_MAX));
            self.filled_at = now;
        }
    }
}

/// A limit for all, and one for each address, so that an attacker that floods the sender from a few
/// addresses keeps out few others.
#[derive(Clone, Debug)]
pub(super) struct JoinLimiter {
    cookies: Bucket,
    all: Bucket,
    /// By a keyed hash of the address, so that an attacker cannot choose a bucket.
    buckets: [Bucket; BUCKETS],
    key: u64,
}

impl JoinLimiter {
    pub(super) fn new(now: Instant, key: u64) -> Self {
        let full = Bucket {
            tokens: u64::from(JOINS_AT_ONCE_MAX),
            filled_at: now,
        };
        Self {
            cookies: full,
            all: full,
            buckets: [full; BUCKETS],
            key,
        }
    }

    /// Whether another COOKIE may be sent.
    pub(super) fn allow_cookie(&mut self, now: Instant) -> bool {
        let cookies = &mut self.cookies;
        cookies.fill(now, COOKIES_PER_S_MAX);
        let allowed = cookies.tokens > 0;
        cookies.tokens -= u64::from(allowed);
        allowed
    }

    /// Whether a JOIN from this address, which gets what is sent to it, may be looked at.
    pub(super) fn allow(&mut self, now: Instant, from: IpAddr) -> bool {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.key);
        from.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % BUCKETS as u64).unwrap_or(0);
        let (one, all) = (&mut self.buckets[at], &mut self.all);
        one.fill(now, JOINS_PER_ADDRESS_S_MAX);
        all.fill(now, JOINS_PER_S_MAX);
        let allowed = one.tokens > 0 && all.tokens > 0;
        one.tokens -= u64::from(allowed);
        all.tokens -= u64::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_from_one_address_leaves_the_others_in() {
        let mut limiter = JoinLimiter::new(Instant::ZERO, 7);
        let (flood, mut admitted) = (IpAddr::from([10, 0, 0, 1]), 0);
        let mut real = 0;
        for us in (0..10_000_000).step_by(100) {
            let now = Instant::from_us(us);
            admitted += u32::from(limiter.allow(now, flood));
            if us % 100_000 == 0 {
                let n = u8::try_from(us / 100_000).unwrap();
                real += u32::from(limiter.allow(now, IpAddr::from([10, 0, 1, n])));
            }
        }
        let most = JOINS_AT_ONCE_MAX + 10 * JOINS_PER_ADDRESS_S_MAX;
        assert!(admitted <= most, "{admitted} of 100,000");
        assert!(real >= 95, "{real} of 100");
    }

    #[test]
    fn all_together_are_limited_too() {
        let mut limiter = JoinLimiter::new(Instant::ZERO, 7);
        let mut admitted = 0;
        for us in (0..1_000_000).step_by(10) {
            let from = IpAddr::from(u32::try_from(us * 7).unwrap().to_be_bytes());
            admitted += u32::from(limiter.allow(Instant::from_us(us), from));
        }
        let most = JOINS_AT_ONCE_MAX + JOINS_PER_S_MAX;
        assert!((most / 2..=most).contains(&admitted), "{admitted}");
    }
}
