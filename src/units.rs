//! Time and rates of the protocol: small types that cannot be mixed up.

use std::ops::{Add, Sub};

/// A moment on a monotone clock, in microseconds since an origin that its owner chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);

    /// The moment `us` microseconds after the origin.
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// Microseconds since the origin.
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

/// A span of time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of `us` microseconds.
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// A span of `ms` milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000)
    }

    /// A span of `s` seconds.
    pub const fn from_secs(s: u64) -> Self {
        Self(s * 1_000_000)
    }

    /// The span in microseconds.
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// The span in seconds, for people and ratios.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// `factor` times this span, at most the greatest span there is.
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add for Duration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Bytes a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

impl Rate {
    /// `bytes` a second; never zero, since a rate of zero would be a wait without end.
    pub const fn from_bytes_per_s(bytes: u64) -> Self {
        Self(if bytes == 0 { 1 } else { bytes })
    }

    /// `bits` a second.
    pub const fn from_bits_per_s(bits: u64) -> Self {
        Self::from_bytes_per_s(bits / 8)
    }

    /// The rate in bytes a second.
    pub const fn as_bytes_per_s(self) -> u64 {
        self.0
    }

    /// The rate in bits a second.
    pub const fn as_bits_per_s(self) -> u64 {
        self.0.saturating_mul(8)
    }

    /// How long `bytes` take at this rate, rounded up.
    pub const fn time_for(self, bytes: u64) -> Duration {
        Duration(bytes.saturating_mul(1_000_000).div_ceil(self.0))
    }

    /// How many bytes fit into `span` at this rate.
    pub const fn bytes_in(self, span: Duration) -> u64 {
        let whole = (span.0 / 1_000_000).saturating_mul(self.0);
        let rest = (span.0 % 1_000_000).saturating_mul(self.0) / 1_000_000;
        whole.saturating_add(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_bytes_agree() {
        let gigabit = Rate::from_bits_per_s(1_000_000_000);
        assert_eq!(gigabit.time_for(125_000_000), Duration::from_secs(1));
        assert_eq!(gigabit.bytes_in(Duration::from_ms(10)), 1_250_000);
        assert_eq!(Rate::from_bytes_per_s(0).as_bytes_per_s(), 1);
    }

    #[test]
    fn the_clock_never_runs_back() {
        let (early, late) = (Instant::from_us(5), Instant::from_us(9));
        assert_eq!(late.since(early), Duration::from_us(4));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early - Duration::from_us(7), Instant::ZERO);
    }
}
