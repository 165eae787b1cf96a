//! What a receiver loses, and what that says about the rate: a queue that overflows, one that
//! grows, or noise.

use crate::proto::limits::BURST_TIME;
use crate::units::{Duration, Instant, Rate};

/// Datagrams that a loss figure needs to mean something, and the least time that it covers.
const SAMPLE: (u64, Duration) = (200, Duration::from_ms(50));
/// The same in slow start, where a coarse figure soon is worth more than a fine one late.
const SAMPLE_ROUGH: (u64, Duration) = (50, Duration::from_ms(20));
/// The usual loss of a receiver is its least over this many slots of time.
const SLOTS: usize = 8;
/// A slot lasts this long at least.
const SLOT: Duration = Duration::from_ms(500);
/// Loss above this is not taken for usual before less was sent in vain: it is rather a queue that
/// overflows than noise.
const USUAL_LOSS_MAX: f64 = 0.10;
/// Loss beyond the usual that makes the sender slower, to which comes the error of the figures.
const EXCESS: f64 = 0.02;
/// Loss that stays while less than this share of the delivery rate is sent is random: the rate does
/// not cause it.
const RANDOM_LOSS_SHARE: f64 = 0.9;
/// A longer queue is one that the rate fills: the bucket's bursts make shorter ones.
const QUEUE_MAX: Duration = Duration::from_us(BURST_TIME.as_us() * 3 / 2);
/// A delivery rate is remembered for this time.
const DELIVERY_MEMORY: Duration = Duration::from_secs(2);

/// What a receiver's FEEDBACK says about the time since its last one, in datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proto) struct ReportStep {
    /// Datagrams that were sent to it.
    pub(in crate::proto) sent: u64,
    /// Datagrams of those that arrived.
    pub(in crate::proto) received: u64,
}

/// What a loss figure says about the rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum LossSignal {
    /// There is no figure yet.
    Unknown,
    /// The loss is the usual one.
    Usual,
    /// The loss is the usual one, but every datagram waited in a queue; with the delivery rate.
    Queued(Rate),
    /// The loss is the usual one, but much less arrives than is sent.
    FallingBehind {
        /// When that was first found.
        since: Instant,
        /// The delivery rate.
        delivered: Rate,
    },
    /// The loss is more than usual, but the rate does not cause it: it is usual from now on.
    RandomLoss,
    /// The loss is more than usual; with the delivery rate.
    Excess(Rate),
}

/// Where the sender stands when a receiver reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct LossContext {
    /// The sequence number of the next transmission.
    pub(super) sequence: u64,
    /// Bytes of a datagram on the wire.
    pub(super) datagram: u64,
    /// Receivers that have figures.
    pub(super) receivers: u32,
    /// How long datagrams wait in a queue on the way to this receiver.
    pub(super) queueing_delay: Duration,
    /// The rate still doubles.
    pub(super) in_slow_start: bool,
}

/// Sent and received datagrams.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    sent: u64,
    received: u64,
}

#[expect(clippy::cast_precision_loss, reason = "figures of at most 48 bits")]
impl Count {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
    }

    fn loss(self) -> f64 {
        1.0 - self.received as f64 / self.sent as f64
    }

    fn n(self) -> f64 {
        self.sent as f64
    }

    /// Bytes a second that were sent, and that arrived, `bytes` in each datagram.
    fn rates(self, span: Duration, bytes: u64) -> (f64, f64) {
        let rate = |n: u64| n as f64 * bytes as f64 / span.as_secs_f64();
        (rate(self.sent), rate(self.received))
    }
}

/// The greatest of some figures, until none has come for [`DELIVERY_MEMORY`].
#[derive(Clone, Copy, Debug, Default)]
struct WindowedMax(Option<(f64, Instant)>);

impl WindowedMax {
    fn get(self, now: Instant) -> Option<f64> {
        let fresh = self.0.filter(|(_, at)| now.since(*at) < DELIVERY_MEMORY);
        fresh.map(|(max, _)| max)
    }

