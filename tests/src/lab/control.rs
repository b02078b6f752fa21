//! The controller's command line, as an operator uses it: status, events, drain.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use super::timeline::plural;
use crate::clock::Monotonic;
use crate::feed::{Feed, Mark};
use crate::netns::Namespace;
use crate::process::{self, Process};

/// One line of `anycast events -f --json`. Fields that the lab does not need are let be.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub monotonic_ns: u64,
    /// What happened: `transition`, `detected`, `route_withdrawn`, …
    pub kind: String,
    /// The service concerned, if one is.
    #[serde(default)]
    pub service: Option<String>,
    /// The state left, of a transition.
    #[serde(default)]
    pub from: Option<String>,
    /// The state entered, of a transition.
    #[serde(default)]
    pub to: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// The BGP peer concerned, if one is.
    #[serde(default)]
    pub peer: Option<String>,
    /// What the checks say, of a detection.
    #[serde(default)]
    pub verdict: Option<String>,
    /// What an operator has said.
    #[serde(default)]
    pub word: Option<String>,
    /// How many prefixes were announced or withdrawn.
    #[serde(default)]
    pub prefixes: Option<usize>,
    /// When the kernel took the service down in the maps by itself: `CLOCK_MONOTONIC`, nanoseconds.
    #[serde(default)]
    pub down_ns: Option<u64>,
    /// How many writes the maps took.
    #[serde(default)]
    pub writes: Option<usize>,
}

impl Event {
    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Monotonic {
        Monotonic::from_nanos(self.monotonic_ns)
    }

    /// Whether it is the service's transition to `state`.
    #[must_use]
    pub fn enters(&self, state: &str) -> bool {
        self.kind == "transition" && self.to.as_deref() == Some(state)
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.kind.replace('_', " "))?;
        for part in [&self.service, &self.peer].into_iter().flatten() {
            write!(f, " {part}")?;
        }
        for part in [&self.verdict, &self.word].into_iter().flatten() {
            write!(f, ": {part}")?;
        }
        if let (Some(from), Some(to)) = (&self.from, &self.to) {
            write!(f, ": {from} → {to}")?;
        }
        if let Some(prefixes) = self.prefixes {
            write!(f, ": {}", plural(prefixes, "prefix", "prefixes"))?;
        }
        if let Some(writes) = self.writes {
            write!(f, ": {}", plural(writes, "map write", "map writes"))?;
        }
        self.reason
            .as_ref()
            .map_or(Ok(()), |reason| write!(f, " ({reason})"))
    }
}

/// The client's side of a controller.
#[derive(Clone, Debug)]
pub struct Control {
    binary: PathBuf,
    socket: PathBuf,
}

impl Control {
    /// For the controller that listens on `socket`.
    #[must_use]
    pub fn new(binary: &Path, socket: &Path) -> Self {
        Self {
            binary: binary.into(),
            socket: socket.into(),
        }
    }

    /// Where the controller listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs a subcommand to its end and returns what it printed.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        process::output(self.command(arguments))
    }

    /// `anycast status --json`.
    ///
    /// # Errors
    /// When no controller answers.
    pub fn status(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.run(&["status", "--json"])?).context("reading the status")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("-s").arg(&self.socket);
        command
    }
}

/// A running `anycast events -f --json`.
#[derive(Debug)]
pub struct Events {
    node: String,
    feed: Feed<Event>,
    _follower: Process,
}

impl Events {
    /// Starts following the events of a controller, which must be listening.
    ///
    /// # Errors
    /// When the binary cannot be started.
    pub fn follow(
        node: &str,
        namespace: &Namespace,
        control: &Control,
        feed: Feed<Event>,
    ) -> anyhow::Result<Self> {
        let mut command = namespace.command(&control.binary.to_string_lossy())?;
        command
            .args(["events", "-f", "--json", "-s"])
            .arg(&control.socket);
        let writer = feed.clone();
        let follower =
            Process::follow(&format!("anycast events in {node}"), command, move |line| {
                // A line of an unknown shape is a later version's: what the lab waits for is not in it.
                if let Ok(event) = serde_json::from_str(line) {
                    writer.push(event);
                }
            })?;
        Ok(Self {
            node: node.into(),
            feed,
            _follower: follower,
        })
    }

    /// The present end of the history.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.feed.mark()
    }

    /// The last `count` events, oldest first.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<Event> {
        self.feed.last(count)
    }

    /// Waits for an event after `mark`.
    ///
    /// # Errors
    /// When it has not come within `timeout`; `what` names it.
    pub fn wait(
        &self,
        mark: Mark,
        what: &str,
        timeout: Duration,
        wanted: impl FnMut(&Event) -> bool,
    ) -> anyhow::Result<Event> {
        self.feed
            .wait(mark, &format!("{what} in {}", self.node), timeout, wanted)
    }
}
