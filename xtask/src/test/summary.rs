//! What came of the groups of tests, told once at the end. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::bail;

/// What came of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    /// The tests that failed, or why the group could not run.
    Failed(Vec<String>),
}

/// A group of tests that has run.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}

/// All that ran, and what could not.
#[derive(Debug, Default)]
pub(super) struct Summary {
    groups: Vec<Group>,
    /// What this host does not have, and why.
    pub(super) not_tried: Vec<(String, String)>,
}

impl Summary {
    pub(super) fn add(&mut self, group: Group) {
        self.groups.push(group);
    }

    fn failed(&self) -> impl Iterator<Item = (&Group, &[String])> {
        self.groups.iter().filter_map(|group| match &group.outcome {
            Outcome::Passed => None,
            Outcome::Failed(what) => Some((group, &what[..])),
        })
    }

    /// The groups with their times, then what failed, then what was not tried.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("\n");
        for Group {
            name,
            outcome,
            took,
        } in &self.groups
        {
            let word = match outcome {
                Outcome::Passed => "ok",
                Outcome::Failed(_) => "FAILED",
            };
            let _to_a_string = writeln!(text, "{word:>6}  {:>5.0} s  {name}", took.as_secs_f64());
        }
        for (group, what) in self.failed() {
            for what in what {
                let _to_a_string = writeln!(text, "failed in {}: {what}", group.name);
            }
        }
        for (what, why) in &self.not_tried {
            let _to_a_string = writeln!(text, "not tried here: {what} ({why})");
        }
        text
    }

    /// # Errors
    /// When a group failed; where it is strict, also when something was not tried.
    pub(super) fn verdict(&self, strict: bool) -> anyhow::Result<()> {
        let failed = self.failed().count();
        if failed > 0 {
            bail!("{failed} of {} groups of tests failed", self.groups.len());
        }
        let what: Vec<&str> = self
            .not_tried
            .iter()
            .map(|(what, _)| what.as_str())
            .collect();
        if what.is_empty() {
            eprintln!("xtask: all tests passed");
        } else if strict {
            bail!("not tried here: {}", what.join(", "));
        } else {
            eprintln!(
                "xtask: all tests passed; not tried here: {}",
                what.join(", ")
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, failed: &[&str]) -> Group {
        Group {
            name: name.to_owned(),
            outcome: if failed.is_empty() {
                Outcome::Passed
            } else {
                Outcome::Failed(failed.iter().map(|what| (*what).to_owned()).collect())
            },
            took: Duration::from_secs(12),
        }
    }

    #[test]
    fn what_failed_fails_the_whole_and_what_was_not_tried_only_where_it_is_strict() {
        let passed = || group("tests bfd", &[]);
        let failed = || group("tests bgp", &["a_b", "c_d"]);
        let kernel = || ("6.1".to_owned(), "apt has none".to_owned());
        for (groups, not_tried, lenient, strict) in [
            (vec![passed()], vec![], "", ""),
            (vec![passed()], vec![kernel()], "", "not tried here: 6.1"),
            (
                vec![passed(), failed(), passed()],
                vec![],
                "1 of 3 groups of tests failed",
                "1 of 3 groups of tests failed",
            ),
        ] {
            let summary = Summary { groups, not_tried };
            for (is_strict, want) in [(false, lenient), (true, strict)] {
                let error = summary
                    .verdict(is_strict)
                    .err()
                    .map(|error| error.to_string());
                assert_eq!(error.unwrap_or_default(), want);
            }
        }
        let summary = Summary {
            groups: vec![passed(), failed(), passed()],
            not_tried: vec![kernel()],
        };
        assert_eq!(
            summary.text(),
            "\n    ok     12 s  tests bfd\nFAILED     12 s  tests bgp\n    ok     12 s  tests bfd\n\
             failed in tests bgp: a_b\nfailed in tests bgp: c_d\nnot tried here: 6.1 (apt has none)\n"
        );
    }
}
