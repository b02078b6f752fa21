//! `[[services]]`: addresses, ports, checks, and how they are announced.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use anycast_common::abi::PROTOCOLS;
use anycast_common::iana::protocol;
use garde::Validate;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataplane::{Fragments, Limits, network, prefixes};
use super::rules::interface_name;
use super::{Check, Damping, Hook, ManageAddresses, OnDown, Port, Require, Span, Unlisted};
use crate::rib::{Attributes, Community};

/// The most addresses of one service.
const MAX_ADDRESSES: usize = 1_000_000;

/// One service: Service Addresses, the ports served on them, its checks, and its routes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name, unique on the node.
    #[garde(length(min = 1, max = 63), pattern(r"^[A-Za-z0-9._-]+$"))]
    pub name: String,
    /// Its Service Addresses; an address belongs to one service alone.
    #[garde(length(min = 1, max = MAX_ADDRESSES), inner(custom(unicast)))]
    pub addresses: Vec<IpAddr>,
    /// What is served on them: `"udp/53"`, `"tcp/80"`, `"udp/5000-5010"`.
    #[garde(length(max = 16))]
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Further IP protocols that are passed, by number, such as `[47, 50, 51]`. Not those that `ports` or the
    /// program's own rules are about: ICMP, TCP, UDP, SCTP, IPv6 extension headers. Default: none.
    #[garde(length(max = PROTOCOLS), inner(custom(judged_by_its_number)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<u8>,
    /// What a packet gets while the service is not up: `"drop"` (default), `"pass"`, or `"reject"`
    /// (TCP RST, ICMP port unreachable).
    #[garde(skip)]
    #[serde(default)]
    pub on_down: OnDown,
    /// What a packet to a port that is not listed gets: `"drop"` (default), `"pass"`, `"reject"`.
    #[garde(skip)]
    #[serde(default)]
    pub unlisted: Unlisted,
    /// What fragments that do not carry the ports get: `"pass"` (default), `"drop"`.
    #[garde(skip)]
    #[serde(default)]
    pub fragments: Fragments,
    /// Answer ARP and neighbour discovery for the addresses while the service is up, and keep the
    /// host from answering while it is not. Default: false.
    #[garde(skip)]
    #[serde(default)]
    pub neighbor: bool,
    /// Answer DNS `CH TXT id.server` and `hostname.bind` with the node's name (RFC 4892). Default:
    /// false.
    #[garde(skip)]
    #[serde(default)]
    pub identity: bool,
    /// Sources that are never denied: what is allowed wins over what is denied.
    #[garde(inner(custom(network)))]
    #[serde(
        default,
        deserialize_with = "prefixes",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub allow: Vec<IpNet>,
    /// Sources whose packets are dropped.
    #[garde(inner(custom(network)))]
    #[serde(
        default,
        deserialize_with = "prefixes",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub deny: Vec<IpNet>,
    /// Rate limits.
    #[garde(dive)]
    #[serde(default)]
    pub limits: Limits,
    /// After a failure, how long packets to served ports are still passed. Default: not at all.
    #[garde(skip)]
    #[serde(default)]
    pub linger: Span,
    /// The interface that carries the addresses. Default: `"lo"`.
    #[garde(length(min = 1, max = 15), custom(interface_name))]
    #[serde(default = "loopback")]
    pub interface: String,
    /// Whether anycast puts the addresses on the interface, and takes away what it put there. Default: true, as
    /// addresses. `"routes"`: by `local` routes, which is faster for thousands. `false`: not at all.
    #[garde(skip)]
    #[serde(default)]
    pub manage_addresses: ManageAddresses,
    /// Which of the checks must pass: `"all"` (default), `"any"`, `{ at_least = 2 }`, `{ weight = 3 }`.
    #[garde(dive)]
    #[serde(default)]
    pub require: Require,
    /// Names of services that must be up or degraded for this one to be: a failure of theirs is a failure
    /// of this one. Default: none.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// After going down, the least time before the service is announced again; after going from up to
    /// degraded, before it is announced as up again. Default: `"5s"`.
    #[garde(skip)]
    #[serde(default = "five_seconds")]
    pub hold_down: Span,
    /// Penalty damping (RFC 2439) of a service that flaps. Default: none.
    #[garde(dive)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damping: Option<Damping>,
    /// How long a drained service is announced with the worst metric before it is withdrawn. Default:
    /// `"1s"`.
    #[garde(skip)]
    #[serde(default = "one_second")]
    pub drain_delay: Span,
    /// How long a withdrawn service's packet counters must stand still before it goes down. Default:
    /// `"1s"`.
    #[garde(skip)]
    #[serde(default = "one_second")]
    pub drain_quiet: Span,
    /// After this long a withdrawn service goes down even if packets still arrive. Default: `"30s"`.
    #[garde(skip)]
    #[serde(default = "thirty_seconds")]
    pub drain_timeout: Span,
    /// Who announces it. Default: `["bgp"]`; `[]` leaves routes to others, and the data plane's
    /// answers alone say whether the service is up.
    #[garde(skip)]
    #[serde(default = "announcers")]
    pub announce: BTreeSet<Announcer>,
    /// The prefixes to announce. Default: a host route for each address. Every prefix must hold at
    /// least one of the addresses, and every address lie in one of them.
    #[garde(inner(custom(holds_an_address(&self.addresses))))]
    #[serde(
        default,
        deserialize_with = "prefixes",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub prefixes: Vec<IpNet>,
    /// Names of the BGP peers that get the routes. Default: all.
    #[garde(inner(length(min = 1)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<String>>,
    /// Path attributes, by the service's state.
    #[garde(dive)]
    #[serde(default)]
    pub attributes: AttributesByState,
    /// Commands that are run when the service changes its state.
    #[garde(dive)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// The service is switched off: its checks do not run, and `on_disabled` says what becomes of its
    /// routes. Default: false.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// What becomes of a service with `disabled = true`: `"withdraw"` (default: neither served nor announced),
    /// or `"advertise"` (served and announced, unchecked).
    #[garde(skip)]
    #[serde(default)]
    pub on_disabled: OnDisabled,
    /// While this file is there, the service is taken away. Its first line is the reason; a line `for 30m`
    /// ends it by itself. Several services may name the same file.
    #[garde(inner(custom(super::paths::absolute)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_file: Option<PathBuf>,
    /// How the maintenance file takes it away: `"drain"` (default: without losing a flow), or `"disable"` (at
    /// once).
    #[garde(skip)]
    #[serde(default)]
    pub on_maintenance: OnMaintenance,
    /// Its checks. Without any, the service is always up.
    #[garde(dive)]
    #[serde(default)]
    pub checks: Vec<Check>,
}

