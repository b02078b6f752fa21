//! The `[bgp]` section: this speaker, and the peers it announces to.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::Span;
use crate::rib::{Community, NextHop};

/// The port of BGP (RFC 4271 §8.2.1).
const PORT: u16 = 179;
/// Stands for an AS number that does not fit two octets (RFC 6793 §9): nobody's own.
const AS_TRANS: u32 = 23456;

/// The embedded BGP speaker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Bgp {
    /// Our AS number.
    #[garde(custom(as_number))]
    pub local_as: u32,
    /// BGP Identifier: unique in the AS, and often the loopback's address (RFC 6286).
    #[garde(custom(valid_router_id))]
    pub router_id: Ipv4Addr,
    /// Where connections from peers are accepted; empty: nowhere, all sessions are opened from here.
    #[garde(skip)]
    #[serde(default = "listen")]
    pub listen: Vec<SocketAddr>,
    /// The routers that get our routes.
    #[garde(dive, custom(distinct_peers))]
    #[serde(default)]
    pub peers: Vec<Peer>,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// A short name, for messages and for `peers = […]` of a service.
    #[garde(length(min = 1, max = 64))]
    pub name: String,
    /// The peer's address; a link-local one needs `interface`.
    #[garde(custom(peer_address(&self.interface)))]
    pub address: IpAddr,
    /// The peer's AS number; ours makes the session iBGP.
    #[garde(custom(as_number))]
    pub remote_as: u32,
    /// The peer's TCP port.
    #[garde(range(min = 1))]
    #[serde(default = "port")]
    pub port: u16,
    /// The address that we connect from; the kernel chooses when absent.
    #[garde(custom(same_family(&self.address)))]
    #[serde(default)]
    pub source: Option<IpAddr>,
    /// The interface of a link-local `address`.
    #[garde(skip)]
    #[serde(default)]
    pub interface: Option<String>,
    /// The device that the session is bound to: a VRF, or an interface.
    #[garde(skip)]
    #[serde(default)]
    pub device: Option<String>,
    /// Wait for the peer to connect; never connect to it.
    #[garde(skip)]
    #[serde(default)]
    pub passive: bool,
    /// Proposed Hold Time: whole seconds, at least 3, or 0 for no keepalives. The lower of both sides holds.
    #[garde(custom(valid_hold_time))]
    #[serde(default = "default_hold_time")]
    pub hold_time: Span,
    /// End the session when the peer has taken nothing for this long although there was something to
    /// send (RFC 9687). Default: the greater of 8 minutes and twice the Hold Time.
    #[garde(inner(custom(longer_than(&self.hold_time))))]
    #[serde(default)]
    pub send_hold_time: Option<Span>,
    /// First wait before a lost session is opened again; doubles up to `retry_max`, with jitter.
    #[garde(custom(positive))]
    #[serde(default = "retry")]
    pub retry: Span,
    /// Longest wait between attempts.
    #[garde(custom(positive))]
    #[serde(default = "retry_max")]
    pub retry_max: Span,
    /// Address families to announce.
    #[garde(length(min = 1))]
    #[serde(default = "families")]
    pub families: Vec<Family>,
    /// Next hops towards this peer, where a service sets none. Default: our address of the session;
    /// for the other family, an address of the session's interface.
    #[garde(skip)]
    #[serde(default)]
    pub next_hop: NextHop,
    /// Shared secret of TCP MD5 signatures (RFC 2385).
    #[garde(custom(valid_password(&self.password_file)))]
    #[serde(default)]
    pub password: Option<Password>,
    /// File that holds the shared secret: its first line.
    #[garde(skip)]
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Accept only packets that no router has forwarded (GTSM, RFC 5082); both sides need it.
    #[garde(custom(valid_ttl_security(&self.multihop)))]
    #[serde(default)]
    pub ttl_security: bool,
    /// Hops to an eBGP peer that is not on the same link; with `ttl_security`, the most allowed.
    #[garde(inner(range(min = 1)))]
    #[serde(default)]
    pub multihop: Option<u8>,
    /// Notice within milliseconds that the peer is gone (RFC 5882); absent: only by the Hold Time.
    #[garde(dive)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<super::bfd::Bfd>,
    /// Our role in the session (RFC 9234); towards a transit provider: `customer`.
    #[garde(skip)]
    #[serde(default)]
    pub role: Option<Role>,
    /// Refuse a peer that does not say its own role.
    #[garde(skip)]
    #[serde(default)]
    pub strict_role: bool,
    /// Offer graceful restart with the N bit (RFC 4724, RFC 8538). Keep it off for anycast: it asks the
    /// peer to keep sending packets to a node that is gone.
    #[garde(skip)]
    #[serde(default)]
    pub graceful_restart: bool,
    /// Services whose routes this peer gets; absent: all.
    #[garde(skip)]
    #[serde(default)]
    pub services: Option<Vec<String>>,
    /// Communities put on every route towards this peer.
    #[garde(length(max = 64))]
    #[serde(default)]
    pub communities: Vec<Community>,
    /// Most prefixes to announce, as a safety catch: beyond it, what is announced stays as it is.
    #[garde(range(min = 1))]
    #[serde(default = "max_prefixes")]
    pub max_prefixes: u32,
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

