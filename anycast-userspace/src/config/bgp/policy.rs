//! What one peer is told differently from the others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rib::{Attributes, Community, ExtendedCommunity, LargeCommunity, NextHop};

/// The most communities of one kind, as in `Attributes`.
const MAX_COMMUNITIES: usize = 64;

/// Path attributes towards one peer, by the service's state: what is set here replaces what the service
/// sets.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, garde::Validate,
)]
#[serde(deny_unknown_fields, default)]
pub struct OverridesByState {
    /// While the service is up.
    #[garde(dive)]
    pub up: AttributeOverrides,
    /// While it is degraded. Default: as `up`.
    #[garde(dive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<AttributeOverrides>,
    /// While it is being drained. Default: as `up`, but never better than the service's own: its MED,
    /// LOCAL_PREF and GRACEFUL_SHUTDOWN (RFC 8326) stay.
    #[garde(dive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining: Option<AttributeOverrides>,
}

impl OverridesByState {
    /// What the peer is told of a service that is up.
    pub fn up(&self, service: &Attributes) -> Attributes {
        self.up.over(service)
    }

    /// What the peer is told of a degraded service.
    pub fn degraded(&self, service: &Attributes) -> Attributes {
        self.degraded.as_ref().unwrap_or(&self.up).over(service)
    }

    /// What the peer is told of a service that is being drained.
    pub fn draining(&self, service: &Attributes) -> Attributes {
        if let Some(overrides) = &self.draining {
            return overrides.over(service);
        }
        let told = Attributes {
            med: service.med,
            local_preference: service.local_preference,
            ..self.up.over(service)
        };
        if service.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
            told.with_community(Community::GRACEFUL_SHUTDOWN)
        } else {
            told
        }
    }
}

/// Path attributes that replace those of a service; absent: the service's.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, garde::Validate,
)]
#[serde(deny_unknown_fields, default)]
pub struct AttributeOverrides {
    /// MULTI_EXIT_DISC.
    #[garde(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// How many times our AS is put in front of the AS path in addition.
    #[garde(inner(range(max = 32)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepend: Option<u8>,
    /// LOCAL_PREF, towards iBGP peers.
    #[garde(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_preference: Option<u32>,
    /// Standard communities (RFC 1997).
    #[garde(inner(length(max = MAX_COMMUNITIES)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communities: Option<Vec<Community>>,
    /// Large communities (RFC 8092).
    #[garde(inner(length(max = MAX_COMMUNITIES)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub large_communities: Option<Vec<LargeCommunity>>,
    /// Extended communities (RFC 4360).
    #[garde(inner(length(max = MAX_COMMUNITIES)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended_communities: Option<Vec<ExtendedCommunity>>,
    /// Next hops.
    #[garde(dive)]
    #[serde(skip_serializing_if = "NextHop::is_empty")]
    pub next_hop: NextHop,
}

impl AttributeOverrides {
    /// The service's attributes with these in their place.
    fn over(&self, service: &Attributes) -> Attributes {
        fn list<T: Clone>(ours: Option<&Vec<T>>, theirs: &[T]) -> Vec<T> {
            ours.map_or_else(|| theirs.to_vec(), Clone::clone)
        }
        Attributes {
            med: self.med.or(service.med),
            prepend: self.prepend.unwrap_or(service.prepend),
            local_preference: self.local_preference.or(service.local_preference),
            communities: list(self.communities.as_ref(), &service.communities),
            large_communities: list(self.large_communities.as_ref(), &service.large_communities),
            extended_communities: list(
                self.extended_communities.as_ref(),
                &service.extended_communities,
            ),
            next_hop: self.next_hop.or(service.next_hop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AttributesByState;

    fn service() -> AttributesByState {
        toml::from_str("up = { med = 10, communities = [\"64512:1\"] }").unwrap()
    }

    fn peer(text: &str) -> OverridesByState {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_the_peer_sets_replaces_what_the_service_sets() {
        let peer = peer("up = { prepend = 2, communities = [\"65001:7\"] }");
        let told = peer.up(&service().up);
        assert_eq!((told.med, told.prepend), (Some(10), 2));
        assert_eq!(told.communities, ["65001:7".parse().unwrap()]);
        assert_eq!(peer.degraded(&service().degraded()), told);
    }

    #[test]
    fn a_drain_stays_a_drain_towards_a_peer_with_attributes_of_its_own() {
        let told = peer("up = { med = 5, prepend = 1, communities = [\"65001:7\"] }")
            .draining(&service().draining());
        assert_eq!((told.med, told.prepend), (Some(u32::MAX), 1));
        let communities = ["65001:7".parse().unwrap(), Community::GRACEFUL_SHUTDOWN];
        assert_eq!(told.communities, communities);

        let chosen = peer("draining = { med = 7 }").draining(&service().draining());
        assert_eq!(chosen.med, Some(7));
        assert!(chosen.communities.contains(&Community::GRACEFUL_SHUTDOWN));
    }
}
