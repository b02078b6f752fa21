//! What an operator sees of the speaker: plain values, ready for JSON.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use ipnet::IpNet;
use serde::Serialize;

use super::notification::Notification;
use crate::config::Span;
use crate::config::bgp::{Family, RemoteAs};
use crate::rib::Attributes;

/// The speaker and all of its peers.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Our AS number.
    pub local_as: u32,
    /// Our BGP Identifier.
    pub router_id: Ipv4Addr,
    /// Where connections are accepted.
    pub listening: Vec<Listening>,
    /// The peers, in the order of the configuration, then the connected ones of prefixes.
    pub peers: Vec<PeerStatus>,
    /// The prefixes from which peers may connect.
    pub groups: Vec<GroupStatus>,
}

/// The peers of a prefix as a whole.
#[derive(Debug, Clone, Serialize)]
pub struct GroupStatus {
    /// Its configured name.
    pub name: String,
    /// From where they may connect.
    pub prefix: IpNet,
    /// The AS numbers that they may have.
    pub remote_as: RemoteAs,
    /// How many are connected.
    pub sessions: usize,
    /// How many may be.
    pub limit: usize,
    /// Connections that were closed because of the limit.
    pub refused: u64,
}

/// One address where connections are accepted, or why they are not.
#[derive(Debug, Clone, Serialize)]
pub struct Listening {
    /// The configured address.
    pub address: SocketAddr,
    /// Why it cannot be listened on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The states of RFC 4271 §8.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is tried and nothing accepted: held after an error, or stopped.
    Idle,
    /// A connection to the peer is being opened.
    Connect,
    /// Waiting to connect again, or for the peer to connect.
    Active,
    /// Connected; our OPEN is sent.
    OpenSent,
    /// The peer's OPEN is accepted; its KEEPALIVE is missing.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Idle,
        Self::Connect,
        Self::Active,
        Self::OpenSent,
        Self::OpenConfirm,
        Self::Established,
    ];

    /// The word used in JSON and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Active => "active",
            Self::OpenSent => "open_sent",
            Self::OpenConfirm => "open_confirm",
            Self::Established => "established",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Connect => "connecting",
            Self::Active => "waiting to connect",
            Self::OpenSent => "OPEN sent",
            Self::OpenConfirm => "OPEN accepted",
            Self::Established => "established",
        })
    }
}

/// One peer.
#[derive(Debug, Clone, Serialize)]
pub struct PeerStatus {
    /// Its configured name; of a member of a prefix, `NAME@ADDRESS`.
    pub name: String,
    /// Its address; absent while the router at the other end of `interface` is not found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The interface of a link-local address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its AS number; before it has said it, those that it may have.
    pub remote_as: RemoteAs,
    /// The state of the session.
    pub state: State,
    /// How long it has been in this state.
    #[serde(rename = "for")]
    pub since: Span,
    /// Why it is in this state, in words.
    pub reason: String,
    /// When the next attempt to connect is made, if one is planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_in: Option<Span>,
    /// How often a session has been established.
    pub established_count: u64,
    /// What both sides agreed on; absent unless established.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negotiated: Option<Negotiated>,
    /// Messages since the daemon started.
    pub messages: MessageCounts,
    /// The generation of the desired routes that this peer has been sent as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What is announced to this peer.
    pub routes: Vec<AnnouncedRoute>,
    /// Why some routes are not announced, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<String>,
    /// The last error that we told the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error_sent: Option<LastError>,
    /// The last error that the peer told us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error_received: Option<LastError>,
}

/// What both sides agreed on in their OPENs.
#[derive(Debug, Clone, Serialize)]
pub struct Negotiated {
    /// The peer's BGP Identifier.
    pub remote_router_id: Ipv4Addr,
    /// Our end of the connection.
    pub local_address: SocketAddr,
    /// The peer's end of the connection.
    pub remote_address: SocketAddr,
    /// Hold Time; 0: none.
    pub hold_time: Span,
    /// Time between KEEPALIVEs.
    pub keepalive_interval: Span,
    /// Address families that both sides speak.
    pub families: Vec<Family>,
    /// What the peer can do, in words.
    pub peer_capabilities: Vec<String>,
    /// Our role and the peer's (RFC 9234), in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<String>,
    /// A Cease alone would leave our routes in the peer (RFC 8538): stopping uses a Hard Reset.
    pub hard_reset_needed: bool,
}

/// Messages in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MessageCounts {
    /// From us.
    pub sent: Messages,
    /// From the peer.
    pub received: Messages,
}

/// Messages of each type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub route_refresh: u64,
}

/// A route as one peer gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnnouncedRoute {
    /// The prefix.
    pub prefix: IpNet,
    /// The next hop that is sent with it.
    pub next_hop: IpAddr,
    /// The configured attributes.
    pub attributes: Attributes,
}

/// An error and how long ago it was.
#[derive(Debug, Clone, Serialize)]
pub struct LastError {
    /// How long ago.
    pub ago: Span,
    /// The NOTIFICATION.
    pub notification: Notification,
}

/// The little that is kept current for those who wait: one value per peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The state of the session.
    pub state: State,
    /// Since when it has been in this state.
    pub since: Instant,
    /// The generation that has been handed to the kernel as a whole in this session, and when.
    pub applied: Option<(u64, Instant)>,
    /// How many prefixes the peer has been sent.
    pub prefixes: usize,
    /// Messages since the daemon started.
    pub messages: MessageCounts,
    /// How often a session has been established.
    pub established_count: u64,
}

impl Summary {
    /// Whether a generation needs nothing more from this peer: it has been sent, or there is no session
    /// in which it could be.
    pub fn has_applied(&self, generation: u64) -> bool {
        match self.state {
            State::Established => self
                .applied
                .is_some_and(|(applied, _)| applied >= generation),
            State::Idle | State::Connect | State::Active | State::OpenSent | State::OpenConfirm => {
                true
            }
        }
    }
}
