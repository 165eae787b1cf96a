//! Which level of compression brings an archive through a link soonest.
//!
//! Compressing and sending go on side by side, so that the slower of the two sets the pace: a level
//! is best when a byte of the tree spends the least time where it waits the longest.

use std::collections::VecDeque;

/// A level with the speed of one thread in bytes a microsecond and the share of a frame that it
/// leaves.
#[derive(Debug)]
struct Level {
    number: i32,
    speed: f64,
    share: f64,
}

const fn level(number: i32, speed: f64, share: f64) -> Level {
    Level {
        number,
        speed,
        share,
    }
}

/// Those that a choice may fall on, as they are for our frames of /usr/share on one machine. How
/// much another machine and tree differ is learnt; it is about the same for all levels. Those left
/// out are slower without being smaller.
static LEVELS: [Level; 8] = [
    level(1, 523.0, 0.353),
    level(2, 435.0, 0.330),
    level(3, 340.0, 0.306),
    level(4, 251.0, 0.296),
    level(7, 112.0, 0.279),
    level(8, 88.0, 0.277),
    level(9, 70.0, 0.272),
    level(12, 34.0, 0.268),
];

/// Frames differ: one that was thought to be in time by less would be late too often, and an output
/// that has run dry has lost more than a stronger level gains.
const MARGIN: f64 = 1.7;

/// The place in the table where a choice begins that knows nothing yet: no level costs much more
/// than this one, for the few frames until the output is known.
const PLACE_FIRST: usize = 1;

/// How much of what is known remains when something new comes: old figures fade within some ten
/// frames.
const KEPT: f64 = 0.8;

/// What pipes and the filter behind them take at once.
const BUFFER_BYTES: f64 = 2e6;

/// Processors have more to do than to compress: the tree is read, and other filters run.
const OTHER_WORK: f64 = 1.15;

/// The level for a link that takes so many bits a second, by the table alone.
pub fn level_for_rate(bits_per_s: u64, threads: usize) -> i32 {
    #[expect(clippy::cast_precision_loss, reason = "three digits do")]
    let (link, threads) = (bits_per_s as f64 / 8e6, threads as f64);
    let time = |level: &Level| {
        let compressing = OTHER_WORK / (level.speed * threads);
        compressing.max(level.share / link)
    };
    // Of levels that take as long the first is chosen, which leaves the others more time.
    let best = LEVELS.iter().min_by(|a, b| time(a).total_cmp(&time(b)));
    best.map_or(super::LEVEL_DEFAULT, |level| level.number)
}

/// A ratio of two sums, in which the latest counts most. What took longest has its say in it, not
/// what was over at once.
#[derive(Clone, Copy, Debug, Default)]
struct Ratio {
    above: f64,
    below: f64,
}

