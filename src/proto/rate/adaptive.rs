//! A rate that rises until receivers lose more than they used to, or a queue stands before one.

use std::cmp::Ordering;

use super::loss::{LossContext, LossSignal};
use super::rtt::RttEstimator;
use super::{PathReport, PathState, RateController, RateReason};
use crate::proto::limits::{RATE_MAX, RATE_MIN, RATE_START};
use crate::units::{Duration, Instant, Rate};

/// The rate rises no more often than this.
const STEP_TIME: Duration = Duration::from_ms(50);
/// In slow start the rate doubles this often: it has far to go.
const SLOW_START_STEP: Duration = Duration::from_ms(20);
/// In slow start the rate doubles no more often than this once it may have filled a queue, since
/// the figures that tell take their time: a receiver falls behind, or a round trip waits for longer
/// than [`SLOW_START_DELAY`].
const SLOW_START_STEP_LONG: Duration = Duration::from_ms(100);
/// See [`SLOW_START_STEP_LONG`].
const SLOW_START_DELAY: Duration = Duration::from_ms(5);
/// A queue is taken to stand for this time after it was reported: not every receiver is behind it.
const QUEUE_MEMORY: Duration = Duration::from_ms(150);

/// What limits the rate, until it has risen beyond it.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// The delivery rate at the last decrease (ssthresh of RFC 5681): near it the rate rises
    /// slowly.
    ssthresh: Rate,
    /// What decreased the rate; nothing when that turned out to be no limit.
    reason: Option<RateReason>,
}

/// The rate controller of sessions whose receivers report.
#[derive(Clone, Debug)]
pub(in crate::proto) struct AdaptiveRate {
    rate: Rate,
    rate_max: Rate,
    /// What limits the rate; in slow start nothing does.
    limit: Option<Limit>,
    last_step: Instant,
    last_decrease: Instant,
    /// When a queue was last reported, and whether it grew or shrank.
    queue: Option<(Instant, Ordering)>,
    /// When a receiver was last found to fall behind.
    behind_at: Option<Instant>,
    /// Bytes sent since the last step.
    sent: u64,
}

impl AdaptiveRate {
    /// Begins at `rate_max`, if there is one: it is that of the link, as far as the caller knows.
    pub(in crate::proto) fn new(rate_max: Option<Rate>, now: Instant) -> Self {
        Self {
            rate: rate_max.unwrap_or(RATE_START),
            rate_max: rate_max.unwrap_or(RATE_MAX),
            limit: None,
            last_step: now,
            last_decrease: now,
            queue: None,
            behind_at: None,
            sent: 0,
        }
    }

    fn in_slow_start(&self) -> bool {
        self.limit.is_none()
    }

    /// How long the rate stays as it is, at least: what is under way says nothing about it.
    fn step_time(&self, now: Instant, rtt: &RttEstimator) -> Duration {
        let recent = |at| now.since(at) < SLOW_START_STEP_LONG;
        if !self.in_slow_start() {
            STEP_TIME
        } else if rtt.newest_delay() > SLOW_START_DELAY || self.behind_at.is_some_and(recent) {
            SLOW_START_STEP_LONG
        } else {
            SLOW_START_STEP.max(rtt.min().times(2))
        }
    }

    /// A receiver's loss is the usual one: takes another step, if the present rate was made use of.
    fn increase(&mut self, now: Instant, rtt: &RttEstimator) {
        let span = now.since(self.last_step);
        if span < self.step_time(now, rtt) {
            return;
        }
        let used = self.sent * 10 >= self.rate.bytes_in(span) * 7;
        self.sent = 0;
        self.last_step = now;
        if !used {
            return;
        }
        let queue = self.queue.filter(|(at, _)| now.since(*at) < QUEUE_MEMORY);
        let trend = queue.map_or(rtt.trend(), |(_, trend)| trend);
        let queued = queue.is_some();
        let rate = self.rate.as_bytes_per_s();
        let rate = match self.limit.map(|limit| limit.ssthresh.as_bytes_per_s()) {
            None => rate * 2,
            // To pass a queue's end slowly is to lose little in it, or nothing; and a step that
            // has set the queue in motion needs no other.
            Some(ssthresh) if rate.abs_diff(ssthresh) < ssthresh / 10 => match (queued, trend) {
                (true, Ordering::Less) | (false, Ordering::Greater) => rate,
                (true, _) => rate - rate / 200,
                (false, _) => rate + rate / 200,
            },
            Some(_) if queued => rate,
            // What limited the rate once does not for ever.
            Some(_) => rate + rate / 20,
        };
        self.rate = Rate::from_bytes_per_s(rate).min(self.rate_max);
    }

