//! What a service requires of its checks, and how a flapping one is calmed.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::not_zero;
use super::{Check, Span};

/// Which of a service's checks must pass for the service to be up. Checks marked `shared` are not
/// counted: they only ever degrade.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, Validate,
)]
#[serde(rename_all = "snake_case")]
pub enum Require {
    /// All of them.
    #[default]
    All,
    /// At least one.
    Any,
    /// At least this many.
    AtLeast(#[garde(range(min = 1))] u32),
    /// Passing checks whose weights sum to at least this.
    Weight(#[garde(range(min = 1))] u32),
}

impl Require {
    /// Whether the checks could ever meet the requirement; says why not.
    pub fn is_met_by(self, checks: &[Check]) -> Result<(), String> {
        let counted = || {
            checks
                .iter()
                .map(Check::common)
                .filter(|check| !check.shared)
        };
        let count = counted().count();
        let weight: u64 = counted().map(|check| u64::from(check.weight)).sum();
        match self {
            Self::All => Ok(()),
            Self::Any if count == 0 && !checks.is_empty() => {
                Err("asks for any check, but all of them are shared".to_owned())
            }
            Self::Any => Ok(()),
            Self::AtLeast(needed) if u64::from(needed) > count as u64 => Err(format!(
                "asks for at least {needed} checks, but the service has {count} that are not shared"
            )),
            Self::AtLeast(_) => Ok(()),
            Self::Weight(needed) if u64::from(needed) > weight => Err(format!(
                "asks for a weight of {needed}, but all checks that are not shared weigh {weight}"
            )),
            Self::Weight(_) => Ok(()),
        }
    }
}

/// Penalty damping, in the terms of RFC 2439 §4.2: each withdrawal adds 1000 to a penalty that decays;
/// above `suppress` the service stays down until the penalty has decayed to `reuse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct Damping {
    /// Time in which the penalty halves (default `"1m"`).
    #[garde(custom(not_zero))]
    pub half_life: Span,
    /// Penalty above which the service is suppressed (default 2000: the third withdrawal within one
    /// half-life).
    #[garde(range(min = 1, max = 1_000_000))]
    pub suppress: u32,
    /// Penalty at which it may come back (default 750).
    #[garde(range(min = 1), custom(|reuse: &u32, _: &()| below(*reuse, self.suppress)))]
    pub reuse: u32,
    /// Longest time for which it stays suppressed (default `"5m"`).
    #[garde(custom(not_zero), custom(|_: &Span, _: &()| self.can_suppress()))]
    pub max_suppress: Span,
}

impl Damping {
    /// The highest penalty: what decays to `reuse` within `max_suppress` (RFC 2439 §4.2, the ceiling).
    pub fn ceiling(&self) -> f64 {
        let half_lives = self.max_suppress.0.as_secs_f64() / self.half_life.0.as_secs_f64();
        f64::from(self.reuse) * half_lives.exp2()
    }

    fn can_suppress(&self) -> garde::Result {
        if self.half_life.0.is_zero() || self.ceiling() > f64::from(self.suppress) {
            return Ok(());
        }
        Err(garde::Error::new(format!(
            "{} is too short: the penalty is capped at {:.0}, which never passes `suppress`, {}",
            self.max_suppress,
            self.ceiling(),
            self.suppress,
        )))
    }
}

impl Default for Damping {
    fn default() -> Self {
        Self {
            half_life: Span::from_secs(60),
            suppress: 2000,
            reuse: 750,
            max_suppress: Span::from_secs(300),
        }
    }
}

fn below(reuse: u32, suppress: u32) -> garde::Result {
    if reuse >= suppress {
        return Err(garde::Error::new(format!(
            "{reuse} is not below `suppress`, {suppress}"
        )));
    }
    Ok(())
}
