//! What has happened: one record per transition, map write, announcement and session change.
//!
//! It owns the history and hands it to followers; it decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::decision::Source;
use crate::state::ServiceState;

/// Events kept for `anycast events`, and the most that a slow follower may lag behind before it is
/// told how many it missed.
const DEPTH: usize = 1024;

/// One event, with wall time for people and monotonic time for measuring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Wall time, RFC 3339.
    pub at: Timestamp,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub monotonic_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// The controller has started.
    Started {
        /// The node's name.
        node: String,
    },
    /// The controller is about to withdraw everything and exit.
    Stopping {
        /// Why.
        reason: String,
    },
    /// The checks' verdict on a service has changed.
    Detected {
        /// The service.
        service: String,
        /// The verdict: `init`, `up`, `degraded`, `down`.
        verdict: String,
        /// The check and its words.
        reason: String,
        /// From the end of the check that turned the verdict to the decision, in microseconds.
        decided_us: u64,
    },
    /// A service's state has changed.
    Transition {
        /// The service.
        service: String,
        /// Before.
        from: ServiceState,
        /// After.
        to: ServiceState,
        /// Why.
        reason: String,
        /// Numbers the transitions of this daemon, from 1.
        transition: u64,
        /// The generation in which the planes get to know of it.
        generation: u64,
        /// The check whose result it was, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<String>,
        /// What that check's command printed: its last 4 KiB.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    },
    /// What a transition asked of the two planes is done, or is no longer wanted. Exactly one follows
    /// each transition.
    Completed {
        /// The service.
        service: String,
        /// The transition's number.
        transition: u64,
        /// Before.
        from: ServiceState,
        /// After.
        to: ServiceState,
        /// How it ended.
        outcome: Completion,
        /// When each step was done.
        phases: Phases,
    },
    /// An operator has spoken.
    Operator {
        /// The service.
        service: String,
        /// `drain`, `undrain`, `disable`, `enable`.
        word: String,
        /// By which way: `configuration`, `command`, `maintenance_file`.
        source: Source,
        /// The reason given.
        reason: String,
    },
    /// The kernel has taken a service down in the maps by itself: the last socket of a watched port was
    /// released. It happened at `down_ns`, before this event.
    DataPlaneDown {
        /// The service.
        service: String,
        /// `CLOCK_MONOTONIC`, nanoseconds: as the program stamped it.
        down_ns: u64,
    },
    /// The maps hold a generation.
    DataPlaneApplied {
        /// The generation.
        generation: u64,
        /// Map writes that it took.
        writes: u64,
        /// From the decision to the last write, in microseconds.
        took_us: u64,
    },
    /// The maps could not be written, or the program did not serve an address.
    DataPlaneFailed {
        /// The generation.
        generation: u64,
        /// Why.
        reason: String,
    },
    /// A peer has been sent announcements.
    RouteAnnounced {
        /// The peer.
        peer: String,
        /// The generation.
        generation: u64,
        /// Prefixes announced.
        prefixes: u64,
        /// From the decision to the socket, in microseconds.
        took_us: u64,
    },
    /// A peer has been sent withdrawals.
    RouteWithdrawn {
        /// The peer.
        peer: String,
        /// The generation.
        generation: u64,
        /// Prefixes withdrawn.
        prefixes: u64,
        /// From the decision to the socket, in microseconds.
        took_us: u64,
    },
    /// A session is established.
    PeerUp {
        /// The peer.
        peer: String,
    },
    /// A session has ended.
    PeerDown {
        /// The peer.
        peer: String,
        /// Why.
        reason: String,
    },
    /// A follower read too slowly.
    Missed {
        /// Events that it did not get.
        events: u64,
    },
}

impl Event {
    /// An event of this moment.
    pub fn now(kind: EventKind) -> Self {
        Self {
            at: Timestamp::now(),
            monotonic_ns: monotonic_ns(),
            kind,
        }
    }
}

/// How the course of a transition ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completion {
    /// Both planes have done what it asked.
    Done,
    /// The service's next transition came first.
    Superseded,
    /// The daemon stopped first.
    Stopping,
}

impl Completion {
    /// Every outcome, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Done, Self::Superseded, Self::Stopping];

    /// The word used in JSON and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Superseded => "superseded",
            Self::Stopping => "stopping",
        }
    }
}

/// The course of a transition. The times of the steps count from the detection, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// When what caused it was detected: the end of the check's run, the kernel's own time of a socket's
    /// release, an operator's word, a deadline. `CLOCK_MONOTONIC`, nanoseconds.
    pub detected_ns: u64,
    /// The decision was published to both planes.
    pub decided_us: u64,
    /// The map said so. Absent if the transition changed nothing there, or was not yet written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_plane: Option<DataPlanePhase>,
    /// The peers that had a session when it was decided, and that are sent the service's routes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: BTreeMap<String, PeerPhase>,
    /// The last step.
    pub total_us: u64,
}

/// When the data plane changed, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPlanePhase {
    /// When.
    pub us: u64,
    /// Who wrote the map.
    pub by: MapWriter,
}

/// Who writes a service's state into the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapWriter {
    /// The `listener` program, when the last socket was released.
    Kernel,
    /// The data plane's writer.
    Controller,
}

impl MapWriter {
    /// The word used in JSON and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Controller => "controller",
        }
    }
}

/// What one peer was sent, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPhase {
    /// What it was.
    pub sent: Sent,
    /// When its last byte was handed to the kernel; absent while it has not been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub us: Option<u64>,
}

/// What a transition means for the routes at a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// Announced, or announced again with other attributes.
    Announced,
    /// Withdrawn.
    Withdrawn,
    /// The session ended first; the peer has forgotten the routes.
    SessionLost,
}

impl Sent {
    /// The word used in JSON and for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Withdrawn => "withdrawn",
            Self::SessionLost => "session_lost",
        }
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds, comparable between processes of one host.
pub fn monotonic_ns() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map(std::time::Duration::from)
        .map_or(0, |since_boot| {
            u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX)
        })
}

/// `at` as [`monotonic_ns`] would have given it then.
pub fn monotonic_ns_at(at: Instant) -> u64 {
    let ago = u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX);
    monotonic_ns().saturating_sub(ago)
}

/// The history, and the channel to those who follow it.
#[derive(Debug)]
pub struct EventLog {
    recent: VecDeque<Event>,
    followers: broadcast::Sender<Event>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            recent: VecDeque::with_capacity(DEPTH),
            followers: broadcast::channel(DEPTH).0,
        }
    }
}

impl EventLog {
    /// Records what happened just now, and gives the time. The oldest event goes when the history is full.
    pub fn record(&mut self, kind: EventKind) -> Timestamp {
        let event = Event::now(kind);
        let at = event.at;
        tracing::info!(event = %serde_json::to_string(&event.kind).unwrap_or_default());
        if self.recent.len() == DEPTH {
            self.recent.pop_front();
        }
        self.recent.push_back(event.clone());
        // An error says that nobody follows, which is no fault.
        let _followers = self.followers.send(event);
        at
    }

    /// The events kept, oldest first.
    pub fn recent(&self) -> Vec<Event> {
        self.recent.iter().cloned().collect()
    }

    /// The events from now on. A reader more than 1,024 events behind loses the oldest and is told.
    pub fn follow(&self) -> broadcast::Receiver<Event> {
        self.followers.subscribe()
    }
}
