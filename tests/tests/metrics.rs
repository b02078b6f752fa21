//! The metrics of a running daemon, scraped by a real Prometheus, against what `anycast status --json` says.
//!
//! Needs root, BIRD, Prometheus (with promtool) and curl. The binary under test is named by `ANYCAST_BIN`,
//! which `cargo xtask test` sets.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anycast_tests::feed::Feed;
use anycast_tests::lab::control::{Control, Events};
use anycast_tests::netns::{Namespace, veth};
use anycast_tests::process::{self, Process};
use anycast_tests::wait;
use anyhow::Context as _;
use nix::sys::signal::Signal;
use serde_json::Value;

const PIN: &str = "/sys/fs/bpf/anycast-metrics";
const SOON: Duration = Duration::from_secs(30);
const METRICS: &str = "127.0.0.1:9184";
const PROMETHEUS: &str = "127.0.0.1:9190";
/// In the site's directory.
const SOCKET: &str = "anycast.sock";
const HEALTH: &str = "healthy";
const PINGS: u64 = 5;
/// How often the service comes up: each time the daemon proves it with one echo request.
const PROOFS: u64 = 2;
const MEMORY: f64 = 40.0 * 1024.0 * 1024.0;

/// There can be one site on a host.
static THE_ONLY_SITE: Mutex<()> = Mutex::new(());

/// A node with its daemon and a Prometheus, and a router with BIRD.
struct Site {
    daemon: Process,
    control: Control,
    events: Events,
    node: Namespace,
    router: Namespace,
    health: PathBuf,
    _bird: Process,
    directory: tempfile::TempDir,
    /// Let go last: the names of namespaces and pins are those of one site.
    _alone: MutexGuard<'static, ()>,
}

impl Site {
    fn start() -> anyhow::Result<Self> {
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
        let bird = start_bird(&router, path)?;

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

    fn curl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.node.command("curl")?;
        command.args(["--silent", "--show-error", "--fail"]);
        command.args(arguments);
        process::output(command)
    }

    fn page(&self) -> anyhow::Result<String> {
        self.curl(&[&format!("http://{METRICS}/metrics")])
    }