    fn note(&mut self, now: Instant, figure: f64) {
        let max = self.get(now).map_or(figure, |max| max.max(figure));
        self.0 = Some((max, now));
    }
}

/// One receiver's loss over time.
#[derive(Clone, Debug)]
pub(in crate::proto) struct LossMeter {
    /// When the sample that is being taken began.
    since: Instant,
    /// The sender's next sequence number then.
    sequence: u64,
    sample: Count,
    /// The newest first.
    slots: [Count; SLOTS],
    slot_started: Instant,
    loss: f64,
    /// When it was first found to fall behind.
    behind_since: Option<Instant>,
    /// The greatest delivery rate of late, in bytes a second, with more than the usual loss.
    excess_rate_max: WindowedMax,
    /// The greatest delivery rate of late, in bytes a second, with the usual loss.
    clean_rate_max: WindowedMax,
    /// The greatest loss that may be usual.
    usual_max: f64,
}

impl LossMeter {
    pub(in crate::proto) fn new(now: Instant) -> Self {
        Self {
            since: now,
            sequence: 0,
            sample: Count::default(),
            slots: [Count::default(); SLOTS],
            slot_started: now,
            loss: 0.0,
            behind_since: None,
            excess_rate_max: WindowedMax::default(),
            clean_rate_max: WindowedMax::default(),
            usual_max: USUAL_LOSS_MAX,
        }
    }

    /// The newest loss figure, between 0 and 1.
    pub(in crate::proto) fn loss(&self) -> f64 {
        self.loss
    }

