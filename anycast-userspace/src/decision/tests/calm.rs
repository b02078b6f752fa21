//! Health and decision together, under arbitrary results, words, proofs and times.

use std::time::{Duration, Instant};

use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert, prop_oneof, proptest};

use super::super::{Lifecycle, Word};
use super::pace;
use crate::config::Config;
use crate::health::{FailureKind, Health, Outcome, Settings};

const HOLD: Duration = Duration::from_secs(5);
const RISE: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    Result(bool),
    Word(Word),
    Proof(bool),
    After(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let words = [Word::Enabled, Word::Enabled, Word::Drained, Word::Disabled];
    let step = prop_oneof![
        4 => any::<bool>().prop_map(Step::Result),
        // Streaks of passes are what leads somewhere.
        4 => Just(Step::Result(true)),
        1 => prop::sample::select(words.to_vec()).prop_map(Step::Word),
        3 => prop::bool::weighted(0.8).prop_map(Step::Proof),
        3 => (0..4000u64).prop_map(Step::After),
    ];
    prop::collection::vec(step, 0..300)
}

fn settings() -> Settings {
    let config = Config::parse(&format!(
        "[node]\nname = \"n\"\n[dataplane]\ninterfaces = [\"lo\"]\n\
         [[services]]\nname = \"dns\"\naddresses = [\"192.0.2.1\"]\nannounce = []\nhold_down = \"5s\"\n\
         damping = {{ half_life = \"10s\", suppress = 2500, reuse = 1000, max_suppress = \"1m\" }}\n\
         [[services.checks]]\nname = \"c\"\ntype = \"tcp\"\nport = 1\nrise = {RISE}\nfall = 1\n"
    ))
    .expect("valid");
    let service = &config.services[0];
    Settings::new(
        &service.checks,
        service.require,
        service.hold_down.0,
        service.damping,
    )
}

proptest! {
    #[test]
    fn nothing_is_announced_without_rise_passes_nor_during_hold_down_or_suppression(steps in steps()) {
        let mut now = Instant::now();
        let mut health = Health::new(settings(), now);
        let mut life = Lifecycle::new(pace(), now);
        let mut passes_in_a_row = 0;
        let mut proven = false;
        let mut failed_at: Option<Instant> = None;
        let mut penalty = (0.0f64, now);
        let mut suppressed = false;
        for step in steps {
            let mut transitions = Vec::new();
            match step {
                Step::Result(true) => {
                    passes_in_a_row += 1;
                    transitions.extend(health.on_result(0, Outcome::pass("fine"), now));
                }
                Step::Result(false) => {
                    passes_in_a_row = 0;
                    let refused = Outcome::fail(FailureKind::Refused, "refused");
                    transitions.extend(health.on_result(0, refused, now));
                }
                Step::Word(word) => drop(life.on_word(word, "operator", now)),
                Step::Proof(true) => drop(life.on_installed(Ok(()), now)),
                Step::Proof(false) => drop(life.on_installed(Err("map full".to_owned()), now)),
                Step::After(millis) => {
                    now += Duration::from_millis(millis);
                    transitions.extend(health.on_time(now));
                    drop(life.on_time(now));
                }
            }
            // What a reader of RFC 2439 would keep: the penalty, and whether it suppresses.
            let decayed = penalty.0 * (-(now - penalty.1).as_secs_f64() / 10.0).exp2();
            penalty = (decayed, now);
            suppressed &= penalty.0 > 1000.0 * (1.0 + 1e-9);
            for transition in transitions {
                drop(life.on_health(transition.to, "checks", now));
                if transition.from.is_serving() && !transition.to.is_serving() {
                    failed_at = Some(now);
                    penalty.0 = (penalty.0 + 1000.0).min(1000.0 * 64.0);
                    suppressed |= penalty.0 > 2500.0;
                }
            }
            proven = match step {
                Step::Result(true) => proven || passes_in_a_row >= RISE,
                Step::Result(false) => false,
                Step::Word(_) | Step::Proof(_) | Step::After(_) => proven,
            };
            if life.plan().route.is_some() {
                prop_assert!(proven, "announced without {RISE} passes in a row after {step:?}");
                prop_assert!(health.verdict().is_serving());
                if let Some(at) = failed_at {
                    prop_assert!(now >= at + HOLD, "announced {:?} into the hold-down", now - at);
                }
                prop_assert!(!suppressed, "announced with a penalty of {}", penalty.0);
            }
        }
    }
}
