//! The path attributes that an operator chooses for a route.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Community, ExtendedCommunity, LargeCommunity};

/// The most communities of one kind on one route: all of them fit an UPDATE beside the rest.
const MAX_COMMUNITIES: usize = 64;

/// How a route is announced: what the operator decides, before what each session adds
/// (ORIGIN, AS_PATH, the default next hop).
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, garde::Validate,
)]
#[serde(deny_unknown_fields, default)]
pub struct Attributes {
    /// MULTI_EXIT_DISC: among routes from the same neighbour AS, lower is preferred. Absent: not sent.
    #[garde(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// How many times our AS is put in front of the AS path in addition to the one that eBGP
    /// requires. Not used towards iBGP peers.
    #[garde(range(max = 32))]
    pub prepend: u8,
    /// LOCAL_PREF towards iBGP peers: higher is preferred; 100 when absent. Never sent to eBGP peers.
    #[garde(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_preference: Option<u32>,
    /// Standard communities (RFC 1997), at most 64.
    #[garde(length(max = MAX_COMMUNITIES))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<Community>,
    /// Large communities (RFC 8092), at most 64.
    #[garde(length(max = MAX_COMMUNITIES))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub large_communities: Vec<LargeCommunity>,
    /// Extended communities (RFC 4360), at most 64.
    #[garde(length(max = MAX_COMMUNITIES))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extended_communities: Vec<ExtendedCommunity>,
    /// Next hops to announce instead of the session's own.
    #[garde(dive)]
    #[serde(skip_serializing_if = "NextHop::is_empty")]
    pub next_hop: NextHop,
}

/// A next hop for each address family; absent: decided by the peer's setting or the session.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    garde::Validate,
)]
#[serde(deny_unknown_fields, default)]
pub struct NextHop {
    /// Next hop of IPv4 prefixes.
    #[garde(inner(custom(|v4: &Ipv4Addr, _: &()| router((*v4).into()))))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// Next hop of IPv6 prefixes.
    #[garde(inner(custom(|v6: &Ipv6Addr, _: &()| router((*v6).into()))))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
}

/// A next hop is one router (RFC 4271 §5.1.3).
fn router(address: IpAddr) -> garde::Result {
    let special = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    if special || address.is_unspecified() || address.is_multicast() {
        return Err(garde::Error::new(format!(
            "{address} is not the address of one router"
        )));
    }
    Ok(())
}

impl NextHop {
    /// Whether neither family has one.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This one, with what it leaves open filled in from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            ipv4: self.ipv4.or(other.ipv4),
            ipv6: self.ipv6.or(other.ipv6),
        }
    }
}

impl Attributes {
    /// These attributes with one more community; the same if it is there already.
    #[must_use]
    pub fn with_community(mut self, community: Community) -> Self {
        if !self.communities.contains(&community) {
            self.communities.push(community);
        }
        self
    }
}
