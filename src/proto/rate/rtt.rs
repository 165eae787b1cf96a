//! A receiver's round trip time, and how long the queue on the way to it is.

use std::cmp::Ordering;

use crate::proto::limits::{RTT_MAX, RTT_MIN};
use crate::units::{Duration, Instant};

/// The queueing delay is what all round rtt of two intervals of this length have in common: a
/// machine that is busy now and then delays some of them, and is no queue.
const INTERVAL: Duration = Duration::from_ms(100);
/// A queue that changes by no more than this from one interval to the next neither grows nor
/// shrinks.
const STEADY: Duration = Duration::from_ms(1);

/// Estimates the round trip time of one receiver, in the manner of RFC 6298.
#[derive(Clone, Debug, Default)]
pub(in crate::proto) struct RttEstimator {
    smoothed: Option<Duration>,
    min: Option<Duration>,
    newest: Duration,
    /// The shortest of the interval before this one, and of this one.
    interval_min: [Option<Duration>; 2],
    interval_start: Instant,
}

impl RttEstimator {
    /// Takes note of one round trip.
    pub(in crate::proto) fn on_sample(&mut self, now: Instant, span: Duration) {
        let min = |old: Option<Duration>| Some(old.map_or(span, |old| old.min(span)));
        self.min = min(self.min);
        self.newest = span;
        if now.since(self.interval_start) >= INTERVAL {
            self.interval_min = [self.interval_min[1], None];
            self.interval_start = now;
        }
        self.interval_min[1] = min(self.interval_min[1]);
        let span = span.clamp(RTT_MIN, RTT_MAX);
        self.smoothed = Some(self.smoothed.map_or(span, |old| smooth(old, span)));
    }

    /// The smoothed round trip time, between [`RTT_MIN`] and [`RTT_MAX`].
    pub(in crate::proto) fn smoothed(&self) -> Duration {
        self.smoothed.unwrap_or(RTT_MIN)
    }

    /// The shortest round trip ever: it waited in no queue.
    pub(in crate::proto) fn min(&self) -> Duration {
        self.min.unwrap_or_default()
    }

    /// How much longer than the shortest the newest took: it waited in a queue, or for a machine
    /// that was busy.
    pub(in crate::proto) fn newest_delay(&self) -> Duration {
        Duration::from_us(self.newest.as_us().saturating_sub(self.min().as_us()))
    }

    /// How long every round trip of the last two intervals waited in a queue, at least.
    pub(in crate::proto) fn queueing_delay(&self) -> Duration {
        let [Some(a), Some(b)] = self.interval_min else {
            return Duration::ZERO;
        };
        Duration::from_us(a.min(b).as_us().saturating_sub(self.min().as_us()))
    }

    /// Whether the queue grows (`Greater`), shrinks (`Less`) or does neither.
    pub(in crate::proto) fn trend(&self) -> Ordering {
        match self.interval_min {
            [Some(old), Some(new)] if new > old + STEADY => Ordering::Greater,
            [Some(old), Some(new)] if new + STEADY < old => Ordering::Less,
            _ => Ordering::Equal,
        }
    }
}

/// The estimate grows at once and shrinks slowly, as that of a group in RFC 5401 section 3.2.1.
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
    fn a_queue_is_what_all_round_rtt_have_in_common() {
        let mut rtt = RttEstimator::default();
        let ms = Duration::from_ms;
        let mut at = Instant::ZERO;
        let mut sample = |rtt: &mut RttEstimator, span| {
            at = at + ms(30);
            rtt.on_sample(at, ms(span));
            rtt.queueing_delay()
        };
        for _ in 0..4 {
            assert_eq!(sample(&mut rtt, 2), ms(0));
        }
        // A busy machine.
        for span in [40, 40, 40, 2, 40, 40, 40, 2, 40] {
            assert_eq!(sample(&mut rtt, span), ms(0));
        }
        for span in [50, 60, 50, 60, 50, 60, 70, 60] {
            sample(&mut rtt, span);
        }
        assert_eq!(rtt.trend(), Ordering::Greater);
        assert_eq!(sample(&mut rtt, 60), ms(48));
        assert_eq!(rtt.newest_delay(), ms(58));
        assert_eq!((rtt.min(), rtt.smoothed() > ms(50)), (ms(2), true));
        assert_eq!(sample(&mut rtt, 4), ms(2), "it is empty");
        assert_eq!(rtt.trend(), Ordering::Less);
        for _ in 0..8 {
            sample(&mut rtt, 3);
        }
        assert_eq!(rtt.trend(), Ordering::Equal);
    }
}