    /// A loss that looked like an overflow was none: what was delivered then is no limit.
    fn undo_limit(&mut self) {
        self.limit = self.limit.map(|_| Limit {
            ssthresh: self.rate_max,
            reason: None,
        });
    }

    /// A queue does not become empty: the link takes no more than is delivered. Where that is
    /// about known, the next step sees to it.
    fn on_queue(&mut self, now: Instant, delivered: Rate, rtt: &RttEstimator, receiver: u32) {
        self.queue = Some((now, rtt.trend()));
        let reason = RateReason::Queue { receiver };
        let known = self.limit.map(|limit| limit.ssthresh.as_bytes_per_s());
        if known.is_none_or(|known| self.rate.as_bytes_per_s() > known + known / 10) {
            self.decrease(now, delivered, rtt.min(), reason);
            return;
        }
        if let Some(limit) = &mut self.limit {
            limit.reason = Some(reason);
        }
        self.increase(now, rtt);
    }

    /// Less is delivered than is sent since a time before `now`: a rate that doubles has passed
    /// that of the link. `rtt_min` is the shortest round trip time.
    fn on_falling_behind(
        &mut self,
        now: Instant,
        since: Instant,
        delivered: Rate,
        rtt_min: Duration,
        receiver: u32,
    ) {
        self.behind_at = Some(now);
        // What is under way when the rate doubles looks so, for a round trip; so does a busy
        // receiver, for a moment.
        if self.in_slow_start() && now.since(since) > STEP_TIME.max(rtt_min.times(2)) {
            self.decrease(now, delivered, rtt_min, RateReason::Delivery { receiver });
        }
    }

    /// Sends slower, at a little less than was delivered.
    fn decrease(&mut self, now: Instant, delivered: Rate, rtt: Duration, reason: RateReason) {
        if now.since(self.last_decrease) < STEP_TIME + rtt.times(2) {
            return;
        }
        self.limit = Some(Limit {
            ssthresh: delivered,
            reason: Some(reason),
        });
        self.last_decrease = now;
        // A cable that was out for a moment says nothing about the rate: to a quarter at most,
        // again if need be.
        let least = Rate::from_bytes_per_s(self.rate.as_bytes_per_s() / 4).max(RATE_MIN);
        let to = Rate::from_bytes_per_s(delivered.as_bytes_per_s() / 100 * 97);
        self.rate = to.max(least).min(self.rate);
    }
}

impl RateController for AdaptiveRate {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn reason(&self) -> RateReason {
        let passed = |ssthresh: u64| self.rate.as_bytes_per_s() > ssthresh + ssthresh / 10;
        match self.limit {
            _ if self.rate >= self.rate_max => RateReason::Maximum,
            None => RateReason::SlowStart,
            Some(limit) if passed(limit.ssthresh.as_bytes_per_s()) => RateReason::Probing,
            Some(limit) => limit.reason.unwrap_or(RateReason::Probing),
        }
    }

    fn on_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    fn on_report(&mut self, now: Instant, path: &mut PathState, report: PathReport) {
        let receiver = report.receiver;
        let context = LossContext {
            sequence: report.sequence,
            datagram: report.datagram,
            receivers: report.receivers,
            queueing_delay: path.rtt.queueing_delay(),
            in_slow_start: self.in_slow_start(),
        };
        match path.loss.on_report(now, report.step, context) {
            LossSignal::Unknown => {}
            LossSignal::Usual => self.increase(now, &path.rtt),
            LossSignal::RandomLoss => self.undo_limit(),
            LossSignal::Queued(delivered) => {
                path.limiting_at = Some(now);
                self.on_queue(now, delivered, &path.rtt, receiver);
            }
            LossSignal::FallingBehind { since, delivered } => {
                self.on_falling_behind(now, since, delivered, path.rtt.min(), receiver);
            }
            LossSignal::Excess(delivered) => {
                path.limiting_at = Some(now);
                let reason = RateReason::Loss { receiver };
                self.decrease(now, delivered, report.group_rtt, reason);
            }
        }
        debug_assert!(self.rate <= self.rate_max, "{self:?}");
    }

