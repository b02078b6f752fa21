//! The whole daemon at the other end of the router's link. The binary under test is named by `ANYCAST_BIN`,
//! which `cargo xtask test` sets.

use std::fs;
use std::time::Duration;

use anycast_tests::lab::control::Control;
use anycast_tests::peers::{Frr, Options, Router};
use anycast_tests::process::{self, Process};
use anycast_tests::site::binary;
use anycast_tests::wait;
use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::daemon::PATIENT;

const PIN: &str = "/sys/fs/bpf/anycast-bfd";
pub(crate) const ROUTE: &str = "192.168.250.1/32";
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A running daemon with one service, a router that BFD watches, and a prefix of others, in the namespace of the calling thread.
pub(crate) struct Agent {
    daemon: Process,
    pub(crate) control: Control,
    directory: tempfile::TempDir,
}

impl Agent {
    pub(crate) fn start() -> Result<Self> {
        let binary = binary();
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        let (config, socket) = (path("anycast.toml"), path("anycast.sock"));
        let text = format!(
            r#"
[node]
name = "city-a"
state_directory = "{}"
[dataplane]
interfaces = ["node1"]
pin = "{PIN}"
[control]
socket = "{}"
[bgp]
local_as = 64512
router_id = "10.0.1.1"
[[bgp.peers]]
name = "router"
address = "10.0.1.2"
remote_as = 65001
retry = "200ms"
bfd = {{ multiplier = {PATIENT} }}
[[bgp.peers]]
name = "rack"
prefix = "10.0.9.0/24"
remote_as = ["65001-65010"]
limit = 8
[[services]]
name = "dns"
addresses = ["192.168.250.1"]
ports = ["udp/53"]
drain_delay = "1m"
[[services.checks]]
name = "ready"
type = "file"
path = "{}"
expect = "present"
interval = "50ms"
splay = "0s"
"#,
            path("state").display(),
            socket.display(),
            config.display(),
        );
        fs::write(&config, text)?;
        let mut command = process::command(&binary.to_string_lossy());
        command.arg("run").arg("-c").arg(&config);
        let daemon = Process::spawn("anycast", command, &path("anycast.log"))?;
        Ok(Self {
            daemon,
            control: Control::new(&binary, &socket),
            directory,
        })
    }

    pub(crate) fn peer(&self) -> Result<Value> {
        Ok(self.control.status()?["peers"][0].clone())
    }

    /// Waits until the peer is as wanted.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        let mut last = Value::Null;
        let found = wait::until(what, SOON, || {
            self.daemon.still_runs()?;
            // Not yet, while it starts.
            last = self.peer().unwrap_or_default();
            Ok(wanted(&last).then_some(()))
        });
        found.with_context(|| format!("{last:#}\n{}", self.log()))
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("anycast.log")).unwrap_or_default()
    }

    /// Stops it as an operator does who does not wait for its services to drain: with two signals.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.daemon.signal_leader(Signal::SIGTERM)?;
        wait::until("the services to drain", SOON, || {
            let service = self.control.status()?["services"][0].clone();
            Ok((service["state"] == "draining").then_some(()))
        })?;
        self.daemon.signal_leader(Signal::SIGTERM)?;
        self.daemon.wait(SOON).map(|_| ())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // What cannot be stopped is killed after this.
        let _ = self.daemon.signal_leader(Signal::SIGTERM);
        let _ = self.daemon.wait(SOON);
        // Gone already, if the daemon has ended well.
        let _ = fs::remove_dir_all(PIN);
    }
}

/// BFD is up at the pace that was agreed on: before that, it goes by the second.
pub(crate) fn watched(peer: &Value) -> bool {
    peer["bfd"]["state"] == "up" && peer["bfd"]["detection_time"] == "3s"
}

pub(crate) fn established_once(peer: &Value) -> bool {
    peer["state"] == "established" && peer["established_count"] == 1
}

/// FRR that watches the daemon at 50 ms × [`PATIENT`].
pub(crate) fn watching_frr(router: &Router) -> Frr {
    let bfd = " neighbor {} bfd\n neighbor {} bfd profile fast\n";
    let frr = Frr::start_with(router, &Options::default(), bfd).expect("FRR starts");
    let multiplier = format!("detect-multiplier {PATIENT}");
    let pace = ["receive-interval 50", "transmit-interval 50", &multiplier];
    frr.configure(&[&["bfd", "profile fast"], &pace[..]].concat())
        .expect("FRR is configured");
    frr
}
