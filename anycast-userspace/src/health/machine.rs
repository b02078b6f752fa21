//! The state machine of one service's health.
//!
//! ```text
//!            met / met in part                     unmet, or no longer proven
//!   Init ───────────────────────▶ Up / Degraded ─────────────────────────────▶ Down
//!     └──────── unmet ──────────────────────────────────────────────────────▶ Down
//!   Up ───────────── met in part ────────────────────────────────────────▶ Degraded
//!   Degraded ─────── met, and hold-down over ────────────────────────────▶ Up
//!   Down ── met / met in part, and hold-down over, and not suppressed ───▶ Up / Degraded
//! ```
//!
//! The hold-down (RFC 4786 §4.4.1, the least delay before re-advertising) starts when a service gets
//! worse that was up or degraded: what was announced is withdrawn, or announced with other attributes.
//! Each way back waits for its end; the way to worse never waits. A service that was never up owes no
//! delay: one whose first verdict is degraded goes up as soon as its checks say so. The penalty counts
//! withdrawals alone.

use std::sync::Arc;
use std::time::Instant;

use super::aggregate::{Aggregate, Member, aggregate};
use super::damping::Penalty;
use super::outcome::Outcome;
use super::rise_fall::{CheckState, RiseFall};
use super::settings::Settings;
use super::verdict::{HealthVerdict, Reason, Transition};

/// What `status` shows of one check.
#[derive(Debug, Clone)]
pub struct CheckView<'a> {
    /// The check's name.
    pub name: &'a str,
    /// What its results amount to.
    pub state: CheckState,
    /// Since when.
    pub since: Instant,
    /// The latest result and its time.
    pub last: Option<(&'a Outcome, Instant)>,
    /// How many of the latest results agree.
    pub in_a_row: u32,
}

#[derive(Debug)]
struct Record {
    results: RiseFall,
    since: Instant,
    last: Option<(Outcome, Instant)>,
}

/// The health of one service.
#[derive(Debug)]
pub struct Health {
    settings: Settings,
    records: Vec<Record>,
    /// The verdicts of the needed services, in the order of the settings.
    needed: Vec<HealthVerdict>,
    verdict: HealthVerdict,
    since: Instant,
    held_until: Option<Instant>,
    penalty: Option<Penalty>,
}

