//! A node: the two servers, and the controller over them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use nix::sys::signal::Signal;

use super::control::{Control, Event, Events};
use super::services;
use super::topology::{City, NODE_AS, SERVICE_V4, SERVICE_V6, UPLINK, ZONE};
use crate::feed::Feed;
use crate::netns::Namespace;
use crate::process::Process;
use crate::wait;

/// The service's name in the config.
pub const SERVICE: &str = "dns";
/// After a service has gone down, the least time before its route returns.
pub const HOLD_DOWN: Duration = Duration::from_secs(5);
/// How long a drained route stays announced with its worst metric, for the routers to look elsewhere: OSPF
/// may hold back a change for five seconds (MinLSInterval).
pub const DRAIN_DELAY: Duration = Duration::from_secs(7);

/// Which checks the controller runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// A DNS query every 100 ms of which none may fail, and a page every second.
    Polled,
    /// The kernel tells of the DNS server's sockets. The service returns as soon as they are there.
    Listener,
    /// As before, and a query every 100 ms of which one may fail.
    ListenerAndQuery,
}

const START: Duration = Duration::from_secs(10);
/// For the end of a controller: more than its `drain_delay`.
const STOP: Duration = Duration::from_secs(30);

/// What runs in a node's namespace.
#[derive(Debug)]
pub struct Node {
    city: City,
    directory: PathBuf,
    config: PathBuf,
    pin: PathBuf,
    binary: PathBuf,
    control: Control,
    feed: Feed<Event>,
    events: Option<Events>,
    controller: Option<Process>,
    dns: Option<Process>,
    http: Option<Process>,
    hung: bool,
}

impl Node {
    /// Starts the servers and the controller; files go under `directory`, pins under `pin`.
    ///
    /// # Errors
    /// When one of them is missing or does not come up.
    pub fn start(
        city: City,
        namespace: &Namespace,
        binary: &Path,
        directory: &Path,
        pin: &Path,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        let socket = directory.join("anycast.sock");
        let config = directory.join("anycast.toml");
        let mut node = Self {
            city,
            directory: directory.into(),
            config,
            pin: pin.into(),
            binary: binary.into(),
            control: Control::new(binary, &socket),
            feed: Feed::default(),
            events: None,
            controller: None,
            dns: None,
            http: None,
            hung: false,
        };
        node.use_checks(Checks::Polled)?;
        node.start_dns(namespace)?;
        node.http = Some(services::start_http(city, namespace, directory)?);
        node.start_controller(namespace)?;
        Ok(node)
    }

