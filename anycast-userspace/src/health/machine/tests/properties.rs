//! What holds whatever the results of the checks are.

use std::time::{Duration, Instant};

use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{
    Aggregate, CheckState, Degraded, Down, HOLD, Health, Init, Require, Up, check, outcome,
    settings,
};

fn requirement() -> impl Strategy<Value = Require> {
    prop_oneof![
        Just(Require::All),
        Just(Require::Any),
        (1..4u32).prop_map(Require::AtLeast),
        (1..4u32).prop_map(Require::Weight),
    ]
}

/// Whether the results end in a state that `rise` passes in a row have made, and no `fall` failures since.
fn passes(results: &[bool], rise: u32, fall: u32) -> bool {
    let ends = |wanted: bool, length: u32| {
        let windows = results.windows(length as usize);
        windows
            .enumerate()
            .filter(|(_, window)| window.iter().all(|passed| *passed == wanted))
            .map(|(start, _)| start + length as usize)
            .next_back()
    };
    ends(true, rise) > ends(false, fall)
}

proptest! {
    #[test]
    fn it_serves_only_what_is_proven_by_rise_passes_in_a_row_and_never_during_the_hold_down(
        require in requirement(),
        rise_and_fall in prop::collection::vec((1..4u32, 1..4u32), 1..4),
        results in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0..3000u64), 0..200),
    ) {
        let mut now = Instant::now();
        let checks: Vec<_> = rise_and_fall.iter().map(|(rise, fall)| check("c", *rise, *fall, false)).collect();
        let count = checks.len();
        let mut health = Health::new(settings(checks, require), now);
        let mut history: Vec<Vec<bool>> = vec![Vec::new(); count];
        let mut withdrawn_at: Option<Instant> = None;
        let mut degraded_at: Option<Instant> = None;
        for (index, passed, gap) in results {
            now += Duration::from_millis(gap);
            let index = index.index(count);
            history[index].push(passed);
            let before = (health.check_state(index), health.deadline());
            let mut transitions = Vec::new();
            transitions.extend(health.on_result(index, outcome(passed), now));
            if transitions.is_empty() && health.check_state(index) == before.0 {
                prop_assert_eq!(health.deadline(), before.1, "with nothing changed");
            }
            transitions.extend(health.on_time(now));
            for transition in transitions {
                if transition.to.is_serving() && !transition.from.is_serving()
                    && let Some(at) = withdrawn_at {
                    prop_assert!(now >= at + HOLD, "served {:?} into the hold-down", now - at);
                }
                if transition.from.is_serving() && !transition.to.is_serving() {
                    withdrawn_at = Some(now);
                }
                match (transition.from, transition.to) {
                    (Up, Degraded) => degraded_at = Some(now),
                    (Degraded, Up) => {
                        let free = degraded_at.is_none_or(|at| now >= at + HOLD);
                        prop_assert!(free, "up again within the hold-down after {degraded_at:?}");
                    }
                    (Init | Up | Degraded | Down, _) => {}
                }
                prop_assert_eq!(transition.to, health.verdict());
            }
            let passing = history.iter().zip(&rise_and_fall).filter(|(results, (rise, fall))| passes(results, *rise, *fall));
            let (passing, all) = (passing.count(), count);
            let met = match require {
                Require::All => passing == all,
                Require::Any => passing >= 1,
                Require::AtLeast(needed) | Require::Weight(needed) => passing >= needed as usize,
            };
            match health.verdict() {
                Up | Degraded => prop_assert!(met, "serves with {passing} of {all} under {require:?}"),
                Init | Down => {}
            }
            if health.verdict() == Up {
                prop_assert!(health.checks().all(|check| check.state != CheckState::Failing));
            }
            if health.verdict() == Degraded && health.aggregate() == Aggregate::Met {
                let held = degraded_at.is_some_and(|at| now < at + HOLD);
                prop_assert!(held, "kept degraded without a cause");
            }
            let free = withdrawn_at.is_none_or(|at| now >= at + HOLD);
            prop_assert!(!(met && free) || health.verdict().is_serving(), "kept down without a cause");
        }
    }

    #[test]
    fn a_single_check_is_served_only_after_rise_passes_and_withdrawn_by_exactly_fall_failures(
        rise in 1..5u32,
        fall in 1..5u32,
        results in prop::collection::vec(any::<bool>(), 0..300),
    ) {
        let now = Instant::now();
        let mut rules = settings(vec![check("c", rise, fall, false)], Require::All);
        rules.hold_down = Duration::ZERO;
        let mut health = Health::new(rules, now);
        let mut in_a_row = (true, 0u32);
        for passed in results {
            in_a_row = if in_a_row.0 == passed { (passed, in_a_row.1 + 1) } else { (passed, 1) };
            let before = health.verdict();
            health.on_result(0, outcome(passed), now);
            let want = match in_a_row {
                (true, count) if count >= rise => Up,
                (false, count) if count >= fall => Down,
                (true | false, _) => before,
            };
            prop_assert_eq!(health.verdict(), want);
        }
    }
}