impl Health {
    /// A service whose checks have not yet run.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let records = settings
            .checks
            .iter()
            .map(|check| Record {
                results: RiseFall::new(check.rise, check.fall),
                since: now,
                last: None,
            })
            .collect();
        let penalty = settings.damping.map(|damping| Penalty::new(damping, now));
        Self {
            needed: vec![HealthVerdict::Init; settings.needs.len()],
            settings,
            records,
            verdict: HealthVerdict::Init,
            since: now,
            held_until: None,
            penalty,
        }
    }

    /// What the results of the check at that index amount to. As long as it stays the same, and there is no transition,
    /// [`Health::deadline`] stays the same as well.
    pub fn check_state(&self, check: usize) -> Option<CheckState> {
        Some(self.records.get(check)?.results.state())
    }

    /// Takes the result of one run of the check at that index. A result of a check that the service
    /// does not have changes nothing.
    pub fn on_result(
        &mut self,
        check: usize,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Transition> {
        let record = self.records.get_mut(check)?;
        if record.results.on_result(outcome.passed()) {
            record.since = now;
        }
        record.last = Some((outcome, now));
        let to = self.changed(now)?;
        let record = &self.records[check];
        let (outcome, _) = record.last.clone()?;
        let reason = Reason::Check {
            check,
            name: Arc::clone(&self.settings.checks[check].name),
            in_a_row: record.results.streak(),
            outcome,
        };
        Some(self.turn(to, reason, now))
    }

    /// Takes the verdict of another service; changes nothing if this one does not need it.
    pub fn on_need(
        &mut self,
        name: &str,
        verdict: HealthVerdict,
        now: Instant,
    ) -> Option<Transition> {
        let index = self
            .settings
            .needs
            .iter()
            .position(|needed| **needed == *name)?;
        self.needed[index] = verdict;
        let to = self.changed(now)?;
        let name = Arc::clone(&self.settings.needs[index]);
        Some(self.turn(to, Reason::Need { name, verdict }, now))
    }

    /// Does what time alone decides; due at [`Health::deadline`].
    pub fn on_time(&mut self, now: Instant) -> Option<Transition> {
        let reason = if self.settings.unchecked {
            Reason::Unchecked
        } else if self.records.is_empty() && self.verdict == HealthVerdict::Init {
            Reason::NoChecks
        } else if self.held_until < self.suppressed_until() {
            Reason::SuppressionOver
        } else {
            Reason::HoldDownOver
        };
        let to = self.changed(now)?;
        Some(self.turn(to, reason, now))
    }

    /// When `on_time` has something to do, if no result comes before.
    pub fn deadline(&self) -> Option<Instant> {
        match (self.verdict, self.aggregate()) {
            (HealthVerdict::Init, Aggregate::Met | Aggregate::MetInPart) => Some(self.since),
            (HealthVerdict::Degraded, Aggregate::Met) => {
                Some(self.held_until.unwrap_or(self.since))
            }
            (HealthVerdict::Down, Aggregate::Met | Aggregate::MetInPart) => Some(
                self.held_until
                    .max(self.suppressed_until())
                    .unwrap_or(self.since),
            ),
            (
                HealthVerdict::Init | HealthVerdict::Down,
                Aggregate::Undetermined | Aggregate::Unmet,
            )
            | (
                HealthVerdict::Degraded,
                Aggregate::Undetermined | Aggregate::MetInPart | Aggregate::Unmet,
            )
            | (HealthVerdict::Up, _) => None,
        }
    }

    /// The verdict.
    pub fn verdict(&self) -> HealthVerdict {
        self.verdict
    }

    /// Since when it has been so.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The end of the hold-down, while one lasts.
    pub fn held_until(&self, now: Instant) -> Option<Instant> {
        self.held_until.filter(|until| *until > now)
    }

    /// The flap penalty, and until when it suppresses the service; none without damping.
    pub fn penalty(&self, now: Instant) -> Option<(f64, Option<Instant>)> {
        let penalty = self.penalty.as_ref()?;
        Some((
            penalty.value(now),
            penalty.suppressed_until().filter(|until| *until > now),
        ))
    }

    /// Each check, in the order of the configuration.
    pub fn checks(&self) -> impl Iterator<Item = CheckView<'_>> {
        self.settings
            .checks
            .iter()
            .zip(&self.records)
            .map(|(settings, record)| CheckView {
                name: &settings.name,
                state: record.results.state(),
                since: record.since,
                last: record.last.as_ref().map(|(outcome, at)| (outcome, *at)),
                in_a_row: record.results.streak(),
            })
    }

    /// The verdict that is due, where it is another.
    fn changed(&self, now: Instant) -> Option<HealthVerdict> {
        let to = self.wanted(now);
        (to != self.verdict).then_some(to)
    }

    fn turn(&mut self, to: HealthVerdict, reason: Reason, now: Instant) -> Transition {
        let from = std::mem::replace(&mut self.verdict, to);
        self.since = now;
        let withdrawn = from.is_serving() && !to.is_serving();
        if withdrawn || (from == HealthVerdict::Up && to == HealthVerdict::Degraded) {
            self.held_until = Some(now + self.settings.hold_down);
        }
        if withdrawn && let Some(penalty) = &mut self.penalty {
            penalty.on_withdrawal(now);
        }
        Transition {
            from,
            to,
            reason,
            at: now,
        }
    }

    fn wanted(&self, now: Instant) -> HealthVerdict {
        let serving = match self.aggregate() {
            Aggregate::Met => HealthVerdict::Up,
            Aggregate::MetInPart => HealthVerdict::Degraded,
            Aggregate::Unmet => return HealthVerdict::Down,
            Aggregate::Undetermined => {
                return match self.verdict {
                    HealthVerdict::Init => HealthVerdict::Init,
                    // What was proven is no longer: `any` with its only passing check lost.
                    HealthVerdict::Up | HealthVerdict::Degraded | HealthVerdict::Down => {
                        HealthVerdict::Down
                    }
                };
            }
        };
        let free_at = match self.verdict {
            HealthVerdict::Init | HealthVerdict::Up => None,
            HealthVerdict::Degraded => self.held_until,
            HealthVerdict::Down => self.held_until.max(self.suppressed_until()),
        };
        if free_at.is_some_and(|at| now < at) {
            self.verdict
        } else {
            serving
        }
    }

    fn suppressed_until(&self) -> Option<Instant> {
        self.penalty.as_ref().and_then(Penalty::suppressed_until)
    }

    fn aggregate(&self) -> Aggregate {
        let members = self
            .settings
            .checks
            .iter()
            .zip(&self.records)
            .map(|(settings, record)| Member {
                state: record.results.state(),
                weight: settings.weight,
                shared: settings.shared,
            });
        let own = aggregate(self.settings.require, members);
        self.needed
            .iter()
            .fold(own, |met, needed| with_need(met, *needed))
    }
}

/// What a requirement amounts to together with the verdict of a service that is needed as well.
fn with_need(met: Aggregate, needed: HealthVerdict) -> Aggregate {
    match (met, needed) {
        (Aggregate::Unmet, _) | (_, HealthVerdict::Down) => Aggregate::Unmet,
        (Aggregate::Undetermined, _) | (_, HealthVerdict::Init) => Aggregate::Undetermined,
        (Aggregate::MetInPart, _) | (_, HealthVerdict::Degraded) => Aggregate::MetInPart,
        (Aggregate::Met, HealthVerdict::Up) => Aggregate::Met,
    }
}

#[cfg(test)]
mod tests;