impl Ratio {
    fn add(&mut self, above: f64, below: f64) {
        self.above = self.above * KEPT + above;
        self.below = self.below * KEPT + below;
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

/// Chooses the level of each frame: the strongest that is done when the output has taken all frames
/// before it, by what those so far took. So the output always has something to take, and the
/// processors work as much as that leaves time for.
#[derive(Clone, Debug)]
pub struct LevelController {
    /// The place in the table of the level that was chosen last.
    place: usize,
    /// How much faster frames are compressed here than the table says, and how much more is left.
    speed_ratio: Ratio,
    share_ratio: Ratio,
    /// Bytes a microsecond that the output takes when it has to wait for what is behind it.
    link: Ratio,
    /// The length of frames.
    frame_bytes: f64,
    /// Frames that the output has not taken, in their order, and how many it has.
    frames: VecDeque<Frame>,
    taken: usize,
    /// Since when the output has been taking the first of them.
    writing_since_us: Option<u64>,
    /// When it had taken one last.
    written_us: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    level: &'static Level,
    begun_us: u64,
    /// How long it has become; nothing while it is compressed.
    bytes: Option<f64>,
}

impl Default for LevelController {
    fn default() -> Self {
        Self {
            place: PLACE_FIRST,
            speed_ratio: Ratio::default(),
            share_ratio: Ratio::default(),
            link: Ratio::default(),
            frame_bytes: 0.0,
            frames: VecDeque::new(),
            taken: 0,
            writing_since_us: None,
            written_us: None,
        }
    }
}

impl LevelController {
    /// The number by which to speak of the next frame, which begins to be compressed `now_us`, and
    /// its level. Two that begin at the same moment may be taken for one another; that only makes
    /// the estimate worse.
    pub fn begin(&mut self, now_us: u64) -> (usize, i32) {
        let level = self.choose(now_us);
        self.frames.push_back(Frame {
            level,
            begun_us: now_us,
            bytes: None,
        });
        (self.taken + self.frames.len() - 1, level.number)
    }

    fn choose(&mut self, now_us: u64) -> &'static Level {
        if self.written_us.is_none() {
            return &LEVELS[self.place];
        }
        let time_us = self.busy_until_us(now_us) - float_us(now_us);
        let in_time = |level: &Level| self.compressing_us(level) * MARGIN <= time_us;
        let strongest = LEVELS.iter().rposition(in_time).unwrap_or(0);
        // By one at a time: a consumer that only just starts seems slow for a moment.
        self.place = strongest.min(self.place + 1);
        &LEVELS[self.place]
    }

    /// How long compressing a frame takes.
    fn compressing_us(&self, level: &Level) -> f64 {
        self.frame_bytes / (level.speed * self.speed_ratio.or(1.0))
    }

    /// Until when the frames that there are keep the output busy.
    fn busy_until_us(&self, now_us: u64) -> f64 {
        let (now, link) = (float_us(now_us), self.link.or(f64::MAX));
        // Once it has a frame, what is behind it still has the end of that to do.
        let behind_us = BUFFER_BYTES / link;
        let mut until = self.written_us.map_or(0.0, float_us) + behind_us;
        let mut begun = self.writing_since_us.map(float_us);
        for frame in &self.frames {
            let share = (frame.level.share * self.share_ratio.or(1.0)).min(1.0);
            let bytes = frame.bytes.unwrap_or(self.frame_bytes * share);
            let ready = match frame.bytes {
                Some(_) => now,
                None => float_us(frame.begun_us) + self.compressing_us(frame.level),
            };
            until = match begun.take() {
                // It had room for none of it, or would be done.
                Some(begun) => (begun + bytes / link).max(now) + behind_us,
                None => until.max(ready).max(now) + bytes / link,
            };
        }
        until
    }

    /// Hears that `taken_us` microseconds on one thread made `after` bytes of the `before` of the
    /// frame with that number.
    pub fn compressed(&mut self, number: usize, before: usize, after: usize, taken_us: u64) {
        let (before, after) = (float(before), float(after));
        let number = number.checked_sub(self.taken);
        let Some(frame) = number.and_then(|number| self.frames.get_mut(number)) else {
            return;
        };
        frame.bytes = Some(after);
        self.frame_bytes = self.frame_bytes.max(before);
        let level = frame.level;
        self.speed_ratio
            .add(before / level.speed, float_us(taken_us));
        self.share_ratio.add(after, before * level.share);
    }

    /// Hears that the output begins to take a frame.
    pub const fn writing(&mut self, begun_us: u64) {
        self.writing_since_us = Some(begun_us);
    }

    /// Hears that it has taken that frame, which was `bytes` long.
    pub fn written(&mut self, bytes: usize, now_us: u64) {
        let begun_us = self.writing_since_us.take().unwrap_or(now_us);
        // What the output has passed on since the last time it takes at once; the rest shows how
        // fast it is, whether or not it had to wait for us before.
        let drained = match self.written_us {
            Some(last) => float_us(begun_us.saturating_sub(last)) * self.link.or(f64::MAX),
            None => BUFFER_BYTES,
        };
        let waited_for = float(bytes) - drained.min(BUFFER_BYTES);
        self.taken += usize::from(self.frames.pop_front().is_some());
        self.written_us = Some(now_us);
        if waited_for > 0.0 {
            let taken = float_us(now_us.saturating_sub(begun_us)).max(1.0);
            self.link.add(waited_for, taken);
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

    const MB: u64 = 8_000_000;

    #[test]
    fn slow_links_are_worth_more_work() {
        let levels: Vec<_> = [10, 30, 117, 300, 2_000]
            .map(|mb_per_s| level_for_rate(mb_per_s * MB, 2))
            .to_vec();
        assert!(levels.is_sorted_by(|a, b| a >= b), "{levels:?}");
        assert!(levels[0] >= 9 && levels[1] >= 9, "{levels:?}");
        assert!((3..=7).contains(&levels[2]), "{levels:?}");
        assert_eq!(levels[4], 1);
        // More processors can do more in the same time.
        assert!(level_for_rate(117 * MB, 16) > levels[2]);
    }

    const FRAME: f64 = 16e6;
    const WORKERS: usize = 2;

    /// Packs frames through a link of so many bytes a microsecond, on a machine that differs from
    /// the table by a factor. What the link takes at once is in a pipe.
    struct Run {
        link: f64,
        speed_ratio: f64,
        /// At what time each worker is free, in microseconds.
        free: [f64; WORKERS],
        /// When each frame was with the output.
        handed_on: Vec<f64>,
        /// Until when what the output has keeps the link busy.
        busy: f64,
        levels: Vec<i32>,
        /// What the controller will hear, and when.
        news: Vec<(f64, News)>,
    }

    #[derive(Clone, Copy)]
    enum News {
        Compressed(usize, f64, f64),
        Writing,
        Written(f64),
    }

    impl Run {
        fn new(link: f64, speed_ratio: f64) -> Self {
            Self {
                link,
                speed_ratio,
                free: [0.0; WORKERS],
                handed_on: Vec::new(),
                busy: 0.0,
                levels: Vec::new(),
                news: Vec::new(),
            }
        }

        fn tell(&mut self, controller: &mut LevelController, until: f64) {
            self.news.sort_by(|a, b| a.0.total_cmp(&b.0));
            let later = self.news.partition_point(|news| news.0 <= until);
            for (at, news) in self.news.drain(..later) {
                match news {
                    News::Compressed(number, after, taken) => {
                        controller.compressed(number, FRAME as usize, after as usize, taken as u64);
                    }
                    News::Writing => controller.writing(at as u64),
                    News::Written(bytes) => controller.written(bytes as usize, at as u64),
                }
            }
        }

        /// Some frames are harder than others, and some are nearly empty.
        fn frame(&mut self, choose: &mut impl FnMut(&mut Self, f64) -> i32) {
            let number = self.handed_on.len();
            let harder = [1.0, 0.7, 1.2, 1.4, 0.1, 0.9, 1.3, 1.4, 0.6, 1.1][number % 10];
            let room = number.checked_sub(WORKERS + 2);
            let room = room.map_or(0.0, |before| self.handed_on[before]);
            let worker = usize::from(self.free[1] < self.free[0]);
            let begun = self.free[worker].max(room);
            let level = choose(self, begun);
            let known = LEVELS.iter().find(|known| known.number == level).unwrap();
            let after = FRAME * known.share * harder;
            let taken = FRAME / (known.speed * self.speed_ratio) * harder.max(0.2);
            let done = begun + taken;
            self.free[worker] = done;
            let writing = done.max(self.handed_on.last().copied().unwrap_or(0.0));
            self.busy = self.busy.max(writing) + after / self.link;
            let written = writing.max(self.busy - BUFFER_BYTES / self.link);
            self.handed_on.push(written);
            self.levels.push(level);
            self.news.extend([
                (done, News::Compressed(number, after, taken)),
                (writing, News::Writing),
                (written, News::Written(after)),
            ]);
        }

        fn fixed(link: f64, speed_ratio: f64, level: i32) -> f64 {
            let mut run = Self::new(link, speed_ratio);
            (0..60).for_each(|_| run.frame(&mut |_, _| level));
            run.busy
        }

        fn adapted(&mut self, controller: &mut LevelController) -> f64 {
            for _ in 0..60 {
                self.frame(&mut |run, begun| {
                    run.tell(controller, begun);
                    controller.begin(begun as u64).1
                });
            }
            self.busy
        }
    }

    #[test]
    fn no_fixed_level_is_much_faster() {
        for link in [3.0, 12.0, 30.0, 60.0, 117.0, 250.0, 5_000.0] {
            for speed_ratio in [0.3, 1.0, 3.0] {
                let fixed = LEVELS.iter();
                let fixed = fixed.map(|level| Run::fixed(link, speed_ratio, level.number));
                let best = fixed.min_by(f64::total_cmp).unwrap();
                let mut run = Run::new(link, speed_ratio);
                let ratio = run.adapted(&mut LevelController::default()) / best;
                assert!(
                    ratio < 1.05,
                    "{link} {speed_ratio}: {ratio}, {:?}",
                    run.levels
                );
            }
        }
    }

    #[test]
    fn a_choice_follows_the_link() {
        let mut controller = LevelController::default();
        let mut run = Run::new(12.0, 1.0);
        for (link, levels) in [(12.0, 8..=12), (5_000.0, 1..=1), (12.0, 8..=12)] {
            run.link = link;
            run.adapted(&mut controller);
            let mut last = run.levels.split_off(run.levels.len() - 20);
            last.sort_unstable();
            assert!(levels.contains(&last[10]), "{link}: {last:?}");
        }
    }
}
