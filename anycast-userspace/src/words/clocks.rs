//! The clocks by which a word's remaining time survives a restart.

use std::fs;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::events::monotonic_ns;

/// One moment on both clocks. The monotonic one only compares within one boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// Wall time.
    pub at: Timestamp,
    /// The kernel's id of this boot; empty where it cannot be read.
    pub boot: String,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub monotonic_ns: u64,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            at: Timestamp::now(),
            boot: boot.trim().to_owned(),
            monotonic_ns: monotonic_ns(),
        }
    }

    /// The time that has passed since `earlier`. Within one boot the monotonic clock says it, so steps of
    /// the wall clock do not matter; after another boot there is the wall clock alone, and one that was
    /// set back counts as no time at all.
    pub fn since(&self, earlier: &Self) -> Duration {
        let same_boot = !self.boot.is_empty() && self.boot == earlier.boot;
        match self.monotonic_ns.checked_sub(earlier.monotonic_ns) {
            Some(nanos) if same_boot => Duration::from_nanos(nanos),
            Some(_) | None => {
                Duration::try_from(self.at.duration_since(earlier.at)).unwrap_or_default()
            }
        }
    }
}

/// The instant that is `left` from `now`; the farthest that there is when it cannot be counted.
pub(super) fn after(now: Instant, left: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);
    now + left.min(FAR)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::Moment;

    fn moment(boot: &str, wall: i64, monotonic: u64) -> Moment {
        Moment {
            at: Timestamp::from_second(1_000_000 + wall).expect("a time"),
            boot: boot.to_owned(),
            monotonic_ns: monotonic * 1_000_000_000,
        }
    }

    #[test]
    fn the_monotonic_clock_measures_within_a_boot_and_the_wall_clock_across_boots() {
        let saved = moment("a", 0, 100);
        // what is now, and the seconds that have passed
        let cases = [
            (moment("a", 60, 160), 60),
            (moment("a", 9_999, 160), 60),
            (moment("a", -9_999, 160), 60),
            (moment("b", 60, 5), 60),
            (moment("b", 60, 500), 60),
            (moment("b", -60, 5), 0),
        ];
        for (now, want) in cases {
            assert_eq!(now.since(&saved), Duration::from_secs(want), "{now:?}");
        }
        let nameless = moment("", 60, 500).since(&moment("", 0, 100));
        assert_eq!(nameless, Duration::from_secs(60));
    }
}
