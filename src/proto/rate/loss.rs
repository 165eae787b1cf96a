//! What a receiver loses, and what that says about the rate: a queue that overflows, one that
//! grows, or noise.

use crate::proto::limits::BURST_TIME;
use crate::units::{Duration, Instant, Rate};

/// Datagrams that a loss figure needs to mean something, and the least time that it covers;
const SAMPLE: (u64, Duration) = (200, Duration::from_ms(50));
/// while the rate doubles, a coarse one soon is worth more than a fine one late.
const SAMPLE_ROUGH: (u64, Duration) = (50, Duration::from_ms(20));
/// The usual loss of a receiver is its least over this many slots
const SLOTS: usize = 8;
/// of at least this length.
const SLOT: Duration = Duration::from_ms(500);
/// Loss above this is not taken for usual before less was sent in vain: it is rather a queue that
/// overflows than noise.
const USUAL_LOSS_MAX: f64 = 0.10;
/// Loss beyond the usual that makes the sender slower, to which comes the error of the figures.
const EXCESS: f64 = 0.02;
/// Loss that stays at this share of the rate that came through is not the sender's.
const INNOCENT: f64 = 0.9;
/// A longer queue is one that the rate fills: the bucket's bursts make shorter ones.
const QUEUE_MAX: Duration = Duration::from_us(BURST_TIME.as_us() * 3 / 2);
/// What came through is remembered for so long.
const LATELY: Duration = Duration::from_secs(2);

/// What a receiver's FEEDBACK says about the time since its last, in datagrams.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Step {
    pub(in crate::proto) sent: u64,
    pub(in crate::proto) received: u64,
}

/// What a loss figure says about the rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::proto) enum Verdict {
    /// No figure yet.
    Unknown,
    /// The usual loss.
    Usual,
    /// The usual loss, but all of it waited in a queue, and this is the rate that came through.
    Queued(Rate),
    /// The usual loss, but since that time much less comes through than is sent, at this rate.
    Behind(Instant, Rate),
    /// More than usual, but not for the rate; it is usual from now on.
    Forgiven,
    /// More than usual, and this is the rate that came through.
    Excess(Rate),
}

/// The sender as a receiver's figures are judged.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Sent {
    /// The next transmission.
    pub(in crate::proto) tx: u64,
    /// Bytes of a datagram on the wire.
    pub(in crate::proto) bytes: u64,
    /// Receivers that have figures.
    pub(in crate::proto) receivers: u32,
    /// How long it waits in a queue on the way to this receiver.
    pub(in crate::proto) queue: Duration,
    /// Its rate doubles still.
    pub(in crate::proto) leaps: bool,
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

    /// Bytes a second that were sent, and that came through, `bytes` in each datagram.
    fn rates(self, span: Duration, bytes: u64) -> (f64, f64) {
        let rate = |n: u64| n as f64 * bytes as f64 / span.as_secs_f64();
        (rate(self.sent), rate(self.received))
    }
}

/// The greatest of some figures, as long as they come.
#[derive(Clone, Copy, Debug, Default)]
struct WindowedMax(Option<(f64, Instant)>);

impl WindowedMax {
    fn most(self, now: Instant) -> Option<f64> {
        let fresh = self.0.filter(|(_, at)| now.since(*at) < LATELY);
        fresh.map(|(most, _)| most)
    }

    fn note(&mut self, now: Instant, figure: f64) {
        let most = self.most(now).map_or(figure, |most| most.max(figure));
        self.0 = Some((most, now));
    }
}

/// One receiver's loss over time.
#[derive(Clone, Debug)]
pub(in crate::proto) struct LossMeter {
    since: Instant,
    /// The sender's transmissions then.
    tx: u64,
    sample: Count,
    /// The newest first.
    slots: [Count; SLOTS],
    slot_started: Instant,
    loss: f64,
    /// When it was first found to fall behind.
    behind_since: Option<Instant>,
    /// The most bytes a second that came through of late: while it lost more than usual, if it did,
    /// else with the usual loss.
    blamed: WindowedMax,
    praised: WindowedMax,
    /// No more than this is usual.
    usual_max: f64,
}

