//! The histograms: how long checks and the steps of a transition take.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

use crate::events::{Completion, MapWriter, Phases, Sent};
use crate::state::ServiceState;

/// Upper bounds of the steps of a transition, in seconds: from the kernel's own microseconds to a peer
/// that hangs.
const STEPS: [f64; 19] = [
    10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Upper bounds of a check's run, in seconds.
const RUNS: [f64; 14] = [
    100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Upper bounds of a run's delay, in seconds.
const DELAYS: [f64; 9] = [0.5e-3, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 1.0];

/// One histogram for each state that a transition can lead to, in the order of [`ServiceState::ALL`].
pub(super) type ByState = [Histogram; ServiceState::ALL.len()];

/// One for each state and peer.
pub(super) type ByPeer = BTreeMap<(&'static str, String), Histogram>;

#[derive(Debug)]
pub(super) struct Histograms {
    /// By type of check.
    pub(super) durations: BTreeMap<String, Histogram>,
    pub(super) delays: Histogram,
    pub(super) decided: ByState,
    pub(super) by_kernel: ByState,
    pub(super) by_controller: ByState,
    pub(super) total: ByState,
    /// Grows with the peers that are told; there are as many as are configured: all of a prefix are one.
    sent: Mutex<ByPeer>,
}

impl Histograms {
    pub(super) fn new(kinds: impl Iterator<Item = String>) -> Self {
        let by_state = || std::array::from_fn(|_| Histogram::new(STEPS));
        Self {
            durations: kinds.map(|kind| (kind, Histogram::new(RUNS))).collect(),
            delays: Histogram::new(DELAYS),
            decided: by_state(),
            by_kernel: by_state(),
            by_controller: by_state(),
            total: by_state(),
            sent: Mutex::default(),
        }
    }

    pub(super) fn on_check(&self, kind: &str, took: Duration, late: Duration) {
        // A listener check is not run: the kernel tells.
        if kind == "listener" {
            return;
        }
        if let Some(durations) = self.durations.get(kind) {
            durations.observe(took.as_secs_f64());
        }
        self.delays.observe(late.as_secs_f64());
    }

    pub(super) fn on_completed(&self, to: ServiceState, outcome: Completion, phases: &Phases) {
        self.decided[to as usize].observe(seconds(phases.decided_us));
        if let Some(map) = phases.data_plane {
            let histograms = match map.by {
                MapWriter::Kernel => &self.by_kernel,
                MapWriter::Controller => &self.by_controller,
            };
            histograms[to as usize].observe(seconds(map.us));
        }
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        for (peer, phase) in &phases.peers {
            match (phase.sent, phase.us) {
                (Sent::Announced | Sent::Withdrawn, Some(us)) => sent
                    .entry((to.as_str(), configured(peer).to_owned()))
                    .or_insert_with(|| Histogram::new(STEPS))
                    .observe(seconds(us)),
                (Sent::SessionLost, _) | (Sent::Announced | Sent::Withdrawn, None) => {}
            }
        }
        match outcome {
            Completion::Done => self.total[to as usize].observe(seconds(phases.total_us)),
            Completion::Superseded | Completion::Stopping => {}
        }
    }

    pub(super) fn sent(&self) -> ByPeer {
        self.sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The peer in the configuration: one of a prefix is named `NAME@ADDRESS`.
fn configured(peer: &str) -> &str {
    peer.split_once('@').map_or(peer, |(name, _)| name)
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
