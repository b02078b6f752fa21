//! The one task of a watcher: it waits for events and deadlines, reads sockets, has the program follow
//! them, and reports what changed.

mod agenda;
mod reading;
mod uncovered;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anycast_common::listener::{Event, Slot, kind};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use agenda::Agenda;
use uncovered::Uncovered;

use super::error::ListenerError;
use super::kernel::Kernel;
use super::ledger::Ledger;
use super::plan::{Plan, Port, Socket, plan};
use super::sock_diag::SocketTable;
use super::{Process, Report, Watched, clock};
use crate::health::{FailureKind, Outcome};

/// How often one reading starts over because sockets came or went under it.
const ROUNDS: usize = 8;

/// How long a socket may be listed after its release was told. After that it was none: a process that had
/// been killed does not end.
const LISTED: Duration = Duration::from_secs(10);

/// The task's state.
pub(super) struct Task<T> {
    watched: Vec<Watched>,
    by_port: BTreeMap<Port, Vec<usize>>,
    kernel: Kernel,
    wakeup: AsyncFd<OwnedFd>,
    table: T,
    ledger: Ledger,
    /// The serving sockets as they were last read.
    sockets: HashMap<Port, Vec<Socket>>,
    /// Sockets released, or about to be, but perhaps still listed; and when that was told.
    released: HashMap<u64, (Port, Instant)>,
    uncovered: Uncovered,
    last: Vec<Option<bool>>,
    lost: u64,
    /// What could not be done in the last reading.
    failure: Option<String>,
    /// Who released the last socket of a port, for words alone.
    releasers: HashMap<Port, Process>,
    /// Who bound a port in another network namespace, for words alone.
    foreign: HashMap<Port, Process>,
    agenda: Agenda,
    reports: mpsc::Sender<Report>,
}

/// What one reading showed of a check.
#[derive(Default)]
struct Finding {
    plan: Plan,
    emptied: Vec<Slot>,
}

/// A result whose failure is kept for later.
trait Kept<T> {
    fn kept(self, failures: &mut Vec<ListenerError>) -> Option<T>;
}

impl<T> Kept<T> for Result<T, ListenerError> {
    fn kept(self, failures: &mut Vec<ListenerError>) -> Option<T> {
        self.map_err(|error| failures.push(error)).ok()
    }
}

impl<T: SocketTable> Task<T> {
    pub(super) fn new(
        watched: Vec<Watched>,
        mut kernel: Kernel,
        table: T,
        reports: mpsc::Sender<Report>,
    ) -> Result<Self, ListenerError> {
        let mut by_port: BTreeMap<Port, Vec<usize>> = BTreeMap::new();
        for (index, watched) in watched.iter().enumerate() {
            for port in &watched.ports {
                by_port.entry(*port).or_default().push(index);
            }
        }
        for port in by_port.keys() {
            kernel.watch(*port)?;
        }
        Ok(Self {
            ledger: Ledger::new(watched.len()),
            last: vec![None; watched.len()],
            watched,
            by_port,
            wakeup: kernel.wakeup()?,
            kernel,
            table,
            sockets: HashMap::new(),
            released: HashMap::new(),
            uncovered: Uncovered::default(),
            lost: 0,
            failure: None,
            releasers: HashMap::new(),
            foreign: HashMap::new(),
            agenda: Agenda::new(Instant::now()),
            reports,
        })
    }

