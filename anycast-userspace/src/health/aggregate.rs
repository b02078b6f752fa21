//! What a service's checks amount to together.

use super::rise_fall::CheckState;
use crate::config::Require;

/// One check, as the requirement sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) state: CheckState,
    pub(super) weight: u32,
    pub(super) shared: bool,
}

/// Whether the requirement is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    /// It depends on checks that have no verdict yet.
    Undetermined,
    /// Met, and no check fails.
    Met,
    /// Met, although a check fails.
    MetInPart,
    /// Not met, whatever the checks without a verdict say.
    Unmet,
}

/// Weighs the checks. Shared ones do not count for the requirement: each needs a verdict, and a failing
/// one makes it met in part at best.
pub(super) fn aggregate(require: Require, members: impl Iterator<Item = Member>) -> Aggregate {
    let mut own = Tally::default();
    let mut any_fails = false;
    let mut shared_unknown = false;
    for member in members {
        any_fails |= member.state == CheckState::Failing;
        if member.shared {
            shared_unknown |= member.state == CheckState::Unknown;
        } else {
            own.add(member.state, value(require, member));
        }
    }
    match compare(&own, needed(require, &own)) {
        Comparison::Missed => Aggregate::Unmet,
        Comparison::Open => Aggregate::Undetermined,
        Comparison::Reached if shared_unknown => Aggregate::Undetermined,
        Comparison::Reached if any_fails => Aggregate::MetInPart,
        Comparison::Reached => Aggregate::Met,
    }
}

/// What the checks that count are worth, by state.
#[derive(Debug, Default)]
struct Tally {
    passing: u64,
    unknown: u64,
    failing: u64,
}

impl Tally {
    fn add(&mut self, state: CheckState, value: u64) {
        match state {
            CheckState::Passing => self.passing += value,
            CheckState::Unknown => self.unknown += value,
            CheckState::Failing => self.failing += value,
        }
    }
}

fn value(require: Require, member: Member) -> u64 {
    match require {
        Require::All | Require::Any | Require::AtLeast(_) => 1,
        Require::Weight(_) => u64::from(member.weight),
    }
}

fn needed(require: Require, own: &Tally) -> u64 {
    let all = own.passing + own.unknown + own.failing;
    match require {
        Require::All => all,
        // A service whose checks are all shared, or that has none, has nothing of its own to prove.
        Require::Any => all.min(1),
        Require::AtLeast(needed) | Require::Weight(needed) => u64::from(needed),
    }
}

enum Comparison {
    Reached,
    Open,
    Missed,
}

fn compare(own: &Tally, needed: u64) -> Comparison {
    if own.passing >= needed {
        Comparison::Reached
    } else if own.passing + own.unknown >= needed {
        Comparison::Open
    } else {
        Comparison::Missed
    }
}

#[cfg(test)]
mod tests {
    use super::{Aggregate, Member, aggregate};
    use crate::config::Require;
    use crate::health::CheckState;

    /// `+` passing, `-` failing, `?` unknown; upper-case letters for shared checks: P, F, U.
    /// Weights are 1, 2, 3, … in order.
    fn members(text: &str) -> Vec<Member> {
        text.chars()
            .zip(1..)
            .map(|(letter, weight)| Member {
                state: match letter {
                    '+' | 'P' => CheckState::Passing,
                    '-' | 'F' => CheckState::Failing,
                    '?' | 'U' => CheckState::Unknown,
                    other => panic!("`{other}` is no check state"),
                },
                weight,
                shared: letter.is_ascii_uppercase(),
            })
            .collect()
    }

    #[test]
    fn every_requirement_over_every_kind_of_check_list() {
        use Aggregate::{Met, MetInPart, Undetermined, Unmet};
        let cases = [
            (Require::All, "", Met),
            (Require::All, "+++", Met),
            (Require::All, "++?", Undetermined),
            (Require::All, "+-?", Unmet),
            (Require::All, "-", Unmet),
            (Require::Any, "", Met),
            (Require::Any, "??", Undetermined),
            (Require::Any, "?+", Met),
            (Require::Any, "-+", MetInPart),
            (Require::Any, "-?", Undetermined),
            (Require::Any, "--", Unmet),
            (Require::AtLeast(2), "++?", Met),
            (Require::AtLeast(2), "++-", MetInPart),
            (Require::AtLeast(2), "+?-", Undetermined),
            (Require::AtLeast(2), "+--", Unmet),
            (Require::Weight(3), "++-", MetInPart),
            (Require::Weight(3), "--+", MetInPart),
            (Require::Weight(3), "+-?", Undetermined),
            (Require::Weight(3), "+--", Unmet),
            (Require::Weight(6), "+++", Met),
            (Require::All, "+P", Met),
            (Require::All, "+F", MetInPart),
            (Require::All, "+U", Undetermined),
            (Require::All, "-F", Unmet),
            (Require::All, "F", MetInPart),
            (Require::Any, "-P", Unmet),
            (Require::Any, "F", MetInPart),
            (Require::AtLeast(1), "-P", Unmet),
            (Require::AtLeast(1), "+F", MetInPart),
            (Require::Weight(2), "+P", Unmet),
        ];
        for (require, text, want) in cases {
            let got = aggregate(require, members(text).into_iter());
            assert_eq!(got, want, "{require:?} over `{text}`");
        }
    }
}
