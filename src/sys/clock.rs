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

/// A time in seconds since 1970 as people and logs write it: `2026-01-31T12:00:00Z`. Years beyond
/// 9999, which only a forger would claim, are given in seconds.
pub fn utc(unix_s: u64) -> String {
    const DAYS_400_YEARS: u64 = 146_097;
    const YEAR_10000_S: u64 = 253_402_300_800;
    if unix_s >= YEAR_10000_S {
        return format!("{unix_s} s after 1970");
    }
    // Years begin in March here, so that the odd day comes last.
    let days = unix_s / 86_400 + 719_468;
    let (era, day) = (days / DAYS_400_YEARS, days % DAYS_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (unix_s / 3_600 % 24, unix_s / 60 % 60, unix_s % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_000_000_000), "2001-09-09T01:46:40Z");
        assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(utc(253_402_300_799), "9999-12-31T23:59:59Z");
        assert_eq!(utc(u64::MAX), "18446744073709551615 s after 1970");
    }
}