/// A secret: it is read from the file, and shown nowhere.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the socket option.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

fn listen() -> Vec<SocketAddr> {
    vec![
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)),
    ]
}

fn port() -> u16 {
    PORT
}

fn default_hold_time() -> Span {
    Span::from_secs(90)
}

fn retry() -> Span {
    Span::from_secs(1)
}

fn retry_max() -> Span {
    Span::from_secs(30)
}

fn families() -> Vec<Family> {
    vec![Family::Ipv4, Family::Ipv6]
}

fn max_prefixes() -> u32 {
    50_000
}

fn as_number(asn: &u32, _: &()) -> garde::Result {
    match *asn {
        0 => Err(garde::Error::new("0 is not an AS number (RFC 7607)")),
        AS_TRANS => Err(garde::Error::new("23456 is reserved (AS_TRANS, RFC 6793)")),
        u32::MAX => Err(garde::Error::new("4294967295 is reserved (RFC 7300)")),
        _ => Ok(()),
    }
}

fn valid_router_id(id: &Ipv4Addr, _: &()) -> garde::Result {
    if id.is_unspecified() {
        return Err(garde::Error::new(
            "0.0.0.0 is not a BGP Identifier (RFC 6286)",
        ));
    }
    Ok(())
}

fn valid_hold_time(time: &Span, _: &()) -> garde::Result {
    let secs = time.0.as_secs();
    if time.0.subsec_nanos() != 0 || secs == 1 || secs == 2 || secs > u64::from(u16::MAX) {
        return Err(garde::Error::new(
            "must be whole seconds: 0, or from 3 to 65535 (RFC 4271 §4.2)",
        ));
    }
    Ok(())
}

/// RFC 9687 §4.4: while the peer is held to be alive, it must be allowed to be slow.
fn longer_than(hold_time: &Span) -> impl FnOnce(&Span, &()) -> garde::Result + '_ {
    move |send_hold_time, ()| {
        if send_hold_time <= hold_time {
            return Err(garde::Error::new("must be longer than `hold_time`"));
        }
        Ok(())
    }
}

fn positive(span: &Span, _: &()) -> garde::Result {
    if span.0.is_zero() {
        return Err(garde::Error::new("must be longer than 0"));
    }
    Ok(())
}

fn peer_address(interface: &Option<String>) -> impl FnOnce(&IpAddr, &()) -> garde::Result + '_ {
    move |address, ()| {
        let link_local = match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if address.is_unspecified() || address.is_multicast() {
            return Err(garde::Error::new("is not the address of one host"));
        }
        if link_local && interface.is_none() {
            return Err(garde::Error::new(
                "is link-local: `interface` must say where",
            ));
        }
        Ok(())
    }
}

