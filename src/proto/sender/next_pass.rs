//! Receivers that wait for the next pass: they came too late for this session, or were too slow.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::proto::limits::{NEXT_PASS_HEARD_MAX, RECEIVERS_MAX};
use crate::units::Instant;

/// Addresses that waiting receivers were heard from, and when. An attacker can pass for any number
/// of them: so they are counted, up to as many as a session takes, and nothing more.
#[derive(Debug, Default)]
pub(super) struct WaitingReceivers(BTreeMap<SocketAddr, Instant>);

impl WaitingReceivers {
    /// A waiting receiver was heard; `true` if it is new.
    pub(super) fn on_heard(&mut self, now: Instant, from: SocketAddr) -> bool {
        if let Some(heard_at) = self.0.get_mut(&from) {
            *heard_at = now;
            return false;
        }
        if self.0.len() >= RECEIVERS_MAX {
            self.0.retain(|_, at| is_there(now, *at));
        }
        if self.0.len() >= RECEIVERS_MAX {
            return false;
        }
        self.0.insert(from, now);
        debug_assert!(self.0.len() <= RECEIVERS_MAX);
        true
    }

    /// A receiver does not wait any more.
    pub(super) fn remove(&mut self, from: SocketAddr) {
        self.0.remove(&from);
    }

    /// Whether the receiver at this address was told to wait.
    pub(super) fn contains(&self, from: SocketAddr) -> bool {
        self.0.contains_key(&from)
    }

    /// Receivers that were heard of late.
    pub(super) fn count(&self, now: Instant) -> u32 {
        let there = self.0.values().filter(|&&at| is_there(now, at));
        u32::try_from(there.count()).unwrap_or(u32::MAX)
    }
}

fn is_there(now: Instant, heard_at: Instant) -> bool {
    now.since(heard_at) < NEXT_PASS_HEARD_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Duration;

    #[test]
    fn waiting_receivers_are_counted_once_and_for_a_time() {
        let mut waiting = WaitingReceivers::default();
        let addr = |n: u32| SocketAddr::from((n.to_be_bytes(), 9));
        let late = Instant::ZERO + Duration::from_secs(6);
        assert!(waiting.on_heard(Instant::ZERO, addr(1)));
        assert!(waiting.on_heard(Instant::ZERO, addr(2)));
        assert!(!waiting.on_heard(late, addr(2)));
        assert_eq!(waiting.count(late), 2);
        assert_eq!(waiting.count(Instant::ZERO + NEXT_PASS_HEARD_MAX), 1);
        waiting.remove(addr(2));
        assert!(waiting.contains(addr(1)) && !waiting.contains(addr(2)));
    }

    #[test]
    fn a_flood_of_them_takes_no_more_than_a_session() {
        let mut waiting = WaitingReceivers::default();
        let addr = |n: usize| SocketAddr::from(((n as u32).to_be_bytes(), 9));
        for n in 0..RECEIVERS_MAX + 5 {
            waiting.on_heard(Instant::ZERO, addr(n));
        }
        assert_eq!(waiting.count(Instant::ZERO) as usize, RECEIVERS_MAX);
        let later = Instant::ZERO + NEXT_PASS_HEARD_MAX;
        assert!(waiting.on_heard(later, addr(RECEIVERS_MAX + 9)));
        assert_eq!(waiting.count(later), 1);
    }
}
