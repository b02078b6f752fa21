//! One service's life on this node: its phases, and what leads from one to the next.
//!
//! ```text
//!   Init ─▶ Installing ─▶ Serving ─▶ Depreferenced ─▶ Withdrawn ─▶ Drained
//!               ⇅            │ failure, at any point: Failed; an operator: Disabled
//!         InstallFailed ◀────┘ the end: Leaving ─▶ Stopping, and nothing rises again
//! ```

use std::time::{Duration, Instant};

use super::phase::{Phase, Quiet, ServesAs, Withdrawn};
use super::plan::Plan;
use super::word::Word;
use crate::health::HealthVerdict;
use crate::state::ServiceState;

/// How long the steps of a withdrawal may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// After a failure, how long packets for served ports are still passed; answers stop at once.
    pub linger: Duration,
    /// How long a drained service is announced with the worst metric before it is withdrawn.
    pub drain_delay: Duration,
    /// How long a withdrawn service's counters must stand still before it counts as quiet.
    pub drain_quiet: Duration,
    /// After this long a drained service goes down even if packets still arrive.
    pub drain_timeout: Duration,
    /// Pause before a map entry that could not be installed or proved is tried again.
    pub install_retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            linger: Duration::ZERO,
            drain_delay: Duration::from_secs(1),
            drain_quiet: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(30),
            install_retry: Duration::from_secs(1),
        }
    }
}

/// A change of the state that an operator sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: ServiceState,
    /// After.
    pub to: ServiceState,
    /// Why, in words.
    pub reason: String,
}

/// The life of one service on this node.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    pace: Pace,
    pub(super) phase: Phase,
    pub(super) health: HealthVerdict,
    pub(super) word: Word,
    /// Why the operator has spoken.
    told: String,
    /// The controller is about to exit.
    pub(super) ending: bool,
    reason: String,
    since: Instant,
}

impl Lifecycle {
    /// A service that nobody has judged yet.
    pub fn new(pace: Pace, now: Instant) -> Self {
        Self {
            pace,
            phase: Phase::Init,
            health: HealthVerdict::Init,
            word: Word::Enabled,
            told: String::new(),
            ending: false,
            reason: "no check has given its first full verdict".to_owned(),
            since: now,
        }
    }

    /// What both planes shall do now.
    pub fn plan(&self) -> Plan {
        self.phase.plan(self.serves_as())
    }

    /// The state that an operator sees.
    pub fn state(&self) -> ServiceState {
        self.phase.shown(self.serves_as())
    }

    /// Why the service is in its state.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Since when the service has been in its state.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What the operator has asked for.
    pub fn word(&self) -> Word {
        self.word
    }

    /// Whether an operator's word has taken the service out: neither served nor announced for it.
    pub fn is_away(&self) -> bool {
        matches!(self.phase, Phase::Drained | Phase::Disabled)
    }

    /// Whether the map entry is being written and awaits its proof.
    pub fn awaits_proof(&self) -> bool {
        matches!(self.phase, Phase::Installing { .. })
    }

    /// Whether the end has begun, and the routes are still announced.
    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    /// Whether the routes are withdrawn and the announcers have not yet said so.
    pub fn awaits_withdrawal(&self) -> bool {
        matches!(
            self.phase,
            Phase::Withdrawn(Withdrawn { written: false, .. })
        )
    }

    /// Whether the packet counters are wanted: the service is withdrawn and not yet quiet.
    pub fn awaits_quiet(&self) -> bool {
        matches!(
            self.phase,
            Phase::Withdrawn(Withdrawn { written: true, .. })
        )
    }

