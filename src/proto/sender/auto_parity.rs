//! How many repair symbols follow each block without being asked for.

use crate::proto::limits::{AUTO_PARITY_RECEIVERS_MIN, AUTO_PARITY_SHARE};
use crate::wire::AUTO_PARITY_MAX;

/// The share of blocks that should need no more than what comes unasked.
const QUANTILE: f64 = 0.9;
/// The least step by which the level moves.
const STEP_MIN: f64 = 0.5;

/// Follows the quantile of what blocks need at the worst-off receiver. That is known only where it
/// was more than what came unasked, since only then somebody asks; so the level goes up a long step
/// for each block that fell short and down a short one for each that did not, and rests where the
/// wanted share of blocks falls short.
#[derive(Clone, Copy, Debug)]
pub(super) struct AutoParity {
    level: f64,
    /// Every block so far was short: the level leaps to what they needed.
    starting: bool,
}

impl Default for AutoParity {
    fn default() -> Self {
        Self {
            level: 0.0,
            starting: true,
        }
    }
}

impl AutoParity {
    /// Repair symbols to follow a block of `k` for this many receivers. Few receivers ask at once
    /// and each for itself: what comes unasked would be in vain more often than not.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the share of a block"
    )]
    pub(super) fn count(&self, k: u16, receivers: u32) -> u8 {
        if receivers < AUTO_PARITY_RECEIVERS_MIN {
            return 0;
        }
        let most = u8::try_from(k / AUTO_PARITY_SHARE).unwrap_or(AUTO_PARITY_MAX);
        (self.level.round() as u8).min(most).min(AUTO_PARITY_MAX)
    }

    /// Takes note of a block: of what it needed in all, if that was more than what came unasked.
    pub(super) fn judge(&mut self, k: u16, needed: Option<u16>) {
        let step = (self.level / 16.0).max(STEP_MIN);
        self.starting &= needed.is_some();
        self.level = if let Some(needed) = needed {
            let needed = f64::from(needed.min(k / AUTO_PARITY_SHARE));
            let leap = if self.starting {
                (needed - self.level) / 4.0
            } else {
                0.0
            };
            // Of a group of blocks all may have been short of the same.
            (self.level + leap.max(step * QUANTILE)).min(needed.max(self.level))
        } else {
            (self.level - step * (1.0 - QUANTILE)).max(0.0)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_settles_at_the_quantile() {
        let mut auto_parity = AutoParity::default();
        // Needs from 0 to 9 in turn: 8 cover nine blocks of ten.
        let counts: Vec<u8> = (0..5_000u16)
            .map(|n| {
                let (count, need) = (auto_parity.count(1_000, 100), n * 7 % 10);
                auto_parity.judge(1_000, Some(need).filter(|&need| need > u16::from(count)));
                count
            })
            .collect();
        let late = &counts[1_000..];
        assert!(late.iter().all(|&n| (7..=9).contains(&n)), "{late:?}");
    }

    #[test]
    fn without_loss_and_for_few_nothing_comes_unasked() {
        let mut auto_parity = AutoParity::default();
        for _ in 0..8 {
            auto_parity.judge(256, Some(9));
        }
        assert!((7..=9).contains(&auto_parity.count(256, 1_000)), "at once");
        for _ in 0..180 {
            auto_parity.judge(256, None);
        }
        assert_eq!(auto_parity.count(256, 1_000), 0);
        for _ in 0..100 {
            auto_parity.judge(256, Some(2));
        }
        assert_eq!(auto_parity.count(256, 1_000), 2, "no more than was needed");
        for _ in 0..100 {
            auto_parity.judge(256, Some(200));
        }
        assert_eq!(auto_parity.count(256, AUTO_PARITY_RECEIVERS_MIN - 1), 0);
        assert_eq!(
            u16::from(auto_parity.count(256, 1_000)),
            256 / AUTO_PARITY_SHARE
        );
    }
}
