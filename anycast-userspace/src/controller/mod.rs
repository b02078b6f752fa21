//! The controller: hears the checks, the operator and the two planes; decides; publishes.
//!
//! One task owns all of it. Per service: `health` says whether it works, `decision` says in which
//! order the planes follow. This module only carries between them, and never touches a map or a
//! session.
//!
//! ```text
//! checks ──mpsc──▶┐             ┌──watch: modes──▶ data plane writer ──mpsc──▶┐
//! operator ─mpsc─▶│ controller  │                                             │ back to
//! deadlines ─────▶┘             └──watch: routes─▶ announcers ───────mpsc────▶┘ controller
//! ```

mod course;
mod heartbeat;
mod report;
mod service;
mod services;
mod status;
mod transitions;
mod word;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::checks::Report;
use crate::control::server::Call;
use crate::decision::DataPlaneMode;
use crate::events::{EventKind, EventLog};
use crate::hooks;
use crate::metrics::{Metrics, Scrape};
use crate::planes::{Counters, CountersRequest, MapReport, Modes, PeerReport};
use crate::rib::DesiredRoutes;
use crate::words::{FileReport, Saved, Words};

pub use service::{Announcement, ServiceSettings};
pub use status::{Facts, ShowAddresses, ShowPeers};

use course::{Completion, Open};
use heartbeat::Heartbeat;
use service::Service;
use services::Services;

/// How often the counters of a service that is being drained are read.
const QUIET_POLL: Duration = Duration::from_millis(100);

/// Decisions whose time is remembered, to say how long each plane took.
const REMEMBERED: usize = 256;

/// The controller's ends of the channels.
pub struct Channels {
    /// Results of the checks.
    pub checks: mpsc::Receiver<Report>,
    /// Requests from the control socket.
    pub calls: mpsc::Receiver<Call>,
    /// What the data plane's writer reports.
    pub maps: mpsc::Receiver<MapReport>,
    /// What the announcers report.
    pub peers: mpsc::Receiver<PeerReport>,
    /// The modes for the data plane's writer.
    pub modes: watch::Sender<Modes>,
    /// The routes for the announcers.
    pub routes: watch::Sender<Arc<DesiredRoutes>>,
    /// What the maintenance files say.
    pub files: mpsc::Receiver<FileReport>,
    /// The words by command, for the disk.
    pub words: watch::Sender<Words>,
    /// What of them is on the disk.
    pub saved: watch::Receiver<Saved>,
    /// Where counters are asked for.
    pub counters: mpsc::Sender<CountersRequest>,
    /// Who wants to show the state as metrics.
    pub scrapes: mpsc::Receiver<Scrape>,
    /// The transitions for the operators' commands.
    pub hooks: hooks::Transitions,
}

/// What is known of one peer.
#[derive(Clone, Copy, Debug, Default)]
struct PeerProgress {
    up: bool,
    applied: u64,
}

/// The controller's state.
pub struct Controller {
    services: Services,
    facts: Facts,
    started_at: Timestamp,
    generation: u64,
    /// What was published last, or is about to be.
    routes: DesiredRoutes,
    decided: VecDeque<(u64, Instant)>,
    maps_hold: u64,
    /// The last generation that changed what the maps shall hold.
    maps_asked: u64,
    peers: BTreeMap<String, PeerProgress>,
    events: EventLog,
    metrics: Arc<Metrics>,
    transitions: u64,
    stopping: bool,
    /// The last transition of each service, by index, until both planes are done with it.
    open: BTreeMap<usize, Open>,
    words_generation: u64,
    channels: Channels,
    counting: Option<oneshot::Receiver<Counters>>,
    next_count: Instant,
    heartbeat: Option<Heartbeat>,
}

impl Controller {
    /// A controller whose services have not been judged. `facts` fills in what `status` shows and the
    /// controller does not own.
    /// What happens is counted in `metrics`.
    pub fn new(
        settings: Vec<ServiceSettings>,
        facts: Facts,
        metrics: Arc<Metrics>,
        channels: Channels,
    ) -> Self {
        let now = Instant::now();
        let mut events = EventLog::default();
        events.record(EventKind::Started {
            node: facts.node.clone(),
        });
        let routes = DesiredRoutes::clone(&channels.routes.borrow());
        let mut controller = Self {
            services: Services::new(
                settings
                    .into_iter()
                    .map(|settings| Service::new(settings, now)),
            ),
            facts,
            started_at: Timestamp::now(),
            generation: 0,
            routes,
            decided: VecDeque::with_capacity(REMEMBERED),
            maps_hold: 0,
            maps_asked: 0,
            peers: BTreeMap::new(),
            events,
            metrics,
            transitions: 0,
            stopping: false,
            open: BTreeMap::new(),
            words_generation: 0,
            channels,
            counting: None,
            next_count: now,
            heartbeat: None,
        };
        controller.heed_first_words(now);
        controller
    }