    /// When [`Self::on_time`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.phase.deadline()
    }

    /// The checks' verdict has changed.
    pub fn on_health(
        &mut self,
        verdict: HealthVerdict,
        reason: &str,
        now: Instant,
    ) -> Option<Transition> {
        let from = self.state();
        self.health = verdict;
        if self.ending && verdict != HealthVerdict::Down {
            return self.transition(from, now);
        }
        match (self.phase, verdict) {
            (_, HealthVerdict::Init) => {}
            (Phase::Init | Phase::Failed { .. }, HealthVerdict::Up | HealthVerdict::Degraded) => {
                self.rise(reason);
            }
            // What was not served has nobody to linger for.
            (Phase::Init | Phase::InstallFailed { .. }, HealthVerdict::Down) => {
                self.fail(Duration::ZERO, reason, now);
            }
            (
                Phase::Installing { .. }
                | Phase::Serving
                | Phase::Depreferenced { .. }
                | Phase::Withdrawn(_)
                | Phase::Leaving { .. }
                | Phase::Stopping,
                HealthVerdict::Down,
            ) => self.fail(self.pace.linger, reason, now),
            (Phase::Serving, HealthVerdict::Up | HealthVerdict::Degraded) => {
                reason.clone_into(&mut self.reason);
            }
            (
                Phase::Installing { .. }
                | Phase::InstallFailed { .. }
                | Phase::Depreferenced { .. }
                | Phase::Withdrawn(_)
                | Phase::Leaving { .. }
                | Phase::Stopping,
                HealthVerdict::Up | HealthVerdict::Degraded,
            )
            | (Phase::Failed { .. }, HealthVerdict::Down)
            | (
                Phase::Drained | Phase::Disabled,
                HealthVerdict::Up | HealthVerdict::Degraded | HealthVerdict::Down,
            ) => {}
        }
        self.transition(from, now)
    }

    /// The operator has spoken. It is for the next start where the end has begun.
    pub fn on_word(&mut self, word: Word, reason: &str, now: Instant) -> Option<Transition> {
        if self.ending {
            return None;
        }
        let from = self.state();
        self.word = word;
        reason.clone_into(&mut self.told);
        match (word, self.phase) {
            (_, Phase::Leaving { .. } | Phase::Stopping)
            | (Word::Drained, Phase::Depreferenced { .. } | Phase::Withdrawn(_) | Phase::Drained)
            | (Word::Disabled, Phase::Disabled)
            | (
                Word::Enabled,
                Phase::Init
                | Phase::Installing { .. }
                | Phase::InstallFailed { .. }
                | Phase::Serving
                | Phase::Failed { .. },
            ) => {}
            (Word::Drained, Phase::Serving) => {
                let until = now + self.pace.drain_delay;
                self.enter(Phase::Depreferenced { until }, reason);
            }
            (
                Word::Drained,
                Phase::Init
                | Phase::Installing { .. }
                | Phase::InstallFailed { .. }
                | Phase::Failed { .. }
                | Phase::Disabled,
            ) => self.enter(Phase::Drained, reason),
            (
                Word::Disabled,
                Phase::Init
                | Phase::Installing { .. }
                | Phase::InstallFailed { .. }
                | Phase::Serving
                | Phase::Depreferenced { .. }
                | Phase::Withdrawn(_)
                | Phase::Drained
                | Phase::Failed { .. },
            ) => self.enter(Phase::Disabled, reason),
            (Word::Enabled, Phase::Depreferenced { .. }) => self.enter(Phase::Serving, reason),
            (Word::Enabled, Phase::Withdrawn(_) | Phase::Drained | Phase::Disabled) => {
                self.resume(reason, now);
            }
        }
        self.transition(from, now)
    }

    /// The map entry was installed and proved, or why it was not.
    pub fn on_installed(
        &mut self,
        outcome: Result<(), String>,
        now: Instant,
    ) -> Option<Transition> {
        let from = self.state();
        if self.awaits_proof() {
            match outcome {
                Ok(()) => self.phase = Phase::Serving,
                Err(why) => {
                    let retry_at = now + self.pace.install_retry;
                    self.enter(
                        Phase::InstallFailed { retry_at },
                        &format!("the data plane does not serve it: {why}"),
                    );
                }
            }
        }
        self.transition(from, now)
    }

    /// Every announcer has written the withdrawal.
    pub fn on_withdrawn(&mut self) {
        if let Phase::Withdrawn(withdrawn) = &mut self.phase {
            withdrawn.written = true;
        }
    }

    /// The packets counted for the service so far.
    pub fn on_packets(&mut self, packets: u64, now: Instant) -> Option<Transition> {
        let from = self.state();
        if let Phase::Withdrawn(withdrawn) = &mut self.phase
            && withdrawn.written
        {
            match withdrawn.quiet {
                Some(quiet) if quiet.packets == packets => {
                    if now.duration_since(quiet.since) >= self.pace.drain_quiet {
                        self.phase = Phase::Drained;
                    }
                }
                Some(_) | None => {
                    withdrawn.quiet = Some(Quiet {
                        packets,
                        since: now,
                    });
                }
            }
        }
        self.transition(from, now)
    }

    /// A deadline may have passed.
    pub fn on_time(&mut self, now: Instant) -> Option<Transition> {
        let from = self.state();
        match self.phase {
            Phase::InstallFailed { retry_at } if now >= retry_at => {
                self.phase = Phase::Installing {
                    shown: ServiceState::Down,
                }
            }
            Phase::Depreferenced { until } if now >= until => {
                self.phase = Phase::Withdrawn(Withdrawn {
                    gives_up_at: now + self.pace.drain_timeout,
                    written: false,
                    quiet: None,
                });
            }
            Phase::Withdrawn(withdrawn) if now >= withdrawn.gives_up_at => {
                self.phase = Phase::Drained;
            }
            Phase::Failed {
                lingers_until: Some(until),
            } if now >= until => {
                self.phase = Phase::Failed {
                    lingers_until: None,
                };
            }
            Phase::Leaving { until } if now >= until => self.phase = Phase::Stopping,
            Phase::Init
            | Phase::Installing { .. }
            | Phase::InstallFailed { .. }
            | Phase::Serving
            | Phase::Depreferenced { .. }
            | Phase::Withdrawn(_)
            | Phase::Drained
            | Phase::Failed { .. }
            | Phase::Disabled
            | Phase::Leaving { .. }
            | Phase::Stopping => {}
        }
        self.transition(from, now)
    }

    /// The controller is about to exit: announced with the worst metric for `drain_delay`, then withdrawn, and
    /// still served until the program is detached. Said again, withdrawn at once.
    pub fn on_stop(&mut self, reason: &str, now: Instant) -> Option<Transition> {
        let from = self.state();
        self.ending = true;
        match self.phase {
            Phase::Serving => {
                let until = now + self.pace.drain_delay;
                self.enter(Phase::Leaving { until }, reason);
            }
            Phase::Depreferenced { until } => self.enter(Phase::Leaving { until }, reason),
            Phase::Withdrawn(_) | Phase::Leaving { .. } => self.enter(Phase::Stopping, reason),
            Phase::Installing { .. } | Phase::InstallFailed { .. } => self.enter(
                Phase::Failed {
                    lingers_until: None,
                },
                reason,
            ),
            Phase::Init
            | Phase::Drained
            | Phase::Failed { .. }
            | Phase::Disabled
            | Phase::Stopping => {}
        }
        self.transition(from, now)
    }

    fn serves_as(&self) -> ServesAs {
        match self.health {
            HealthVerdict::Init | HealthVerdict::Up | HealthVerdict::Down => ServesAs::Up,
            HealthVerdict::Degraded => ServesAs::Degraded,
        }
    }

    fn rise(&mut self, reason: &str) {
        match self.word {
            Word::Enabled => {
                let shown = self.state();
                self.enter(Phase::Installing { shown }, reason);
            }
            Word::Drained => self.enter_as_told(Phase::Drained),
            Word::Disabled => self.enter_as_told(Phase::Disabled),
        }
    }

    fn resume(&mut self, reason: &str, now: Instant) {
        match self.health {
            HealthVerdict::Init => self.enter(Phase::Init, reason),
            HealthVerdict::Up | HealthVerdict::Degraded => self.rise(reason),
            HealthVerdict::Down => self.fail(
                Duration::ZERO,
                "enabled again, but the checks say down",
                now,
            ),
        }
    }

    fn fail(&mut self, linger: Duration, reason: &str, now: Instant) {
        let lingers_until = (!linger.is_zero()).then(|| now + linger);
        self.enter(Phase::Failed { lingers_until }, reason);
    }

    fn enter_as_told(&mut self, phase: Phase) {
        self.phase = phase;
        self.reason.clone_from(&self.told);
    }

    fn enter(&mut self, phase: Phase, reason: &str) {
        self.phase = phase;
        reason.clone_into(&mut self.reason);
    }

    fn transition(&mut self, from: ServiceState, now: Instant) -> Option<Transition> {
        let to = self.state();
        if from == to {
            return None;
        }
        self.since = now;
        Some(Transition {
            from,
            to,
            reason: self.reason.clone(),
        })
    }
}