    fn on_leave(&mut self, path: &PathState) {
        // The receiver that decreased the rate has left: the others may be faster.
        if path.limiting_at.is_some() {
            self.limit = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller() -> AdaptiveRate {
        AdaptiveRate::new(None, Instant::ZERO)
    }

    const LOSS: RateReason = RateReason::Loss { receiver: 3 };

    #[test]
    fn the_rate_rises_only_when_used() {
        let mut rate = controller();
        let rtt = RttEstimator::default();
        rate.increase(Instant::from_us(60_000), &rtt);
        assert_eq!(rate.rate(), RATE_START);
        rate.on_sent(RATE_START.bytes_in(STEP_TIME.times(2)));
        rate.increase(Instant::from_us(180_000), &rtt);
        assert!(rate.rate() > RATE_START);
        let (since, rtt) = (Instant::from_us(180_000), Duration::from_ms(25));
        let mut behind = rate.clone();
        behind.on_falling_behind(Instant::from_us(230_000), since, RATE_START, rtt, 3);
        assert_eq!(behind.rate(), rate.rate(), "that may be under way");
        behind.on_falling_behind(Instant::from_us(280_001), since, RATE_START, rtt, 3);
        assert!(behind.rate() < RATE_START);
        let (fast, slow) = (rate.rate().as_bytes_per_s(), Rate::from_bytes_per_s(1_000));
        let at = Instant::from_us;
        rate.decrease(
            at(300_000),
            Rate::from_bytes_per_s(fast / 100 * 80),
            Duration::ZERO,
            LOSS,
        );
        assert_eq!(rate.reason(), LOSS);
        let cut = rate.rate().as_bytes_per_s();
        assert_eq!(cut, fast / 100 * 80 / 100 * 97);
        rate.decrease(at(310_000), slow, Duration::ZERO, LOSS);
        assert_eq!(rate.rate().as_bytes_per_s(), cut, "one cut for one loss");
        rate.decrease(at(600_000), slow, Duration::ZERO, LOSS);
        assert_eq!(rate.rate().as_bytes_per_s(), cut / 4);
    }

    /// A rate that doubles, all of which was used for 20 ms.
    fn in_slow_start() -> AdaptiveRate {
        let mut rate = controller();
        rate.on_sent(RATE_START.bytes_in(SLOW_START_STEP_LONG));
        rate
    }

    #[test]
    fn the_rate_doubles_seldom_once_something_waits() {
        let ms = Duration::from_ms;
        let (soon, late) = (Instant::from_us(20_000), Instant::from_us(100_000));
        let doubled = |mut rate: AdaptiveRate, at, rtt: &RttEstimator| {
            rate.increase(at, rtt);
            rate.rate().as_bytes_per_s() / RATE_START.as_bytes_per_s() == 2
        };
        let mut rtt = RttEstimator::default();
        rtt.on_sample(Instant::ZERO, ms(1));
        rtt.on_sample(Instant::ZERO, ms(5));
        assert!(doubled(in_slow_start(), soon, &rtt));
        rtt.on_sample(Instant::ZERO, ms(7));
        assert!(!doubled(in_slow_start(), soon, &rtt) && doubled(in_slow_start(), late, &rtt));
        let rtt = RttEstimator::default();
        let mut behind = in_slow_start();
        behind.on_falling_behind(
            Instant::from_us(10_000),
            Instant::ZERO,
            RATE_START,
            ms(1),
            3,
        );
        assert!(!doubled(behind.clone(), soon, &rtt) && doubled(behind, late, &rtt));
        // Where a round trip takes long, what a step does is seen late.
        let mut far = RttEstimator::default();
        far.on_sample(Instant::ZERO, ms(40));
        assert!(!doubled(in_slow_start(), soon, &far) && doubled(in_slow_start(), late, &far));
    }

    #[test]
    fn a_queue_ends_the_doubling_and_a_limit_that_is_none_any_more() {
        let came = Rate::from_bytes_per_s(4_000_000);
        let mut rate = in_slow_start();
        rate.on_queue(Instant::from_us(60_000), came, &RttEstimator::default(), 3);
        let cut = came.as_bytes_per_s() / 100 * 97;
        assert_eq!(
            (rate.rate().as_bytes_per_s(), rate.in_slow_start()),
            (cut, false)
        );
        assert_eq!(rate.reason(), RateReason::Queue { receiver: 3 });
        // About the limit it is a step, far above it another cut.
        rate.on_queue(Instant::from_us(200_000), came, &RttEstimator::default(), 3);
        assert_eq!(rate.rate().as_bytes_per_s(), cut);
        rate.rate = RATE_START;
        rate.on_queue(Instant::from_us(300_000), came, &RttEstimator::default(), 3);
        assert_eq!(rate.rate().as_bytes_per_s(), cut);
    }

    /// Steps of 50 ms at this many Mbit/s on a link of another rate, with a round trip each;
    /// returns the least and the greatest rate of the last 20 s, and the longest queue in ms.
    fn find(from: u64, link: u64) -> (f64, f64, u64) {
        let mbit = |n: u64| Rate::from_bits_per_s(n * 1_000_000);
        let mut rate = controller();
        rate.rate = mbit(from);
        rate.limit = Some(Limit {
            ssthresh: mbit(100),
            reason: None,
        });
        let (mut least, mut most, mut queue, mut longest) = (f64::MAX, 0.0_f64, 0_i64, 0);
        let mut rtt = RttEstimator::default();
        rtt.on_sample(Instant::ZERO, Duration::from_ms(1));
        for n in 1..1_000 {
            let now = Instant::from_us(n * 50_000);
            let sent = rate.rate().bytes_in(STEP_TIME);
            rate.on_sent(sent);
            let drained = mbit(link).bytes_in(STEP_TIME);
            queue = (queue + sent.cast_signed() - drained.cast_signed()).max(0);
            let wait = mbit(link).time_for(queue.cast_unsigned());
            rtt.on_sample(now, wait + Duration::from_ms(1));
            if rtt.queueing_delay() > Duration::from_ms(15) {
                rate.on_queue(now, mbit(link), &rtt, 3);
            } else {
                rate.increase(now, &rtt);
            }
            let rate = rate.rate().as_bytes_per_s() as f64 / 125_000.0;
            if n >= 600 {
                (least, most) = (least.min(rate), most.max(rate));
                longest = longest.max(wait.as_us() / 1_000);
            }
        }
        (least, most, longest)
    }

    #[test]
    fn a_queue_keeps_the_rate_at_that_of_the_link() {
        for (from, link) in [(97, 100), (60, 97), (97, 111), (97, 300)] {
            let (least, most, longest) = find(from, link);
            let link = link as f64;
            assert!(
                least > link * 0.95 && most < link * 1.04 && longest < 25,
                "{least} to {most} of {link}, {longest} ms"
            );
        }
        // A machine that is always busy, or a queue of others, is no reason to crawl.
        let (least, most, _) = find(97, 40);
        assert!(least >= 89.5 && most < 91.0, "{least} to {most}");
    }

    #[test]
    fn the_reason_follows_the_rate() {
        let mut rate = controller();
        assert_eq!(rate.reason(), RateReason::SlowStart);
        let delivered = Rate::from_bytes_per_s(RATE_START.as_bytes_per_s() / 2);
        rate.decrease(Instant::from_us(60_000), delivered, Duration::ZERO, LOSS);
        assert_eq!(rate.reason(), LOSS);
        rate.rate = RATE_START;
        assert_eq!(rate.reason(), RateReason::Probing, "that is far behind");
        rate.undo_limit();
        assert_eq!(rate.reason(), RateReason::Probing);
        let mut path = PathState::new(Instant::ZERO);
        rate.on_leave(&path);
        assert_eq!(rate.reason(), RateReason::Probing, "it limited nothing");
        path.limiting_at = Some(Instant::ZERO);
        rate.on_leave(&path);
        assert_eq!(rate.reason(), RateReason::SlowStart);
        let named = AdaptiveRate::new(Some(RATE_START), Instant::ZERO);
        assert_eq!(named.reason(), RateReason::Maximum);
    }
}
