//! The lines on the control socket. One request per connection, one JSON object per line; the answer
//! is one line, or, for events, a line per event.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Span;
use crate::decision::{Away, Source};
use crate::events::{Event, Phases};
use crate::state::ServiceState;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Services, checks, routes, interfaces, packets.
    Status,
    /// Packets of each Service Address.
    Addresses,
    /// The recent events, and with `follow` those to come.
    Events {
        /// Whether to stay.
        #[serde(default)]
        follow: bool,
    },
    /// The operator's word on one service.
    Operate {
        /// The service.
        service: String,
        /// What to do with it.
        operation: Operation,
        /// For how long; absent: until said otherwise.
        #[serde(default, rename = "for")]
        lasts: Option<Span>,
        /// Why; shown in `status` and in the events.
        #[serde(default)]
        reason: Option<String>,
    },
}

/// What an operator can do with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Take it away without losing a flow.
    Drain,
    /// End a drain.
    Undrain,
    /// Take it away at once.
    Disable,
    /// End a disable.
    Enable,
}

impl Operation {
    /// The word used on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Disable => "disable",
            Self::Enable => "enable",
        }
    }
}

/// What the daemon answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Addresses`].
    Addresses {
        /// The addresses, service by service.
        addresses: Vec<AddressStatus>,
    },
    /// One of the answers to [`Request::Events`].
    Event(Event),
    /// Done; with the state that the service is in now.
    Done {
        /// The service.
        service: String,
        /// Its state.
        state: ServiceState,
        /// What the operator should know besides: what still holds it, or that the word is not saved.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// Not done.
    Error {
        /// Why.
        message: String,
    },
}

/// The whole node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The node's name.
    pub node: String,
    /// The daemon's version.
    pub version: String,
    /// When the daemon started.
    pub started_at: Timestamp,
    /// The daemon's process id.
    pub pid: u32,
    /// The last generation decided, and the last one that the maps hold.
    pub generation: Generation,
    /// The services, in the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// Where the program is attached.
    pub interfaces: Vec<InterfaceStatus>,
    /// The BGP peers, as [`crate::bgp::PeerStatus`] is written in JSON.
    pub peers: Vec<serde_json::Value>,
    /// Packets of no service, by reason.
    pub packets: Packets,
}

/// Decided and applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Decided by the controller.
    pub decided: u64,
    /// Held by the maps.
    pub data_plane: u64,
}

/// Packets and bytes by reason.
pub type Packets = BTreeMap<String, Count>;

/// How many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, link-layer header included.
    pub bytes: u64,
}

/// One service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Its index in the maps.
    pub id: u32,
    /// Its state.
    pub state: ServiceState,
    /// Why it is in that state.
    pub reason: String,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// Its Service Addresses, at most the first 16.
    pub addresses: Vec<IpAddr>,
    /// How many Service Addresses it has.
    pub address_count: usize,
    /// Its ports, as the configuration writes them.
    pub ports: Vec<String>,
    /// Its checks.
    pub checks: Vec<CheckStatus>,
    /// What operators have said of it, by source; the strictest counts.
    #[serde(default)]
    pub words: Vec<WordStatus>,
    /// Until when its hold-down or flap damping keeps it from getting better, whatever its checks say;
    /// absent: nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<Timestamp>,
    /// How long that is from now, in milliseconds. It is timed by the monotonic clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_left_ms: Option<u64>,
    /// Its flap penalty now: 1,000 for each withdrawal, halved in each half-life; absent without damping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<f64>,
    /// Whether it is suppressed by that penalty.
    #[serde(default)]
    pub suppressed: bool,
    /// How many prefixes are announced now.
    pub announced: usize,
    /// How long the steps of its last transition took; absent before the first one is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<Phases>,
    /// Its packets, by reason.
    pub packets: Packets,
}

/// What became of the packets to one Service Address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressStatus {
    /// The service.
    pub service: String,
    /// The address.
    pub address: IpAddr,
    /// Passed to the stack.
    pub passed: Count,
    /// Dropped.
    pub dropped: Count,
    /// Answered.
    pub answered: Count,
}

/// What an operator has said of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordStatus {
    /// `drained` or `disabled`.
    pub word: Away,
    /// Who said it: `configuration`, `command`, `maintenance_file`.
    pub source: Source,
    /// Why.
    pub reason: String,
    /// After how long it ends by itself, in milliseconds; absent: not by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// `up`, `down`, or `init` before its first full verdict.
    pub verdict: String,
    /// What the last run said.
    pub output: String,
    /// What its command printed in the last run: at most the last 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub printed: Option<String>,
    /// How long the last run took, in microseconds.
    pub took_us: u64,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// `native` or `generic`; `none` while nothing is attached.
    pub mode: String,
    /// Why the mode is not the native one, if it is not, and what else to know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
