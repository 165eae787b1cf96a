//! A receiver's round trips: how long to wait for it, and how long the queue is on the way.

use std::cmp::Ordering;

use crate::proto::limits::{RTT_MAX, RTT_MIN};
use crate::units::{Duration, Instant};

/// The queue is what all round trips of so long have in common: a machine that is busy now and then
/// is no queue.
const INTERVAL: Duration = Duration::from_ms(100);
/// It is as long as it was while it changes by no more than this from one interval to the next.
const STEADY: Duration = Duration::from_ms(1);

/// The round trips of one receiver.
#[derive(Clone, Debug, Default)]
pub(in crate::proto) struct RttEstimator {
    smoothed: Option<Duration>,
    least: Option<Duration>,
    newest: Duration,
    /// The least of the interval before this one, and of this one.
    intervals: [Option<Duration>; 2],
    began: Instant,
}

impl RttEstimator {
    /// Takes note of one round trip.
    pub(in crate::proto) fn hear(&mut self, now: Instant, span: Duration) {
        let least = |old: Option<Duration>| Some(old.map_or(span, |old| old.min(span)));
        self.least = least(self.least);
        self.newest = span;
        if now.since(self.began) >= INTERVAL {
            self.intervals = [self.intervals[1], None];
            self.began = now;
        }
        self.intervals[1] = least(self.intervals[1]);
        let span = span.clamp(RTT_MIN, RTT_MAX);
        self.smoothed = Some(self.smoothed.map_or(span, |old| smooth(old, span)));
    }

    /// How long one takes, between [`RTT_MIN`] and [`RTT_MAX`].
    pub(in crate::proto) fn smoothed(&self) -> Duration {
        self.smoothed.unwrap_or(RTT_MIN)
    }

    /// The shortest ever: none waited.
    pub(in crate::proto) fn least(&self) -> Duration {
        self.least.unwrap_or_default()
    }

    /// How long the newest waited, in a queue or for a machine that was busy.
    pub(in crate::proto) fn waited(&self) -> Duration {
        Duration::from_us(self.newest.as_us().saturating_sub(self.least().as_us()))
    }

    /// How long each of late waited in a queue, at least.
    pub(in crate::proto) fn queue(&self) -> Duration {
        let [Some(a), Some(b)] = self.intervals else {
            return Duration::ZERO;
        };
        Duration::from_us(a.min(b).as_us().saturating_sub(self.least().as_us()))
    }

    /// Whether the queue grows or shrinks.
    pub(in crate::proto) fn trend(&self) -> Ordering {
        match self.intervals {
            [Some(old), Some(new)] if new > old + STEADY => Ordering::Greater,
            [Some(old), Some(new)] if new + STEADY < old => Ordering::Less,
            _ => Ordering::Equal,
        }
    }
}

/// Round trips grow at once and shrink slowly: RFC 5401 section 3.2.1 in the small.
fn smooth(old: Duration, new: Duration) -> Duration {
    if new > old {
        new
    } else {
        Duration::from_us((old.as_us() * 7 + new.as_us()) / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_what_all_round_trips_have_in_common() {
        let mut trips = RttEstimator::default();
        let ms = Duration::from_ms;
        let mut at = Instant::ZERO;
        let mut hear = |trips: &mut RttEstimator, span| {
            at = at + ms(30);
            trips.hear(at, ms(span));
            trips.queue()
        };
        for _ in 0..4 {
            assert_eq!(hear(&mut trips, 2), ms(0));
        }
        // A busy machine.
        for span in [40, 40, 40, 2, 40, 40, 40, 2, 40] {
            assert_eq!(hear(&mut trips, span), ms(0));
        }
        for span in [50, 60, 50, 60, 50, 60, 70, 60] {
            hear(&mut trips, span);
        }
        assert_eq!(trips.trend(), Ordering::Greater);
        assert_eq!(hear(&mut trips, 60), ms(48));
        assert_eq!(trips.waited(), ms(58));
        assert_eq!((trips.least(), trips.smoothed() > ms(50)), (ms(2), true));
        assert_eq!(hear(&mut trips, 4), ms(2), "it is empty");
        assert_eq!(trips.trend(), Ordering::Less);
        for _ in 0..8 {
            hear(&mut trips, 3);
        }
        assert_eq!(trips.trend(), Ordering::Equal);
    }
}
