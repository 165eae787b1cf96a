//! What a path does to datagrams.

use rand::RngExt;
use rand::rngs::StdRng;
use sealcast::units::{Duration, Instant, Rate};

/// Impairments of one path.
#[derive(Clone, Debug, Default)]
pub struct Impairment {
    pub loss: f64,
    /// Mean length of a burst of losses; 0 for independent losses.
    pub burst: f64,
    pub duplicate: f64,
    /// A bit flips.
    pub corrupt: f64,
    /// Only the beginning arrives.
    pub truncate: f64,
    pub delay_us: u64,
    pub jitter_us: u64,
    /// The datagram takes [`Impairment::detour_us`] more, so that others overtake it.
    pub detour: f64,
    pub detour_us: u64,
    /// Longer datagrams never arrive.
    pub swallows_over: Option<usize>,
    /// When losses begin.
    pub lossy_from: Instant,
}

impl Impairment {
    pub fn draw(rng: &mut StdRng, harsh: bool) -> Self {
        let mut some = |p: f64, most: f64| {
            if rng.random_bool(p) {
                rng.random_range(0.0..most)
            } else {
                0.0
            }
        };
        let worst = if harsh { 0.2 } else { 0.02 };
        Self {
            loss: some(0.7, worst),
            burst: some(0.3, 20.0),
            duplicate: some(0.3, 0.05),
            corrupt: some(0.3, 0.02),
            truncate: some(0.2, 0.02),
            delay_us: some(1.0, if harsh { 20_000.0 } else { 1_000.0 }) as u64,
            jitter_us: some(0.5, if harsh { 5_000.0 } else { 300.0 }) as u64,
            detour: some(0.2, 0.1),
            detour_us: some(1.0, 100_000.0) as u64,
            swallows_over: None,
            lossy_from: Instant::from_us(some(0.2, 3_000_000.0) as u64),
        }
    }
}

/// One path with its own state.
#[derive(Debug)]
pub struct Path {
    impairment: Impairment,
    bad: bool,
    last: Instant,
    dropped_first: u32,
}

impl Path {
    pub fn new(impairment: &Impairment) -> Self {
        Self {
            impairment: impairment.clone(),
            bad: false,
            last: Instant::ZERO,
            dropped_first: 0,
        }
    }

    pub fn loses(&mut self, now: Instant, rng: &mut StdRng) -> bool {
        // A burst is over when nothing has passed for a while: it is a matter of time.
        self.bad &= now.since(self.last) < Duration::from_ms(20);
        self.last = now;
        let i = &self.impairment;
        if now < i.lossy_from {
            return false;
        }
        if i.burst < 1.0 {
            return rng.random_bool(i.loss);
        }
        // Gilbert: bad periods of this mean length, as often as the mean loss demands.
        let leave = 1.0 / i.burst;
        let enter = (leave * i.loss / (1.0 - i.loss)).min(1.0);
        self.bad = if self.bad {
            !rng.random_bool(leave)
        } else {
            rng.random_bool(enter)
        };
        self.bad
    }

    /// The copies that arrive, with their delays.
    pub fn carry(
        &mut self,
        now: Instant,
        datagram: &[u8],
        drop_first: Option<(u8, u32)>,
        rng: &mut StdRng,
    ) -> Vec<(Duration, Vec<u8>)> {
        if let Some((kind, count)) = drop_first
            && datagram[0] & 15 == kind
            && self.dropped_first < count
        {
            self.dropped_first += 1;
            return Vec::new();
        }
        let swallowed = self.impairment.swallows_over;
        if swallowed.is_some_and(|most| datagram.len() > most) || self.loses(now, rng) {
            return Vec::new();
        }
        let i = &self.impairment;
        let copies = 1 + usize::from(rng.random_bool(i.duplicate));
        (0..copies)
            .map(|_| {
                let jitter = rng.random_range(0..=i.jitter_us);
                let mut bytes = datagram.to_vec();
                if rng.random_bool(i.corrupt) {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] ^= 1 << rng.random_range(0..8);
                }
                if i.truncate > 0.0 && rng.random_bool(i.truncate) {
                    bytes.truncate(rng.random_range(0..bytes.len()));
                }
                let detour = i.detour > 0.0 && rng.random_bool(i.detour);
                let detour = if detour { i.detour_us } else { 0 };
                (Duration::from_us(i.delay_us + jitter + detour), bytes)
            })
            .collect()
    }
}

/// The sender's link: a rate and a queue that drops at its end.
#[derive(Debug)]
pub struct Bottleneck {
    rate: Rate,
    queue_max: u64,
    free_at: Instant,
}

impl Bottleneck {
    pub fn new(rate: Rate, queue_max: u64) -> Self {
        Self {
            rate,
            queue_max,
            free_at: Instant::ZERO,
        }
    }

    /// When the datagram has passed, if the queue had room for it.
    pub fn pass(&mut self, now: Instant, bytes: u64) -> Option<Instant> {
        let waiting = self.rate.bytes_in(self.free_at.since(now));
        if waiting + bytes > self.queue_max {
            return None;
        }
        self.free_at = self.free_at.max(now) + self.rate.time_for(bytes);
        Some(self.free_at)
    }
}
