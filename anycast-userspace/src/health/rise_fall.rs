//! One check's verdict out of its results: `rise` passes in a row, `fall` failures in a row.

/// What a check's results amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckState {
    /// Neither enough passes nor enough failures in a row so far.
    Unknown,
    /// `rise` passes in a row, and since then never `fall` failures in a row.
    Passing,
    /// `fall` failures in a row, and since then never `rise` passes in a row.
    Failing,
}

/// Counts results in a row and turns them into a state.
#[derive(Debug, Clone)]
pub struct RiseFall {
    rise: u32,
    fall: u32,
    state: CheckState,
    /// Whether the latest results passed, and how many of them in a row.
    streak: Option<(bool, u32)>,
}

impl RiseFall {
    /// A check without results. A rise or fall of 0 counts as 1.
    pub fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise: rise.max(1),
            fall: fall.max(1),
            state: CheckState::Unknown,
            streak: None,
        }
    }

    /// Takes one result; true when the state has changed.
    pub fn on_result(&mut self, passed: bool) -> bool {
        let count = match self.streak {
            Some((same, count)) if same == passed => count.saturating_add(1),
            Some(_) | None => 1,
        };
        self.streak = Some((passed, count));
        if !self.is_settled() {
            return false;
        }
        let next = if passed {
            CheckState::Passing
        } else {
            CheckState::Failing
        };
        let changed = self.state != next;
        self.state = next;
        changed
    }

    /// What the results amount to.
    pub fn state(&self) -> CheckState {
        self.state
    }

    /// How many of the latest results agree.
    pub fn streak(&self) -> u32 {
        self.streak.map_or(0, |(_, count)| count)
    }

    /// Whether the latest results suffice for a verdict of their own; until then a check runs at its fast interval.
    pub fn is_settled(&self) -> bool {
        self.streak
            .is_some_and(|(passed, count)| count >= if passed { self.rise } else { self.fall })
    }
}

#[cfg(test)]
mod tests {
    use super::{CheckState, RiseFall};

    #[test]
    fn rise_passes_and_fall_failures_in_a_row_make_the_state() {
        use CheckState::{Failing, Passing, Unknown};
        // rise, fall, results, state after each
        let cases: [(u32, u32, &str, &[CheckState]); 6] = [
            (1, 1, "+-+", &[Passing, Failing, Passing]),
            (2, 1, "+-++", &[Unknown, Failing, Failing, Passing]),
            (
                2,
                2,
                "+-+-+",
                &[Unknown, Unknown, Unknown, Unknown, Unknown],
            ),
            (
                1,
                3,
                "+--+---",
                &[
                    Passing, Passing, Passing, Passing, Passing, Passing, Failing,
                ],
            ),
            (
                3,
                1,
                "-++-+++",
                &[
                    Failing, Failing, Failing, Failing, Failing, Failing, Passing,
                ],
            ),
            (
                2,
                2,
                "++-+--",
                &[Unknown, Passing, Passing, Passing, Passing, Failing],
            ),
        ];
        for (rise, fall, results, want) in cases {
            let mut check = RiseFall::new(rise, fall);
            let got: Vec<_> = results
                .chars()
                .map(|result| {
                    let before = check.state();
                    let changed = check.on_result(result == '+');
                    assert_eq!(changed, before != check.state(), "{rise}/{fall} {results}");
                    check.state()
                })
                .collect();
            assert_eq!(got, want, "rise {rise}, fall {fall}, results {results}");
        }
    }

    #[test]
    fn it_is_settled_only_while_the_latest_results_make_a_verdict() {
        let mut check = RiseFall::new(2, 3);
        let settled: Vec<_> = "++-+---+"
            .chars()
            .map(|result| {
                check.on_result(result == '+');
                check.is_settled()
            })
            .collect();
        assert_eq!(
            settled,
            [false, true, false, false, false, false, true, false]
        );
    }
}
