//! The table and the page. Pure.

use std::fmt::Write as _;

use super::results::Results;
use super::targets::{Bound, Judged, with_all_features};

/// A row for each case: what it is, nanoseconds, instructions.
pub(super) fn table(results: &Results) -> String {
    let mut text = String::from("| case | what | ns |");
    let mut rule = String::from("|---|---|---:|");
    for series in results.instructions.keys() {
        let _infallible = write!(text, " instructions, {series} |");
        rule.push_str("---:|");
    }
    let _infallible = writeln!(text, "\n{rule}");
    for (name, what) in &results.cases {
        let ns = results.ns(name).map_or("–".into(), |ns| format!("{ns:.1}"));
        let _infallible = write!(text, "| `{name}` | {what} | {ns} |");
        for counts in results.instructions.values() {
            let count = counts
                .get(name)
                .map_or("–".into(), |count| format!("{count:.0}"));
            let _infallible = write!(text, " {count} |");
        }
        text.push('\n');
    }
    text
}

/// A row for each target.
pub(super) fn targets(targets: &[Judged]) -> String {
    let mut text = String::from("| target | found | bound | holds |\n|---|---:|---:|---|\n");
    for target in targets {
        let bound = match target.bound {
            Bound::AtMost(most) => format!("≤ {most}"),
            Bound::AtLeast(least) => format!("≥ {least}"),
        };
        let holds = if target.holds() { "yes" } else { "**no**" };
        let _infallible = writeln!(
            text,
            "| {} | {:.2} | {bound} | {holds} |",
            target.what, target.found
        );
    }
    text
}

/// What the targets are measured with, and what they would be with more.
fn conditions(results: &Results) -> String {
    let mut text = String::from(
        "The targets are measured with all features off, as a configuration without them loads the program.\n",
    );
    let others = with_all_features(results);
    if !others.is_empty() {
        text.push_str(
            "With all of them on, which the rows `/all` below measure, the same ratios are, beside their bounds:\n\n\
             | with all features on | found | bound of the target |\n|---|---:|---:|\n",
        );
        for other in others {
            let (Bound::AtMost(bound) | Bound::AtLeast(bound)) = other.bound;
            let _infallible = writeln!(text, "| {} | {:.2} | {bound} |", other.what, other.found);
        }
        text.push('\n');
    }
    text.push_str(
        "The rows by number of addresses measure an address that is found first in its bucket: what a longer chain\n\
         of collisions costs is not in them, but in the `spread` rows.\n",
    );
    text
}

/// The page `docs/benchmarks.md`.
pub(super) fn whole(results: &Results, judged: &[Judged]) -> String {
    let mut text = format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench --write`. Times are the least of many short\n\
         test runs of the loaded program (BPF_PROG_TEST_RUN) on {}; compare them with each other,\n\
         not with those of other machines. Instructions are those of the whole run, kernel included, counted by\n\
         an emulator: they are the same everywhere. Of programs that rewrite the frame, the wrapper that\n\
         restores it has been taken off.\n\n\
         ## Targets\n\n{}\n{}\n\
         Katran's instructions were counted once in the same way, on Linux 6.12: 535 for a packet that is not to its address, and\n\
         205 for an echo reply less the wrapper. [How to measure it in the same run](benchmarks-profile.md#katran).\n\
         [Where the instructions go](benchmarks-profile.md) says why a target is missed.\n\n\
         ## A packet\n\n![What a packet costs](benchmarks-cost.svg)\n\n{}",
        results.machine,
        targets(judged),
        conditions(results),
        table(results),
    );
    if !results.instructions.is_empty() {
        let _infallible = writeln!(
            text,
            "\nInstructions are not counted of {}: other programs, and tables that take an emulator minutes to fill.",
            results.uncounted().join(", "),
        );
    }
    if !results.live.is_empty() {
        text.push_str(
            "\n## The whole path\n\n\
             Frames through a veth pair, with the program that makes them on the same processor.\n\n\
             ![Packets a second](benchmarks-live.svg)\n\n\
             | case | million packets a second |\n|---|---:|\n",
        );
        for (name, mpps) in &results.live {
            let _infallible = writeln!(text, "| `{name}` | {mpps:.2} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn results() -> Results {
        Results {
            cases: vec![("drop".into(), "a program that drops".into())],
            nanoseconds: BTreeMap::from([("drop".into(), 6.54)]),
            instructions: BTreeMap::from([(
                "6.12".into(),
                BTreeMap::from([("drop".into(), 91.0)]),
            )]),
            ..Results::default()
        }
    }

    #[test]
    fn a_row_holds_time_and_count() {
        assert_eq!(
            table(&results()),
            "| case | what | ns | instructions, 6.12 |\n|---|---|---:|---:|\n\
             | `drop` | a program that drops | 6.5 | 91 |\n"
        );
    }

    #[test]
    fn a_missed_target_says_so() {
        let judged = [Judged {
            what: "a / b",
            found: 1.3,
            bound: Bound::AtMost(1.2),
        }];
        assert!(targets(&judged).ends_with("| a / b | 1.30 | ≤ 1.2 | **no** |\n"));
    }

    #[test]
    fn the_page_says_what_a_target_would_be_with_all_features_on() {
        let mut results = results();
        for (case, nanoseconds) in [("floor", 50.0), ("down-v4/all", 70.0)] {
            results.nanoseconds.insert(case.into(), nanoseconds);
        }
        let page = whole(&results, &[]);
        assert!(
            page.contains("with all features off")
                && page.contains("| unhealthy drop / floor | 1.40 | 1.2 |"),
            "{page}"
        );
    }

    #[test]
    fn the_page_says_what_was_not_counted() {
        let mut results = results();
        results.cases.push(("peer".into(), "a peer".into()));
        let page = whole(&results, &[]);
        assert!(
            page.contains("Instructions are not counted of peer:"),
            "{page}"
        );
    }
}