    /// Writes the configuration for the next start of the controller.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn use_checks(&self, checks: Checks) -> anyhow::Result<()> {
        let text = configuration(
            self.city,
            &self.directory,
            self.control.socket(),
            &self.pin,
            checks,
        );
        fs::write(&self.config, text).with_context(|| format!("writing {}", self.config.display()))
    }

    /// Where it is.
    #[must_use]
    pub fn city(&self) -> City {
        self.city
    }

    /// Where its maps are pinned.
    #[must_use]
    pub fn pin(&self) -> &Path {
        &self.pin
    }

    /// Its controller's configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its controller's command line.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Its controller's events.
    ///
    /// # Errors
    /// When the controller does not run.
    pub fn events(&self) -> anyhow::Result<&Events> {
        self.events
            .as_ref()
            .with_context(|| format!("the controller in {} does not run", self.city))
    }

    /// The last events, also of a controller that has ended.
    #[must_use]
    pub fn last_events(&self, count: usize) -> Vec<Event> {
        self.feed.last(count)
    }

    /// The end of what a daemon here has logged: `anycast`, `nsd` or `nginx`.
    #[must_use]
    pub fn log_tail(&self, daemon: &str, lines: usize) -> String {
        let text =
            fs::read_to_string(self.directory.join(format!("{daemon}.log"))).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(lines).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Starts the controller and waits until it answers on its socket.
    ///
    /// # Errors
    /// When it ends, or does not answer.
    pub fn start_controller(&mut self, namespace: &Namespace) -> anyhow::Result<()> {
        let mut command = namespace.command(&self.binary.to_string_lossy())?;
        command
            .arg("run")
            .arg("-c")
            .arg(&self.config)
            .env("NO_COLOR", "1");
        let name = format!("anycast in {}", self.city);
        let mut process = Process::spawn(&name, command, &self.directory.join("anycast.log"))?;
        let answered = wait::until(&format!("{name} to answer"), START, || {
            process.still_runs()?;
            Ok(self.control.status().ok())
        });
        answered.map_err(|error| {
            anyhow!("{error:#}; its log ends:\n{}", self.log_tail("anycast", 20))
        })?;
        self.controller = Some(process);
        let follower = Events::follow(
            self.city.name(),
            namespace,
            &self.control,
            self.feed.clone(),
        )?;
        self.events = Some(follower);
        Ok(())
    }

    /// Stops the controller as a service manager does, and returns how it ended.
    ///
    /// # Errors
    /// When it does not run, or has not ended within half a minute.
    pub fn stop_controller(&mut self) -> anyhow::Result<ExitStatus> {
        self.ask_controller_to_stop()?;
        let what = format!("the end of the controller in {}", self.city);
        wait::until(&what, STOP, || self.controller_ended())
    }

    /// Asks the controller to stop, and does not wait: [`Self::controller_ended`] says when it has. Asked again, it
    /// withdraws at once.
    ///
    /// # Errors
    /// When it does not run.
    pub fn ask_controller_to_stop(&self) -> anyhow::Result<()> {
        self.controller
            .as_ref()
            .with_context(|| format!("the controller in {} does not run", self.city))?
            .signal_leader(Signal::SIGTERM)
    }

    /// How the controller has ended, if it has by itself since this was asked.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn controller_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(process) = &mut self.controller else {
            return Ok(None);
        };
        let status = process.ended()?;
        if status.is_some() {
            self.controller = None;
            self.events = None;
        }
        Ok(status)
    }

    /// Kills the controller with SIGKILL.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill_controller(&mut self) -> anyhow::Result<()> {
        self.events = None;
        self.controller
            .take()
            .map_or(Ok(()), |mut process| process.kill())
    }

    /// Whether a controller was started and has not been stopped.
    #[must_use]
    pub fn controller_runs(&self) -> bool {
        self.controller.is_some()
    }

    /// The controller's process id.
    #[must_use]
    pub fn controller_id(&self) -> Option<u32> {
        self.controller.as_ref().map(Process::pid)
    }

    /// Starts the DNS server.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_dns(&mut self, namespace: &Namespace) -> anyhow::Result<()> {
        self.dns = Some(services::start_dns(self.city, namespace, &self.directory)?);
        self.hung = false;
        Ok(())
    }

    /// Kills the DNS server with SIGKILL, every process of it.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill_dns(&mut self) -> anyhow::Result<()> {
        self.dns.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Whether a DNS server was started and has not been killed.
    #[must_use]
    pub fn dns_runs(&self) -> bool {
        self.dns.is_some()
    }

    /// Stops the DNS server in its tracks, or lets it go on.
    ///
    /// # Errors
    /// When there is none.
    pub fn hang_dns(&mut self, hang: bool) -> anyhow::Result<()> {
        let process = self
            .dns
            .as_ref()
            .with_context(|| format!("the DNS server in {} does not run", self.city))?;
        if hang {
            process.pause()?;
        } else {
            process.resume()?;
        }
        self.hung = hang;
        Ok(())
    }

    /// Whether the DNS server hangs.
    #[must_use]
    pub fn dns_hangs(&self) -> bool {
        self.hung
    }
}

fn configuration(city: City, state: &Path, socket: &Path, pin: &Path, checks: Checks) -> String {
    let (hold_down, checks) = match checks {
        Checks::Polled => (HOLD_DOWN, polled()),
        Checks::Listener => (Duration::ZERO, LISTENER.to_owned()),
        Checks::ListenerAndQuery => (Duration::ZERO, format!("{LISTENER}{}", query())),
    };
    format!(
        r#"[node]
name = "{city}"
state_directory = "{state}"

[dataplane]
interfaces = ["{UPLINK}"]
mode = "native"
pin = "{pin}"

[control]
socket = "{socket}"

[bgp]
local_as = {NODE_AS}
router_id = "{node_v4}"

[[bgp.peers]]
name = "router-v4"
address = "{router_v4}"
remote_as = {router_as}

[[bgp.peers]]
name = "router-v6"
address = "{router_v6}"
remote_as = {router_as}

[[services]]
name = "{SERVICE}"
addresses = ["{SERVICE_V4}", "{SERVICE_V6}"]
ports = ["udp/53", "tcp/53", "tcp/80"]
hold_down = "{hold_down}s"
drain_delay = "{drain_delay}s"
announce = ["bgp"]
{checks}"#,
        state = state.display(),
        pin = pin.display(),
        socket = socket.display(),
        node_v4 = city.node_v4(),
        router_v4 = city.router_v4(),
        router_v6 = city.router_v6(),
        router_as = city.router_as(),
        hold_down = hold_down.as_secs(),
        drain_delay = DRAIN_DELAY.as_secs(),
    )
}

fn polled() -> String {
    format!(
        r#"
[[services.checks]]
name = "dns-udp"
type = "dns"
interval = "100ms"
timeout = "100ms"
rise = 2
fall = 1
port = 53
query = "{ZONE}."

[[services.checks]]
name = "page"
type = "http"
interval = "1s"
timeout = "500ms"
rise = 1
fall = 2
port = 80
"#
    )
}

const LISTENER: &str = r#"
[[services.checks]]
name = "sockets"
type = "listener"
ports = ["udp/53", "tcp/53"]
"#;

fn query() -> String {
    format!(
        r#"
[[services.checks]]
name = "dns-udp"
type = "dns"
interval = "100ms"
timeout = "100ms"
rise = 1
fall = 2
port = 53
query = "{ZONE}."
"#
    )
}
