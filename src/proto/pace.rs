//! How fast to send: a token bucket, and a rate that rises until receivers lose more than they used
//! to.

use super::config::{BURST_BYTES, BURST_TIME, RATE_MAX, RATE_MIN, RATE_START};
use crate::units::{Duration, Instant, Rate};

/// Datagrams that a loss figure needs to mean something.
const SAMPLE_DATAGRAMS: u64 = 400;
/// A loss figure covers at least this time.
const SAMPLE_TIME: Duration = Duration::from_ms(50);
/// The usual loss of a receiver is its least over this many slots
const SLOTS: usize = 8;
/// of this length.
const SLOT: Duration = Duration::from_ms(500);
/// Loss above this is not taken for usual: it is a queue that overflows, not noise on a cable.
const USUAL_LOSS_MAX: f64 = 0.10;
/// Loss beyond the usual that makes the sender slower; beyond it comes the error of the figure.
const EXCESS: f64 = 0.02;

/// Bytes that may leave now, and when the next may.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    rate: Rate,
    rate_max: Rate,
    tokens: u64,
    filled_at: Instant,
    /// Doubling ends with the first loss beyond the usual.
    starting: bool,
    last_rise: Instant,
    last_cut: Instant,
    sent: u64,
}

impl Pace {
    pub(super) fn new(rate_max: Option<Rate>, now: Instant) -> Self {
        let rate_max = rate_max.unwrap_or(RATE_MAX);
        Self {
            rate: RATE_START.min(rate_max),
            rate_max,
            tokens: BURST_BYTES as u64,
            filled_at: now,
            starting: true,
            last_rise: now,
            last_cut: now,
            sent: 0,
        }
    }

    /// The present rate.
    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// The bytes that the bucket holds: a machine with other work to do wakes us up late.
    fn depth(&self) -> u64 {
        self.rate.bytes_in(BURST_TIME).max(BURST_BYTES as u64)
    }

    /// Bytes that may leave now.
    pub(super) fn allowance(&mut self, now: Instant) -> u64 {
        let span = now.since(self.filled_at);
        let earned = self.rate.bytes_in(span);
        if earned > 0 {
            self.tokens = (self.tokens + earned).min(self.depth());
            // What is less than a byte is earned next time.
            self.filled_at = self.filled_at + self.rate.time_for(earned).min(span);
        }
        self.tokens
    }

    /// Takes note of `bytes` that left.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes);
        self.sent += bytes;
    }

    /// When `bytes` may leave.
    pub(super) fn ready_at(&self, bytes: u64) -> Instant {
        let missing = bytes.min(BURST_BYTES as u64).saturating_sub(self.tokens);
        self.filled_at + self.rate.time_for(missing)
    }

    /// A receiver's loss is as usual: faster, if the present rate was made use of.
    pub(super) fn rise(&mut self, now: Instant) {
        let span = now.since(self.last_rise);
        if span < SAMPLE_TIME {
            return;
        }
        let used = self.sent * 10 >= self.rate.bytes_in(span) * 7;
        self.sent = 0;
        self.last_rise = now;
        if used {
            let now = self.rate.as_bytes_per_s();
            let more = if self.starting {
                now + now / 4
            } else {
                now + now / 50
            };
            self.rate = Rate::from_bytes_per_s(more).min(self.rate_max);
        }
    }

    /// A receiver lost more than usual: slower, to a little less than what it got.
    pub(super) fn cut(&mut self, now: Instant, delivered: Rate, rtt: Duration) {
        if now.since(self.last_cut) < SAMPLE_TIME + rtt.times(2) {
            return;
        }
        self.starting = false;
        self.last_cut = now;
        // A cable that was out for a moment says nothing about the rate: halve at most, again
        // if need be.
        let least = Rate::from_bytes_per_s(self.rate.as_bytes_per_s() / 2).max(RATE_MIN);
        let to = Rate::from_bytes_per_s(delivered.as_bytes_per_s() / 100 * 97);
        self.rate = to.max(least).min(self.rate);
    }
}

/// What a loss figure says about the rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// No figure yet.
    Unknown,
    /// The usual loss.
    Usual,
    /// More than usual, and this is the rate that came through, the usual loss made good.
    Excess(Rate),
}

/// One receiver's loss over time.
#[derive(Clone, Debug)]
pub(super) struct LossMeter {
    since: Instant,
    sent: u64,
    received: u64,
    /// Sent and received, the newest slot first.
    slots: [(u64, u64); SLOTS],
    slot_started: Instant,
    loss: f64,
}

