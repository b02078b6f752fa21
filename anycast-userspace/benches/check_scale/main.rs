//! 1,000 services with three checks each at one second: what they cost and how late they run.
//!
//! `cargo bench -p anycast-userspace --bench check_scale [-- SERVICES [SECONDS [THREADS]]]`. Checks, controller
//! and writer run as in the daemon, over a data plane that does nothing; the metrics are scraped over
//! HTTP once a second. The servers and the scraper are a process of their own, so that the figures are
//! those of the daemon's parts alone. Prints the share of one core, the lateness of the runs, memory and
//! descriptors; ends with 1 when a limit is passed.

mod node;
mod servers;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anycast_userspace::checks::{REPORT_DEPTH, Report, Subject, spawn};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike as _;
use node::Node;
use servers::{SERVER, Servers};
use tokio::sync::mpsc;

const SERVICES: usize = 1000;
const SECONDS: u64 = 10;
const THREADS: u64 = 1;
/// Until every check has settled at its interval.
const WARM_UP: Duration = Duration::from_secs(4);
/// Most of one core, in percent.
const CPU_LIMIT: f64 = 20.0;
/// Latest start of a run after its due time, at the 99th percentile.
const LATENESS_LIMIT: Duration = Duration::from_millis(50);
/// Most memory, in KiB.
const MEMORY_LIMIT: u64 = 40 * 1024;
/// Descriptors that a check may hold while it runs, and what the rest of the process holds.
const DESCRIPTORS_PER_CHECK: usize = 1;
const OTHER_DESCRIPTORS: usize = 64;

fn main() -> ExitCode {
    // cargo bench passes `--bench`.
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if arguments.first().is_some_and(|argument| argument == SERVER) {
        runtime(1).block_on(servers::serve());
        return ExitCode::SUCCESS;
    }
    let number = |index: usize, default: u64| {
        arguments
            .get(index)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let services = usize::try_from(number(0, SERVICES as u64)).expect("a number of services");
    let threads = usize::try_from(number(2, THREADS)).expect("a number of threads");
    runtime(threads).block_on(measure(services, Duration::from_secs(number(1, SECONDS))))
}

/// One thread: everything on the main thread. More: so many workers besides it.
fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder
        .worker_threads(threads.max(1))
        .enable_all()
        .build()
        .expect("a runtime")
}

async fn measure(services: usize, duration: Duration) -> ExitCode {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of descriptors");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a higher limit of descriptors");
    let mut servers = Servers::start();
    anycast_userspace::slice::shorten_if_possible();
    let config = servers.configuration(services);
    let node = Node::start(&config).await;
    servers.scrape(node.metrics);
    let (sender, reports) = mpsc::channel(REPORT_DEPTH);
    let started = Instant::now();
    let _running: Vec<_> = config
        .services
        .iter()
        .enumerate()
        .map(|(index, service)| {
            let subject = Subject {
                node: &config.node.name,
                service: index,
                name: &service.name,
                addresses: &service.addresses,
                started,
            };
            spawn(&subject, &service.checks, &sender)
        })
        .collect();
    let mut tap = Tap {
        reports,
        controller: node.checks.clone(),
    };
    tap.collect(WARM_UP).await;

    let cpu_before = cpu_time();
    let begun = Instant::now();
    let seen = tap.collect(duration).await;
    let wall = begun.elapsed();
    let cpu = 100.0 * (cpu_time() - cpu_before).as_secs_f64() / wall.as_secs_f64();
    let checks = services * config.services[0].checks.len();
    let within = print(&seen, checks, cpu, wall);
    let page = node.page().await;
    println!(
        "metrics             scraped once a second, {} lines, {} KiB",
        page.lines().count(),
        page.len() / 1024
    );
    servers.assert_alive();
    if !within {
        println!("over a limit");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Reads the reports on their way to the controller.
struct Tap {
    reports: mpsc::Receiver<Report>,
    controller: mpsc::Sender<Report>,
}

struct Run {
    passed: bool,
    late: Duration,
    took: Duration,
}

impl Tap {
    async fn collect(&mut self, duration: Duration) -> Vec<Run> {
        let mut seen = Vec::new();
        let end = tokio::time::Instant::now() + duration;
        let mut taken = Vec::with_capacity(REPORT_DEPTH);
        loop {
            let reports = self.reports.recv_many(&mut taken, REPORT_DEPTH);
            if tokio::time::timeout_at(end, reports).await.is_err() {
                return seen;
            }
            for report in taken.drain(..) {
                seen.push(Run {
                    passed: report.outcome.passed(),
                    late: report.late,
                    took: report.took,
                });
                self.controller
                    .send(report)
                    .await
                    .expect("the controller runs");
            }
        }
    }
}

/// Whether everything is within its limit.
fn print(seen: &[Run], checks: usize, cpu: f64, wall: Duration) -> bool {
    let failed = seen.iter().filter(|run| !run.passed).count();
    let mut late: Vec<_> = seen.iter().map(|run| run.late).collect();
    let mut took: Vec<_> = seen.iter().map(|run| run.took).collect();
    late.sort_unstable();
    took.sort_unstable();
    let at = |sorted: &[Duration], percent: usize| sorted[(sorted.len() - 1) * percent / 100];
    let (memory, most) = (proc_status("VmRSS:"), proc_status("VmHWM:"));
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let most_descriptors = checks * DESCRIPTORS_PER_CHECK + OTHER_DESCRIPTORS;
    println!(
        "checks              {checks}, {} runs in {wall:.1?}, {failed} failed",
        seen.len()
    );
    println!("cpu                 {cpu:.1} % of one core (limit {CPU_LIMIT} %)");
    println!(
        "late                median {:.1?}, p99 {:.1?} (limit {LATENESS_LIMIT:?}), most {:.1?}",
        at(&late, 50),
        at(&late, 99),
        at(&late, 100),
    );
    println!(
        "took                median {:.1?}, p99 {:.1?}",
        at(&took, 50),
        at(&took, 99)
    );
    println!("memory              {memory} KiB, at most {most} KiB (limit {MEMORY_LIMIT} KiB)");
    println!("descriptors         {descriptors} (limit {most_descriptors})");
    cpu <= CPU_LIMIT
        && at(&late, 99) <= LATENESS_LIMIT
        && failed == 0
        && most <= MEMORY_LIMIT
        && descriptors <= most_descriptors
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("this process's usage");
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
}

/// A field of this process's status, in KiB.
fn proc_status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process's status");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|value| value.trim().strip_suffix(" kB"))
        .and_then(|value| value.parse().ok())
        .expect("a size")
}
