//! Alarms: one moment for each kind, set and cleared by the state machine that owns the table.

use crate::units::Instant;

/// A table of alarms with one slot for each of `N` kinds; a kind is its index.
#[derive(Clone, Debug)]
pub(super) struct Timers<const N: usize>([Option<Instant>; N]);

impl<const N: usize> Timers<N> {
    pub(super) fn new() -> Self {
        Self([None; N])
    }

    /// Sets the alarm, in place of one that was set.
    pub(super) fn set(&mut self, kind: usize, at: Instant) {
        self.0[kind] = Some(at);
    }

    /// Sets the alarm, unless it rings earlier anyway.
    pub(super) fn set_earlier(&mut self, kind: usize, at: Instant) {
        self.0[kind] = Some(self.0[kind].map_or(at, |set| set.min(at)));
    }

    pub(super) fn clear(&mut self, kind: usize) {
        self.0[kind] = None;
    }

    /// Whether the alarm rings now; it is cleared if so.
    pub(super) fn rings(&mut self, kind: usize, now: Instant) -> bool {
        let rings = self.0[kind].is_some_and(|at| at <= now);
        if rings {
            self.0[kind] = None;
        }
        rings
    }

    /// The earliest alarm.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_ring_once() {
        let mut timers = Timers::<2>::new();
        let at = Instant::from_us;
        timers.set(0, at(5));
        timers.set_earlier(0, at(9));
        timers.set_earlier(1, at(7));
        assert_eq!(timers.next(), Some(at(5)));
        assert!(!timers.rings(0, at(4)) && timers.rings(0, at(5)) && !timers.rings(0, at(6)));
        assert_eq!(timers.next(), Some(at(7)));
        timers.clear(1);
        assert_eq!(timers.next(), None);
    }
}