impl LossMeter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            sent: 0,
            received: 0,
            slots: [(0, 0); SLOTS],
            slot_started: now,
            loss: 0.0,
        }
    }

    /// The newest loss figure, between 0 and 1.
    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    /// Takes note that of `sent` datagrams `received` arrived, each `bytes` long on the wire.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "figures of at most 48 bits, and a positive rate"
    )]
    pub(super) fn report(&mut self, now: Instant, sent: u64, received: u64, bytes: u64) -> Verdict {
        self.sent += sent;
        self.received += received.min(sent);
        let span = now.since(self.since);
        if self.sent < SAMPLE_DATAGRAMS || span < SAMPLE_TIME {
            return Verdict::Unknown;
        }
        let n = self.sent as f64;
        let loss = 1.0 - self.received as f64 / n;
        self.loss = loss;
        let usual = self.usual(now);
        let error = 3.0 * (usual * (1.0 - usual) / n).sqrt();
        let excess = loss - usual > EXCESS.max(error);
        let per_s = self.received as f64 * bytes as f64 / span.as_secs_f64();
        (self.since, self.sent, self.received) = (now, 0, 0);
        if excess {
            Verdict::Excess(Rate::from_bytes_per_s((per_s / (1.0 - usual)) as u64))
        } else {
            Verdict::Usual
        }
    }

    /// The least loss of the last slots. A whole slot is worth more than a lucky figure, so the one
    /// that is filling counts only when there is no other.
    #[expect(clippy::cast_precision_loss, reason = "figures of at most 48 bits")]
    fn usual(&mut self, now: Instant) -> f64 {
        self.slots[0].0 += self.sent;
        self.slots[0].1 += self.received;
        let loss = |&(sent, received): &(u64, u64)| 1.0 - received as f64 / sent as f64;
        let whole = self.slots[1..]
            .iter()
            .filter(|slot| slot.0 >= SAMPLE_DATAGRAMS)
            .map(loss);
        let least = whole
            .reduce(f64::min)
            .unwrap_or_else(|| loss(&self.slots[0]));
        if now.since(self.slot_started) >= SLOT {
            self.slots.rotate_right(1);
            self.slots[0] = (0, 0);
            self.slot_started = now;
        }
        least.min(USUAL_LOSS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_keeps_the_rate() {
        let mut pace = Pace::new(Some(Rate::from_bytes_per_s(1_000_000)), Instant::ZERO);
        let mut sent = 0;
        for ms in 0..1_000 {
            let now = Instant::from_us(ms * 1_000);
            while pace.allowance(now) >= 1_000 {
                pace.spend(1_000);
                sent += 1_000;
            }
        }
        let extra = sent - BURST_BYTES as i64;
        assert!(
            (extra - 1_000_000).abs() < 20_000,
            "{extra} bytes in a second"
        );
        let soon = pace.ready_at(BURST_BYTES as u64);
        assert!(soon > Instant::from_us(1_000_000) && soon < Instant::from_us(1_066_000));
    }

    #[test]
    fn usual_loss_does_not_slow_down_and_unusual_loss_does() {
        let mut meter = LossMeter::new(Instant::ZERO);
        let mut at = 0;
        let mut report = |received| {
            at += 100_000;
            meter.report(Instant::from_us(at), 1_000, received, 1_500)
        };
        for n in 0..50 {
            assert_eq!(report(950 - n % 2), Verdict::Usual, "report {n}");
        }
        let Verdict::Excess(rate) = report(700) else {
            panic!("20 % more than usual")
        };
        // 700 datagrams of 1500 bytes in 0.1 s, and 5 % more for the usual loss.
        let expected = 700.0 * 1_500.0 * 10.0 / 0.95;
        assert!((rate.as_bytes_per_s() as f64 / expected - 1.0).abs() < 0.01);
    }

    #[test]
    fn an_overloaded_link_is_not_usual_from_the_first_figure_on() {
        let mut meter = LossMeter::new(Instant::ZERO);
        let verdict = meter.report(Instant::from_us(100_000), 1_000, 100, 1_500);
        assert!(matches!(verdict, Verdict::Excess(_)));
    }

    #[test]
    fn the_rate_rises_only_when_used() {
        let mut pace = Pace::new(None, Instant::ZERO);
        pace.rise(Instant::from_us(60_000));
        assert_eq!(pace.rate(), RATE_START);
        pace.spend(RATE_START.bytes_in(SAMPLE_TIME));
        pace.rise(Instant::from_us(120_000));
        assert!(pace.rate() > RATE_START);
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
        assert_eq!(pace.rate().as_bytes_per_s(), cut / 2);
    }
}
