//! 1,000 services with three checks each at one second: what they cost and how late they run.
//!
//! `cargo bench -p anycast-userspace --bench check_scale [-- SERVICES [SECONDS [THREADS]]]`. The servers run in
//! a process of their own, so that the figures are those of the checks alone. Prints the share of one
//! core, the lateness of the runs, memory and descriptors; ends with 1 when a limit is passed.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anycast_userspace::checks::{REPORT_DEPTH, Report, Subject, spawn};
use anycast_userspace::config::Check;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
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
const SERVER: &str = "--serve";

fn main() -> ExitCode {
    // cargo bench passes `--bench`.
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if arguments.first().is_some_and(|argument| argument == SERVER) {
        runtime(1).block_on(serve());
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

/// A TCP server that answers HTTP and a DNS server; prints their ports, and serves until it is killed.
async fn serve() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a listener");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a socket");
    let port =
        |address: std::io::Result<std::net::SocketAddr>| address.expect("its address").port();
    println!(
        "{} {}",
        port(listener.local_addr()),
        port(socket.local_addr())
    );
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            // The query with the answer bit set is an answer without records.
            buffer[2] |= 0x80;
            let _ = socket.send_to(&buffer[..length], client).await;
        }
    });
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(async move {
            let mut request = [0; 1024];
            if matches!(stream.read(&mut request).await, Ok(length) if length > 0) {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        });
    }
}

struct Servers {
    child: Child,
    tcp: u16,
    udp: u16,
}

impl Servers {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg(SERVER)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the servers start");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the ports");
        let mut ports = line
            .split_whitespace()
            .map(|port| port.parse().expect("a port"));
        let (tcp, udp) = (ports.next().expect("a port"), ports.next().expect("a port"));
        Self { child, tcp, udp }
    }

    fn checks(&self) -> Vec<Check> {
        let common = "interval = \"1s\"\ntimeout = \"1s\"";
        [
            format!(
                "name = \"tcp\"\ntype = \"tcp\"\nport = {}\n{common}",
                self.tcp
            ),
            format!(
                "name = \"http\"\ntype = \"http\"\nport = {}\nbody_contains = \"ok\"\n{common}",
                self.tcp
            ),
            format!(
                "name = \"dns\"\ntype = \"dns\"\nport = {}\nquery = \"city.example.\"\n{common}",
                self.udp
            ),
        ]
        .iter()
        .map(|check| toml::from_str(check).expect("the check parses"))
        .collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn measure(services: usize, duration: Duration) -> ExitCode {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of descriptors");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a higher limit of descriptors");
    let servers = Servers::start();
    let checks = servers.checks();
    let (sender, mut reports) = mpsc::channel(REPORT_DEPTH);
    let address = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let names: Vec<_> = (0..services)
        .map(|index| format!("service-{index}"))
        .collect();
    let _running: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(service, name)| {
            let subject = Subject {
                node: "bench",
                service,
                name,
                addresses: &address,
            };
            spawn(&subject, &checks, &sender)
        })
        .collect();
    collect(&mut reports, WARM_UP).await;

    let cpu_before = cpu_time();
    let begun = Instant::now();
    let seen = collect(&mut reports, duration).await;
    let wall = begun.elapsed();
    let cpu = 100.0 * (cpu_time() - cpu_before).as_secs_f64() / wall.as_secs_f64();
    print(&seen, services * checks.len(), cpu, wall)
}

async fn collect(reports: &mut mpsc::Receiver<Report>, duration: Duration) -> Vec<Report> {
    let mut seen = Vec::new();
    let end = tokio::time::Instant::now() + duration;
    while let Ok(Some(report)) = tokio::time::timeout_at(end, reports.recv()).await {
        seen.push(report);
    }
    seen
}

fn print(seen: &[Report], checks: usize, cpu: f64, wall: Duration) -> ExitCode {
    let failed = seen
        .iter()
        .filter(|report| !report.outcome.passed())
        .count();
    let mut late: Vec<_> = seen.iter().map(|report| report.late).collect();
    let mut took: Vec<_> = seen.iter().map(|report| report.took).collect();
    late.sort_unstable();
    took.sort_unstable();
    let at = |sorted: &[Duration], percent: usize| sorted[(sorted.len() - 1) * percent / 100];
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
    println!("memory              {}", proc_status("VmRSS:"));
    println!("most memory         {}", proc_status("VmHWM:"));
    println!(
        "descriptors         {}",
        std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
    );
    if cpu > CPU_LIMIT || at(&late, 99) > LATENESS_LIMIT || failed > 0 {
        println!("over a limit");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("this process's usage");
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
}

fn proc_status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.map_or_else(|| "unknown".to_owned(), |value| value.trim().to_owned())
}