/// What becomes of a service that is switched off in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDisabled {
    /// It is neither served nor announced.
    #[default]
    Withdraw,
    /// It is served and announced, unchecked.
    Advertise,
}

/// What a maintenance file means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnMaintenance {
    /// The service is drained.
    #[default]
    Drain,
    /// The service is disabled.
    Disable,
}

/// Who announces a service.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Announcer {
    /// The embedded BGP speaker.
    Bgp,
}

/// Path attributes for each state in which a service is announced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct AttributesByState {
    /// While it is up.
    #[garde(dive)]
    pub up: Attributes,
    /// While it is degraded. Default: as `up`.
    #[garde(dive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Attributes>,
    /// While it is being drained. Default: as `up`, with the worst MED and GRACEFUL_SHUTDOWN
    /// (RFC 8326).
    #[garde(dive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining: Option<Attributes>,
}

impl Service {
    /// The checks that run: none while it is switched off.
    pub fn running_checks(&self) -> &[Check] {
        if self.disabled { &[] } else { &self.checks }
    }
}

impl AttributesByState {
    /// The attributes of a degraded service.
    pub fn degraded(&self) -> Attributes {
        self.degraded.clone().unwrap_or_else(|| self.up.clone())
    }

    /// The attributes of a service that is being drained.
    pub fn draining(&self) -> Attributes {
        self.draining.clone().unwrap_or_else(|| Attributes {
            med: Some(u32::MAX),
            local_preference: Some(0),
            ..self.up.clone().with_community(Community::GRACEFUL_SHUTDOWN)
        })
    }
}

impl Service {
    /// The prefixes to announce.
    pub fn announced(&self) -> Vec<IpNet> {
        if self.prefixes.is_empty() {
            self.addresses.iter().copied().map(IpNet::from).collect()
        } else {
            self.prefixes.iter().map(IpNet::trunc).collect()
        }
    }
}

fn loopback() -> String {
    "lo".to_owned()
}

const fn one_second() -> Span {
    Span::from_secs(1)
}

const fn five_seconds() -> Span {
    Span::from_secs(5)
}

const fn thirty_seconds() -> Span {
    Span::from_secs(30)
}

fn announcers() -> BTreeSet<Announcer> {
    BTreeSet::from([Announcer::Bgp])
}

fn unicast(address: &IpAddr, _: &()) -> garde::Result {
    if !is_announceable(address) {
        return Err(garde::Error::new(format!(
            "{address} is not a unicast address that could be announced"
        )));
    }
    Ok(())
}

/// Link-local addresses are no route's, and no packet has a mapped one.
fn is_announceable(address: &IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_link_local() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some() || v6.is_unicast_link_local(),
    };
    !special && !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
}

/// For `protocols`: refuses those that the data plane never looks up in the list.
fn judged_by_its_number(number: &u8, _: &()) -> garde::Result {
    let (name, instead) = match *number {
        protocol::TCP => ("TCP", "write \"tcp/PORT\" in `ports`"),
        protocol::UDP => ("UDP", "write \"udp/PORT\" in `ports`"),
        protocol::SCTP => ("SCTP", "write \"sctp/PORT\" in `ports`"),
        protocol::ICMP => ("ICMP", "it is judged by its type"),
        protocol::ICMPV6 => ("ICMPv6", "it is judged by its type"),
        protocol::HOP_BY_HOP
        | protocol::ROUTING
        | protocol::FRAGMENT
        | protocol::DESTINATION_OPTIONS => (
            "an IPv6 extension header",
            "packets are judged by what follows it",
        ),
        _other => return Ok(()),
    };
    Err(garde::Error::new(format!(
        "{number} is {name}, and means nothing here: {instead}"
    )))
}

fn holds_an_address(addresses: &[IpAddr]) -> impl FnOnce(&IpNet, &()) -> garde::Result + '_ {
    move |prefix, context| {
        network(prefix, context)?;
        if !addresses.iter().any(|address| prefix.contains(address)) {
            return Err(garde::Error::new(format!(
                "{prefix} holds none of the service's addresses"
            )));
        }
        Ok(())
    }
}
