//! Why a sender sends no faster: what kept it waiting longest of late.

use crate::units::{Duration, Instant};

/// The reason is told no more often than this.
const REASON_EVERY: Duration = Duration::from_secs(1);

/// What keeps a sender from sending at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum SendLimit {
    /// The rate.
    #[default]
    Rate,
    /// The input: there is nothing to send (RFC 9002 calls that application limited).
    Input,
    /// A receiver has no room for another block.
    Window,
    /// A receiver has not reported on what is under way to it.
    Reports,
}

impl SendLimit {
    const ALL: [Self; 4] = [Self::Rate, Self::Input, Self::Window, Self::Reports];
}

/// Why the rate is what it is, and which receiver set it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum RateReason {
    /// The rate doubles from step to step: nothing has limited it yet.
    #[default]
    SlowStart,
    /// The rate rises slowly: what limited it is passed, or was no limit.
    Probing,
    /// The rate is the greatest that the sender may use.
    Maximum,
    /// A receiver lost more than usual.
    Loss {
        /// Its number.
        receiver: u32,
    },
    /// A queue stands on the way to a receiver.
    Queue {
        /// Its number.
        receiver: u32,
    },
    /// Less arrived at a receiver than was sent while the rate doubled.
    Delivery {
        /// Its number.
        receiver: u32,
    },
    /// The input is slower than the rate.
    Input,
    /// A receiver has no room: its consumer, or what it still lacks, holds the sender up.
    Window {
        /// Its number.
        receiver: u32,
    },
    /// A receiver's reports come too late for the rate.
    Reports {
        /// Its number.
        receiver: u32,
    },
}

impl RateReason {
    /// The number of the receiver that set it, if one did.
    pub fn receiver(self) -> Option<u32> {
        match self {
            Self::Loss { receiver }
            | Self::Queue { receiver }
            | Self::Delivery { receiver }
            | Self::Window { receiver }
            | Self::Reports { receiver } => Some(receiver),
            Self::SlowStart | Self::Probing | Self::Maximum | Self::Input => None,
        }
    }
}

/// For how long each [`SendLimit`] held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitTimes([Duration; 4]);

impl LimitTimes {
    /// The time for which this one held.
    pub fn get(&self, limit: SendLimit) -> Duration {
        self.0[limit as usize]
    }

    /// This and `other` together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut sum = self;
        for (sum, more) in sum.0.iter_mut().zip(other.0) {
            *sum = *sum + more;
        }
        sum
    }

    /// The one that held longest; the first of equals.
    fn longest(&self) -> SendLimit {
        let mut longest = SendLimit::Rate;
        for limit in SendLimit::ALL {
            if self.get(limit) > self.get(longest) {
                longest = limit;
            }
        }
        longest
    }
}

/// Adds up what keeps the sender from sending.
#[derive(Clone, Copy, Debug)]
pub(super) struct LimitTracker {
    present: SendLimit,
    since: Instant,
    interval_start: Instant,
    interval: LimitTimes,
    total: LimitTimes,
}

impl LimitTracker {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            present: SendLimit::Rate,
            since: now,
            interval_start: now,
            interval: LimitTimes::default(),
            total: LimitTimes::default(),
        }
    }

    /// The stream begins: what was before it does not count.
    pub(super) fn start(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// From now on this keeps the sender from sending.
    pub(super) fn note(&mut self, now: Instant, limit: SendLimit) {
        let slot = self.present as usize;
        self.interval.0[slot] = self.interval.0[slot] + now.since(self.since);
        (self.present, self.since) = (limit, now);
    }

    /// For how long each limit held since the start.
    pub(super) fn total(&self) -> LimitTimes {
        self.total.and(self.interval)
    }

    /// What held longest in the interval that is over, if one is.
    pub(super) fn poll(&mut self, now: Instant) -> Option<SendLimit> {
        if now.since(self.interval_start) < REASON_EVERY {
            return None;
        }
        self.note(now, self.present);
        let longest = self.interval.longest();
        self.total = self.total.and(self.interval);
        (self.interval_start, self.interval) = (now, LimitTimes::default());
        Some(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_held_longest_is_told_once_in_an_interval() {
        let at = |ms: u64| Instant::from_us(ms * 1_000);
        let mut tracker = LimitTracker::new(at(0));
        tracker.note(at(200), SendLimit::Input);
        tracker.note(at(700), SendLimit::Rate);
        tracker.note(at(900), SendLimit::Window);
        assert_eq!(tracker.poll(at(999)), None);
        assert_eq!(tracker.poll(at(1_000)), Some(SendLimit::Input));
        assert_eq!(tracker.poll(at(1_001)), None);
        assert_eq!(tracker.poll(at(2_000)), Some(SendLimit::Window));
        let total = tracker.total();
        assert_eq!(total.get(SendLimit::Rate), Duration::from_ms(400));
        assert_eq!(total.get(SendLimit::Input), Duration::from_ms(500));
        assert_eq!(total.get(SendLimit::Window), Duration::from_ms(1_100));
        assert_eq!(
            total.and(total).get(SendLimit::Input),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn a_reason_names_the_receiver_that_set_it() {
        assert_eq!(RateReason::Loss { receiver: 7 }.receiver(), Some(7));
        assert_eq!(RateReason::Input.receiver(), None);
    }
}
