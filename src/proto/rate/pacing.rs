//! When to send: a token bucket that the rate fills.

use super::send_limit::{LimitTimes, LimitTracker, SendLimit};
use super::{PathReport, PathState, RateController, RateReason};
use crate::proto::limits::{BATCH_MAX, BURST_BYTES, BURST_TIME, DEBT_BYTES_MAX, DEBT_TIME_MAX};
use crate::units::{Duration, Instant, Rate};

/// A burst that took longer than this to leave was kept by something else than its own length.
const LATE_MIN: Duration = Duration::from_ms(1);

/// A token bucket that a rate controller fills, and what keeps the sender from sending.
#[derive(Clone, Debug)]
pub(in crate::proto) struct Pacing<C> {
    controller: C,
    /// Bytes of one datagram: the bucket holds it at any rate.
    datagram: u64,
    tokens: u64,
    /// Bytes that could have left, had the sender been woken in time.
    debt: u64,
    filled_at: Instant,
    /// Datagrams wait for the bucket: what overflows is the sender's delay, not a want of data.
    waiting: bool,
    /// What was allowed is about to leave.
    leaving: bool,
    limits: LimitTracker,
}

impl<C: RateController> Pacing<C> {
    /// A full bucket for datagrams of so many bytes.
    pub(in crate::proto) fn new(controller: C, datagram: u64, now: Instant) -> Self {
        let mut pacing = Self {
            controller,
            datagram,
            tokens: 0,
            debt: 0,
            filled_at: now,
            waiting: false,
            leaving: false,
            limits: LimitTracker::new(now),
        };
        pacing.tokens = pacing.burst();
        pacing
    }

    /// The present rate.
    pub(in crate::proto) fn rate(&self) -> Rate {
        self.controller.rate()
    }

    /// Why the controller holds the rate where it is.
    pub(in crate::proto) fn reason(&self) -> RateReason {
        self.controller.reason()
    }

    /// A receiver reported.
    pub(in crate::proto) fn on_report(
        &mut self,
        now: Instant,
        path: &mut PathState,
        report: PathReport,
    ) {
        self.controller.on_report(now, path, report);
    }

    /// A receiver has left the session.
    pub(in crate::proto) fn on_leave(&mut self, path: &PathState) {
        self.controller.on_leave(path);
    }

    /// The bytes that the bucket holds: the longest burst.
    pub(in crate::proto) fn burst(&self) -> u64 {
        let burst = self.rate().bytes_in(BURST_TIME);
        burst.clamp(self.datagram, (BURST_BYTES as u64).max(self.datagram))
    }

    /// Bytes that may leave now. A machine with other work to do wakes the sender late, and then
    /// the bucket has overflowed: that is made up for little by little, never by a longer burst.
    pub(in crate::proto) fn allowance(&mut self, now: Instant) -> u64 {
        let span = now.since(self.filled_at);
        let earned = self.rate().bytes_in(span);
        if earned > 0 {
            let back = self.debt.min(earned);
            let tokens = self.tokens + earned + back;
            self.tokens = tokens.min(self.burst());
            self.debt = if self.waiting {
                self.capped(self.debt - back + (tokens - self.tokens))
            } else {
                0
            };
            // What is less than a byte is earned next time.
            self.filled_at = self.filled_at + self.rate().time_for(earned).min(span);
        }
        debug_assert!(self.tokens <= self.burst() || earned == 0);
        self.tokens
    }

    /// Datagrams that may leave now, in one batch.
    ///
    /// # Errors
    /// When enough may leave: small sips from the bucket would make many system calls out of one.
    pub(in crate::proto) fn batch(&mut self, now: Instant) -> Result<u64, Instant> {
        debug_assert!(self.filled_at <= now, "the clock ran back");
        self.limits.note(now, SendLimit::Rate);
        let batch = (self.burst() / self.datagram).clamp(1, BATCH_MAX);
        let sip = batch.div_ceil(4) * self.datagram;
        let allowance = self.allowance(now);
        if allowance < sip {
            return Err(self.ready_at(sip));
        }
        Ok((allowance / self.datagram).min(batch))
    }

    /// Bytes of one datagram with its IP and UDP headers.
    pub(in crate::proto) fn datagram(&self) -> u64 {
        self.datagram
    }