impl LossMeter {
    pub(in crate::proto) fn new(now: Instant) -> Self {
        Self {
            since: now,
            tx: 0,
            sample: Count::default(),
            slots: [Count::default(); SLOTS],
            slot_started: now,
            loss: 0.0,
            behind_since: None,
            blamed: WindowedMax::default(),
            praised: WindowedMax::default(),
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
    pub(in crate::proto) fn report(&mut self, now: Instant, step: Step, sent: Sent) -> Verdict {
        self.sample.add(Count {
            sent: step.sent,
            received: step.received.min(step.sent),
        });
        let span = now.since(self.since);
        let (datagrams, least) = if sent.leaps { SAMPLE_ROUGH } else { SAMPLE };
        if self.sample.sent < datagrams || span < least {
            return Verdict::Unknown;
        }
        let sample = std::mem::take(&mut self.sample);
        self.loss = sample.loss();
        let (heard, came) = sample.rates(span, sent.bytes);
        let excess = self.is_excess(now, sample, sent.receivers);
        let queued = sent.queue > QUEUE_MAX;
        // Where there is a queue, it is what overflows.
        let forgiven = excess && self.is_innocent(now, heard, came) && !queued;
        if forgiven {
            self.forgive(now, sample);
        }
        if !excess {
            self.praised.note(now, came);
        }
        let behind = sample.sent * 4 < sent.tx.saturating_sub(self.tx) * 3;
        let since = *self.behind_since.get_or_insert(now);
        self.behind_since = behind.then_some(since);
        (self.since, self.tx) = (now, sent.tx);
        // What is usual is not made good: it may have been overload since the beginning, and shows
        // itself only below what came through.
        let delivered = Rate::from_bytes_per_s(came as u64);
        if forgiven {
            Verdict::Forgiven
        } else if excess {
            Verdict::Excess(delivered)
        } else if behind {
            Verdict::Behind(since, delivered)
        } else if queued {
            Verdict::Queued(delivered)
        } else {
            Verdict::Usual
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

    /// Whether a loss of more than usual is not made by the rate: it is there where clearly less is
    /// sent, `heard` bytes a second, than came through a moment ago. `came` is what came through.
    fn is_innocent(&mut self, now: Instant, heard: f64, came: f64) -> bool {
        // What came through before the loss began says nothing about a link that became slower.
        let blamed = self.blamed.most(now);
        let most = blamed.or(self.praised.most(now));
        self.blamed.note(now, came);
        most.is_some_and(|most| heard < most * INNOCENT)
    }

    /// The loss of this figure is usual from now on.
    fn forgive(&mut self, now: Instant, sample: Count) {
        self.blamed = WindowedMax::default();
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

    /// One meter, of as many receivers, and the sender's count when all that is sent is heard.
    struct Trial {
        meter: LossMeter,
        receivers: u32,
        queue: Duration,
        at_us: u64,
        tx: u64,
    }

    impl Trial {
        fn of(receivers: u32) -> Self {
            Self {
                meter: LossMeter::new(Instant::ZERO),
                receivers,
                queue: Duration::ZERO,
                at_us: 0,
                tx: 0,
            }
        }

        fn hears(&mut self, sent: u64, received: u64, tx: u64) -> Verdict {
            let step = Step { sent, received };
            let sent = Sent {
                tx,
                bytes: 1_500,
                receivers: self.receivers,
                queue: self.queue,
                leaps: false,
            };
            self.meter.report(Instant::from_us(self.at_us), step, sent)
        }

        /// A tenth of a second later.
        fn gets(&mut self, sent: u64, received: u64) -> Verdict {
            self.at_us += 100_000;
            self.tx += sent;
            self.hears(sent, received, self.tx)
        }
    }

    #[test]
    fn usual_loss_does_not_slow_down_and_unusual_loss_does() {
        let mut trial = Trial::of(1);
        for n in 0..50 {
            let verdict = trial.gets(1_000, 950 - n % 2);
            assert_eq!(verdict, Verdict::Usual, "report {n}");
        }
        let Verdict::Excess(rate) = trial.gets(1_000, 700) else {
            panic!("20 % more than usual")
        };
        // Datagrams of 1500 bytes in 0.1 s.
        assert_eq!(rate.as_bytes_per_s(), 700 * 1_500 * 10);
    }

    #[test]
    fn an_overloaded_link_is_not_usual_from_the_first_figure_on() {
        let verdict = Trial::of(1).gets(1_000, 100);
        assert!(matches!(verdict, Verdict::Excess(_)));
    }

    #[test]
    fn noise_that_begins_is_told_from_a_queue() {
        let mut trial = Trial::of(1);
        for _ in 0..20 {
            assert_eq!(trial.gets(10_000, 10_000), Verdict::Usual);
        }
        // As long as more is sent than nine tenths of what came, it may be the rate.
        for (sent, received) in [(10_000, 9_500), (9_215, 8_754), (8_600, 8_170)] {
            assert!(matches!(trial.gets(sent, received), Verdict::Excess(_)));
        }
        assert_eq!(trial.gets(8_500, 8_075), Verdict::Forgiven);
        for _ in 0..20 {
            assert_eq!(trial.gets(10_000, 9_500), Verdict::Usual);
        }
        // Much noise is noise as well.
        assert!(matches!(trial.gets(10_000, 7_500), Verdict::Excess(_)));
        assert_eq!(trial.gets(6_700, 5_025), Verdict::Forgiven);
        assert_eq!(trial.gets(10_000, 7_500), Verdict::Usual);
        // Who lost nothing at a higher rate a moment ago has nothing to prove.
        let mut trial = Trial::of(1);
        assert_eq!(trial.gets(10_000, 10_000), Verdict::Usual);
        assert_eq!(trial.gets(8_000, 7_600), Verdict::Forgiven);
        // Unless there is a queue: it overflows.
        let mut trial = Trial::of(1);
        assert_eq!(trial.gets(10_000, 10_000), Verdict::Usual);
        trial.queue = Duration::from_ms(40);
        assert!(matches!(trial.gets(8_000, 7_600), Verdict::Excess(_)));
        let came = Rate::from_bytes_per_s(8_000 * 1_500 * 10);
        assert_eq!(trial.gets(8_000, 8_000), Verdict::Queued(came));
        // A link that becomes much slower is no noise.
        let mut trial = Trial::of(1);
        assert_eq!(trial.gets(10_000, 10_000), Verdict::Usual);
        for (sent, received) in [(10_000, 2_000), (2_500, 2_000)] {
            assert!(matches!(trial.gets(sent, received), Verdict::Excess(_)));
        }
        // A queue that overflows is left alone at last, by a sender that is slow enough.
        let mut trial = Trial::of(1);
        for _ in 0..50 {
            assert!(matches!(trial.gets(10_000, 8_000), Verdict::Excess(_)));
        }
        assert_eq!(trial.gets(7_900, 7_900), Verdict::Usual);
    }

    #[test]
    fn the_unluckiest_of_many_is_not_blamed() {
        for (receivers, loss) in [(1, 0.05), (16, 0.01), (64, 0.05), (1_000, 0.02)] {
            let mut rng = StdRng::seed_from_u64(7);
            let (mut figures, mut excesses) = (0, 0);
            for _ in 0..64 {
                let mut trial = Trial::of(receivers);
                for _ in 0..400 {
                    let sent = rng.random_range(200..400);
                    let lost = (0..sent).filter(|_| rng.random_bool(loss)).count();
                    let verdict = trial.gets(sent, sent - lost as u64);
                    figures += 1;
                    excesses += u32::from(matches!(verdict, Verdict::Excess(_)));
                }
            }
            // Of all receivers, less than one in 20 rounds.
            let most = figures / 20 / receivers.max(10);
            assert!(excesses <= most, "{excesses} of {figures} at {receivers}");
        }
    }

    #[test]
    fn a_receiver_that_falls_behind_is_told_from_one_that_is_waited_for() {
        let mut trial = Trial::of(1);
        let mut hears = |at_us, sent, tx| {
            trial.at_us = at_us;
            trial.hears(sent, sent, tx)
        };
        assert_eq!(hears(50_000, 950, 1_000), Verdict::Usual);
        let at = Instant::from_us(100_000);
        let came = Rate::from_bytes_per_s(1_000 * 1_500 * 20);
        assert_eq!(hears(100_000, 1_000, 2_500), Verdict::Behind(at, came));
        assert_eq!(hears(150_000, 1_000, 4_000), Verdict::Behind(at, came));
        // The sender waited for it.
        assert_eq!(hears(200_000, 2_050, 4_000), Verdict::Usual);
        let at = Instant::from_us(250_000);
        assert_eq!(hears(250_000, 1_000, 5_500), Verdict::Behind(at, came));
    }
}