    /// Runs until nobody takes the reports.
    pub(super) async fn run(mut self) {
        while !self.reports.is_closed() {
            let deadline = self.agenda.next();
            tokio::select! {
                ready = self.wakeup.readable() => match ready {
                    // Cleared before the events are taken: one that comes meanwhile wakes again.
                    Ok(mut guard) => guard.clear_ready(),
                    Err(error) => {
                        // The runtime shuts down.
                        tracing::debug!(%error, "listener check ends");
                        return;
                    }
                },
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
            self.take_events();
            let ports = self
                .agenda
                .take(self.by_port.keys().copied(), Instant::now());
            if ports.is_empty() {
                continue;
            }
            let failures = self.look_at(&ports).await;
            self.tell_failures(&failures);
            self.warn_of_lost_events();
        }
    }

    /// Finds out about `ports`, and reports what changed, whatever fails meanwhile.
    async fn look_at(&mut self, ports: &BTreeSet<Port>) -> Vec<ListenerError> {
        let mut findings = BTreeMap::new();
        let mut failures = Vec::new();
        // What the program has done is a failure whatever else is found, and reading takes a while.
        self.drop_released();
        self.install(ports, &mut findings, &mut failures);
        let (down, rest) = findings.into_iter().partition(|(_, finding)| {
            // One that seems to be served all the same is just being released: reading will show it.
            !finding.plan.unserved.is_empty()
                && finding.emptied.iter().any(|slot| slot.down_at != 0)
        });
        self.report(down).await;
        let findings = self.read(ports, rest, &mut failures).await;
        self.report(findings).await;
        failures
    }

    /// Tells of failures, but not of the same again and again.
    fn tell_failures(&mut self, failures: &[ListenerError]) {
        let told = failures.first().map(ToString::to_string);
        if let Some(error) = &told
            && self.failure != told
        {
            tracing::error!(error, "listener check: the maps cannot be kept");
        }
        self.failure = told;
    }

    fn take_events(&mut self) {
        let now = Instant::now();
        while let Some(event) = self.kernel.next_event() {
            self.take_event(&event, now);
        }
    }

    fn take_event(&mut self, event: &Event, now: Instant) {
        match event.kind {
            kind::RELEASED => {
                let Some(port) = self.ledger.port(event.cookie) else {
                    return;
                };
                self.released.insert(event.cookie, (port, now));
                self.releasers.insert(port, Process::from(event));
                self.agenda.ask(port, now);
            }
            kind::BOUND => {
                let Some(port) = Port::from_key(event.port) else {
                    return;
                };
                self.note_namespace(port, event);
                self.agenda.ask_for_bind(port, now);
            }
            other => tracing::error!(kind = other, "the listener program sent an unknown event"),
        }
    }

    fn note_namespace(&mut self, port: Port, event: &Event) {
        if self.kernel.netns().is_none_or(|own| own == event.netns) {
            self.foreign.remove(&port);
            return;
        }
        let process = Process::from(event);
        if self.foreign.insert(port, process.clone()).is_none() {
            tracing::warn!(
                %port,
                "{process} bound this port in another network namespace: the listener check sees \
                 sockets of its own namespace alone, so run anycast in that one"
            );
        }
    }

    /// Reads the sockets of `ports` and has the program follow them, until both agree.
    async fn read(
        &mut self,
        ports: &BTreeSet<Port>,
        mut findings: BTreeMap<usize, Finding>,
        failures: &mut Vec<ListenerError>,
    ) -> BTreeMap<usize, Finding> {
        for _ in 0..ROUNDS {
            let binds: Vec<(Port, u64)> = ports
                .iter()
                .filter_map(|port| Some((*port, self.kernel.binds(*port).kept(failures)?)))
                .collect();
            self.read_sockets(ports).await;
            // A socket that is no longer listed has been reported before it went.
            self.take_events();
            self.drop_released();
            let mut again = self.install(ports, &mut findings, failures);
            for (port, binds) in binds {
                self.kernel.saw_binds(port, binds).kept(failures);
                let now = self.kernel.binds(port).kept(failures);
                again |= now.is_some_and(|now| now != binds);
            }
            if !again {
                break;
            }
        }
        findings
    }

    async fn read_sockets(&mut self, ports: &BTreeSet<Port>) {
        let mut read = self.table.read(ports).await;
        if let Ok(listed) = read {
            let doubtful = self.ledger.doubtful(&self.kernel, ports, &listed);
            read = reading::read_again(&mut self.table, listed, doubtful).await;
        }
        match read {
            Ok(listed) => {
                let cookies: HashSet<u64> = listed.iter().map(|socket| socket.cookie).collect();
                self.released.retain(|cookie, (port, told)| {
                    !ports.contains(port) || (cookies.contains(cookie) && told.elapsed() < LISTED)
                });
                for port in ports {
                    self.sockets.insert(*port, Vec::new());
                }
                for socket in listed {
                    self.sockets.entry(socket.port).or_default().push(socket);
                }
            }
            // What was known still holds, but for what the program saw go.
            Err(error) => tracing::warn!(%error, "listener check: sockets cannot be read"),
        }
    }

    /// Forgets released sockets, of every port: a check is judged by all its ports, whichever is read.
    fn drop_released(&mut self) {
        for (port, _) in self.released.values() {
            if let Some(sockets) = self.sockets.get_mut(port) {
                sockets.retain(|socket| !self.released.contains_key(&socket.cookie));
            }
        }
    }

    /// Has the program follow what was read; true if it must be read again.
    fn install(
        &mut self,
        ports: &BTreeSet<Port>,
        findings: &mut BTreeMap<usize, Finding>,
        failures: &mut Vec<ListenerError>,
    ) -> bool {
        self.warn_of_uncovered(ports);
        let checks: BTreeSet<usize> = ports
            .iter()
            .filter_map(|port| self.by_port.get(port))
            .flatten()
            .copied()
            .collect();
        let mut again = false;
        for check in checks {
            let watched = &self.watched[check];
            let plan = plan(watched, &self.sockets);
            let installed = self.ledger.install(
                &mut self.kernel,
                check,
                watched.dataplane,
                &plan.sets,
                failures,
            );
            if installed.fresh {
                self.agenda
                    .look_again(ports.iter().copied(), Instant::now());
            }
            again |= installed.fresh || !installed.gone.is_empty();
            let now = Instant::now();
            let gone = installed.gone.into_iter();
            self.released
                .extend(gone.map(|(cookie, port)| (cookie, (port, now))));
            let finding = findings.entry(check).or_default();
            finding.plan = plan;
            finding.emptied.extend(installed.emptied);
        }
        again
    }

    fn warn_of_uncovered(&mut self, ports: &BTreeSet<Port>) {
        for port in ports {
            let sockets = self.sockets.get(port).into_iter().flatten();
            let outside = sockets
                .filter(|socket| {
                    let cgroup = socket.cgroup;
                    cgroup.is_some_and(|cgroup| !self.kernel.covers(cgroup))
                })
                .map(|socket| socket.cookie);
            if self.uncovered.see(*port, outside) {
                tracing::warn!(
                    %port,
                    "a socket was created outside of the cgroup {}: its release is seen within a                      second only",
                    self.kernel.cgroup().display()
                );
            }
        }
    }

    async fn report(&mut self, findings: BTreeMap<usize, Finding>) {
        for (check, finding) in findings {
            for report in self.judge(check, &finding) {
                // Fails when nobody takes reports any more; then the task ends.
                let _ended = self.reports.send(report).await;
            }
        }
    }

    /// What to report of a check: what changed, and every time the program took the service down.
    fn judge(&mut self, check: usize, finding: &Finding) -> Vec<Report> {
        let served = finding.plan.unserved.is_empty();
        let first = |times: &dyn Fn(&Slot) -> u64| {
            finding
                .emptied
                .iter()
                .map(times)
                .filter(|at| *at != 0)
                .min()
        };
        let emptied_at = first(&|slot| slot.emptied_at);
        let down_at = first(&|slot| slot.down_at);
        let mut reports = Vec::new();
        if down_at.is_some() || (!served && self.last[check] != Some(false)) {
            let detail = words::failure(&finding.plan, &self.releasers, &self.foreign);
            reports.push(Report {
                at: emptied_at.map_or_else(Instant::now, clock::instant),
                dataplane_down: down_at.map(clock::instant),
                ..self.report_of(check, Outcome::fail(FailureKind::Refused, detail))
            });
            self.last[check] = Some(false);
        }
        if served && self.last[check] != Some(true) {
            let detail = words::success(&finding.plan);
            reports.push(self.report_of(check, Outcome::pass(detail)));
            self.last[check] = Some(true);
        }
        reports
    }

    fn report_of(&self, check: usize, outcome: Outcome) -> Report {
        Report {
            service: self.watched[check].service,
            check: self.watched[check].check,
            outcome,
            at: Instant::now(),
            dataplane_down: None,
        }
    }

    fn warn_of_lost_events(&mut self) {
        match self.kernel.events_lost() {
            Ok(lost) if lost != self.lost => {
                tracing::warn!(
                    lost = lost - self.lost,
                    "listener events were lost: the ring buffer was full"
                );
                self.lost = lost;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "listener check"),
        }
    }
}
