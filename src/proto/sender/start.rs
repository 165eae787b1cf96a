//! When a session starts, and which receivers it waits for.

use std::collections::BTreeSet;

use crate::proto::config::{SenderConfig, fit_name};
use crate::units::{Duration, Instant};

/// Names of missing receivers that [`Waiting`] tells.
const NAMES_TOLD: usize = 4;

/// What a sender waits for before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Receivers that are there, of those that are wanted.
    pub joined: u32,
    /// Receivers that are wanted; 0 when it waits for no number and no names.
    pub wanted: u32,
    /// The first of the names that are expected and missing.
    pub missing: Vec<String>,
    /// How many more such names there are.
    pub more: usize,
    /// When it starts, if no other receiver joins or leaves.
    pub starts_at: Option<Instant>,
}

/// The conditions of the start, and how far they are met.
#[derive(Debug)]
pub(super) struct StartPolicy {
    /// Receivers that are wanted; 0 for no number.
    receivers: u32,
    /// Names that are expected.
    expected: BTreeSet<String>,
    /// Those of them that no receiver has.
    missing: BTreeSet<String>,
    settle: Duration,
    min_wait: Duration,
    max_wait: Option<Duration>,
    first_join: Option<Instant>,
    last_join: Instant,
}

impl StartPolicy {
    pub(super) fn new(config: &SenderConfig, now: Instant) -> Self {
        let expected: BTreeSet<String> = config.expect.iter().map(|name| fit_name(name)).collect();
        Self {
            receivers: config.receivers,
            missing: expected.clone(),
            expected,
            settle: config.settle,
            min_wait: config.min_wait,
            max_wait: config.max_wait,
            first_join: None,
            last_join: now,
        }
    }

    /// The names that are expected and that no receiver has.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().map(String::as_str)
    }

    /// Whether a receiver of this name is expected.
    pub(super) fn expects(&self, name: &str) -> bool {
        self.expected.contains(name)
    }

    /// A receiver of this name has joined.
    pub(super) fn on_joined(&mut self, now: Instant, name: &str) {
        self.first_join.get_or_insert(now);
        self.last_join = now;
        self.missing.remove(name);
    }

    /// A receiver of this name has left, and these names are still there.
    pub(super) fn on_left<'a>(&mut self, name: &str, mut here: impl Iterator<Item = &'a str>) {
        let Some(first) = here.next() else {
            self.first_join = None;
            self.missing.clone_from(&self.expected);
            return;
        };
        if self.expects(name) && first != name && !here.any(|other| other == name) {
            self.missing.insert(name.to_owned());
        }
    }

    /// How many of `joined` receivers are there and how many are wanted, in the terms of what it
    /// waits for.
    pub(super) fn attendance(&self, joined: u32) -> (u32, u32) {
        let count = |names: &BTreeSet<_>| u32::try_from(names.len()).unwrap_or(u32::MAX);
        let expected = count(&self.expected);
        if expected > self.receivers {
            (expected.saturating_sub(count(&self.missing)), expected)
        } else {
            (joined, self.receivers)
        }
    }

    /// When to start with `joined` receivers, if no other joins or leaves.
    pub(super) fn start_at(&self, joined: u32) -> Option<Instant> {
        let first = self.first_join?;
        let all_here = self.missing.is_empty() && joined >= self.receivers;
        let early = if self.receivers == 0 && self.expected.is_empty() {
            Some(self.last_join + self.settle)
        } else {
            all_here.then_some(first)
        };
        let late = self.max_wait.map(|wait| first + wait);
        let at = early.into_iter().chain(late).min()?;
        Some(at.max(first + self.min_wait))
    }

    /// What it waits for, with `joined` receivers there.
    pub(super) fn waiting(&self, joined: u32) -> Waiting {
        let (here, wanted) = self.attendance(joined);
        Waiting {
            joined: here,
            wanted,
            missing: self.missing.iter().take(NAMES_TOLD).cloned().collect(),
            more: self.missing.len().saturating_sub(NAMES_TOLD),
            starts_at: self.start_at(joined),
        }
    }

    /// Why there is no start, with `joined` receivers there.
    pub(super) fn failure(&self, joined: u32) -> String {
        match self.attendance(joined) {
            (joined, wanted) if joined < wanted => {
                format!("only {joined} of {wanted} receivers came")
            }
            _ => "the start was still to come".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(s: u64) -> Instant {
        Instant::from_us(s * 1_000_000)
    }

    fn policy(config: &SenderConfig) -> StartPolicy {
        StartPolicy::new(config, at(0))
    }

    #[test]
    fn without_a_number_it_starts_when_joining_settles() {
        let mut start = policy(&SenderConfig {
            max_wait: Some(Duration::from_secs(5)),
            ..SenderConfig::default()
        });
        assert_eq!(start.start_at(0), None);
        start.on_joined(at(10), "a");
        assert_eq!(start.start_at(1), Some(at(12)));
        start.on_joined(at(11), "b");
        assert_eq!(start.start_at(2), Some(at(13)));
        start.on_joined(at(14), "c");
        assert_eq!(start.start_at(3), Some(at(15)), "no later than that");
        start.on_left("c", ["a", "b"].into_iter());
        assert_eq!(start.start_at(2), Some(at(15)));
        start.on_left("b", std::iter::empty());
        assert_eq!(start.start_at(0), None, "the next is the first");
    }

    #[test]
    fn a_number_and_names_must_all_be_there() {
        let mut start = policy(&SenderConfig {
            receivers: 3,
            expect: vec!["a".into(), "b".into()],
            min_wait: Duration::from_secs(4),
            ..SenderConfig::default()
        });
        start.on_joined(at(1), "a");
        start.on_joined(at(2), "x");
        start.on_joined(at(3), "y");
        assert_eq!((start.start_at(3), start.attendance(3)), (None, (3, 3)));
        assert_eq!(start.missing().collect::<Vec<_>>(), ["b"]);
        start.on_joined(at(3), "b");
        assert_eq!(start.start_at(4), Some(at(5)), "not before the least wait");
        // Another receiver of that name is there.
        start.on_left("b", ["a", "x", "b"].into_iter());
        assert!(start.missing().next().is_none());
        start.on_left("b", ["a", "x", "y"].into_iter());
        assert_eq!(start.waiting(3).missing, ["b"]);
    }

    #[test]
    fn names_count_when_they_are_more() {
        let names = ["a", "b", "c", "d", "e", "f"].map(str::to_owned);
        let mut start = policy(&SenderConfig {
            expect: names.to_vec(),
            ..SenderConfig::default()
        });
        start.on_joined(at(1), "b");
        start.on_joined(at(1), "stranger");
        let waiting = start.waiting(2);
        assert_eq!((waiting.joined, waiting.wanted), (1, 6));
        assert_eq!((waiting.missing.len(), waiting.more), (4, 1));
        assert_eq!(start.failure(2), "only 1 of 6 receivers came");
    }
}
