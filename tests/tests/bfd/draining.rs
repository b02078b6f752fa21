//! The whole daemon, while its router's operator takes BFD down on purpose. The binary under test is named
//! by `ANYCAST_BIN`, which `cargo xtask test` sets.

use std::fs;
use std::time::Duration;

use anycast_tests::lab::control::Control;
use anycast_tests::peers::{Frr, Options, Router, RoutingDaemon as _, in_namespace};
use anycast_tests::process::{self, Process};
use anycast_tests::site::binary;
use anycast_tests::wait;
use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::daemon::LINK;

const PIN: &str = "/sys/fs/bpf/anycast-bfd-draining";
const ROUTE: &str = "192.168.250.1/32";
const SOON: Duration = Duration::from_secs(30);
/// Many times the Detection Time of 150 ms.
const LONG: Duration = Duration::from_secs(2);

/// A running daemon with one service, in the namespace of the calling thread.
struct Agent {
    daemon: Process,
    control: Control,
    directory: tempfile::TempDir,
}

impl Agent {
    fn start() -> Result<Self> {
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
bfd = {{}}
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

    fn peer(&self) -> Result<Value> {
        Ok(self.control.status()?["peers"][0].clone())
    }

    /// Waits until the peer is as wanted.
    fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        let mut last = Value::Null;
        let found = wait::until(what, SOON, || {
            self.daemon.still_runs()?;
            // Not yet, while it starts.
            last = self.peer().unwrap_or_default();
            Ok(wanted(&last).then_some(()))
        });
        let log = fs::read_to_string(self.directory.path().join("anycast.log"));
        found.with_context(|| format!("{last:#}\n{}", log.unwrap_or_default()))
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

fn established_once(peer: &Value) -> bool {
    peer["state"] == "established" && peer["established_count"] == 1
}

#[test]
fn a_router_that_takes_bfd_down_while_a_service_drains_keeps_session_and_route() {
    in_namespace(|| {
        let router = Router::new(LINK).expect("a router");
        let bfd = " neighbor {} bfd\n neighbor {} bfd profile fast\n";
        let frr = Frr::start_with(&router, &Options::default(), bfd).expect("FRR starts");
        let profile = |command: &str| {
            frr.configure(&["bfd", "profile fast", command])
                .expect("FRR is configured");
        };
        profile("receive-interval 50");
        profile("transmit-interval 50");
        let mut agent = Agent::start().expect("the daemon starts");
        let holds_the_route = || {
            let command = format!("show bgp ipv4 unicast {ROUTE} json");
            let answer = frr.ask("bgpd", &command).expect("FRR answers");
            answer.contains(ROUTE)
        };

        agent
            .until("BGP and BFD", |peer| {
                established_once(peer) && peer["bfd"]["state"] == "up"
            })
            .unwrap_or_else(|error| panic!("{error:?}\n{}", frr.log()));
        wait::until("the route", SOON, || Ok(holds_the_route().then_some(())))
            .expect("it is announced");
        agent
            .control
            .run(&["drain", "dns"])
            .expect("the service drains");

        profile("shutdown");
        agent
            .until("the router's word", |peer| {
                peer["bfd"]["remote_state"] == "admin_down"
            })
            .expect("it says AdminDown");
        let lost = wait::until("a lost session", LONG, || {
            let kept = agent.peer().is_ok_and(|peer| established_once(&peer));
            Ok((!kept).then_some(()))
        });
        assert!(lost.is_err(), "the session was lost");
        assert!(holds_the_route(), "the route was lost");

        profile("no shutdown");
        agent
            .until("BFD again", |peer| peer["bfd"]["state"] == "up")
            .expect("BFD comes back");
        assert!(established_once(&agent.peer().expect("status")));
    });
}
