//! How long to wait before a lost session is opened again (RFC 4271 §8.1.1, DampPeerOscillations).

use std::time::Duration;

/// Doubling waits with jitter, from a first to a longest.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    random: Random,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration, random: Random) -> Self {
        Self {
            first,
            longest: longest.max(first),
            failures: 0,
            random,
        }
    }

    /// The next wait: twice the last one, at most the longest, times 0.75 to 1.0 (RFC 4271 §10).
    pub(super) fn next(&mut self) -> Duration {
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let full = self.first.saturating_mul(factor).min(self.longest);
        self.random.jitter(full)
    }

    /// The same, after failures that another one has counted.
    pub(super) fn after(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// How many waits there have been since the last reset.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The session held: the next wait is the first one again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A small generator (xorshift64): timers need spreading, not secrecy.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A seed that differs between processes and calls.
    pub(super) fn from_process() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self::new(RandomState::new().hash_one(0u8))
    }

    /// `full` times a factor between 0.75 and 1.0.
    pub(super) fn jitter(&mut self, full: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let thousandths = u32::try_from(self.0 % 251).expect("a remainder of 251 fits") + 750;
        full.saturating_mul(thousandths) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_reset() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 8 * second, Random::new(7));
        for full in [1, 2, 4, 8, 8, 8] {
            let wait = backoff.next();
            let full = full * second;
            assert!(
                wait <= full && wait >= full * 3 / 4,
                "{wait:?} for {full:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next() <= second);
    }

    #[test]
    fn waits_go_on_where_another_one_left_off() {
        let second = Duration::from_secs(1);
        let mut first = Backoff::new(second, 60 * second, Random::new(7));
        for _ in 0..3 {
            first.next();
        }
        let mut second_one =
            Backoff::new(second, 60 * second, Random::new(7)).after(first.failures());
        let wait = second_one.next();
        assert!(wait >= 6 * second && wait <= 8 * second, "{wait:?}");
    }

    #[test]
    fn a_long_outage_does_not_overflow() {
        let mut backoff = Backoff::new(
            Duration::from_secs(1),
            Duration::from_secs(60),
            Random::new(1),
        );
        for _ in 0..100 {
            assert!(backoff.next() <= Duration::from_secs(60));
        }
    }

    #[test]
    fn jitter_spreads() {
        let mut random = Random::from_process();
        let values: std::collections::HashSet<_> = (0..32)
            .map(|_| random.jitter(Duration::from_secs(1)))
            .collect();
        assert!(values.len() > 4);
    }
}
