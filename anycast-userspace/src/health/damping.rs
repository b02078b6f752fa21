//! The penalty of a flapping service, after RFC 2439 §4.2 (figure of merit, cutoff and reuse threshold,
//! maximum hold-down) with a single half-life.

use std::time::{Duration, Instant};

use crate::config::Damping;

/// What one withdrawal adds.
const PER_WITHDRAWAL: f64 = 1000.0;

/// A penalty that withdrawals raise and time lowers.
#[derive(Debug, Clone)]
pub struct Penalty {
    settings: Damping,
    /// The figure of merit at `at`.
    value: f64,
    at: Instant,
    suppressed_until: Option<Instant>,
}

impl Penalty {
    /// No penalty yet.
    pub fn new(settings: Damping, now: Instant) -> Self {
        Self {
            settings,
            value: 0.0,
            at: now,
            suppressed_until: None,
        }
    }

    /// The penalty now.
    pub fn value(&self, now: Instant) -> f64 {
        let half_lives = now.saturating_duration_since(self.at).as_secs_f64()
            / self.settings.half_life.0.as_secs_f64();
        self.value * (-half_lives).exp2()
    }

    /// Adds one withdrawal. The penalty never exceeds what decays to the reuse limit within the longest
    /// suppression (RFC 2439 §4.2, the ceiling).
    pub fn on_withdrawal(&mut self, now: Instant) {
        self.value = (self.value(now) + PER_WITHDRAWAL).min(self.settings.ceiling());
        self.at = now;
        let still = self.suppressed_until.is_some_and(|until| now < until);
        if still || self.value > f64::from(self.settings.suppress) {
            self.suppressed_until = Some(now + self.time_to_reuse());
        }
    }

    /// When the last suppression ends or ended: as soon as the penalty has decayed to the reuse limit.
    pub fn suppressed_until(&self) -> Option<Instant> {
        self.suppressed_until
    }

    fn time_to_reuse(&self) -> Duration {
        let half_lives = (self.value / f64::from(self.settings.reuse))
            .log2()
            .max(0.0);
        self.settings
            .half_life
            .0
            .mul_f64(half_lives)
            .min(self.settings.max_suppress.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::{Strategy, any, prop};
    use proptest::{prop_assert, proptest};

    use super::Penalty;
    use crate::config::{Damping, Span};

    fn settings() -> Damping {
        Damping {
            half_life: Span::from_secs(60),
            suppress: 2000,
            reuse: 750,
            max_suppress: Span::from_secs(300),
        }
    }

    #[test]
    fn the_penalty_halves_in_each_half_life() {
        let start = Instant::now();
        let mut penalty = Penalty::new(settings(), start);
        penalty.on_withdrawal(start);
        for (seconds, want) in [
            (0, 1000.0),
            (60, 500.0),
            (120, 250.0),
            (180, 125.0),
            (30, 707.106_781),
        ] {
            let got = penalty.value(start + Duration::from_secs(seconds));
            assert!(
                (got - want).abs() < 1e-3,
                "after {seconds} s: {got}, not {want}"
            );
        }
    }

    #[test]
    fn the_third_withdrawal_within_a_half_life_suppresses_until_the_penalty_is_at_reuse() {
        let start = Instant::now();
        let mut penalty = Penalty::new(settings(), start);
        for second in [0, 1] {
            penalty.on_withdrawal(start + Duration::from_secs(second));
            assert_eq!(penalty.suppressed_until(), None, "after {second} s");
        }
        let third = start + Duration::from_secs(2);
        penalty.on_withdrawal(third);
        let until = penalty.suppressed_until().expect("suppressed");
        let at_reuse = penalty.value(until);
        assert!(
            (at_reuse - 750.0).abs() < 1e-3,
            "reused at a penalty of {at_reuse}"
        );
    }

    #[test]
    fn no_number_of_withdrawals_suppresses_for_longer_than_the_maximum() {
        let start = Instant::now();
        let mut penalty = Penalty::new(settings(), start);
        for _ in 0..1000 {
            penalty.on_withdrawal(start);
        }
        let until = penalty.suppressed_until().expect("suppressed");
        assert_eq!(until - start, Duration::from_secs(300));
    }

    proptest! {
        #[test]
        fn the_penalty_is_the_sum_of_what_each_withdrawal_left_behind(
            gaps in prop::collection::vec((0..60_000u64).prop_map(Duration::from_millis), 1..12),
            later in (0..600_000u64).prop_map(Duration::from_millis),
        ) {
            // RFC 2439 §4.2: exponential decay, so the order of adding and decaying does not matter.
            let start = Instant::now();
            let roomy = Damping { max_suppress: Span::from_secs(3600), ..settings() };
            let mut penalty = Penalty::new(roomy, start);
            let mut now = start;
            let mut times = Vec::new();
            for gap in gaps {
                now += gap;
                penalty.on_withdrawal(now);
                times.push(now);
            }
            let end = now + later;
            let want: f64 = times
                .iter()
                .map(|at| 1000.0 * (-(end - *at).as_secs_f64() / 60.0).exp2())
                .sum();
            prop_assert!((penalty.value(end) - want).abs() < 1e-6 * want.max(1.0), "{} is not {want}", penalty.value(end));
            if let Some(until) = penalty.suppressed_until() && until > now {
                prop_assert!((penalty.value(until) - 750.0).abs() < 1e-2, "reused at {}", penalty.value(until));
            }
        }

        #[test]
        fn the_penalty_only_falls_between_withdrawals_and_never_passes_its_ceiling(
            steps in prop::collection::vec((any::<bool>(), (0..100_000u64).prop_map(Duration::from_millis)), 0..50),
        ) {
            let mut now = Instant::now();
            let mut penalty = Penalty::new(settings(), now);
            for (withdraw, gap) in steps {
                let before = penalty.value(now);
                now += gap;
                prop_assert!(penalty.value(now) <= before);
                if withdraw {
                    penalty.on_withdrawal(now);
                }
                prop_assert!(penalty.value(now) <= 750.0 * 32.0 + 1e-6);
            }
        }
    }
}
