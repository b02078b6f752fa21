//! The transition table of one service's health: every verdict, held or free, under all that the checks
//! may say.

use std::time::{Duration, Instant};

use super::super::{Aggregate, Health, HealthVerdict, Transition};
use super::{HOLD, check, settings};
use crate::config::Require;
use HealthVerdict::{Degraded, Down, Init, Up};

/// What the checks may say, in the order of the table's columns. Results of two checks of which one must
/// pass: `+` passing, `-` failing, `?` unknown.
const COLUMNS: [(Aggregate, &str); 4] = [
    (Aggregate::Undetermined, "??"),
    (Aggregate::Met, "++"),
    (Aggregate::MetInPart, "+-"),
    (Aggregate::Unmet, "--"),
];

const ROWS: [(HealthVerdict, Held, [HealthVerdict; 4]); 8] = [
    (Init, Held::Free, [Init, Up, Degraded, Down]),
    (Init, Held::Held, [Init, Up, Degraded, Down]),
    (Up, Held::Free, [Down, Up, Degraded, Down]),
    (Up, Held::Held, [Down, Up, Degraded, Down]),
    (Degraded, Held::Free, [Down, Up, Degraded, Down]),
    (Degraded, Held::Held, [Down, Degraded, Degraded, Down]),
    (Down, Held::Free, [Down, Up, Degraded, Down]),
    (Down, Held::Held, [Down, Down, Down, Down]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Free,
    Held,
}

/// The row of a state: a new verdict does not compile, a forgotten row does not run.
const fn row(verdict: HealthVerdict, held: Held) -> usize {
    let first = match verdict {
        Init => 0,
        Up => 2,
        Degraded => 4,
        Down => 6,
    };
    match held {
        Held::Free => first,
        Held::Held => first + 1,
    }
}

const fn column(aggregate: Aggregate) -> usize {
    match aggregate {
        Aggregate::Undetermined => 0,
        Aggregate::Met => 1,
        Aggregate::MetInPart => 2,
        Aggregate::Unmet => 3,
    }
}

fn health(verdict: HealthVerdict, held: Held, results: &str, now: Instant) -> Health {
    let checks = vec![check("a", 1, 1, false), check("b", 1, 1, false)];
    let rules = settings(checks, Require::Any).with_needs(&["dns".to_owned()]);
    let mut health = Health::new(rules, now);
    for (record, result) in health.records.iter_mut().zip(results.chars()) {
        match result {
            '?' => {}
            result => drop(record.results.on_result(result == '+')),
        }
    }
    health.needed = vec![Up];
    health.verdict = verdict;
    health.held_until = Some(match held {
        Held::Free => now,
        Held::Held => now + Duration::from_nanos(1),
    });
    health
}

#[test]
fn every_verdict_follows_what_the_checks_say_as_the_table_says() {
    let now = Instant::now();
    for (index, (from, held, next)) in ROWS.into_iter().enumerate() {
        assert_eq!(row(from, held), index, "the rows are in order");
        for (at, (aggregate, results)) in COLUMNS.into_iter().enumerate() {
            assert_eq!(column(aggregate), at, "the columns are in order");
            let want = next[at];
            let what = format!("{from}, {held:?}, {aggregate:?}");
            let by_time: fn(&mut Health, Instant) -> Option<Transition> = Health::on_time;
            let by_need: fn(&mut Health, Instant) -> Option<Transition> =
                |health, now| health.on_need("dns", Up, now);
            for (by, input) in [("time", by_time), ("need", by_need)] {
                let mut health = health(from, held, results, now);
                assert_eq!(health.aggregate(), aggregate, "{what}");
                let transition = input(&mut health, now);
                assert_eq!(health.verdict(), want, "{what}, by {by}");
                let told = transition.map(|transition| (transition.from, transition.to));
                assert_eq!(
                    told,
                    (from != want).then_some((from, want)),
                    "{what}, by {by}"
                );
                let withdrawn = from.is_serving() && !want.is_serving();
                let holds = health
                    .held_until(now)
                    .is_some_and(|until| until == now + HOLD);
                let worse = withdrawn || (from, want) == (Up, Degraded);
                assert_eq!(holds, worse, "{what}, by {by}: the hold-down starts");
            }
        }
    }
}