    /// Takes note of `bytes` that left.
    pub(in crate::proto) fn spend(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes);
        self.controller.on_sent(bytes);
        self.leaving = true;
    }

    /// The system has taken what was allowed, if anything was. If it kept it for long, another
    /// burst must not follow at once: what was earned meanwhile becomes debt.
    pub(in crate::proto) fn on_transmitted(&mut self, now: Instant) {
        let span = now.since(self.filled_at);
        if !std::mem::take(&mut self.leaving) || span < LATE_MIN {
            return;
        }
        self.filled_at = now;
        self.debt = self.capped(self.debt + self.rate().bytes_in(span));
    }

    fn capped(&self, debt: u64) -> u64 {
        debt.min(self.rate().bytes_in(DEBT_TIME_MAX))
            .min(DEBT_BYTES_MAX)
    }

    /// When `bytes` may leave, which wait for it.
    pub(in crate::proto) fn ready_at(&mut self, bytes: u64) -> Instant {
        self.waiting = true;
        let missing = bytes.min(self.burst()).saturating_sub(self.tokens);
        self.filled_at + self.rate().time_for(missing)
    }

    /// Whether the sender was woken late and has not made up for it yet.
    pub(in crate::proto) fn is_late(&self) -> bool {
        self.waiting && self.debt > 0
    }

    /// Nothing waits to be sent: what the bucket cannot hold is lost.
    pub(in crate::proto) fn on_idle(&mut self) {
        self.waiting = false;
    }

    /// The stream begins.
    pub(in crate::proto) fn on_start(&mut self, now: Instant) {
        self.limits.start(now);
    }

    /// From now on this keeps the sender from sending.
    pub(in crate::proto) fn note_limit(&mut self, now: Instant, limit: SendLimit) {
        self.limits.note(now, limit);
    }

    /// What kept the sender from sending for the longest part of the last second; once a second.
    pub(in crate::proto) fn poll_limit(&mut self, now: Instant) -> Option<SendLimit> {
        self.limits.poll(now)
    }

    /// For how long each limit held.
    pub(in crate::proto) fn limit_times(&self) -> LimitTimes {
        self.limits.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::rate::FixedRate;

    fn pacing(rate: Rate) -> Pacing<FixedRate> {
        Pacing::new(FixedRate(rate), 1_500, Instant::ZERO)
    }

    /// Sends as much as it may every `step` for ten seconds; returns the bytes of the last nine and
    /// of the longest burst.
    fn drain(mbit: u64, step: impl Fn(u64) -> u64) -> (f64, u64) {
        let rate = Rate::from_bits_per_s(mbit * 1_000_000);
        let mut pacing = pacing(rate);
        let (mut at, mut sent, mut longest, mut n) = (0, 0, 0, 0);
        while at < 10_000_000 {
            let mut burst = 0;
            while pacing.allowance(Instant::from_us(at)) >= 1_500 {
                pacing.spend(1_500);
                burst += 1_500;
            }
            let ready = pacing.ready_at(1_500).as_us();
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
            let first = pacing(Rate::from_bits_per_s(mbit << 20));
            assert!(first.burst() <= first.rate().as_bytes_per_s() / 50);
        }
    }

    #[test]
    fn what_is_not_data_takes_nothing_from_the_rate() {
        let mut pacing = pacing(Rate::from_bytes_per_s(2_000));
        pacing.spend(1_500);
        pacing.on_transmitted(Instant::from_us(200));
        // POLLs leave while the bucket fills.
        for n in 1..=3 {
            pacing.on_transmitted(Instant::from_us(n * 200_000));
        }
        assert!(pacing.allowance(Instant::from_us(750_000)) >= 1_499);
    }

    #[test]
    fn a_pause_for_want_of_data_makes_no_debt() {
        let rate = Rate::from_bytes_per_s(10_000_000);
        let mut pacing = pacing(rate);
        pacing.ready_at(1_500);
        pacing.on_idle();
        assert_eq!(
            pacing.allowance(Instant::from_us(5_000_000)),
            pacing.burst()
        );
        pacing.spend(pacing.burst());
        let earned = pacing.allowance(Instant::from_us(5_001_000));
        assert_eq!(earned, 10_000);
    }
}