fn same_family(address: &IpAddr) -> impl FnOnce(&Option<IpAddr>, &()) -> garde::Result + '_ {
    move |source, ()| match source {
        Some(source) if source.is_ipv4() != address.is_ipv4() => {
            Err(garde::Error::new("is not of the same family as `address`"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The kernel takes 80 octets (TCP_MD5SIG_MAXKEYLEN).
const MAX_PASSWORD: usize = 80;

fn valid_password(
    file: &Option<PathBuf>,
) -> impl FnOnce(&Option<Password>, &()) -> garde::Result + '_ {
    move |password, ()| match password {
        Some(_) if file.is_some() => {
            Err(garde::Error::new("is given twice: also by `password_file`"))
        }
        Some(secret) if secret.reveal().is_empty() || secret.reveal().len() > MAX_PASSWORD => {
            Err(garde::Error::new("must have 1 to 80 octets"))
        }
        Some(_) | None => Ok(()),
    }
}

fn valid_ttl_security(multihop: &Option<u8>) -> impl FnOnce(&bool, &()) -> garde::Result + '_ {
    move |on, ()| match multihop {
        Some(255) if *on => Err(garde::Error::new(
            "means nothing with `multihop = 255`: every packet would pass",
        )),
        Some(_) | None => Ok(()),
    }
}

fn distinct_peers(peers: &[Peer], _: &()) -> garde::Result {
    let mut names = HashSet::new();
    let mut addresses = HashSet::new();
    for peer in peers {
        if !names.insert(&peer.name) {
            return Err(garde::Error::new(format!(
                "two peers are named `{}`",
                peer.name
            )));
        }
        if !addresses.insert((peer.address, &peer.interface, &peer.device)) {
            return Err(garde::Error::new(format!(
                "two peers have the address {}",
                peer.address
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use garde::Validate;

    use super::*;

    const MINIMAL: &str = r#"
        local_as = 64512
        router_id = "10.0.1.2"
        [[peers]]
        name = "r1"
        address = "10.0.1.1"
        remote_as = 65001
    "#;

    #[test]
    fn a_minimal_section_gets_the_defaults() {
        let bgp: Bgp = toml::from_str(MINIMAL).unwrap();
        bgp.validate().unwrap();
        assert_eq!(bgp.listen.len(), 2);
        let peer = &bgp.peers[0];
        assert_eq!(peer.port, 179);
        assert_eq!(peer.hold_time, Span::from_secs(90));
        assert_eq!(peer.families, [Family::Ipv4, Family::Ipv6]);
        assert!(!peer.graceful_restart);
    }

    #[test]
    fn what_is_wrong_is_reported_at_its_field() {
        let cases = [
            ("local_as = 64512", "local_as = 0", "local_as"),
            ("local_as = 64512", "local_as = 23456", "local_as"),
            ("10.0.1.2", "0.0.0.0", "router_id"),
            ("65001", "0", "peers[0].remote_as"),
            ("10.0.1.1", "fe80::1", "peers[0].address"),
            ("10.0.1.1", "224.0.0.1", "peers[0].address"),
            ("65001", "65001\nhold_time = \"2s\"", "peers[0].hold_time"),
            (
                "65001",
                "65001\nhold_time = \"3500ms\"",
                "peers[0].hold_time",
            ),
            ("65001", "65001\nsource = \"fd00::1\"", "peers[0].source"),
            ("65001", "65001\npassword = \"\"", "peers[0].password"),
            ("65001", "65001\nfamilies = []", "peers[0].families"),
            ("65001", "65001\nretry = \"0s\"", "peers[0].retry"),
            (
                "65001",
                "65001\nsend_hold_time = \"90s\"",
                "peers[0].send_hold_time",
            ),
        ];
        for (from, to, field) in cases {
            let bgp: Bgp = toml::from_str(&MINIMAL.replace(from, to)).unwrap();
            let report = bgp.validate().unwrap_err().to_string();
            assert!(report.starts_with(&format!("{field}:")), "{to}: {report}");
        }
    }

    #[test]
    fn two_peers_with_one_name_or_address_are_refused() {
        let bgp: Bgp = toml::from_str(MINIMAL).unwrap();
        let twice = Bgp {
            peers: vec![bgp.peers[0].clone(), bgp.peers[0].clone()],
            ..bgp
        };
        assert!(twice.validate().unwrap_err().to_string().contains("`r1`"));
    }

    #[test]
    fn a_password_is_never_shown() {
        let text = MINIMAL.replace("65001", "65001\npassword = \"sesame\"");
        let bgp: Bgp = toml::from_str(&text).unwrap();
        assert!(!format!("{bgp:?}").contains("sesame"));
        assert!(!serde_json::to_string(&bgp).unwrap().contains("sesame"));
    }
}
