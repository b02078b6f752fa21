//! Runs the checks and reports what they find. It decides nothing: that is `crate::health`.
//!
//! ```text
//!   spawn ──▶ one task per check:   wait until due ─▶ run, at most `timeout` ─▶ report ─┐
//!                                        ▲                                              │
//!                                        └────────────── next due time ◀────────────────┤
//!                                                                                       ▼
//!                                            bounded mpsc of `Report` (depth REPORT_DEPTH) ─▶ controller
//! ```
//!
//! - Results are events. When the channel is full a task waits until its report is taken and starts
//!   no further run: a result is never lost, none is older than one run, and each check holds at most
//!   one report. Runs that fell due in the meantime merge into one.
//! - Due times follow from a fixed grid, so they do not drift; where a check lies on its grid, and its
//!   jitter, follow from the names of node, service and check. Those that lie close together are due together.
//! - A run that reaches its timeout is dropped, with its sockets, and counts as failed.
//! - When the receiver is gone the tasks end.

mod address;
mod answers;
mod combine;
mod dial;
mod dns;
mod exec;
mod file;
mod grpc;
mod heard;
mod http;
mod icmp;
mod io_failure;
mod lent;
mod ntp;
mod probe;
mod prompt;
mod schedule;
mod tcp;
mod tls;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::Check;
use crate::config::check::Common;
use crate::health::{Outcome, RiseFall};
use probe::Probe;
use schedule::Schedule;

/// Depth that the channel of reports should have: a burst of as many results finds room at once.
pub const REPORT_DEPTH: usize = 1024;

/// The result of one run.
#[derive(Debug, Clone)]
pub struct Report {
    /// The service's index, as given to [`spawn`].
    pub service: usize,
    /// The check's index in the service.
    pub check: usize,
    /// What it found.
    pub outcome: Outcome,
    /// What a command printed: its last 4 KiB.
    pub output: Option<Box<str>>,
    /// When the result was known.
    pub at: Instant,
    /// How long the run took.
    pub took: Duration,
    /// By how much the run started after its due time.
    pub late: Duration,
    /// When the kernel took the service down in the data plane for what this tells, if it did.
    pub dataplane_down: Option<Instant>,
}

/// What a set of checks looks at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The node's name: part of what places each check on its grid.
    pub node: &'a str,
    /// The service's index: it comes back in every report.
    pub service: usize,
    /// The service's name.
    pub name: &'a str,
    /// The Service Addresses. A check without a target of its own goes to the first of each family.
    pub addresses: &'a [IpAddr],
    /// From when the runs are timed: one moment for all checks of the process.
    pub started: Instant,
}

/// The tasks of one service's checks; dropping it stops them.
#[derive(Debug)]
pub struct RunningChecks {
    tasks: JoinSet<()>,
}

impl RunningChecks {
    /// Stops all checks and waits until no task is left. Runs under way are dropped; their commands
    /// are killed.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Starts one task for each check that is run at an interval; `listener` checks are told by
/// [`crate::listener`]. Must be called within a tokio runtime.
pub fn spawn(
    subject: &Subject<'_>,
    checks: &[Check],
    reports: &mpsc::Sender<Report>,
) -> RunningChecks {
    let mut tasks = JoinSet::new();
    for (index, check) in checks.iter().enumerate() {
        let common = check.common();
        let Some(probe) = Probe::new(check, subject) else {
            continue;
        };
        let runner = Runner {
            service: subject.service,
            check: index,
            probe,
            timeout: common.timeout(),
            results: RiseFall::new(common.rise, common.fall),
            schedule: schedule_of(&common, subject),
        };
        tasks.spawn(runner.run(reports.clone()));
    }
    RunningChecks { tasks }
}

fn schedule_of(common: &Common<'_>, subject: &Subject<'_>) -> Schedule {
    let timing = schedule::Timing {
        interval: common.interval,
        fast_interval: common.fast_interval(),
        jitter: common.jitter,
        splay: common.splay(),
    };
    Schedule::new(
        timing,
        schedule::seed([subject.node, subject.name, common.name]),
        subject.started,
    )
}

/// One check's task.
struct Runner {
    service: usize,
    check: usize,
    probe: Probe,
    timeout: Duration,
    /// Only to know whether the latest results make a verdict; the decision keeps its own.
    results: RiseFall,
    schedule: Schedule,
}

impl Runner {
    async fn run(mut self, reports: mpsc::Sender<Report>) {
        loop {
            let due = self.schedule.due();
            tokio::time::sleep_until(due.into()).await;
            let started = tokio::time::Instant::now().into_std();
            let run = self.probe.run(started + self.timeout, self.timeout).await;
            let at = tokio::time::Instant::now().into_std();
            self.results.on_result(run.outcome.passed());
            let report = Report {
                service: self.service,
                check: self.check,
                outcome: run.outcome,
                output: run.output,
                at,
                took: at.saturating_duration_since(started),
                late: started.saturating_duration_since(due),
                dataplane_down: None,
            };
            if reports.send(report).await.is_err() {
                return;
            }
            let now = tokio::time::Instant::now().into_std();
            self.schedule.advance(self.results.is_settled(), now);
        }
    }
}

#[cfg(test)]
mod tests;
