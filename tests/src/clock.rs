//! The clock by which everything in the lab is timed.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A reading of `CLOCK_MONOTONIC`: the same clock in every namespace and process of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// Reads the clock.
    ///
    /// # Panics
    /// Where `CLOCK_MONOTONIC` is missing, which POSIX does not allow.
    #[must_use]
    pub fn now() -> Self {
        Self(Duration::from(
            clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC can be read"),
        ))
    }

    /// From nanoseconds, as events carry them.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }

    /// The time from `earlier` to this, zero if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Monotonic {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0 + span)
    }
}
