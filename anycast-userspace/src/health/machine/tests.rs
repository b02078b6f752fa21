//! Scenarios; `table` holds the whole transition table, `properties` what holds for arbitrary results.

mod properties;
mod table;

use std::time::{Duration, Instant};

use super::{Aggregate, Health, HealthVerdict, Reason, Settings};
use crate::config::{Damping, Require, Span};
use crate::health::settings::CheckSettings;
use crate::health::{CheckState, FailureKind, Outcome};

const HOLD: Duration = Duration::from_secs(5);

fn check(name: &str, rise: u32, fall: u32, shared: bool) -> CheckSettings {
    CheckSettings {
        name: name.into(),
        rise,
        fall,
        weight: 1,
        shared,
    }
}

fn settings(checks: Vec<CheckSettings>, require: Require) -> Settings {
    Settings {
        checks,
        needs: Vec::new(),
        unchecked: false,
        require,
        hold_down: HOLD,
        damping: None,
    }
}

fn outcome(passed: bool) -> Outcome {
    if passed {
        Outcome::pass("answered")
    } else {
        Outcome::fail(FailureKind::Refused, "refused")
    }
}

/// One step of a scenario: at a second, a check passes (`+`) or fails (`-`), or time alone passes.
#[derive(Clone, Copy)]
enum Step {
    Result(u64, usize, bool),
    Time(u64),
}

use HealthVerdict::{Degraded, Down, Init, Up};
use Step::{Result as R, Time as T};

struct Case {
    name: &'static str,
    require: Require,
    /// Step, and the verdict after it.
    steps: &'static [(Step, HealthVerdict)],
}

/// Two checks, `a` and `b`, rise 1 and fall 1; the third, `shared`, only in cases that use it.
const CASES: &[Case] = &[
    Case {
        name: "init stays init until every needed check has spoken, then up",
        require: Require::All,
        steps: &[(R(0, 0, true), Init), (T(1), Init), (R(2, 1, true), Up)],
    },
    Case {
        name: "init goes down as soon as the requirement cannot be met",
        require: Require::All,
        steps: &[(R(0, 0, false), Down)],
    },
    Case {
        name: "init goes to degraded when met in part",
        require: Require::Any,
        steps: &[(R(0, 0, false), Init), (R(0, 1, true), Degraded)],
    },
    Case {
        name: "any is up with its first passing check",
        require: Require::Any,
        steps: &[(R(0, 0, true), Up)],
    },
    Case {
        name: "any loses its only proof while the other check has no verdict: down",
        require: Require::Any,
        steps: &[(R(0, 0, true), Up), (R(1, 0, false), Down)],
    },
    Case {
        name: "up stays up on passes and on time",
        require: Require::All,
        steps: &[
            (R(0, 0, true), Init),
            (R(0, 1, true), Up),
            (R(1, 0, true), Up),
            (T(100), Up),
        ],
    },
    Case {
        name: "up to degraded at once, and back after the hold-down",
        require: Require::Any,
        steps: &[
            (R(0, 0, true), Up),
            (R(0, 1, true), Up),
            (R(1, 0, false), Degraded),
            (R(2, 0, true), Degraded),
            (R(3, 0, false), Degraded),
            (R(4, 0, true), Degraded),
            (T(5), Degraded),
            (T(6), Up),
            (R(7, 1, false), Degraded),
            (R(12, 1, true), Up),
        ],
    },
    Case {
        name: "one that is degraded at first goes up at once",
        require: Require::Any,
        steps: &[
            (R(0, 0, false), Init),
            (R(0, 1, true), Degraded),
            (R(1, 0, true), Up),
        ],
    },
    Case {
        name: "one that comes back degraded goes up at once: it has waited",
        require: Require::Any,
        steps: &[
            (R(0, 0, true), Up),
            (R(0, 1, false), Degraded),
            (R(1, 0, false), Down),
            (R(6, 0, true), Degraded),
            (R(7, 1, true), Up),
        ],
    },
    Case {
        name: "degraded to down when the last check fails",
        require: Require::Any,
        steps: &[
            (R(0, 0, true), Up),
            (R(0, 1, false), Degraded),
            (R(1, 0, false), Down),
        ],
    },
    Case {
        name: "a service that was never up owes no hold-down",
        require: Require::All,
        steps: &[
            (R(0, 0, false), Down),
            (R(1, 1, true), Down),
            (R(1, 0, true), Up),
        ],
    },
    Case {
        name: "down is held although the checks pass, and time ends it",
        require: Require::All,
        steps: &[
            (R(0, 0, true), Init),
            (R(0, 1, true), Up),
            (R(1, 0, false), Down),
            (R(2, 0, true), Down),
            (T(5), Down),
            (T(6), Up),
        ],
    },
    Case {
        name: "a result after the hold-down brings it up as well",
        require: Require::All,
        steps: &[
            (R(0, 0, true), Init),
            (R(0, 1, true), Up),
            (R(1, 0, false), Down),
            (T(60), Down),
            (R(61, 0, true), Up),
        ],
    },
    Case {
        name: "failing again during the hold-down does not prolong it",
        require: Require::All,
        steps: &[
            (R(0, 0, true), Init),
            (R(0, 1, true), Up),
            (R(1, 0, false), Down),
            (R(2, 0, true), Down),
            (R(3, 0, false), Down),
            (R(4, 0, true), Down),
            (T(6), Up),
        ],
    },
    Case {
        name: "down to degraded after the hold-down",
        require: Require::Any,
        steps: &[
            (R(0, 0, true), Up),
            (R(0, 1, false), Degraded),
            (R(1, 0, false), Down),
            (R(7, 0, true), Degraded),
        ],
    },
    Case {
        name: "down stays down while what passes proves nothing yet",
        require: Require::All,
        steps: &[
            (R(0, 0, false), Down),
            (R(1, 0, true), Down),
            (T(100), Down),
        ],
    },
];

