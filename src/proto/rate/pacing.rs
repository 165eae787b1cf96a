//! How fast to send: a token bucket, and a rate that rises until receivers lose more than they used
//! to.

use std::cmp::Ordering;

use super::rtt::RttEstimator;
use crate::proto::limits::{
    BURST_BYTES, BURST_TIME, DEBT_BYTES_MAX, DEBT_TIME_MAX, RATE_MAX, RATE_MIN, RATE_START,
};
use crate::units::{Duration, Instant, Rate};

/// What took so long to leave was kept by something else than its own length.
const LATE_MIN: Duration = Duration::from_ms(1);
/// The rate rises no more often than this.
const STEP_TIME: Duration = Duration::from_ms(50);
/// A rate that doubles does so more often, since it has far to go,
const LEAP_TIME: Duration = Duration::from_ms(20);
/// but no more often than this once it may have filled a queue, since the figures that tell take
/// their time: somebody falls behind,
const LEAP_TIME_LONG: Duration = Duration::from_ms(100);
/// or a round trip waits for longer than this.
const LEAP_WAIT: Duration = Duration::from_ms(5);
/// A queue is there for so long after it was heard of: not every receiver is behind it.
const QUEUED_TIME: Duration = Duration::from_ms(150);

/// Bytes that may leave now, and when the next may.
#[derive(Clone, Debug)]
pub(in crate::proto) struct Pace {
    rate: Rate,
    rate_max: Rate,
    /// Bytes of one datagram: the bucket holds it at any rate.
    datagram: u64,
    tokens: u64,
    /// Bytes that could have left, had we been woken in time.
    arrears: u64,
    filled_at: Instant,
    /// Datagrams wait for the bucket: what overflows is our delay, not a want of data.
    waiting: bool,
    /// What came through at the last cut: near it the rate rises slowly. None yet: it leaps.
    ceiling: Option<Rate>,
    last_step: Instant,
    last_cut: Instant,
    /// When it was last heard that all of it waits in a queue, and whether that grows or shrinks.
    queue: Option<(Instant, Ordering)>,
    /// When somebody was last found to fall behind.
    behind_at: Option<Instant>,
    sent: u64,
    /// What was allowed is about to leave.
    leaving: bool,
}

impl Pace {
    pub(in crate::proto) fn new(rate_max: Option<Rate>, datagram: u64, now: Instant) -> Self {
        let mut pace = Self {
            // Whoever names a rate knows the link.
            rate: rate_max.unwrap_or(RATE_START),
            rate_max: rate_max.unwrap_or(RATE_MAX),
            datagram,
            tokens: 0,
            arrears: 0,
            filled_at: now,
            waiting: false,
            ceiling: None,
            last_step: now,
            last_cut: now,
            queue: None,
            behind_at: None,
            sent: 0,
            leaving: false,
        };
        pace.tokens = pace.depth();
        pace
    }

    /// The present rate.
    pub(in crate::proto) fn rate(&self) -> Rate {
        self.rate
    }

    /// The bytes that the bucket holds.
    pub(in crate::proto) fn depth(&self) -> u64 {
        let burst = self.rate.bytes_in(BURST_TIME);
        burst.clamp(self.datagram, (BURST_BYTES as u64).max(self.datagram))
    }

    /// Bytes that may leave now. A machine with other work to do wakes us late, and then the bucket
    /// has overflowed: that is made good by and by, never by a longer burst.
    pub(in crate::proto) fn allowance(&mut self, now: Instant) -> u64 {
        let span = now.since(self.filled_at);
        let earned = self.rate.bytes_in(span);
        if earned > 0 {
            let back = self.arrears.min(earned);
            let tokens = self.tokens + earned + back;
            self.tokens = tokens.min(self.depth());
            self.arrears = if self.waiting {
                self.in_arrears(self.arrears - back + (tokens - self.tokens))
            } else {
                0
            };
            // What is less than a byte is earned next time.
            self.filled_at = self.filled_at + self.rate.time_for(earned).min(span);
        }
        self.tokens
    }

