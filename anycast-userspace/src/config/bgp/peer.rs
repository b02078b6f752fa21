//! One entry of `[[bgp.peers]]`: a peer by address, by interface, or all peers of a prefix.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule;
use super::{AoKey, Bgp, Family, OverridesByState, PORT, Password, RemoteAs, Role};
use crate::config::Span;
use crate::config::bfd::Bfd;
use crate::config::dataplane::prefix;
use crate::config::paths::absolute;
use crate::config::rules::interface_name;
use crate::rib::{Community, NextHop};

/// The most sessions of one prefix, unless `limit` says otherwise.
const DEFAULT_LIMIT: u16 = 100;

/// One peer, or all peers of a prefix. Exactly one of these says where: `address`, `prefix`, or
/// `interface` alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// A short name, for messages and for `peers = […]` of a service.
    #[garde(length(min = 1, max = 64))]
    pub name: String,
    /// The peer's address; a link-local one needs `interface`.
    #[garde(inner(custom(rule::host(&self.interface))))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Every address of this prefix may connect, up to `limit` of them; we connect to none. Each session
    /// is shown as `NAME@ADDRESS` while it lasts.
    #[garde(inner(custom(rule::many_hosts)))]
    #[serde(
        default,
        deserialize_with = "prefix",
        skip_serializing_if = "Option::is_none"
    )]
    pub prefix: Option<IpNet>,
    /// The most sessions of `prefix` at a time. Default: 100.
    #[garde(inner(range(min = 1, max = 10_000)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
    /// The peer's AS number (ours makes the session iBGP), `"external"` for any but ours, `"internal"`
    /// for ours; or a range or list of numbers.
    #[garde(skip)]
    pub remote_as: RemoteAs,
    /// The peer's TCP port.
    #[garde(range(min = 1))]
    #[serde(default = "port")]
    pub port: u16,
    /// The address that we connect from; the kernel chooses when absent.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The interface of a link-local `address`. Without `address`: the one router at the other end of
    /// this interface, found by router advertisements, or when it connects (unnumbered).
    #[garde(inner(length(min = 1, max = 15), custom(interface_name)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The device that the session is bound to: a VRF, or an interface.
    #[garde(inner(length(min = 1, max = 15), custom(interface_name)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Wait for the peer to connect; never connect to it.
    #[garde(skip)]
    #[serde(default)]
    pub passive: bool,
    /// Proposed Hold Time: whole seconds, at least 3, or 0 for no keepalives. The lower of both sides holds.
    #[garde(custom(rule::hold_time))]
    #[serde(default = "hold_time")]
    pub hold_time: Span,
    /// End the session when the peer has taken nothing for this long although there was something to
    /// send (RFC 9687). Default: the greater of 8 minutes and twice the Hold Time.
    #[garde(inner(custom(rule::longer_than(&self.hold_time))))]
    #[serde(default)]
    pub send_hold_time: Option<Span>,
    /// First wait before a lost session is opened again; doubles up to `retry_max`, with jitter.
    #[garde(custom(rule::positive))]
    #[serde(default = "retry")]
    pub retry: Span,
    /// Longest wait between attempts.
    #[garde(custom(rule::positive))]
    #[serde(default = "retry_max")]
    pub retry_max: Span,
    /// Address families to announce.
    #[garde(length(min = 1))]
    #[serde(default = "families")]
    pub families: Vec<Family>,
    /// Next hops towards this peer, where a service sets none. Default: our address of the session;
    /// for the other family, an address of the session's interface.
    #[garde(dive)]
    #[serde(default)]
    pub next_hop: NextHop,
    /// Shared secret of TCP MD5 signatures (RFC 2385).
    #[garde(custom(rule::secret(&self.password_file, "password_file")))]
    #[serde(default)]
    pub password: Option<Password>,
    /// File that holds the shared secret: its first line.
    #[garde(inner(custom(absolute)))]
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// TCP-AO keys (RFC 5925), the preferred one first; needs a kernel that has it. Not with `password`.
    #[garde(dive, length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ao_keys: Vec<AoKey>,
    /// Accept only packets that no router has forwarded (GTSM, RFC 5082); both sides need it.
    #[garde(custom(rule::ttl_security(&self.multihop)))]
    #[serde(default)]
    pub ttl_security: bool,
    /// Hops to an eBGP peer that is not on the same link; with `ttl_security`, the most allowed.
    #[garde(inner(range(min = 1)))]
    #[serde(default)]
    pub multihop: Option<u8>,
    /// Notice within milliseconds that the peer is gone (RFC 5882); absent: only by the Hold Time.
    #[garde(dive)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<Bfd>,
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
    /// Path attributes towards this peer that replace those of the services, by state.
    #[garde(dive)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<OverridesByState>,
    /// Communities put on every route towards this peer.
    #[garde(length(max = 64))]
    #[serde(default)]
    pub communities: Vec<Community>,
    /// Most prefixes to announce, as a safety catch: beyond it, what is announced stays as it is.
    #[garde(range(min = 1))]
    #[serde(default = "max_prefixes")]
    pub max_prefixes: u32,
}