#[test]
fn every_scenario_ends_as_it_should() {
    for case in CASES {
        let start = Instant::now();
        let checks = vec![check("a", 1, 1, false), check("b", 1, 1, false)];
        let mut health = Health::new(settings(checks, case.require), start);
        for (index, (step, want)) in case.steps.iter().enumerate() {
            let before = health.verdict();
            let transition = match *step {
                R(second, check, passed) => {
                    health.on_result(check, outcome(passed), start + Duration::from_secs(second))
                }
                T(second) => health.on_time(start + Duration::from_secs(second)),
            };
            assert_eq!(health.verdict(), *want, "{}: step {index}", case.name);
            let seen = transition.map(|transition| (transition.from, transition.to));
            let expected = (before != *want).then_some((before, *want));
            assert_eq!(seen, expected, "{}: transition of step {index}", case.name);
        }
    }
}

#[test]
fn a_service_without_checks_is_up_at_its_first_deadline() {
    let start = Instant::now();
    let mut health = Health::new(settings(vec![], Require::All), start);
    assert_eq!(health.deadline(), Some(start));
    let transition = health.on_time(start).expect("a transition");
    assert_eq!((transition.to, transition.reason), (Up, Reason::NoChecks));
    assert_eq!(health.deadline(), None);
}

#[test]
fn a_failing_shared_check_degrades_and_never_withdraws() {
    let start = Instant::now();
    let checks = vec![check("own", 1, 1, false), check("database", 1, 1, true)];
    let mut health = Health::new(settings(checks, Require::All), start);
    health.on_result(0, outcome(true), start);
    assert_eq!(
        health.verdict(),
        Init,
        "the shared check has no verdict yet"
    );
    health.on_result(1, outcome(false), start);
    assert_eq!(health.verdict(), Degraded);
    health.on_result(0, outcome(false), start);
    assert_eq!(health.verdict(), Down);
}

#[test]
fn a_service_follows_the_ones_that_it_needs_and_holds_down_as_for_its_own_failure() {
    let start = Instant::now();
    let rules = settings(vec![check("own", 1, 1, false)], Require::All)
        .with_needs(&["dns".to_owned(), "api".to_owned()]);
    let mut health = Health::new(rules, start);
    // seconds, what happens to which needed service, the verdict after it
    let steps = [
        (0, "dns", Up, Init),
        (0, "other", Down, Init),
        (1, "api", Degraded, Degraded),
        (2, "api", Up, Up),
        (3, "dns", Down, Down),
        (4, "dns", Up, Down),
    ];
    health.on_result(0, outcome(true), start);
    for (second, name, verdict, want) in steps {
        health.on_need(name, verdict, start + Duration::from_secs(second));
        assert_eq!(
            health.verdict(),
            want,
            "second {second}: {name} is {verdict}"
        );
    }
    assert_eq!(
        health.deadline(),
        Some(start + Duration::from_secs(3) + HOLD)
    );
    let back = health
        .on_time(start + Duration::from_secs(8))
        .expect("up again");
    assert_eq!(back.to, Up);
    let down = health
        .on_need("api", Down, start + Duration::from_secs(9))
        .expect("down");
    assert_eq!(
        down.reason.to_string(),
        "the service needs api, which is down"
    );
}

