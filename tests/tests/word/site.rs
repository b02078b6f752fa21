//! A node with its daemon and two services, and a router with BIRD.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anycast_tests::feed::{Feed, Mark};
use anycast_tests::lab::control::{Control, Event, Events};
use anycast_tests::netns::{Namespace, veth};
use anycast_tests::process::{self, Process};
use anycast_tests::site::{binary, start_bird};
use anycast_tests::wait;
use anyhow::Context as _;
use nix::sys::signal::Signal;
use serde_json::Value;

/// Longer than anything here takes that has no time of its own.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// After a failure.
pub(crate) const HOLD_DOWN: Duration = Duration::from_secs(2);

/// The services, and their routes as BIRD writes them.
pub(crate) const SERVICES: [(&str, &str); 2] = [("dns", "10.200.0.1/32"), ("web", "10.200.0.2/32")];

/// Removed in order: processes before their namespaces.
pub(crate) struct Site {
    daemon: Option<Process>,
    events: Option<Events>,
    _bird: Process,
    node: Namespace,
    _router: Namespace,
    pub(crate) control: Control,
    pin: PathBuf,
    environment: Vec<(String, String)>,
    directory: tempfile::TempDir,
}

impl Site {
    /// A site whose daemon does not run yet; `name` tells the sites of tests apart that run side by side.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let prefix = format!("anycast-{name}-");
        Namespace::remove_leftovers(&prefix)?;
        let directory = tempfile::tempdir()?;
        let node = Namespace::create(&format!("{prefix}node"))?;
        let router = Namespace::create(&format!("{prefix}router"))?;
        veth((&node, "eth0"), (&router, "eth0"))?;
        node.ip(&["addr add 10.0.1.2/24 dev eth0"])?;
        router.ip(&["addr add 10.0.1.1/24 dev eth0"])?;
        let bird = start_bird(&router, directory.path(), BIRD)?;
        let socket = directory.path().join("anycast.sock");
        let site = Self {
            daemon: None,
            events: None,
            _bird: bird,
            node,
            _router: router,
            control: Control::new(&binary(), &socket),
            pin: PathBuf::from(format!("/sys/fs/bpf/anycast-{name}")),
            environment: Vec::new(),
            directory,
        };
        for (service, _) in SERVICES {
            fs::write(site.health(service), "")?;
        }
        site.configure(&SERVICES.map(|(service, _)| (service, String::new())))?;
        Ok(site)
    }

    /// Sets a variable for the daemon.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Writes a configuration of these services, each with further lines.
    pub(crate) fn configure(&self, services: &[(&str, String)]) -> anyhow::Result<()> {
        let mut text = format!(
            "[node]\nname = \"site\"\nstate_directory = \"{}\"\n\n\
             [dataplane]\ninterfaces = [\"eth0\"]\npin = \"{}\"\n\n\
             [control]\nsocket = \"{}\"\n\n\
             [bgp]\nlocal_as = 64512\nrouter_id = \"10.0.1.2\"\n\n\
             [[bgp.peers]]\nname = \"router\"\naddress = \"10.0.1.1\"\nremote_as = 65001\nretry = \"200ms\"\n",
            self.state().display(),
            self.pin.display(),
            self.path("anycast.sock").display(),
        );
        for (service, more) in services {
            let (_, route) = SERVICES
                .iter()
                .find(|(name, _)| name == service)
                .context("a service of the site")?;
            let address = route.trim_end_matches("/32");
            write!(
                text,
                "\n[[services]]\nname = \"{service}\"\naddresses = [\"{address}\"]\nports = [\"udp/53\"]\n\
                 hold_down = \"{}s\"\ndrain_delay = \"100ms\"\ndrain_quiet = \"100ms\"\n{more}\n\n\
                 [[services.checks]]\nname = \"healthy\"\ntype = \"file\"\npath = \"{}\"\nexpect = \"present\"\n\
                 interval = \"50ms\"\ntimeout = \"5s\"\nsplay = \"0s\"\nrise = 2\nfall = 1\n",
                HOLD_DOWN.as_secs(),
                self.health(service).display(),
            )?;
        }
        Ok(fs::write(self.path("anycast.toml"), text)?)
    }

    /// Starts the daemon and waits until every check has given its verdict.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let mut command = self.node.command(&binary().to_string_lossy())?;
        command.arg("run").arg("-c").arg(self.path("anycast.toml"));
        command.envs(self.environment.iter().cloned());
        let mut daemon = Process::spawn("anycast", command, &self.path("anycast.log"))?;
        let answered = wait::until("the daemon to judge its services", SOON, || {
            daemon.still_runs()?;
            let judged = self.control.status().ok().is_some_and(|status| {
                let services = status["services"].as_array().cloned().unwrap_or_default();
                services.iter().all(|service| {
                    let checks = service["checks"].as_array().cloned().unwrap_or_default();
                    let off = service["words"][0]["source"] == "configuration";
                    off || checks.iter().all(|check| check["verdict"] != "init")
                })
            });
            Ok(judged.then_some(()))
        });
        answered.with_context(|| self.log())?;
        self.daemon = Some(daemon);
        let events = Events::follow("the node", &self.node, &self.control, Feed::default())?;
        self.events = Some(events);
        self.peer_is_up()
    }

    /// Stops the daemon as a service manager does.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.stop_by(Signal::SIGTERM)
    }

    /// Stops the daemon by this signal, after which it must end well.
    pub(crate) fn stop_by(&mut self, signal: Signal) -> anyhow::Result<()> {
        let mut daemon = self.daemon.take().context("the daemon runs")?;
        daemon.signal_leader(signal)?;
        let status = daemon.wait(SOON)?;
        self.events = None;
        anyhow::ensure!(status.success(), "{status}: {}", self.log());
        Ok(())
    }

    /// Kills it as a crash would.
    pub(crate) fn crash(&mut self) -> anyhow::Result<()> {
        self.events = None;
        self.daemon.take().context("the daemon runs")?.kill()
    }

    pub(crate) fn events(&self) -> &Events {
        self.events.as_ref().expect("the daemon runs")
    }

    /// Waits for the next transition of a service to a state.
    pub(crate) fn enters(&self, mark: Mark, service: &str, state: &str) -> anyhow::Result<Event> {
        let what = format!("{service} to be {state}");
        let found = self.events().wait(mark, &what, SOON, |event| {
            event.service.as_deref() == Some(service) && event.enters(state)
        });
        found.with_context(|| self.log())
    }

    /// What `status` says of a service.
    pub(crate) fn service(&self, name: &str) -> anyhow::Result<Value> {
        let status = self.control.status()?;
        let services = status["services"].as_array().cloned().unwrap_or_default();
        let found = services.into_iter().find(|service| service["name"] == name);
        found.with_context(|| format!("no service {name}"))
    }

    /// Waits until BIRD holds the routes of these services and no others.
    pub(crate) fn announced(&self, services: &[&str]) -> anyhow::Result<()> {
        let mut last = Vec::new();
        let found = wait::until(&format!("BIRD to hold {services:?}"), SOON, || {
            last = self.routes()?;
            Ok((last == services).then_some(()))
        });
        found.with_context(|| format!("it holds {last:?}; {}", self.log()))
    }

    /// The services whose routes BIRD holds.
    pub(crate) fn routes(&self) -> anyhow::Result<Vec<&'static str>> {
        let table = self.birdc(&["show", "route", "protocol", "node"])?;
        let held = SERVICES
            .into_iter()
            .filter(|(_, route)| table.contains(route));
        Ok(held.map(|(service, _)| service).collect())
    }

    /// Fails if this run of the daemon has sent a route, or the router has got one.
    pub(crate) fn nothing_was_announced(&self) -> anyhow::Result<()> {
        let events = self.events().after(Mark::START);
        let announced = events.iter().find(|event| event.kind == "route_announced");
        anyhow::ensure!(announced.is_none(), "{announced:?}");
        anyhow::ensure!(self.routes()?.is_empty(), "the router holds a route");
        Ok(())
    }

    /// Whether this run of the daemon has withdrawn or announced anything, or judged anew, since.
    pub(crate) fn nothing_has_changed(&self, mark: Mark) -> anyhow::Result<()> {
        let quiet = ["route_announced", "data_plane_applied"];
        let events = self.events().after(mark);
        let changed = events
            .iter()
            .find(|event| !quiet.contains(&event.kind.as_str()));
        anyhow::ensure!(changed.is_none(), "{changed:?}");
        Ok(())
    }

    /// Waits until BIRD's routes have an attribute, as it writes it.
    pub(crate) fn routes_have(&self, attribute: &str) -> anyhow::Result<()> {
        let mut last = String::new();
        let found = wait::until(&format!("a route with {attribute}"), SOON, || {
            last = self.birdc(&["show", "route", "all", "protocol", "node"])?;
            Ok(last.contains(attribute).then_some(()))
        });
        found.with_context(|| format!("{last}; {}", self.log()))
    }

    /// What the node's end of the link and its loopback look like.
    pub(crate) fn links(&self) -> anyhow::Result<String> {
        let mut ip = process::command("ip");
        ip.args(["-n", self.node.name(), "-d", "address", "show"]);
        process::output(ip)
    }

    /// Where the maps are pinned.
    pub(crate) fn pin(&self) -> &Path {
        &self.pin
    }

    pub(crate) fn birdc(&self, command: &[&str]) -> anyhow::Result<String> {
        let mut birdc = process::command("birdc");
        birdc.arg("-s").arg(self.path("bird.ctl")).args(command);
        process::output(birdc)
    }

    fn peer_is_up(&self) -> anyhow::Result<()> {
        wait::until("the session to BIRD", SOON, || {
            let text = self.birdc(&["show", "protocols", "node"])?;
            Ok(text.contains("Established").then_some(()))
        })
        .with_context(|| self.log())
    }

    /// While this file is there, the service is well.
    pub(crate) fn health(&self, service: &str) -> PathBuf {
        self.path(&format!("{service}.healthy"))
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("anycast.log")).unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // What cannot be stopped is killed after this, with its namespace.
            let _ = daemon.signal_leader(Signal::SIGTERM);
            let _ = daemon.wait(Duration::from_secs(10));
        }
        // Gone already, if the daemon has ended well.
        let _ = fs::remove_dir_all(&self.pin);
    }
}

const BIRD: &str = r#"log stderr all;
router id 10.0.1.1;
protocol device { }
protocol bgp node {
  local 10.0.1.1 as 65001;
  neighbor 10.0.1.2 as 64512;
  passive;
  ipv4 {
    import filter {
      if (65535, 0) ~ bgp_community then print "GRACEFUL_SHUTDOWN ", net;
      accept;
    };
    export none;
  };
}
"#;