impl Peer {
    /// The most sessions of `prefix` at a time.
    pub fn session_limit(&self) -> usize {
        usize::from(self.limit.unwrap_or(DEFAULT_LIMIT))
    }

    /// Whether its segments are signed.
    pub fn is_signed(&self) -> bool {
        self.password.is_some() || self.password_file.is_some() || !self.ao_keys.is_empty()
    }

    /// What signs its segments, as far as the configuration tells.
    pub(super) fn keys(&self) -> (Option<&Password>, Option<&Path>, &[AoKey]) {
        let file = self.password_file.as_deref();
        (self.password.as_ref(), file, &self.ao_keys)
    }

    /// Whether both are at one link-local address, on different links, and come to one listener.
    pub(super) fn shares_address(&self, other: &Self) -> bool {
        let apart = self.device.is_some() && other.device.is_some() && self.device != other.device;
        let link_local = self.address.is_some_and(rule::is_link_local);
        link_local && self.address == other.address && self.interface != other.interface && !apart
    }

    /// Whether the peer is the router at the other end of `interface`.
    pub fn is_unnumbered(&self) -> bool {
        self.interface.is_some() && self.address.is_none() && self.prefix.is_none()
    }

    /// The field that says where the peer is, and the place.
    pub(super) fn place(&self) -> Option<(&'static str, String)> {
        let via = |name: &Option<String>| {
            name.as_ref()
                .map(|name| format!("%{name}"))
                .unwrap_or_default()
        };
        if let Some(address) = self.address {
            let scope = via(&self.interface) + &via(&self.device);
            return Some(("address", format!("{address}{scope}")));
        }
        if let Some(prefix) = self.prefix {
            return Some(("prefix", format!("{prefix}{}", via(&self.device))));
        }
        let interface = self.interface.as_ref()?;
        Some(("interface", interface.clone()))
    }

    /// Fields that do not go together: pairs of a field and a message.
    pub(super) fn contradictions(&self, bgp: &Bgp) -> Vec<(&'static str, String)> {
        let ranged = self.prefix.is_some();
        let unnumbered = self.is_unnumbered();
        let nowhere = self.address.is_none() && !ranged && self.interface.is_none();
        let signed = self.password.is_some() || self.password_file.is_some();
        let external = self.remote_as.is_external(bgp.local_as);
        let other_family = self
            .source
            .zip(self.address)
            .is_some_and(|(source, address)| source.is_ipv4() != address.is_ipv4());
        let rules = [
            (
                nowhere,
                "address",
                "is missing: say where the peer is, by `address`, `prefix` or `interface`",
            ),
            (
                ranged && self.address.is_some(),
                "prefix",
                "is given beside `address`: a peer is at one place",
            ),
            (
                ranged && self.interface.is_some(),
                "interface",
                "is given beside `prefix`: a peer is at one place",
            ),
            (
                !ranged && self.limit.is_some(),
                "limit",
                "is for peers by `prefix`",
            ),
            (
                ranged && self.source.is_some(),
                "source",
                "is never used: peers of a `prefix` connect to us",
            ),
            (
                unnumbered && self.source.is_some(),
                "source",
                "is the link-local address of `interface`",
            ),
            (
                other_family,
                "source",
                "is not of the same family as `address`",
            ),
            (
                unnumbered && self.multihop.is_some(),
                "multihop",
                "is not for a peer at the other end of an interface",
            ),
            (
                self.bfd.is_some() && self.address.is_none(),
                "bfd",
                "needs the `address` of the peer",
            ),
            (
                self.multihop.is_some_and(|hops| hops > 1)
                    && self.bfd.as_ref().is_some_and(|bfd| !bfd.multihop),
                "bfd",
                "hears no router but those on the link: beside the peer's `multihop`, write `multihop = true` \
                 here as well (RFC 5883)",
            ),
            (
                signed && !self.ao_keys.is_empty(),
                "ao_keys",
                "cannot be used beside a `password`: a segment has one signature",
            ),
            (
                self.role.is_some() && !external,
                "role",
                "is for external peers (RFC 9234 §4)",
            ),
            (
                self.strict_role && bgp.role_towards(self).is_none(),
                "strict_role",
                "needs a `role` of ours, or `roles = true`",
            ),
        ];
        let mut found: Vec<(&'static str, String)> = rules
            .into_iter()
            .filter(|(broken, ..)| *broken)
            .map(|(_, field, message)| (field, message.to_owned()))
            .collect();
        if self.retry > self.retry_max {
            let fault = format!(
                "{} is longer than `retry_max`, {}",
                self.retry, self.retry_max
            );
            found.push(("retry", fault));
        }
        if let Some(fault) = self.remote_as.fault(bgp.local_as) {
            found.push(("remote_as", fault));
        }
        if let Some(id) = self.repeated_key() {
            found.push(("ao_keys", format!("two keys are received as {id}")));
        }
        found
    }

    fn repeated_key(&self) -> Option<u8> {
        let mut seen = [false; 256];
        self.ao_keys
            .iter()
            .map(AoKey::received_as)
            .find(|id| std::mem::replace(&mut seen[usize::from(*id)], true))
    }
}

fn port() -> u16 {
    PORT
}

fn hold_time() -> Span {
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
