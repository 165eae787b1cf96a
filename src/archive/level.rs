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

/// Those that a choice may fall on, as they are for our frames of /usr/share on one machine. How
/// much another machine and tree differ is learnt; it is about the same for all levels. Those left
/// out are slower without being smaller.
const LEVELS: [Level; 8] = [
    level(1, 523.0, 0.353),
    level(2, 435.0, 0.330),
    level(3, 340.0, 0.306),
    level(4, 251.0, 0.296),
    level(7, 112.0, 0.279),
    level(8, 88.0, 0.277),
    level(9, 70.0, 0.272),
    level(12, 34.0, 0.268),
];

/// Where a choice begins that knows nothing yet: no level costs much more than this one, for the
/// few frames until the output is known.
pub const LEVEL_FIRST: i32 = 2;

/// How much of what is known remains when something new comes: old figures fade within some ten
/// frames.
const KEPT: f64 = 0.8;

/// What pipes and the filter behind them take at once.
const BUFFER_BYTES: f64 = 2e6;

/// Processors have more to do than to compress: the tree is read, and other filters run.
const OTHER_WORK: f64 = 1.15;

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

/// Chooses the level of each frame by what the frames before it took.
#[derive(Clone, Debug)]
pub struct Chooser {
    threads: f64,
    /// How much faster frames are compressed here than the table says, and how much more is left.
    faster: Ratio,
    more_left: Ratio,
    level: i32,
    /// Bytes a microsecond that the output takes when it has to wait for what is behind it.
    link: Ratio,
    /// When something was written last.
    written_us: Option<u64>,
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
            link: Ratio::default(),
            written_us: None,
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
            .add(KEPT, before / known.speed, float_us(taken_us));
        self.more_left.add(KEPT, after, before * known.left);
    }

    /// Hears that the output took `bytes`, for which it blocked from `begun_us` to `now_us`.
    pub fn written(&mut self, bytes: usize, begun_us: u64, now_us: u64) {
        // What the output has passed on since the last time it takes at once; the rest shows how
        // fast it is, whether or not it had to wait for us before.
        let drained = match self.written_us {
            Some(last) => float_us(begun_us.saturating_sub(last)) * self.link.or(f64::MAX),
            None => BUFFER_BYTES,
        };
        let waited_for = float(bytes) - drained.min(BUFFER_BYTES);
        self.written_us = Some(now_us);
        if waited_for > 0.0 {
            let taken = float_us(now_us.saturating_sub(begun_us)).max(1.0);
            self.link.add(KEPT, waited_for, taken);
            self.choose(self.link.or(f64::MAX));
        }
    }

    /// Chooses for an output that takes `link` bytes a microsecond.
    fn choose(&mut self, link: f64) {
        let (faster, more_left) = (self.faster.or(1.0), self.more_left.or(1.0));
        let time = |level: &Level| {
            let compressing = OTHER_WORK / (level.speed * faster * self.threads);
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
                chooser: Chooser::new(LEVEL_FIRST, 2),
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
