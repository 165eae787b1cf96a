//! Giving way to the other stages of a pipeline.
//!
//! Whoever fills or drains a pipe is woken by those who read or write it, and the system likes to
//! put it on their processor: most soon wait for more. One who computes instead keeps the other
//! waiting, for a tick of 4 ms at worst, while further processors run out of work. So a worker
//! offers its processor between two pieces of work; that is at once its own again when nobody
//! wants it or a stage has only moved what a pipe holds.
//!
//! Somebody who computes as well takes the offer for a whole time slice, though, and what is meant
//! for a moment would cost most of our share. The time that an offer takes tells them apart.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::sys::clock::Clock;
use crate::units::{Duration, Instant};

/// An offer that took longer was not taken by a stage that fills or drains a pipe.
const MOMENT: Duration = Duration::from_ms(1);
/// For so many times as long as that we then make no offers: it costs 1 % of our time at most.
const REST: u64 = 100;

/// How the workers of a stage share their processors with other stages.
#[derive(Debug)]
pub struct Yielder {
    clock: Clock,
    /// No offers before this moment.
    rests_until_us: AtomicU64,
}

impl Default for Yielder {
    fn default() -> Self {
        Self {
            clock: Clock::new(),
            rests_until_us: AtomicU64::new(0),
        }
    }
}

impl Yielder {
    /// Lets a process that waits for this processor run first, unless that took long lately.
    pub fn offer(&self) {
        let now = self.clock.now();
        if self.rests(now) {
            return;
        }
        thread::yield_now();
        self.record(now, self.clock.now());
    }

    fn rests(&self, now: Instant) -> bool {
        now < Instant::from_us(self.rests_until_us.load(Relaxed))
    }

    /// An offer was made at one moment, and the processor was back at another.
    fn record(&self, offered: Instant, back: Instant) {
        let taken = back.since(offered);
        if taken > MOMENT {
            let until = back + taken.times(REST);
            self.rests_until_us.store(until.as_us(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_the_processor_is_offered_it_less_often() {
        let yielder = Yielder::default();
        let us = Instant::from_us;
        yielder.record(us(0), us(1_000));
        assert!(!yielder.rests(us(1_000)));
        yielder.record(us(2_000), us(6_000));
        assert!(yielder.rests(us(6_000)) && yielder.rests(us(405_999)));
        assert!(!yielder.rests(us(406_000)));
    }
}
