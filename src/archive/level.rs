//! Which level of compression brings an archive through a link soonest.
//!
//! Compressing and sending go on side by side, so that the slower of the two sets the pace: a level
//! is best when a byte of the tree spends the least time where it waits the longest.

/// A level with the speed of one thread in bytes a microsecond and the share of a frame that it
/// leaves.
struct Level {
    number: i32,
    speed: f64,
    left: f64,
}

const fn level(number: i32, speed: f64, left: f64) -> Level {
    Level {
        number,
        speed,
        left,
    }
}

/// Those that a choice may fall on, as they are for frames of /usr/share on one machine (`zstd -b
/// -B8388608`). How much another machine and tree differ is learnt; it is about the same for all
/// levels. Those left out are slower without being smaller.
const LEVELS: [Level; 8] = [
    level(1, 479.0, 0.401),
    level(2, 371.0, 0.378),
    level(3, 343.0, 0.366),
    level(4, 294.0, 0.359),
    level(6, 113.0, 0.350),
    level(7, 77.0, 0.343),
    level(9, 50.0, 0.340),
    level(12, 25.0, 0.338),
];

/// How much of what is known remains when something new comes: old figures fade within some ten
/// frames, or some ten judgements of the output.
const FRAMES_KEPT: f64 = 0.8;
const JUDGEMENTS_KEPT: f64 = 0.75;

/// A ratio of two sums, in which the latest counts most. What took longest has its say in it, not
/// what was over at once.
#[derive(Clone, Copy, Debug, Default)]
struct Ratio {
    above: f64,
    below: f64,
}

impl Ratio {
    fn add(&mut self, kept: f64, above: f64, below: f64) {
        self.above = self.above * kept + above;
        self.below = self.below * kept + below;
    }

    /// The ratio; `other` when nothing was added yet.
    fn or(self, other: f64) -> f64 {
        if self.below > 0.0 {
            self.above / self.below
        } else {
            other
        }
    }
}

/// How much is written, or for how long, before the output is judged: many times what pipes hold,
/// or long enough that they do not matter.
const JUDGED_BYTES: usize = 6 << 20;
const JUDGED_US: u64 = 1_000_000;

/// Below this share of time in which it blocks, an output is taken to be this much faster than what
/// it was given.
const FREE_SHARE: f64 = 0.2;
const FREE_FACTOR: f64 = 2.0;

/// Chooses the level of each frame by what the frames before it took.
#[derive(Clone, Debug)]
pub struct Chooser {
    threads: f64,
    /// How much faster frames are compressed here than the table says, and how much more is left.
    faster: Ratio,
    more_left: Ratio,
    level: i32,
    /// Bytes a microsecond that were written, and the share of time that blocked.
    written: Ratio,
    blocked: Ratio,
    /// What was written since the output was judged, how long that blocked, and since when.
    bytes: usize,
    blocked_us: u64,
    since_us: Option<u64>,
}

