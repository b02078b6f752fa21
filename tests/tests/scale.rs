//! Ten thousand Service Addresses in one service: how fast they are announced, what a flip costs, and what
//! the daemon then holds.
//!
//! Once put on `lo` as routes, as one would have it with so many, and once as addresses, which takes the kernel
//! longer than all the rest. No two of them are neighbours, so that each is a route of its own.
//!
//! Needs root, BIRD and ip(8). The binary under test is named by `ANYCAST_BIN`, which `cargo xtask test` sets.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anycast_tests::clock::Monotonic;
use anycast_tests::feed::Feed;
use anycast_tests::lab::control::{Control, Events};
use anycast_tests::netns::{Namespace, veth};
use anycast_tests::process::{self, Process};
use anycast_tests::site::{binary, start_bird};
use anycast_tests::wait;
use nix::sys::signal::Signal;

const ADDRESSES: usize = 10_000;
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);
const PIN: &str = "/sys/fs/bpf/anycast-scale";
const SOON: Duration = Duration::from_secs(30);
/// It takes less than a second where nothing else is done; what is measured is told.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(10);
const MEMORY_KIB: u64 = 40 * 1024;

/// How the addresses come onto the node.
#[derive(Clone, Copy, Debug)]
enum Addresses {
    OneByOne,
    Routes,
}

/// A node with its daemon, and a router with BIRD.
struct Bench {
    daemon: Process,
    _bird: Process,
    _node: Namespace,
    _router: Namespace,
    events: Events,
    started: Monotonic,
    health: PathBuf,
    bird_socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn start(addresses: Addresses) -> anyhow::Result<Self> {
        Namespace::remove_leftovers("anycast-scale-")?;
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        let node = Namespace::create("anycast-scale-node")?;
        let router = Namespace::create("anycast-scale-router")?;
        veth((&node, "eth0"), (&router, "eth0"))?;
        node.ip(&["addr add 10.0.1.2/24 dev eth0"])?;
        router.ip(&["addr add 10.0.1.1/24 dev eth0"])?;
        let bird = start_bird(&router, path, BIRD)?;

        let health = path.join("healthy");
        fs::write(&health, "")?;
        let socket = path.join("anycast.sock");
        let config = path.join("anycast.toml");
        fs::write(&config, configuration(&socket, &health, addresses))?;
        let binary = binary();
        let mut command = node.command(&binary.to_string_lossy())?;
        command.arg("run").arg("-c").arg(&config);
        let started = Monotonic::now();
        let daemon = Process::spawn("anycast", command, &path.join("anycast.log"))?;
        let control = Control::new(&binary, &socket);
        wait::until("the control socket", SOON, || {
            Ok(socket.exists().then_some(()))
        })?;
        let events = Events::follow("the node", &node, &control, Feed::default())?;
        Ok(Self {
            daemon,
            _bird: bird,
            _node: node,
            _router: router,
            events,
            started,
            health,
            bird_socket: path.join("bird.ctl"),
            _directory: directory,
        })
    }

    /// Waits until BIRD holds `count` routes, and says when.
    fn bird_holds(&self, count: usize) -> anyhow::Result<Monotonic> {
        let wanted = format!("{count} of {count} routes");
        wait::until(&format!("BIRD to hold {count} routes"), SOON, || {
            let mut birdc = process::command("birdc");
            birdc
                .arg("-s")
                .arg(&self.bird_socket)
                .args(["show", "route", "count", "protocol", "node"]);
            let text = process::output(birdc)?;
            Ok(text.contains(&wanted).then(Monotonic::now))
        })
    }

    fn memory_kib(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib
            .ok_or_else(|| anyhow::anyhow!("no VmRSS in {status}"))?
            .parse()?)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What cannot be stopped is killed after this, with its namespace.
        let _ = self.daemon.signal_leader(Signal::SIGTERM);
        let _ = self.daemon.wait(SOON);
        // Gone already, if the daemon has ended well.
        let _ = fs::remove_dir_all(PIN);
    }
}

const BIRD: &str = "router id 10.0.1.1;
protocol device { }
protocol bgp node {
  local 10.0.1.1 as 65001;
  neighbor 10.0.1.2 as 64512;
  passive;
  ipv4 { import all; export none; };
}
";

fn configuration(socket: &Path, health: &Path, managed: Addresses) -> String {
    let manage = match managed {
        Addresses::OneByOne => "true",
        Addresses::Routes => "\"routes\"",
    };
    let mut addresses = String::new();
    for offset in 0..u32::try_from(ADDRESSES).expect("a small number") {
        let _ = write!(
            addresses,
            "\"{}\", ",
            Ipv4Addr::from_bits(FIRST.to_bits() + 2 * offset)
        );
    }
    format!(
        r#"[node]
name = "scale"
state_directory = "{}"

[dataplane]
interfaces = ["eth0"]
pin = "{PIN}"

[control]
socket = "{}"

[bgp]
local_as = 64512
router_id = "10.0.1.2"

[[bgp.peers]]
name = "router"
address = "10.0.1.1"
remote_as = 65001

[[services]]
name = "many"
addresses = [{addresses}]
ports = ["udp/53"]
hold_down = "0s"
manage_addresses = {manage}

[[services.checks]]
name = "healthy"
type = "file"
path = "{}"
expect = "present"
interval = "50ms"
splay = "0s"
rise = 1
fall = 1
"#,
        health.with_file_name("state").display(),
        socket.display(),
        health.display(),
    )
}

/// Starts, flips, prints and checks what must hold in any case. Returns the time from start to announced.
fn measure(addresses: Addresses) -> anyhow::Result<Duration> {
    let bench = Bench::start(addresses)?;
    let announced = bench.bird_holds(ADDRESSES)?.since(bench.started);

    let mark = bench.events.mark();
    let removed = Monotonic::now();
    fs::remove_file(&bench.health)?;
    let down = bench
        .events
        .wait(mark, "the transition", SOON, |event| event.enters("down"))?;
    let applied = bench.events.wait(mark, "the map write", SOON, |event| {
        event.kind == "data_plane_applied" && event.monotonic_ns >= down.monotonic_ns
    })?;
    let gone = bench.bird_holds(0)?;
    let memory = bench.memory_kib()?;

    // Not captured: this is where the figures are printed.
    let mut out = std::io::stdout();
    writeln!(out, "{ADDRESSES} addresses in one service, {addresses:?}:")?;
    for event in bench.events.last(20) {
        let at = event.at().since(bench.started);
        writeln!(out, "  {at:9.1?} after the start: {event}")?;
    }
    let (decided, withdrawn) = (down.at().since(removed), gone.since(removed));
    writeln!(
        out,
        "  from start to all routes in the peer: {announced:.1?}"
    )?;
    writeln!(out, "  from the failure to the decision: {decided:.1?}")?;
    writeln!(
        out,
        "  from the failure to no route in the peer: {withdrawn:.1?}"
    )?;
    writeln!(out, "  the daemon holds {memory} KiB")?;
    assert_eq!(applied.writes, Some(1), "the flip is one map write");
    assert!(memory < MEMORY_KIB, "the daemon holds {memory} KiB");
    Ok(announced)
}

#[test]
fn ten_thousand_addresses_load_announce_and_flip_as_one_service() -> anyhow::Result<()> {
    measure(Addresses::OneByOne)?;
    let announced = measure(Addresses::Routes)?;
    assert!(
        announced < ANNOUNCED_WITHIN,
        "announced after {announced:?}"
    );
    Ok(())
}