    /// Takes the service down and up again, and sends it some pings.
    fn live(&self) -> anyhow::Result<()> {
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

    fn prometheus(&self) -> anyhow::Result<Process> {
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
    fn query(&self, expression: &str) -> anyhow::Result<Vec<(Value, f64)>> {
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

    fn one(&self, expression: &str) -> anyhow::Result<f64> {
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

fn binary() -> PathBuf {
    std::env::var_os("ANYCAST_BIN").map(PathBuf::from).expect(
        "ANYCAST_BIN names no binary to test: run `cargo xtask test`, or \
         `cargo build && ANYCAST_BIN=$PWD/target/debug/anycast cargo test -p anycast-tests --test metrics`",
    )
}

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/alerts.yml")
}

fn start_bird(router: &Namespace, directory: &Path) -> anyhow::Result<Process> {
    let config = directory.join("bird.conf");
    fs::write(
        &config,
        r#"router id 10.0.1.1;
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
"#,
    )?;
    let socket = directory.join("bird.ctl");
    let mut command = router.command("bird")?;
    command.arg("-f").arg("-c").arg(&config);
    command.arg("-s").arg(&socket);
    command.arg("-P").arg(directory.join("bird.pid"));
    let bird = Process::spawn("BIRD", command, &directory.join("bird.log"))?;
    wait::until("BIRD's socket", SOON, || Ok(socket.exists().then_some(())))?;
    Ok(bird)
}

fn configuration(directory: &Path) -> String {
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

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn what_prometheus_scrapes_is_what_status_says() -> anyhow::Result<()> {
    let site = Site::start()?;
    wait::until("the sessions", SOON, || {
        let status = site.control.status()?;
        let peer = &status["peers"][0];
        let up = peer["state"] == "established" && peer["bfd"]["state"] == "up";
        Ok(up.then_some(()))
    })?;
    let mark = site.events.mark();
    site.live()?;
    let down = site
        .events
        .wait(mark, "the course of the failure", SOON, |event| {
            event.kind == "completed" && event.to.as_deref() == Some("down")
        })?;
    assert_eq!(down.service.as_deref(), Some("dns"));

    let before = site.control.status()?;
    let _prometheus = site.prometheus()?;
    wait::until("a scrape", SOON, || {
        Ok(site.one("up{job=\"anycast\"}").ok().filter(|up| *up == 1.0))
    })?;
    let after = site.control.status()?;

    let service = &before["services"][0];
    for state in ["init", "up", "degraded", "draining", "down", "disabled"] {
        let shown = site.one(&format!(
            "anycast_service_state{{service=\"dns\",state=\"{state}\"}}"
        ))?;
        assert_eq!(shown == 1.0, service["state"] == state, "{state}");
    }
    for (expression, want) in [
        ("anycast_service_announced_prefixes", &service["announced"]),
        ("anycast_service_addresses", &service["address_count"]),
        (
            "anycast_generation_decided",
            &before["generation"]["decided"],
        ),
        (
            "anycast_generation_applied",
            &before["generation"]["data_plane"],
        ),
        (
            "anycast_generation_decided",
            &before["generation"]["data_plane"],
        ),
        (
            "anycast_bgp_generation_applied",
            &before["peers"][0]["generation"],
        ),
        (
            "anycast_bgp_peer_established_total",
            &before["peers"][0]["established_count"],
        ),
        (
            "anycast_bfd_session_up_total",
            &before["peers"][0]["bfd"]["times_up"],
        ),
    ] {
        assert_eq!(site.one(expression)?, number(want), "{expression}");
    }
    let routes = before["peers"][0]["routes"].as_array().context("routes")?;
    assert_eq!(
        site.one("anycast_bgp_announced_prefixes{peer=\"router\"}")?,
        routes.len() as f64
    );
    assert_eq!(
        site.one("anycast_check_passing{service=\"dns\",check=\"healthy\"}")?,
        1.0
    );
    assert_eq!(
        site.one("anycast_bgp_peer_state{peer=\"router\",state=\"established\"}")?,
        1.0
    );
    assert_eq!(
        site.one("anycast_bfd_session_state{peer=\"router\",state=\"up\"}")?,
        1.0
    );
    let mode = before["interfaces"][0]["mode"].as_str().context("a mode")?;
    let attached = format!("anycast_interface_mode{{interface=\"eth0\",mode=\"{mode}\"}}");
    assert_eq!(site.one(&attached)?, 1.0);

    assert_eq!(
        service["packets"]["echo"]["packets"],
        PINGS + PROOFS,
        "{}",
        service["packets"]
    );
    packets_agree(&site, &before, &after)?;
    transitions_agree(&site)?;

    let memory = site.one("anycast_process_resident_memory_bytes")?;
    println!(
        "the daemon holds {:.1} MiB, {} descriptors",
        memory / 1024.0 / 1024.0,
        site.one("anycast_process_open_fds")?
    );
    assert!(memory < MEMORY, "the daemon holds {memory} bytes");
    rules_are_evaluated(&site)
}

/// Packets of the service stand still; those of nobody only grow.
fn packets_agree(site: &Site, before: &Value, after: &Value) -> anyhow::Result<()> {
    for unit in ["packets", "bytes"] {
        let metric = if unit == "packets" {
            "anycast_packets_total"
        } else {
            "anycast_packets_bytes_total"
        };
        let mut seen = 0;
        for (labels, value) in site.query(metric)? {
            let reason = labels["reason"].as_str().context("a reason")?;
            // Prometheus drops a label that is empty.
            let bounds = match labels["service"].as_str() {
                Some("dns") => [before, after].map(|status| &status["services"][0]["packets"]),
                None => [before, after].map(|status| &status["packets"]),
                Some(other) => anyhow::bail!("no service is named {other}"),
            };
            let [least, most] = bounds.map(|packets| packets[reason][unit].as_f64().unwrap_or(0.0));
            assert!(
                least <= value && value <= most,
                "{labels}: {least} ≤ {value} ≤ {most}"
            );
            seen += 1;
        }
        let shown = |status: &Value| {
            let of = |packets: &Value| packets.as_object().map_or(0, serde_json::Map::len);
            of(&status["services"][0]["packets"]) + of(&status["packets"])
        };
        assert!(
            shown(before) <= seen && seen <= shown(after),
            "{metric}: {seen}"
        );
    }
    Ok(())
}

/// Counters and histograms against the events.
fn transitions_agree(site: &Site) -> anyhow::Result<()> {
    let events: Vec<Value> = site
        .control
        .run(&["events", "--json"])?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let of = |kind: &str, to: &str| {
        events
            .iter()
            .filter(|event| event["kind"] == kind && event["to"] == to)
            .collect::<Vec<_>>()
    };
    for to in ["up", "down"] {
        let counted = site.one(&format!(
            "anycast_service_transitions_total{{service=\"dns\",to=\"{to}\"}}"
        ))?;
        assert_eq!(counted, of("transition", to).len() as f64, "{to}");
        let completed = of("completed", to);
        let phases = |path: fn(&Value) -> &Value| {
            let steps = completed
                .iter()
                .filter_map(|event| path(&event["phases"]).as_f64());
            steps.fold((0, 0.0), |(count, sum), us| (count + 1, sum + us / 1e6))
        };
        type Step = (&'static str, fn(&Value) -> &Value);
        let steps: [Step; 4] = [
            (
                "anycast_transition_decided_seconds",
                |phases| &phases["decided_us"],
            ),
            ("anycast_transition_data_plane_seconds", |phases| {
                &phases["data_plane"]["us"]
            }),
            ("anycast_transition_routes_seconds", |phases| {
                &phases["peers"]["router"]["us"]
            }),
            (
                "anycast_transition_duration_seconds",
                |phases| &phases["total_us"],
            ),
        ];
        for (metric, path) in steps {
            let (count, sum) = phases(path);
            assert!(count > 0, "{metric} to {to}: {completed:?}");
            let counted = site.one(&format!("sum({metric}_count{{to=\"{to}\"}})"))?;
            assert_eq!(counted, f64::from(count), "{metric} to {to}");
            let summed = site.one(&format!("sum({metric}_sum{{to=\"{to}\"}})"))?;
            assert!(
                (summed - sum).abs() < 1e-9,
                "{metric} to {to}: {summed} and {sum}"
            );
        }
    }
    Ok(())
}

/// Every rule of the documentation is one that Prometheus can evaluate on these metrics.
fn rules_are_evaluated(site: &Site) -> anyhow::Result<()> {
    wait::until("every rule is evaluated", SOON, || {
        let answer = site.curl(&[&format!("http://{PROMETHEUS}/api/v1/rules")])?;
        let answer: Value = serde_json::from_str(&answer)?;
        let rules = answer["data"]["groups"][0]["rules"]
            .as_array()
            .context("rules")?;
        assert!(rules.len() >= 5, "{rules:?}");
        if let Some(bad) = rules.iter().find(|rule| rule["health"] == "err") {
            anyhow::bail!("{bad}");
        }
        Ok(rules
            .iter()
            .all(|rule| rule["health"] == "ok")
            .then_some(()))
    })?;
    let firing = site.query("ALERTS{alertstate=\"firing\"}")?;
    assert!(firing.is_empty(), "a healthy node fires {firing:?}");
    Ok(())
}

#[test]
fn promtool_finds_nothing_wrong_with_the_page_and_the_rules() -> anyhow::Result<()> {
    process::run("promtool", &["check", "rules", &rules().to_string_lossy()])?;
    let site = Site::start()?;
    site.live()?;
    let page = site.page()?;
    let mut promtool = process::command("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    promtool
        .stdin
        .take()
        .context("its input")?
        .write_all(page.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
    Ok(())
}

#[test]
fn an_address_that_is_taken_is_said_at_the_start() -> anyhow::Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let listen = taken.local_addr()?.to_string();
    let config = path.join("anycast.toml");
    fs::write(&config, configuration(path).replace(METRICS, &listen))?;
    let output = std::process::Command::new(binary())
        .arg("run")
        .arg("-c")
        .arg(&config)
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("metrics.listen") && said.contains(&listen) && said.contains("in use"),
        "{said}"
    );
    Ok(())
}
