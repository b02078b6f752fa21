//! A node with its daemon, a router and a Prometheus.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anycast_tests::feed::Feed;
use anycast_tests::lab::control::{Control, Events};
use anycast_tests::netns::{Namespace, veth};
use anycast_tests::process::{self, Process};
use anycast_tests::site::{binary, start_bird};
use anycast_tests::wait;
use anyhow::Context as _;
use nix::sys::signal::Signal;
use serde_json::Value;

const PIN: &str = "/sys/fs/bpf/anycast-metrics";
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const METRICS: &str = "127.0.0.1:9184";
pub(crate) const PROMETHEUS: &str = "127.0.0.1:9190";
/// In the site's directory.
const SOCKET: &str = "anycast.sock";
const HEALTH: &str = "healthy";
pub(crate) const PINGS: u64 = 5;
/// How often the service comes up: each time the daemon proves it with one echo request.
pub(crate) const PROOFS: u64 = 2;

/// There can be one site on a host.
static THE_ONLY_SITE: Mutex<()> = Mutex::new(());

/// A node with its daemon and a Prometheus, and a router with BIRD.
pub(crate) struct Site {
    daemon: Process,
    pub(crate) control: Control,
    pub(crate) events: Events,
    node: Namespace,
    router: Namespace,
    health: PathBuf,
    _bird: Process,
    directory: tempfile::TempDir,
    /// Let go last: the names of namespaces and pins are those of one site.
    _alone: MutexGuard<'static, ()>,
}

impl Site {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let alone = THE_ONLY_SITE.lock().unwrap_or_else(PoisonError::into_inner);
        Namespace::remove_leftovers("anycast-metrics-")?;
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        let node = Namespace::create("anycast-metrics-node")?;
        let router = Namespace::create("anycast-metrics-router")?;
        veth((&node, "eth0"), (&router, "eth0"))?;
        node.ip(&["addr add 10.0.1.2/24 dev eth0"])?;
        router.ip(&[
            "addr add 10.0.1.1/24 dev eth0",
            "route add 192.168.250.1 via 10.0.1.2",
        ])?;
        let bird = start_bird(&router, path, BIRD)?;

        let health = path.join(HEALTH);
        fs::write(&health, "")?;
        let socket = path.join(SOCKET);
        let config = path.join("anycast.toml");
        fs::write(&config, configuration(path))?;
        let binary = binary();
        let mut command = node.command(&binary.to_string_lossy())?;
        command.arg("run").arg("-c").arg(&config);
        let daemon = Process::spawn("anycast", command, &path.join("anycast.log"))?;
        let control = Control::new(&binary, &socket);
        wait::until("the control socket", SOON, || {
            Ok(socket.exists().then_some(()))
        })?;
        let events = Events::follow("the node", &node, &control, Feed::default())?;
        Ok(Self {
            daemon,
            control,
            events,
            node,
            router,
            health,
            _bird: bird,
            directory,
            _alone: alone,
        })
    }

    pub(crate) fn curl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.node.command("curl")?;
        command.args(["--silent", "--show-error", "--fail"]);
        command.args(arguments);
        process::output(command)
    }

    pub(crate) fn page(&self) -> anyhow::Result<String> {
        self.curl(&[&format!("http://{METRICS}/metrics")])
    }

    /// Takes the service down and up again, and sends it some pings.
    pub(crate) fn live(&self) -> anyhow::Result<()> {
        self.flip("up", || Ok(()))?;
        self.flip("down", || Ok(fs::remove_file(&self.health)?))?;
        self.flip("up", || Ok(fs::write(&self.health, "")?))?;
        // Answers out of a veth are delivered only to a peer with a program of its own.
        let _pass = self.router.attach_xdp_pass("eth0")?;
        let mut ping = self.router.command("ping")?;
        ping.args(["-c", &PINGS.to_string(), "-i", "0.05", "-W", "5"]);
        ping.arg("192.168.250.1");
        process::output(ping).map(drop)
    }

    fn flip(&self, state: &str, act: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
        act()?;
        wait::until(&format!("the service is {state}"), SOON, || {
            let status = self.control.status()?;
            let service = &status["services"][0];
            let settled =
                service["state"] == state && service["announced"] == u64::from(state == "up");
            Ok(settled.then_some(()))
        })
    }

    pub(crate) fn prometheus(&self) -> anyhow::Result<Process> {
        let directory = self.directory.path();
        let config = directory.join("prometheus.yml");
        let rules = rules();
        fs::write(
            &config,
            format!(
                "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: ['{}']\n\
                 scrape_configs:\n  - job_name: anycast\n    static_configs:\n      - targets: ['{METRICS}']\n",
                rules.display()
            ),
        )?;
        let mut command = self.node.command("prometheus")?;
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("tsdb").display()
            ))
            .arg(format!("--web.listen-address={PROMETHEUS}"));
        Process::spawn("Prometheus", command, &directory.join("prometheus.log"))
    }

    /// What Prometheus answers to an expression: samples with their labels.
    pub(crate) fn query(&self, expression: &str) -> anyhow::Result<Vec<(Value, f64)>> {
        let answer = self.curl(&[
            "--get",
            "--data-urlencode",
            &format!("query={expression}"),
            &format!("http://{PROMETHEUS}/api/v1/query"),
        ])?;
        let answer: Value = serde_json::from_str(&answer)?;
        answer["data"]["result"]
            .as_array()
            .with_context(|| format!("no result: {answer}"))?
            .iter()
            .map(|sample| {
                let value = sample["value"][1].as_str().context("a value")?;
                Ok((sample["metric"].clone(), value.parse()?))
            })
            .collect()
    }

    pub(crate) fn one(&self, expression: &str) -> anyhow::Result<f64> {
        match self.query(expression)?.as_slice() {
            [(_, value)] => Ok(*value),
            other => anyhow::bail!("{expression} is not one sample: {other:?}"),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What cannot be stopped is killed after this, with its namespace.
        let _ = self.daemon.signal_leader(Signal::SIGTERM);
        let _ = self.daemon.wait(SOON);
        // Gone already, if the daemon has ended well.
        let _ = fs::remove_dir_all(PIN);
    }
}

pub(crate) fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/alerts.yml")
}

const BIRD: &str = r#"router id 10.0.1.1;
protocol device { }
protocol bfd {
  interface "eth0" { min rx interval 300 ms; min tx interval 300 ms; multiplier 3; };
}
protocol bgp node {
  local 10.0.1.1 as 65001;
  neighbor 10.0.1.2 as 64512;
  passive;
  bfd on;
  ipv4 { import all; export none; };
}
"#;

pub(crate) fn configuration(directory: &Path) -> String {
    format!(
        r#"[node]
name = "city-a"
state_directory = "{}"

[dataplane]
interfaces = ["eth0"]
pin = "{PIN}"

[control]
socket = "{}"

[metrics]
listen = "{METRICS}"

[bgp]
local_as = 64512
router_id = "10.0.1.2"

[[bgp.peers]]
name = "router"
address = "10.0.1.1"
remote_as = 65001
bfd = {{ interval = "300ms" }}

[[services]]
name = "dns"
addresses = ["192.168.250.1"]
ports = ["udp/53"]
hold_down = "0s"

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
        directory.join("state").display(),
        directory.join(SOCKET).display(),
        directory.join(HEALTH).display(),
    )
}
