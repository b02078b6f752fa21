//! Roles of RFC 9234.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Our side of the relationship (RFC 9234 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// We give transit to the peer.
    Provider,
    /// We buy transit from the peer.
    Customer,
    /// Neither gives the other transit.
    Peer,
    /// We are a route server.
    RouteServer,
    /// We are a client of a route server.
    RouteServerClient,
}

impl Role {
    /// Whether what we announce is only for the peer and its customers (RFC 9234 §5, egress 1): the
    /// peer is our customer, our peer, or a client of our route server.
    pub fn marks_only_to_customer(self) -> bool {
        match self {
            Self::Provider | Self::Peer | Self::RouteServer => true,
            Self::Customer | Self::RouteServerClient => false,
        }
    }
}
