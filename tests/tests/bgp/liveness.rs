//! A node that is gone without a word is out of its peer's table by the word of BFD (50 ms × 3), long before the Hold
//! Time is over.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anycast_tests::peers::{
    Bird, Frr, Options, Router, RoutingDaemon, in_namespace, run, wait_until,
};
use anycast_userspace::bfd::{self, Manager};
use anycast_userspace::config::bfd::Bfd;
use anycast_userspace::rib::Attributes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::node::{LIMIT, Node, routes, runtime};

const PREFIXES: [&str; 2] = ["192.168.250.1/32", "fd00:250::1/128"];
/// Set in the process that is to be killed.
const CHILD: &str = "ANYCAST_TEST_BGP_NODE";

/// The node as a process of its own; it dies with the thread that started it.
struct NodeProcess(Child);

impl NodeProcess {
    fn start() -> Self {
        let program = std::env::current_exe().unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(["--exact", "liveness::the_node_runs_until_it_is_killed"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .spawn()
            .expect("setpriv can be started");
        Self(child)
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process that [`NodeProcess`] starts; without it, there is no node to run.
#[test]
fn the_node_runs_until_it_is_killed() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    runtime().block_on(async {
        let mut node = Node::start(&[(1, "")]);
        let (manager, _events) = Manager::spawn().unwrap();
        let peer = bfd::Peer {
            name: "peer1".to_owned(),
            address: "10.0.1.2".parse().unwrap(),
            source: Some("10.0.1.1".parse().unwrap()),
            interface: Some("node1".to_owned()),
            vrf: None,
            settings: Bfd::default(),
            key: None,
        };
        manager.add(peer).await.unwrap();
        node.publish(routes(&PREFIXES, Attributes::default()));
        std::future::pending::<()>().await;
    });
}

/// A daemon that watches the node by BFD, and how to ask it quickly.
trait Watcher: RoutingDaemon {
    fn start_watching(router: &Router) -> Self;

    /// BFD is up at the pace that was agreed on, and what it reports is heeded.
    fn is_watching(&self) -> bool;

    fn has_a_route(&self) -> bool;
}

impl Watcher for Bird {
    fn start_watching(router: &Router) -> Self {
        let bfd = "protocol bfd { interface \"router1\" {\n\
                   min rx interval 50 ms; min tx interval 50 ms; multiplier 3; }; }\n";
        let session = Bird::session(1, 64512, "bfd on;");
        Bird::start_with(router, &(session + bfd)).unwrap()
    }

    fn is_watching(&self) -> bool {
        let sessions = self.birdc("show bfd sessions").unwrap_or_default();
        sessions.contains("Up") && sessions.contains("0.050")
    }

    fn has_a_route(&self) -> bool {
        let routes = self.birdc("show route").unwrap();
        PREFIXES.iter().any(|prefix| routes.contains(prefix))
    }
}

impl Watcher for Frr {
    fn start_watching(router: &Router) -> Self {
        let bfd = " neighbor {} bfd\n neighbor {} bfd profile fast\n";
        let frr = Frr::start_with(router, &Options::default(), bfd).unwrap();
        let profile = ["bfd", "profile fast", "detect-multiplier 3"];
        let pace = ["receive-interval 50", "transmit-interval 50"];
        frr.configure(&[&profile[..], &pace].concat()).unwrap();
        frr
    }

    /// From 10.3 on, FRR ignores a BFD Down that comes in the second in which the BGP session came up: it compares
    /// whole seconds of its clock. So it must have counted one of the session.
    fn is_watching(&self) -> bool {
        let ask = |daemon: &str, command: &str| {
            let text = self.ask(daemon, command).unwrap_or_default();
            serde_json::from_str::<Value>(&text).unwrap_or_default()
        };
        let session = &ask("bfdd", "show bfd peers json")[0];
        let neighbor = &ask("bgpd", "show bgp neighbors 10.0.1.1 json")["10.0.1.1"];
        session["status"] == "up"
            && session["transmit-interval"] == 50
            && neighbor["bgpTimerUpMsec"]
                .as_u64()
                .is_some_and(|up| up >= 1000)
    }

    fn has_a_route(&self) -> bool {
        ["ipv4", "ipv6"]
            .iter()
            .zip(PREFIXES)
            .any(|(family, prefix)| {
                let command = format!("show bgp {family} unicast {prefix} json");
                self.ask("bgpd", &command).unwrap().contains(prefix)
            })
    }
}

fn leaves_the_table<D: Watcher + 'static>() {
    in_namespace(|| {
        let router = Router::new(1).unwrap();
        let daemon = D::start_watching(&router);
        let start = || {
            let node = NodeProcess::start();
            let ready = || {
                let all = daemon.table().ok()?;
                let learnt = PREFIXES.iter().all(|prefix| all.contains_key(*prefix));
                (learnt && daemon.is_watching()).then_some(())
            };
            wait_until("routes and BFD", LIMIT, ready)
                .unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
            node
        };
        // The Hold Time is three times as long as this waits: nothing but BFD takes the routes out before.
        let gone = |how: &str, since: Instant| {
            wait_until("an empty table", LIMIT, || {
                (!daemon.has_a_route()).then_some(())
            })
            .unwrap_or_else(|error| panic!("{how}: {error}\n{}", daemon.log()));
            println!("{how}: out of the table after {:?}", since.elapsed());
        };

        // The process hangs: its kernel goes on to acknowledge what TCP brings.
        let node = start();
        let since = Instant::now();
        node.signal(Signal::SIGSTOP);
        gone("hung", since);
        drop(node);

        // The machine loses its power: nothing leaves it any more, not even the end of the connection.
        let node = start();
        let to_nowhere = |command: &[&str]| {
            for address in ["10.0.1.2", "fd00:1::2"] {
                let arguments = [
                    &["neighbor", command[0], address, "dev", "node1"],
                    &command[1..],
                ];
                run("ip", &arguments.concat()).unwrap();
            }
        };
        let since = Instant::now();
        to_nowhere(&["replace", "lladdr", "02:00:00:00:00:99", "nud", "permanent"]);
        node.signal(Signal::SIGKILL);
        gone("without power", since);
        to_nowhere(&["delete"]);
    });
}

#[test]
fn a_node_that_is_gone_is_out_of_bird_s_table_long_before_the_hold_time() {
    leaves_the_table::<Bird>();
}

#[test]
fn a_node_that_is_gone_is_out_of_frr_s_table_long_before_the_hold_time() {
    leaves_the_table::<Frr>();
}