    /// Takes note of a receiver's FEEDBACK.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive rate"
    )]
    pub(super) fn on_report(
        &mut self,
        now: Instant,
        step: ReportStep,
        context: LossContext,
    ) -> LossSignal {
        self.sample.add(Count {
            sent: step.sent,
            received: step.received.min(step.sent),
        });
        let span = now.since(self.since);
        let (datagrams, span_min) = match context.in_slow_start {
            true => SAMPLE_ROUGH,
            false => SAMPLE,
        };
        if self.sample.sent < datagrams || span < span_min {
            return LossSignal::Unknown;
        }
        let sample = std::mem::take(&mut self.sample);
        self.loss = sample.loss();
        debug_assert!(sample.received <= sample.sent, "{sample:?}");
        let (sent, arrived) = sample.rates(span, context.datagram);
        let excess = self.is_excess(now, sample, context.receivers);
        let queued = context.queueing_delay > QUEUE_MAX;
        // Where there is a queue, the loss is its overflow.
        let random = excess && self.is_random(now, sent, arrived) && !queued;
        if random {
            self.accept(now, sample);
        }
        if !excess {
            self.clean_rate_max.note(now, arrived);
        }
        let behind = sample.sent * 4 < context.sequence.saturating_sub(self.sequence) * 3;
        let since = *self.behind_since.get_or_insert(now);
        self.behind_since = behind.then_some(since);
        (self.since, self.sequence) = (now, context.sequence);
        // The usual loss is not added: it may have been overload since the beginning, and shows
        // itself only below the delivery rate.
        let delivered = Rate::from_bytes_per_s(arrived as u64);
        if random {
            LossSignal::RandomLoss
        } else if excess {
            LossSignal::Excess(delivered)
        } else if behind {
            LossSignal::FallingBehind { since, delivered }
        } else if queued {
            LossSignal::Queued(delivered)
        } else {
            LossSignal::Usual
        }
    }

    /// Whether a figure is beyond the usual loss, which is the least of the last slots. A whole
    /// slot is worth more than a lucky figure, so the one that is filling counts only when there is
    /// no other.
    fn is_excess(&mut self, now: Instant, sample: Count, receivers: u32) -> bool {
        self.slots[0].add(sample);
        let filling = self.slots[0];
        let whole = self.slots[1..].iter().filter(|slot| slot.sent > 0);
        let least = whole.min_by(|a, b| a.loss().total_cmp(&b.loss()));
        let least = *least.unwrap_or(&filling);
        let mut all = Count::default();
        self.slots.iter().for_each(|slot| all.add(*slot));
        if now.since(self.slot_started) >= SLOT && filling.sent >= SAMPLE.0 {
            self.slots.rotate_right(1);
            self.slots[0] = Count::default();
            self.slot_started = now;
        }
        // The more have figures, the unluckier is the unluckiest, and it must not count.
        let sigmas = (9.0 + 2.0 * f64::from(receivers.max(1)).ln()).sqrt();
        let p = all.loss().min(self.usual_max);
        let error = sigmas * (p * (1.0 - p) * (1.0 / sample.n() + 1.0 / least.n())).sqrt();
        sample.loss() > least.loss().min(self.usual_max) + EXCESS + error
    }

    /// Whether a loss of more than usual is not caused by the rate: it is there where clearly less
    /// is `sent`, in bytes a second, than was delivered a moment ago. `arrived` is delivered now.
    fn is_random(&mut self, now: Instant, sent: f64, arrived: f64) -> bool {
        // What arrived before the loss began says nothing about a link that became slower.
        let excess = self.excess_rate_max.get(now);
        let max = excess.or(self.clean_rate_max.get(now));
        self.excess_rate_max.note(now, arrived);
        max.is_some_and(|max| sent < max * RANDOM_LOSS_SHARE)
    }

    /// The loss of this figure is usual from now on.
    fn accept(&mut self, now: Instant, sample: Count) {
        self.excess_rate_max = WindowedMax::default();
        self.usual_max = self.usual_max.max(sample.loss());
        self.slots = [Count::default(); SLOTS];
        self.slots[0] = sample;
        self.slot_started = now;
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// One meter, of as many receivers, and the sender's count when it hears of all that it sent.
    struct Link {
        meter: LossMeter,
        receivers: u32,
        queueing_delay: Duration,
        at_us: u64,
        sequence: u64,
    }

    impl Link {
        fn of(receivers: u32) -> Self {
            Self {
                meter: LossMeter::new(Instant::ZERO),
                receivers,
                queueing_delay: Duration::ZERO,
                at_us: 0,
                sequence: 0,
            }
        }

        fn report_at(&mut self, sent: u64, received: u64, sequence: u64) -> LossSignal {
            let step = ReportStep { sent, received };
            let context = LossContext {
                sequence,
                datagram: 1_500,
                receivers: self.receivers,
                queueing_delay: self.queueing_delay,
                in_slow_start: false,
            };
            let now = Instant::from_us(self.at_us);
            self.meter.on_report(now, step, context)
        }

        /// A tenth of a second later.
        fn report(&mut self, sent: u64, received: u64) -> LossSignal {
            self.at_us += 100_000;
            self.sequence += sent;
            self.report_at(sent, received, self.sequence)
        }
    }

    #[test]
    fn usual_loss_does_not_slow_down_and_unusual_loss_does() {
        let mut link = Link::of(1);
        for n in 0..50 {
            let verdict = link.report(1_000, 950 - n % 2);
            assert_eq!(verdict, LossSignal::Usual, "report {n}");
        }
        let LossSignal::Excess(rate) = link.report(1_000, 700) else {
            panic!("20 % more than usual")
        };
        // Datagrams of 1500 bytes in 0.1 s.
        assert_eq!(rate.as_bytes_per_s(), 700 * 1_500 * 10);
    }

    #[test]
    fn an_overloaded_link_is_not_usual_from_the_first_figure_on() {
        let verdict = Link::of(1).report(1_000, 100);
        assert!(matches!(verdict, LossSignal::Excess(_)));
    }

    #[test]
    fn random_loss_is_told_from_a_queue_that_overflows() {
        let mut link = Link::of(1);
        for _ in 0..20 {
            assert_eq!(link.report(10_000, 10_000), LossSignal::Usual);
        }
        // As long as more is sent than nine tenths of what delivered, it may be the rate.
        for (sent, received) in [(10_000, 9_500), (9_215, 8_754), (8_600, 8_170)] {
            assert!(matches!(link.report(sent, received), LossSignal::Excess(_)));
        }
        assert_eq!(link.report(8_500, 8_075), LossSignal::RandomLoss);
        for _ in 0..20 {
            assert_eq!(link.report(10_000, 9_500), LossSignal::Usual);
        }
        // Much noise is noise as well.
        assert!(matches!(link.report(10_000, 7_500), LossSignal::Excess(_)));
        assert_eq!(link.report(6_700, 5_025), LossSignal::RandomLoss);
        assert_eq!(link.report(10_000, 7_500), LossSignal::Usual);
        // A receiver that lost nothing at a higher rate a moment ago has random loss at once.
        let mut link = Link::of(1);
        assert_eq!(link.report(10_000, 10_000), LossSignal::Usual);
        assert_eq!(link.report(8_000, 7_600), LossSignal::RandomLoss);
        // Unless there is a queue: it overflows.
        let mut link = Link::of(1);
        assert_eq!(link.report(10_000, 10_000), LossSignal::Usual);
        link.queueing_delay = Duration::from_ms(40);
        assert!(matches!(link.report(8_000, 7_600), LossSignal::Excess(_)));
        let delivered = Rate::from_bytes_per_s(8_000 * 1_500 * 10);
        assert_eq!(link.report(8_000, 8_000), LossSignal::Queued(delivered));
        // A link that becomes much slower is no noise.
        let mut link = Link::of(1);
        assert_eq!(link.report(10_000, 10_000), LossSignal::Usual);
        for (sent, received) in [(10_000, 2_000), (2_500, 2_000)] {
            assert!(matches!(link.report(sent, received), LossSignal::Excess(_)));
        }
        // A queue that overflows is left alone at last, by a sender that is slow enough.
        let mut link = Link::of(1);
        for _ in 0..50 {
            assert!(matches!(link.report(10_000, 8_000), LossSignal::Excess(_)));
        }
        assert_eq!(link.report(7_900, 7_900), LossSignal::Usual);
    }

    #[test]
    fn the_unluckiest_of_many_does_not_slow_the_sender() {
        for (receivers, loss) in [(1, 0.05), (16, 0.01), (64, 0.05), (1_000, 0.02)] {
            let mut rng = StdRng::seed_from_u64(7);
            let (mut figures, mut excesses) = (0, 0);
            for _ in 0..64 {
                let mut link = Link::of(receivers);
                for _ in 0..400 {
                    let sent = rng.random_range(200..400);
                    let lost = (0..sent).filter(|_| rng.random_bool(loss)).count();
                    let verdict = link.report(sent, sent - lost as u64);
                    figures += 1;
                    excesses += u32::from(matches!(verdict, LossSignal::Excess(_)));
                }
            }
            // Of all receivers, less than one in 20 rounds.
            let most = figures / 20 / receivers.max(10);
            assert!(excesses <= most, "{excesses} of {figures} at {receivers}");
        }
    }

    #[test]
    fn a_receiver_that_falls_behind_is_told_from_one_that_is_waited_for() {
        let mut link = Link::of(1);
        let mut report = |at_us, sent, sequence| {
            link.at_us = at_us;
            link.report_at(sent, sent, sequence)
        };
        assert_eq!(report(50_000, 950, 1_000), LossSignal::Usual);
        let at = Instant::from_us(100_000);
        let delivered = Rate::from_bytes_per_s(1_000 * 1_500 * 20);
        assert_eq!(
            report(100_000, 1_000, 2_500),
            LossSignal::FallingBehind {
                since: at,
                delivered
            }
        );
        assert_eq!(
            report(150_000, 1_000, 4_000),
            LossSignal::FallingBehind {
                since: at,
                delivered
            }
        );
        // The sender waited for it.
        assert_eq!(report(200_000, 2_050, 4_000), LossSignal::Usual);
        let at = Instant::from_us(250_000);
        assert_eq!(
            report(250_000, 1_000, 5_500),
            LossSignal::FallingBehind {
                since: at,
                delivered
            }
        );
    }
}
