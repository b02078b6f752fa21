//! The routes that the controller wants announced, as one value with a generation.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::Attributes;
use super::shared_map::{Change, SharedMap};

/// Attributes for some peers, by name.
pub type AttributesByPeer = BTreeMap<String, Arc<Attributes>>;

/// One route to announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The service that owns the prefix; peers can be limited to some services.
    pub service: Arc<str>,
    /// How it is announced. Routes that share one `Arc` compare and pack fastest.
    pub attributes: Arc<Attributes>,
    /// How it is announced to those peers that are told something else.
    pub by_peer: Option<Arc<AttributesByPeer>>,
    /// The peers that get it, by name; `None`: all of them.
    pub peers: Option<Arc<[String]>>,
}

impl Route {
    /// A route for all peers.
    pub fn new(service: &str, attributes: Attributes) -> Self {
        Self {
            service: service.into(),
            attributes: Arc::new(attributes),
            by_peer: None,
            peers: None,
        }
    }

    /// Whether another route shares all of this one's parts (cheap; equal parts may still be apart).
    pub fn is_same(&self, other: &Self) -> bool {
        same(self.peers.as_ref(), other.peers.as_ref())
            && same(self.by_peer.as_ref(), other.by_peer.as_ref())
            && Arc::ptr_eq(&self.attributes, &other.attributes)
            && Arc::ptr_eq(&self.service, &other.service)
    }

    /// How it is announced to the peer of this name.
    pub fn attributes_for(&self, peer: &str) -> &Arc<Attributes> {
        let own = self.by_peer.as_ref().and_then(|told| told.get(peer));
        own.unwrap_or(&self.attributes)
    }

    /// Whether the peer of this name is among those that get it.
    pub fn is_for(&self, peer: &str) -> bool {
        self.peers
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == peer))
    }
}

fn same<T: ?Sized>(ours: Option<&Arc<T>>, theirs: Option<&Arc<T>>) -> bool {
    match (ours, theirs) {
        (None, None) => true,
        (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Everything that should be announced. A later value replaces an earlier one as a whole; made from a copy
/// of the earlier one, it shares what has not changed, and the difference is found without a look at that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredRoutes {
    /// Grows with every decision; peers report the generation that they have applied.
    pub generation: u64,
    /// Announced or not, none of them is a next hop.
    service_addresses: Arc<HashSet<IpAddr>>,
    routes: SharedMap<Route>,
}

impl DesiredRoutes {
    /// No routes, at a generation.
    pub fn new(generation: u64) -> Self {
        Self {
            generation,
            service_addresses: Arc::default(),
            routes: SharedMap::default(),
        }
    }

    /// No routes yet, of services with these addresses.
    pub fn of_services(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            service_addresses: Arc::new(addresses.into_iter().collect()),
            ..Self::new(0)
        }
    }

    /// Whether an address is a service's, or announced by itself: no route may lead through it.
    pub fn is_service_address(&self, address: IpAddr) -> bool {
        self.service_addresses.contains(&address) || self.routes.get(&address.into()).is_some()
    }

    /// Adds a route, or replaces the one for the same prefix. Host bits are cleared.
    pub fn insert(&mut self, prefix: IpNet, route: Route) {
        self.routes.insert(prefix.trunc(), route);
    }

    /// Removes the route for a prefix.
    pub fn remove(&mut self, prefix: IpNet) -> Option<Route> {
        self.routes.remove(&prefix.trunc())
    }

    /// The routes, in the order of their prefixes.
    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, &Route)> {
        self.routes.iter()
    }

    /// The routes that are not the same in `older`, in the order of their prefixes.
    pub fn changes_since<'a>(&'a self, older: &'a Self) -> Vec<Change<'a, Route>> {
        self.routes
            .changes_since(&older.routes, |was, is| was.is_same(is) || was == is)
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.routes.len() == 0
    }
}

impl Extend<(IpNet, Route)> for DesiredRoutes {
    fn extend<T: IntoIterator<Item = (IpNet, Route)>>(&mut self, routes: T) {
        for (prefix, route) in routes {
            self.insert(prefix, route);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_service_is_no_next_hop_before_it_is_announced_and_after() {
        let [service, node] = ["fd00:250::1", "fd00::2"].map(|text| text.parse().unwrap());
        let mut desired = DesiredRoutes::of_services([service]);
        for generation in 1..3 {
            assert!(desired.is_service_address(service));
            assert!(!desired.is_service_address(node));
            desired = DesiredRoutes {
                generation,
                ..desired.clone()
            };
        }
    }
}