impl Chooser {
    /// Begins with `level` for compression on so many threads.
    pub fn new(level: i32, threads: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "threads are few")]
        let threads = threads as f64;
        Self {
            threads,
            faster: Ratio::default(),
            more_left: Ratio::default(),
            level,
            written: Ratio::default(),
            blocked: Ratio::default(),
            bytes: 0,
            blocked_us: 0,
            since_us: None,
        }
    }

    /// The level for a link that takes so many bits a second, by the table alone.
    pub fn for_rate(bits_per_s: u64, threads: usize) -> i32 {
        let mut chooser = Self::new(super::LEVEL_DEFAULT, threads);
        #[expect(clippy::cast_precision_loss, reason = "three digits do")]
        let rate = bits_per_s as f64 / 8e6;
        chooser.choose(rate);
        chooser.level
    }

    /// The level for the next frame.
    pub const fn level(&self) -> i32 {
        self.level
    }

    /// Hears that `taken_us` microseconds on one thread made `after` bytes of `before` at `level`.
    pub fn compressed(&mut self, level: i32, before: usize, after: usize, taken_us: u64) {
        let Some(known) = LEVELS.iter().find(|known| known.number == level) else {
            return;
        };
        let (before, after) = (float(before), float(after));
        self.faster
            .add(FRAMES_KEPT, before / known.speed, float_us(taken_us));
        self.more_left.add(FRAMES_KEPT, after, before * known.left);
    }

    /// Hears that the output took `bytes`, for which it blocked from `begun_us` to `now_us`.
    pub fn written(&mut self, bytes: usize, begun_us: u64, now_us: u64) {
        self.bytes += bytes;
        self.blocked_us += now_us.saturating_sub(begun_us);
        let elapsed = now_us.saturating_sub(*self.since_us.get_or_insert(begun_us));
        if self.bytes < JUDGED_BYTES && elapsed < JUDGED_US {
            return;
        }
        let elapsed = float_us(elapsed);
        self.written
            .add(JUDGEMENTS_KEPT, float(self.bytes), elapsed);
        self.blocked
            .add(JUDGEMENTS_KEPT, float_us(self.blocked_us), elapsed);
        (self.bytes, self.blocked_us, self.since_us) = (0, 0, Some(now_us));
        // An output that blocks much of the time had something to do all the time. One that does
        // not could take more, and how much more only shows when it gets that.
        let free = self.blocked.or(1.0) < FREE_SHARE;
        self.choose(self.written.or(1.0) * if free { FREE_FACTOR } else { 1.0 });
    }

    /// Chooses for an output that takes `link` bytes a microsecond.
    fn choose(&mut self, link: f64) {
        let (faster, more_left) = (self.faster.or(1.0), self.more_left.or(1.0));
        let time = |level: &Level| {
            let compressing = 1.0 / (level.speed * faster * self.threads);
            let sending = (level.left * more_left).min(1.0) / link;
            compressing.max(sending)
        };
        // Of levels that take as long the first is chosen, which leaves the others more time.
        let best = LEVELS.iter().min_by(|a, b| time(a).total_cmp(&time(b)));
        if let Some(best) = best {
            self.level = best.number;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits do")]
const fn float(bytes: usize) -> f64 {
    bytes as f64
}

#[expect(clippy::cast_precision_loss, reason = "three digits do")]
const fn float_us(us: u64) -> f64 {
    us as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_links_are_worth_more_work() {
        let levels: Vec<_> = [10, 30, 117, 300, 2_000]
            .map(|mb_per_s| Chooser::for_rate(mb_per_s * 8_000_000, 2))
            .to_vec();
        assert!(levels.is_sorted_by(|a, b| a >= b), "{levels:?}");
        assert!(levels[0] >= 9 && levels[1] >= 9, "{levels:?}");
        assert!((3..=7).contains(&levels[2]), "{levels:?}");
        assert_eq!(levels[4], 1);
        // More processors can do more in the same time.
        assert!(Chooser::for_rate(117 * 8_000_000, 16) > levels[2]);
    }

    /// Frames through a machine and a link that differ from the table by factors; what a link took
    /// is at once for two megabytes, as with pipes.
    struct Run {
        chooser: Chooser,
        now: f64,
        drained: f64,
    }

    impl Run {
        fn new() -> Self {
            Self {
                chooser: Chooser::new(3, 2),
                now: 0.0,
                drained: 0.0,
            }
        }

        /// Runs 100 frames; returns the level that most of the last 30 had.
        fn frames(&mut self, link: f64, factor: f64) -> i32 {
            let mut levels = Vec::new();
            let us = |x: f64| x.max(0.0).round() as u64;
            for i in 0..100 {
                let number = self.chooser.level();
                let level = LEVELS.iter().find(|l| l.number == number).unwrap();
                // Some frames are nearly empty.
                let after = if i % 7 == 0 { 2e5 } else { 8e6 * level.left };
                let taken = 8e6 / (level.speed * factor);
                self.chooser
                    .compressed(number, 8_000_000, after as usize, us(taken));
                let begun = self.now + taken / 2.0;
                self.drained = self.drained.max(begun - 2e6 / link) + after / link;
                self.now = begun.max(self.drained);
                self.chooser
                    .written(after as usize, us(begun), us(self.now));
                levels.push(number);
            }
            let mut last = levels.split_off(70);
            last.sort_unstable();
            last[15]
        }
    }

    #[test]
    fn a_choice_follows_what_is_measured() {
        let slow = Run::new().frames(12.0, 1.0);
        assert!(slow >= 7, "{slow}");
        // A slower machine does less in the same time, a faster one more.
        let (less, more) = (Run::new().frames(100.0, 0.3), Run::new().frames(100.0, 3.0));
        assert!(less < more, "{less} {more}");
        assert_eq!(Run::new().frames(5_000.0, 1.0), 1);
        // When the link changes, so does the choice.
        let mut run = Run::new();
        assert!(run.frames(12.0, 1.0) >= 7);
        assert_eq!(run.frames(5_000.0, 1.0), 1);
        assert!(run.frames(12.0, 1.0) >= 7);
    }
}
