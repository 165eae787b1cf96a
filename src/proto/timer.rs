//! Timers: one moment for each kind, set and cleared by the state machine that owns the table.

use std::marker::PhantomData;

use crate::units::Instant;

/// The timers of one state machine: an enum, each of whose variants has a place in the table.
pub(super) trait TimerKind: Copy {
    /// The place, below the length of the table.
    fn index(self) -> usize;
}

impl TimerKind for usize {
    fn index(self) -> usize {
        self
    }
}

/// A table of timers with one slot for each of `N` kinds.
#[derive(Clone, Debug)]
pub(super) struct Timers<K, const N: usize> {
    at: [Option<Instant>; N],
    kinds: PhantomData<K>,
}

impl<K: TimerKind, const N: usize> Timers<K, N> {
    pub(super) fn new() -> Self {
        Self {
            at: [None; N],
            kinds: PhantomData,
        }
    }

    /// Sets the timer, in place of one that was set.
    pub(super) fn set(&mut self, kind: K, at: Instant) {
        self.at[kind.index()] = Some(at);
    }

    /// Sets the timer, unless it fires earlier anyway.
    pub(super) fn set_earlier(&mut self, kind: K, at: Instant) {
        let slot = &mut self.at[kind.index()];
        *slot = Some(slot.map_or(at, |set| set.min(at)));
    }

    pub(super) fn clear(&mut self, kind: K) {
        self.at[kind.index()] = None;
    }

    /// Sets the timer to this moment, or clears it if there is none.
    pub(super) fn set_or_clear(&mut self, kind: K, at: Option<Instant>) {
        self.at[kind.index()] = at;
    }

    /// Whether the timer fires now; it is cleared if so.
    pub(super) fn fires(&mut self, kind: K, now: Instant) -> bool {
        let slot = &mut self.at[kind.index()];
        let fires = slot.is_some_and(|at| at <= now);
        if fires {
            *slot = None;
        }
        fires
    }

    /// The earliest timer.
    pub(super) fn next(&self) -> Option<Instant> {
        self.at.iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_once() {
        let mut timers = Timers::<usize, 2>::new();
        let at = Instant::from_us;
        timers.set(0, at(5));
        timers.set_earlier(0, at(9));
        timers.set_earlier(1, at(7));
        assert_eq!(timers.next(), Some(at(5)));
        assert!(!timers.fires(0, at(4)) && timers.fires(0, at(5)) && !timers.fires(0, at(6)));
        assert_eq!(timers.next(), Some(at(7)));
        timers.clear(1);
        assert_eq!(timers.next(), None);
    }
}