    /// Runs until `stops` gives a reason to stop. Then every route is announced with the worst metric for its
    /// service's `drain_delay`, and withdrawn; a second reason makes that at once. Returns once the withdrawals are
    /// published. The planes are still there: the caller takes them down in order.
    pub async fn run(mut self, stops: impl Stream<Item = String>) -> Self {
        let mut stops = std::pin::pin!(stops.fuse());
        loop {
            self.publish();
            if self.stopping
                && !self
                    .services
                    .iter()
                    .any(|service| service.life.is_leaving())
            {
                self.complete_all(Completion::Stopping);
                return self;
            }
            let deadline = self.deadline();
            let beat = self.heartbeat.as_ref().map(|heartbeat| heartbeat.due);
            tokio::select! {
                biased;
                Some(reason) = stops.next() => self.stop(&reason),
                () = until(beat) => self.beat(),
                Some(report) = self.channels.maps.recv() => self.on_map_report(report),
                Some(report) = self.channels.peers.recv() => self.on_peer_report(report),
                Some(report) = self.channels.checks.recv() => self.on_checks(report),
                Some(report) = self.channels.files.recv() => self.on_file(report),
                Some(call) = self.channels.calls.recv() => self.on_call(call),
                Some(scrape) = self.channels.scrapes.recv() => self.answer_scrape(scrape),
                counters = resolved(&mut self.counting) => self.on_counters(counters),
                () = until(deadline) => self.on_time(Instant::now()),
            }
        }
    }

    fn stop(&mut self, reason: &str) {
        if !self.stopping {
            self.events.record(EventKind::Stopping {
                reason: reason.to_owned(),
            });
            self.end_all(reason);
        }
        // Nobody to tell about a worse metric, or told twice.
        if self.stopping || !self.peers.values().any(|peer| peer.up) {
            self.end_all(reason);
        }
        self.stopping = true;
    }

    fn end_all(&mut self, reason: &str) {
        let now = Instant::now();
        for index in 0..self.services.len() {
            let transition = self.services[index].life.on_stop(reason, now);
            self.note(index, transition);
        }
    }

    /// The earliest time at which something is due.
    fn deadline(&mut self) -> Option<Instant> {
        let counts = self.counting.is_none() && self.services.any_awaits_quiet();
        let quiet = counts.then_some(self.next_count);
        self.services.deadline().into_iter().chain(quiet).min()
    }

    fn on_time(&mut self, now: Instant) {
        for index in self.services.due(now) {
            if self.services[index]
                .health
                .deadline()
                .is_some_and(|at| at <= now)
            {
                let transition = self.services[index].health.on_time(now);
                self.on_health(index, transition, now);
            }
            let transition = self.services[index].life.on_time(now);
            self.note(index, transition);
            self.end_of_words(index, now);
        }
        self.publish();
        // Where no peer is up, nobody else will say that a withdrawal is done.
        self.note_withdrawals();
        self.count_if_due(now);
    }

    fn count_if_due(&mut self, now: Instant) {
        if self.counting.is_some() || now < self.next_count || !self.services.any_awaits_quiet() {
            return;
        }
        self.next_count = now + QUIET_POLL;
        let (reply, counters) = oneshot::channel();
        // A full queue means that counters are being read anyway: the next poll asks again.
        if self
            .channels
            .counters
            .try_send(CountersRequest { reply })
            .is_ok()
        {
            self.counting = Some(counters);
        }
    }

    fn on_counters(&mut self, counters: Option<Counters>) {
        self.counting = None;
        let now = Instant::now();
        for (index, packets) in counters
            .into_iter()
            .flat_map(|all| all.services)
            .enumerate()
        {
            let total = packets.values().map(|count| count.packets).sum();
            if let Some(service) = self.services.get_mut(index) {
                let transition = service.life.on_packets(total, now);
                self.note(index, transition);
            }
        }
    }

    /// Publishes a new generation if any service's plan has changed.
    fn publish(&mut self) {
        let unplanned = self.services.take_unplanned();
        if unplanned.is_empty() {
            return;
        }
        let mut modes_changed = false;
        let mut routes_changed = false;
        let now = Instant::now();
        for index in unplanned {
            let Some(service) = self.services.untouched(index) else {
                continue;
            };
            let plan = service.life.plan();
            let before = service.published;
            let mode_changed = before.is_none_or(|before| before.data_plane != plan.data_plane);
            let route_changed = before.is_some_and(|before| before.route != plan.route);
            if mode_changed || (service.life.awaits_proof() && service.proof_from.is_none()) {
                service.proof_from = Some(self.generation + 1);
                modes_changed = true;
            }
            if route_changed {
                service.routed_at = self.generation + 1;
                routes_changed = true;
                service.update(&mut self.routes);
            }
            service.follow(plan, self.generation + 1, now);
        }
        if !modes_changed && !routes_changed {
            return;
        }
        self.generation += 1;
        if self.decided.len() == REMEMBERED {
            self.decided.pop_front();
        }
        self.decided.push_back((self.generation, now));
        // Withdrawals first: the announcers are woken before the map writer.
        if routes_changed {
            self.routes.generation = self.generation;
            let routes = Arc::new(self.routes.clone());
            self.channels.routes.send_replace(routes);
        }
        if modes_changed {
            self.maps_asked = self.generation;
            self.channels.modes.send_replace(Modes {
                generation: self.generation,
                decided_at: now,
                modes: self
                    .services
                    .iter()
                    .map(Service::mode)
                    .collect::<Arc<[DataPlaneMode]>>(),
                prove: self
                    .services
                    .iter()
                    .enumerate()
                    .filter(|(_, service)| service.life.awaits_proof())
                    .map(|(index, _)| index)
                    .collect(),
            });
        }
    }
}

/// Resolves when a pending answer arrives, or never if none is pending.
async fn resolved(pending: &mut Option<oneshot::Receiver<Counters>>) -> Option<Counters> {
    match pending {
        Some(receiver) => receiver.await.ok(),
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