#[test]
fn the_deadline_is_the_end_of_the_hold_down_once_the_checks_pass() {
    let start = Instant::now();
    let mut health = Health::new(settings(vec![check("a", 1, 1, false)], Require::All), start);
    health.on_result(0, outcome(true), start);
    health.on_result(0, outcome(false), start);
    assert_eq!(
        health.deadline(),
        None,
        "nothing to wait for while the check fails"
    );
    health.on_result(0, outcome(true), start);
    assert_eq!(health.deadline(), Some(start + HOLD));
    assert_eq!(health.held_until(start), Some(start + HOLD));
    let transition = health.on_time(start + HOLD).expect("a transition");
    assert_eq!(transition.reason, Reason::HoldDownOver);
}

#[test]
fn a_degraded_service_without_a_hold_down_is_up_at_the_first_pass() {
    let start = Instant::now();
    let checks = vec![check("own", 1, 1, false), check("database", 1, 1, true)];
    let mut settings = settings(checks, Require::All);
    settings.hold_down = Duration::ZERO;
    let mut health = Health::new(settings, start);
    health.on_result(0, outcome(true), start);
    health.on_result(1, outcome(true), start);
    for (passed, want) in [(false, Degraded), (true, Up), (false, Degraded), (true, Up)] {
        health.on_result(1, outcome(passed), start);
        assert_eq!(health.verdict(), want);
    }
}

#[test]
fn the_deadline_of_a_degraded_service_is_the_end_of_its_hold_down_once_all_pass() {
    let start = Instant::now();
    let checks = vec![check("own", 1, 1, false), check("database", 1, 1, true)];
    let mut health = Health::new(settings(checks, Require::All), start);
    health.on_result(0, outcome(true), start);
    health.on_result(1, outcome(true), start);
    health.on_result(1, outcome(false), start);
    assert_eq!(health.deadline(), None);
    health.on_result(1, outcome(true), start);
    assert_eq!(
        (
            health.verdict(),
            health.deadline(),
            health.held_until(start)
        ),
        (Degraded, Some(start + HOLD), Some(start + HOLD))
    );
    let up = health.on_time(start + HOLD).expect("up again");
    assert_eq!((up.to, up.reason), (Up, Reason::HoldDownOver));
}

#[test]
fn the_reason_names_the_check_and_what_it_said() {
    let start = Instant::now();
    let mut health = Health::new(
        settings(vec![check("web", 2, 2, false)], Require::All),
        start,
    );
    health.on_result(0, outcome(false), start);
    let down = health.on_result(0, outcome(false), start).expect("down");
    assert_eq!(
        down.reason.to_string(),
        "check web failed 2 times in a row: refused"
    );
}

#[test]
fn a_flapping_service_is_suppressed_until_its_penalty_has_decayed() {
    let start = Instant::now();
    let mut settings = settings(vec![check("a", 1, 1, false)], Require::All);
    settings.hold_down = Duration::ZERO;
    settings.damping = Some(Damping {
        half_life: Span::from_secs(10),
        suppress: 1500,
        reuse: 500,
        max_suppress: Span::from_secs(60),
    });
    let mut health = Health::new(settings, start);
    health.on_result(0, outcome(true), start);
    health.on_result(0, outcome(false), start);
    assert!(
        health.on_result(0, outcome(true), start).is_some(),
        "one flap is free"
    );
    health.on_result(0, outcome(false), start);
    assert!(
        health.on_result(0, outcome(true), start).is_none(),
        "the second is suppressed"
    );
    // 2000 decays to 500 in two half-lives.
    let reuse = start + Duration::from_secs(20);
    assert_eq!(health.deadline(), Some(reuse));
    assert!(health.on_time(reuse - Duration::from_millis(1)).is_none());
    let transition = health.on_time(reuse).expect("reused");
    assert_eq!(
        (transition.to, transition.reason),
        (Up, Reason::SuppressionOver)
    );
}
