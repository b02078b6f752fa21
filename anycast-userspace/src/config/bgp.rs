//! The `[bgp]` section: this speaker, and the peers it announces to.
//!
//! It only describes; `crate::bgp` runs the sessions. `peer` is one peer, `remote_as` who may be at the
//! other end, `secret` the keys, `policy` what a peer is told differently, `rule` what a field must keep.

mod peer;
mod policy;
mod remote_as;
mod role;
mod rule;
mod secret;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use peer::Peer;
pub use policy::{AttributeOverrides, OverridesByState};
pub use remote_as::RemoteAs;
pub use role::Role;
pub use secret::{AoAlgorithm, AoKey, Password};

/// The port of BGP (RFC 4271 §8.2.1).
const PORT: u16 = 179;

/// The embedded BGP speaker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Bgp {
    /// Our AS number.
    #[garde(custom(rule::as_number))]
    pub local_as: u32,
    /// BGP Identifier: unique in the AS, and often the loopback's address (RFC 6286).
    #[garde(custom(rule::router_id))]
    pub router_id: Ipv4Addr,
    /// Where connections from peers are accepted; empty: nowhere, all sessions are opened from here.
    #[garde(inner(custom(rule::can_be_reached)))]
    #[serde(default = "listen")]
    pub listen: Vec<SocketAddr>,
    /// Tell every external peer our role (RFC 9234): `customer`, where the peer's `role` says nothing
    /// else. Default: only where a peer has a `role`.
    #[garde(skip)]
    #[serde(default)]
    pub roles: bool,
    /// The routers that get our routes.
    #[garde(dive)]
    #[serde(default)]
    pub peers: Vec<Peer>,
}

/// An address family, unicast.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

impl Bgp {
    /// Our role towards a peer (RFC 9234 §3); none towards internal ones.
    pub fn role_towards(&self, peer: &Peer) -> Option<Role> {
        let default = self.roles.then_some(Role::Customer);
        peer.role
            .or(default)
            .filter(|_| peer.remote_as.is_external(self.local_as))
    }

    /// The rules between fields, and between peers: pairs of a field's path in `[bgp]` and a message.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (at, listen) in self.listen.iter().enumerate() {
            if self.listen[..at].contains(listen) {
                problems.push((format!("listen[{at}]"), format!("{listen} is listed twice")));
            }
        }
        for (at, peer) in self.peers.iter().enumerate() {
            let mut say = |field: &str, message: String| {
                problems.push((format!("peers[{at}].{field}"), message));
            };
            if names.insert(&peer.name, at).is_some() {
                say("name", format!("two peers are named `{}`", peer.name));
            }
            if let Some((field, place)) = peer.place()
                && places.insert(place.clone(), at).is_some()
            {
                say(field, format!("two peers are at {place}"));
            }
            for (field, message) in peer.contradictions(self) {
                say(field, message);
            }
            if let Some(other) = self.other_key_on_a_link(peer) {
                say(
                    "password",
                    format!(
                        "is not that of `{other}`: the kernel keeps keys by address, and peers by \
                         interface share theirs"
                    ),
                );
            }
            if let Some(other) = self.other_key_at_an_address(at, peer) {
                say(
                    if peer.is_signed() {
                        "password"
                    } else {
                        "address"
                    },
                    format!(
                        "needs the keys of `{other}`, or both need none: the kernel keeps keys by address, \
                         whatever the interface"
                    ),
                );
            }
            if let Some(other) = self.key_of_every_link(peer) {
                say(
                    "address",
                    format!(
                        "is refused for want of a key: the kernel demands that of `{other}` of every link-local \
                         address, whatever the interface; give `{}` a `password` as well",
                        peer.name
                    ),
                );
            }
        }
        problems
    }

    /// The first peer at the same link-local address of another link, if this one has other keys.
    fn other_key_at_an_address(&self, at: usize, peer: &Peer) -> Option<&str> {
        let mut before = self.peers[..at].iter();
        let other = before.find(|other| peer.shares_address(other) && peer.keys() != other.keys());
        other.map(|other| &*other.name)
    }

    /// The peer by interface that has keys, if this one is at a link-local address and has none.
    fn key_of_every_link(&self, peer: &Peer) -> Option<&str> {
        let link_local = peer.address.is_some_and(rule::is_link_local);
        let mut by_interface = self.peers.iter().filter(|other| other.is_unnumbered());
        let other = by_interface.find(|other| other.is_signed())?;
        (link_local && !peer.is_signed()).then_some(&other.name)
    }

    /// The first peer by interface, if this one is another and has other keys.
    fn other_key_on_a_link(&self, peer: &Peer) -> Option<&str> {
        let first = self.peers.iter().find(|first| first.is_unnumbered())?;
        (peer.is_unnumbered() && peer.keys() != first.keys()).then_some(&first.name)
    }
}

fn listen() -> Vec<SocketAddr> {
    vec![
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)),
    ]
}

#[cfg(test)]
mod tests;
