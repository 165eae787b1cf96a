//! The monotone clock.

use crate::units::Instant;

/// A clock whose origin is the moment of its making.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// Starts a clock at zero.
    #[expect(
        clippy::new_without_default,
        reason = "a default should not depend on the time"
    )]
    pub fn new() -> Self {
        Self {
            origin: std::time::Instant::now(),
        }
    }

    /// The present moment.
    pub fn now(&self) -> Instant {
        Instant::from_us(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// Seconds since 1970 by the wall clock; zero when it stands before that.
pub fn unix_seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
