//! What the daemon counts, and how it is shown: Prometheus text over HTTP.
//!
//! The controller counts what happens in [`Metrics`]; what is, is read at the scrape from the same
//! [`Status`] that `anycast status` shows, so the two cannot disagree. Nothing here decides.
//!
//! ```text
//! controller ──▶ Metrics (atomics) ─────────────────────────┐
//!     ▲  │                                                  ▼
//!     │  └──Status (state, packets)──▶┐                   Page ──▶ text ──▶ HTTP
//!   Scrape, bounded mpsc              ├──▶ Sample ────────▲
//!     └──────── server ── peers, /proc┘
//! ```
//!
//! The number of series is bounded by the configuration: labels are names of services, checks and peers,
//! and words from fixed lists; a peer of a prefix also has its address in its name while its session lasts. No
//! text of an error and no prefix is ever a label.

pub mod catalogue;
mod histograms;
mod page;
mod process;
mod sample;
pub mod server;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use crate::checks::Report;
use crate::config::Service;
use crate::control::protocol::Status;
use crate::events::{Completion, Phases};
use crate::health::{FailureKind, Outcome};
use crate::state::ServiceState;
use histograms::Histograms;

pub use page::Format;
pub use sample::{MeasurePeers, PeerSample};

/// Depth of the channel on which the controller is asked for its state; who finds it full waits.
pub const SCRAPES: usize = 4;

/// Asks the controller for what is: services, checks, interfaces, packets; without the peers.
#[derive(Debug)]
pub struct Scrape {
    /// Where it goes.
    pub reply: oneshot::Sender<Status>,
}

/// How a check's run can end, as a label: `pass`, or the kind of failure.
const OUTCOMES: usize = 1 + FailureKind::ALL.len();

/// What has happened since the daemon started. A service or check out of range is not counted.
#[derive(Debug)]
pub struct Metrics {
    services: Vec<ServiceCounts>,
    completed: [AtomicU64; Completion::ALL.len()],
    histograms: Histograms,
}

#[derive(Debug)]
struct ServiceCounts {
    name: String,
    /// By the state entered, in the order of [`ServiceState::ALL`].
    transitions: [AtomicU64; ServiceState::ALL.len()],
    checks: Vec<CheckCounts>,
}

#[derive(Debug)]
struct CheckCounts {
    name: String,
    kind: String,
    /// Passes, then failures in the order of [`FailureKind::ALL`].
    results: [AtomicU64; OUTCOMES],
}

impl Metrics {
    /// Nothing has happened yet to these services, in the order of the configuration.
    pub fn new(services: &[Service]) -> Self {
        let kinds = services
            .iter()
            .flat_map(|service| &service.checks)
            .map(|check| check.kind().into_owned());
        Self {
            histograms: Histograms::new(kinds),
            completed: Default::default(),
            services: services
                .iter()
                .map(|service| ServiceCounts {
                    name: service.name.clone(),
                    transitions: Default::default(),
                    checks: service
                        .checks
                        .iter()
                        .map(|check| CheckCounts {
                            name: check.name().to_owned(),
                            kind: check.kind().into_owned(),
                            results: Default::default(),
                        })
                        .collect(),
                })
                .collect(),
        }
    }

    /// A check has run.
    pub fn on_check(&self, report: &Report) {
        let check = self
            .services
            .get(report.service)
            .and_then(|service| service.checks.get(report.check));
        let Some(check) = check else { return };
        let outcome = match &report.outcome {
            Outcome::Pass(_) => 0,
            Outcome::Fail { kind, .. } => 1 + *kind as usize,
        };
        count(&check.results[outcome]);
        self.histograms
            .on_check(&check.kind, report.took, report.late);
    }

    /// A service has entered a state.
    pub fn on_transition(&self, service: usize, to: ServiceState) {
        if let Some(service) = self.services.get(service) {
            count(&service.transitions[to as usize]);
        }
    }

    /// Both planes are done with a transition, or it ended before.
    pub fn on_completed(&self, to: ServiceState, outcome: Completion, phases: &Phases) {
        count(&self.completed[outcome as usize]);
        self.histograms.on_completed(to, outcome, phases);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn counted(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
