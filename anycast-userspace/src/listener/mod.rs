//! The `listener` check: it passes while a socket serves each watched port on each address, and hears
//! from the kernel when the last one is released. It decides nothing about the service.
//!
//! ```text
//!   close(), exit ──▶ sock_release ──▶ data plane down ──▶ event ─┐
//!   SIGKILL, exit of the last holder ──▶ as above, before the release ─┤
//!   bind() ─────────▶ post_bind ─────────────────────────▶ event ─┤ ring buffer
//!                                                                 ▼
//!            sock_diag (which sockets serve what) ◀── one task ──▶ maps (which sockets to follow)
//!                                                                 │
//!                                          bounded mpsc of Report ▼  ─▶ controller
//! ```
//!
//! - The truth is what `sock_diag` says; an event says when to look, and at what time it happened. What
//!   no event tells (a listening socket shut down but kept open, a lost event) is found once a second.
//! - A socket counts if its local address is the Service Address or a wildcard: `::` counts for IPv4
//!   too unless it is IPv6 only. A connected UDP socket serves nobody else and does not count.
//! - Several sockets on one port (`SO_REUSEPORT`, one per address and a wildcard) are followed
//!   together: only the last one matters. A socket that several processes hold, and one that systemd
//!   keeps across a restart, is released when the last of them lets go; or when all that hold it have been
//!   killed, which the kernel's part sees before they have ended (where the kernel has BTF).
//! - The program may take the service down in the data plane before this process knows: see
//!   [`Watched::dataplane`] for when it must not, and [`Report::dataplane_down`].
//! - Sockets in another network namespace cannot be seen by `sock_diag`: they do not count, and the
//!   report says so where such a socket was bound.

mod btf;
mod cgroup;
mod clock;
mod error;
mod kernel;
mod layout;
mod ledger;
mod plan;
mod sock_diag;
mod task;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use error::{ListenerError, SockDiagError};
pub use plan::{Port, Socket, Transport};
pub use sock_diag::{SockDiag, SocketTable};

use crate::checks;
use crate::config::check::ListenerCheck;
use crate::config::{self, Require};
use crate::health::Outcome;
use kernel::Kernel;
use task::Task;

/// Depth that the channel of reports should have. When it is full the task waits: a report is late
/// then, and none is lost.
pub const REPORT_DEPTH: usize = 1024;

/// What one check watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The service's index: it comes back in every report.
    pub service: usize,
    /// The check's index in the service.
    pub check: usize,
    /// Index of the service in the data plane's map `SERVICES`, if the program may take it down there
    /// by itself. `None` where one failure of this check does not make the service down at once: with
    /// other checks that could keep it up, a `linger`, or a failure that only degrades it.
    pub dataplane: Option<u32>,
    /// The Service Addresses: each must be served.
    pub addresses: Vec<IpAddr>,
    /// The ports: each must be served.
    pub ports: Vec<Port>,
}

impl Watched {
    /// What `check`, number `index` of a service, watches. `id` is the service's index in the data
    /// plane's map `SERVICES`; it is used only where this check alone makes the service down at once.
    ///
    /// # Errors
    ///
    /// As [`ListenerCheck::watched`].
    pub fn new(
        service: usize,
        index: usize,
        config: &config::Service,
        check: &ListenerCheck,
        id: u32,
    ) -> Result<Self, String> {
        let ports = check.watched(&config.ports)?;
        let decisive = match config.require {
            Require::All => !check.shared && config.linger.0.is_zero(),
            Require::Any | Require::AtLeast(_) | Require::Weight(_) => false,
        };
        Ok(Self {
            service,
            check: index,
            dataplane: decisive.then_some(id),
            addresses: config.addresses.clone(),
            ports: ports.into_iter().filter_map(Port::from_config).collect(),
        })
    }
}

/// What a watcher watches, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The checks.
    pub watched: Vec<Watched>,
    /// The cgroup whose sockets are followed, with all below it. Default: the root of the cgroup v2
    /// hierarchy as this process sees it. A socket belongs to the cgroup in which it was created.
    pub cgroup: Option<PathBuf>,
    /// The pin of the data plane's map `SERVICES`. `None`: no service is taken down there.
    pub services_pin: Option<PathBuf>,
}

/// One change of what a check finds; the first as soon as the watcher runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The service's index, as in [`Watched`].
    pub service: usize,
    /// The check's index in the service.
    pub check: usize,
    /// Whether every port is served on every address; by what, or which is not and who let go of it.
    pub outcome: Outcome,
    /// When it happened: of a release, the kernel's own time.
    pub at: Instant,
    /// When the program took the service down in the data plane, if it did. Its entry then says down
    /// whatever was written before. A failure is reported for each such moment, even if the port is
    /// served again by now, and a pass follows it.
    pub dataplane_down: Option<Instant>,
}

impl From<Report> for checks::Report {
    fn from(report: Report) -> Self {
        Self {
            service: report.service,
            check: report.check,
            outcome: report.outcome,
            output: None,
            at: report.at,
            took: Duration::ZERO,
            late: Duration::ZERO,
            dataplane_down: report.dataplane_down,
        }
    }
}

/// The task that watches. Dropping it stops the task and detaches the programs.
#[derive(Debug)]
pub struct Watcher {
    task: JoinHandle<()>,
}

impl Watcher {
    /// Attaches the programs, proves that they report, and starts the task. Must be called within a
    /// tokio runtime, on a thread that is in the services' network namespace.
    ///
    /// # Errors
    ///
    /// What the kernel lacks, or what this process may not do.
    pub fn spawn(settings: Settings, reports: mpsc::Sender<Report>) -> Result<Self, ListenerError> {
        let table = SockDiag::open()?;
        Self::spawn_with(settings, table, reports)
    }

    /// As [`Watcher::spawn`], with sockets read from `table`.
    ///
    /// # Errors
    ///
    /// As [`Watcher::spawn`].
    pub fn spawn_with(
        settings: Settings,
        table: impl SocketTable,
        reports: mpsc::Sender<Report>,
    ) -> Result<Self, ListenerError> {
        let kernel = Kernel::attach(settings.cgroup.as_deref(), settings.services_pin.as_deref())?;
        let task = Task::new(settings.watched, kernel, table, reports)?;
        Ok(Self {
            task: tokio::spawn(task.run()),
        })
    }

    /// Stops the task and waits until its programs are detached.
    pub async fn stop(mut self) {
        self.task.abort();
        // Cancelled, or ended before: either way it is gone.
        let _ended = (&mut self.task).await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether a watcher could run here: attaches the programs, sees them report, and detaches them.
///
/// # Errors
///
/// What the kernel lacks, or what this process may not do.
pub fn probe(cgroup: Option<&std::path::Path>) -> Result<(), ListenerError> {
    Kernel::attach(cgroup, None).map(drop)
}

/// A process, as a person looks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    id: u32,
    command: String,
}

impl From<&anycast_common::listener::Event> for Process {
    fn from(event: &anycast_common::listener::Event) -> Self {
        let name = event.command.split(|byte| *byte == 0).next();
        Self {
            id: event.process,
            command: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.command, self.id)
    }
}
