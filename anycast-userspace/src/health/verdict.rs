//! The verdict on a service, and why it changes.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::outcome::Outcome;

/// Whether the service works, as far as its checks can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HealthVerdict {
    /// Not all checks that matter have a verdict yet.
    Init,
    /// It works.
    Up,
    /// It works, and a check that it can do without fails.
    Degraded,
    /// It does not work, or has not yet been well for long enough.
    Down,
}

impl HealthVerdict {
    /// Whether the service may be announced.
    pub fn is_serving(self) -> bool {
        match self {
            Self::Up | Self::Degraded => true,
            Self::Init | Self::Down => false,
        }
    }
}

impl fmt::Display for HealthVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Init => "init",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        })
    }
}

/// Why the verdict changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// A check's result decided it.
    Check {
        /// The check's index in the service.
        check: usize,
        /// The check's name.
        name: Arc<str>,
        /// How many results in a row agree with the last.
        in_a_row: u32,
        /// The last result.
        outcome: Outcome,
    },
    /// A service that this one needs has changed.
    Need {
        /// Its name.
        name: Arc<str>,
        /// What it is now.
        verdict: HealthVerdict,
    },
    /// The service has no checks.
    NoChecks,
    /// The service is announced without being checked.
    Unchecked,
    /// The checks pass, and the hold-down has ended.
    HoldDownOver,
    /// The checks pass, and the penalty has decayed to the reuse limit.
    SuppressionOver,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check {
                name,
                in_a_row,
                outcome,
                ..
            } => {
                let verb = if outcome.passed() { "passed" } else { "failed" };
                write!(f, "check {name} {verb}")?;
                if *in_a_row > 1 {
                    write!(f, " {in_a_row} times in a row")?;
                }
                write!(f, ": {}", outcome.detail())
            }
            Self::Need { name, verdict } => {
                write!(f, "the service needs {name}, which is {verdict}")
            }
            Self::NoChecks => f.write_str("the service has no checks"),
            Self::Unchecked => {
                f.write_str("disabled in the configuration, to be advertised unchecked")
            }
            Self::HoldDownOver => f.write_str("the checks pass and the hold-down is over"),
            Self::SuppressionOver => {
                f.write_str("the checks pass and the flap penalty has decayed")
            }
        }
    }
}

/// A change of the verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The verdict before.
    pub from: HealthVerdict,
    /// The verdict from `at` on.
    pub to: HealthVerdict,
    /// What caused it.
    pub reason: Reason,
    /// When it was decided.
    pub at: Instant,
}