    /// Takes note of `bytes` that left.
    pub(in crate::proto) fn spend(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes);
        self.sent += bytes;
        self.leaving = true;
    }

    /// What was allowed, if anything was, has left. If the system kept it for long, another burst
    /// must not follow it at once: what was earned meanwhile is made good by and by.
    pub(in crate::proto) fn left(&mut self, now: Instant) {
        let span = now.since(self.filled_at);
        if !std::mem::take(&mut self.leaving) || span < LATE_MIN {
            return;
        }
        self.filled_at = now;
        self.arrears = self.in_arrears(self.arrears + self.rate.bytes_in(span));
    }

    fn in_arrears(&self, bytes: u64) -> u64 {
        let most = self.rate.bytes_in(DEBT_TIME_MAX).min(DEBT_BYTES_MAX);
        bytes.min(most)
    }

    /// When `bytes` may leave, which wait for it.
    pub(in crate::proto) fn ready_at(&mut self, bytes: u64) -> Instant {
        self.waiting = true;
        let missing = bytes.min(self.depth()).saturating_sub(self.tokens);
        self.filled_at + self.rate.time_for(missing)
    }

    /// Whether we were woken late, and have not made that good yet.
    pub(in crate::proto) fn is_late(&self) -> bool {
        self.waiting && self.arrears > 0
    }

    /// Nothing waits to be sent: what the bucket cannot hold is lost.
    pub(in crate::proto) fn rest(&mut self) {
        self.waiting = false;
    }

    /// Whom the last cut was for is gone: others may be faster.
    pub(in crate::proto) fn forget(&mut self) {
        self.ceiling = None;
    }

    /// A queue does not become empty: what comes through is all that the link takes. Where that is
    /// about known, the next step sees to it.
    pub(in crate::proto) fn queued(&mut self, now: Instant, delivered: Rate, trips: &RttEstimator) {
        self.queue = Some((now, trips.trend()));
        let known = self.ceiling.map(Rate::as_bytes_per_s);
        if known.is_none_or(|known| self.rate.as_bytes_per_s() > known + known / 10) {
            self.cut(now, delivered, trips.least());
        } else {
            self.rise(now, trips);
        }
    }

    /// Whether it doubles still.
    pub(in crate::proto) fn leaps(&self) -> bool {
        self.ceiling.is_none()
    }

    /// How long the rate stays as it is, at least: what is under way says nothing about it.
    fn step_time(&self, now: Instant, trips: &RttEstimator) -> Duration {
        let recent = |at| now.since(at) < LEAP_TIME_LONG;
        if !self.leaps() {
            STEP_TIME
        } else if trips.waited() > LEAP_WAIT || self.behind_at.is_some_and(recent) {
            LEAP_TIME_LONG
        } else {
            LEAP_TIME.max(trips.least().times(2))
        }
    }

    /// A receiver's loss is as usual: another step, if the present rate was made use of.
    pub(in crate::proto) fn rise(&mut self, now: Instant, trips: &RttEstimator) {
        let span = now.since(self.last_step);
        if span < self.step_time(now, trips) {
            return;
        }
        let used = self.sent * 10 >= self.rate.bytes_in(span) * 7;
        self.sent = 0;
        self.last_step = now;
        if !used {
            return;
        }
        let queue = self.queue.filter(|(at, _)| now.since(*at) < QUEUED_TIME);
        let trend = queue.map_or(trips.trend(), |(_, trend)| trend);
        let queued = queue.is_some();
        let rate = self.rate.as_bytes_per_s();
        let rate = match self.ceiling.map(Rate::as_bytes_per_s) {
            None => rate * 2,
            // To pass a queue's end slowly is to lose little in it, or nothing; and a step that
            // has set the queue in motion needs no other.
            Some(ceiling) if rate.abs_diff(ceiling) < ceiling / 10 => match (queued, trend) {
                (true, Ordering::Less) | (false, Ordering::Greater) => rate,
                (true, _) => rate - rate / 200,
                (false, _) => rate + rate / 200,
            },
            Some(_) if queued => rate,
            // What held the rate down once does not for ever.
            Some(_) => rate + rate / 20,
        };
        self.rate = Rate::from_bytes_per_s(rate).min(self.rate_max);
    }

    /// A loss that looked like an overflow was none: what came through then is no limit.
    pub(in crate::proto) fn acquit(&mut self) {
        self.ceiling = self.ceiling.map(|_| self.rate_max);
    }

    /// Less comes through than is sent since a time before `now`: a rate that doubles has passed
    /// that of the link. `under_way` is the least round trip.
    pub(in crate::proto) fn behind(
        &mut self,
        now: Instant,
        since: Instant,
        delivered: Rate,
        under_way: Duration,
    ) {
        self.behind_at = Some(now);
        // What is under way when the rate doubles looks so, for a round trip; so does a busy
        // receiver, for a moment.
        if self.leaps() && now.since(since) > STEP_TIME.max(under_way.times(2)) {
            self.cut(now, delivered, under_way);
        }
    }

    /// A receiver lost more than usual: slower, to a little less than what it got.
    pub(in crate::proto) fn cut(&mut self, now: Instant, delivered: Rate, rtt: Duration) {
        if now.since(self.last_cut) < STEP_TIME + rtt.times(2) {
            return;
        }
        self.ceiling = Some(delivered);
        self.last_cut = now;
        // A cable that was out for a moment says nothing about the rate: to a quarter at most,
        // again if need be.
        let least = Rate::from_bytes_per_s(self.rate.as_bytes_per_s() / 4).max(RATE_MIN);
        let to = Rate::from_bytes_per_s(delivered.as_bytes_per_s() / 100 * 97);
        self.rate = to.max(least).min(self.rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as much as it may every `step` for ten seconds; returns the bytes of the last nine and
    /// of the longest burst.
    fn drain(mbit: u64, step: impl Fn(u64) -> u64) -> (f64, u64) {
        let rate = Rate::from_bits_per_s(mbit * 1_000_000);
        let mut pace = Pace::new(Some(rate), 1_500, Instant::ZERO);
        let (mut at, mut sent, mut longest, mut n) = (0, 0, 0, 0);
        while at < 10_000_000 {
            let mut burst = 0;
            while pace.allowance(Instant::from_us(at)) >= 1_500 {
                pace.spend(1_500);
                burst += 1_500;
            }
            let ready = pace.ready_at(1_500).as_us();
            longest = longest.max(burst);
            sent += if at >= 1_000_000 { burst } else { 0 };
            at = ready.max(at + step(n));
            n += 1;
        }
        (
            sent as f64 / rate.bytes_in(Duration::from_secs(9)) as f64,
            longest,
        )
    }

    #[test]
    fn the_bucket_keeps_the_rate_with_short_bursts() {
        for (mbit, most) in [
            (1, 3_000),
            (10, 3_000),
            (100, 3_000),
            (1_000, 3_000),
            (5_000, 700),
        ] {
            // Woken now and then very late, else within 60 us.
            let late = |n: u64| {
                if n.is_multiple_of(500) {
                    most
                } else {
                    n * 7 % 60
                }
            };
            let (share, burst) = drain(mbit, late);
            assert!((0.98..1.02).contains(&share), "{mbit} Mbit/s: {share}");
            assert!(
                burst <= BURST_BYTES as u64,
                "{burst} bytes at {mbit} Mbit/s"
            );
            let first = Pace::new(
                Some(Rate::from_bits_per_s(mbit << 20)),
                1_500,
                Instant::ZERO,
            );
            assert!(first.depth() <= first.rate().as_bytes_per_s() / 50);
        }
    }

    #[test]
    fn what_is_not_data_takes_nothing_from_the_rate() {
        let mut pace = Pace::new(Some(Rate::from_bytes_per_s(2_000)), 1_500, Instant::ZERO);
        pace.spend(1_500);
        pace.left(Instant::from_us(200));
        // POLLs leave while the bucket fills.
        for n in 1..=3 {
            pace.left(Instant::from_us(n * 200_000));
        }
        assert!(pace.allowance(Instant::from_us(750_000)) >= 1_499);
    }

    #[test]
    fn a_pause_for_want_of_data_is_not_made_good() {
        let rate = Rate::from_bytes_per_s(10_000_000);
        let mut pace = Pace::new(Some(rate), 1_500, Instant::ZERO);
        pace.ready_at(1_500);
        pace.rest();
        assert_eq!(pace.allowance(Instant::from_us(5_000_000)), pace.depth());
        pace.spend(pace.depth());
        let earned = pace.allowance(Instant::from_us(5_001_000));
        assert_eq!(earned, 10_000);
    }

    #[test]
    fn the_rate_rises_only_when_used() {
        let mut pace = Pace::new(None, 1_500, Instant::ZERO);
        let trips = RttEstimator::default();
        pace.rise(Instant::from_us(60_000), &trips);
        assert_eq!(pace.rate(), RATE_START);
        pace.spend(RATE_START.bytes_in(STEP_TIME.times(2)));
        pace.rise(Instant::from_us(180_000), &trips);
        assert!(pace.rate() > RATE_START);
        let (since, rtt) = (Instant::from_us(180_000), Duration::from_ms(25));
        let mut behind = pace.clone();
        behind.behind(Instant::from_us(230_000), since, RATE_START, rtt);
        assert_eq!(behind.rate(), pace.rate(), "that may be under way");
        behind.behind(Instant::from_us(280_001), since, RATE_START, rtt);
        assert!(behind.rate() < RATE_START);
        let (fast, slow) = (pace.rate().as_bytes_per_s(), Rate::from_bytes_per_s(1_000));
        let at = Instant::from_us;
        pace.cut(
            at(300_000),
            Rate::from_bytes_per_s(fast / 100 * 80),
            Duration::ZERO,
        );
        let cut = pace.rate().as_bytes_per_s();
        assert_eq!(cut, fast / 100 * 80 / 100 * 97);
        pace.cut(at(310_000), slow, Duration::ZERO);
        assert_eq!(pace.rate().as_bytes_per_s(), cut, "one cut for one loss");
        pace.cut(at(600_000), slow, Duration::ZERO);
        assert_eq!(pace.rate().as_bytes_per_s(), cut / 4);
    }

    /// A rate that doubles, all of which was used for 20 ms.
    fn leaping() -> Pace {
        let mut pace = Pace::new(None, 1_500, Instant::ZERO);
        pace.spend(RATE_START.bytes_in(LEAP_TIME_LONG));
        pace
    }

    #[test]
    fn the_rate_doubles_seldom_once_something_waits() {
        let ms = Duration::from_ms;
        let (soon, late) = (Instant::from_us(20_000), Instant::from_us(100_000));
        let doubled = |mut pace: Pace, at, trips: &RttEstimator| {
            pace.rise(at, trips);
            pace.rate().as_bytes_per_s() / RATE_START.as_bytes_per_s() == 2
        };
        let mut trips = RttEstimator::default();
        trips.hear(Instant::ZERO, ms(1));
        trips.hear(Instant::ZERO, ms(5));
        assert!(doubled(leaping(), soon, &trips));
        trips.hear(Instant::ZERO, ms(7));
        assert!(!doubled(leaping(), soon, &trips) && doubled(leaping(), late, &trips));
        let trips = RttEstimator::default();
        let mut behind = leaping();
        behind.behind(Instant::from_us(10_000), Instant::ZERO, RATE_START, ms(1));
        assert!(!doubled(behind.clone(), soon, &trips) && doubled(behind, late, &trips));
        // Where a round trip takes long, what a step does is seen late.
        let mut far = RttEstimator::default();
        far.hear(Instant::ZERO, ms(40));
        assert!(!doubled(leaping(), soon, &far) && doubled(leaping(), late, &far));
    }

    #[test]
    fn a_queue_ends_the_doubling_and_a_limit_that_is_none_any_more() {
        let came = Rate::from_bytes_per_s(4_000_000);
        let mut pace = leaping();
        pace.queued(Instant::from_us(60_000), came, &RttEstimator::default());
        let cut = came.as_bytes_per_s() / 100 * 97;
        assert_eq!((pace.rate().as_bytes_per_s(), pace.leaps()), (cut, false));
        // About the limit it is a step, far above it another cut.
        pace.queued(Instant::from_us(200_000), came, &RttEstimator::default());
        assert_eq!(pace.rate().as_bytes_per_s(), cut);
        pace.rate = RATE_START;
        pace.queued(Instant::from_us(300_000), came, &RttEstimator::default());
        assert_eq!(pace.rate().as_bytes_per_s(), cut);
    }

    /// Steps of 50 ms at this many Mbit/s on a link of another rate, with a round trip each;
    /// returns the least and the greatest rate of the last 20 s, and the longest queue in ms.
    fn find(from: u64, link: u64) -> (f64, f64, u64) {
        let mbit = |n: u64| Rate::from_bits_per_s(n * 1_000_000);
        let mut pace = Pace::new(None, 1_500, Instant::ZERO);
        pace.rate = mbit(from);
        pace.ceiling = Some(mbit(100));
        let (mut least, mut most, mut queue, mut longest) = (f64::MAX, 0.0_f64, 0_i64, 0);
        let mut trips = RttEstimator::default();
        trips.hear(Instant::ZERO, Duration::from_ms(1));
        for n in 1..1_000 {
            let now = Instant::from_us(n * 50_000);
            let sent = pace.rate().bytes_in(STEP_TIME);
            pace.spend(sent);
            let drained = mbit(link).bytes_in(STEP_TIME);
            queue = (queue + sent.cast_signed() - drained.cast_signed()).max(0);
            let wait = mbit(link).time_for(queue.cast_unsigned());
            trips.hear(now, wait + Duration::from_ms(1));
            if trips.queue() > Duration::from_ms(15) {
                pace.queued(now, mbit(link), &trips);
            } else {
                pace.rise(now, &trips);
            }
            let rate = pace.rate().as_bytes_per_s() as f64 / 125_000.0;
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
}
