//! What the data plane shall hold, in the controller's words, and its encoding as map entries. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anycast_common::abi::{self, Limit, PortRange, feature, policy};
use ipnet::IpNet;

use super::error::DataPlaneError;
use crate::config::dataplane::{Fragments, Limits, Policy, Port, Rate, SourceLimit};

pub use crate::decision::DataPlaneMode as State;

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Init,
        Self::Up,
        Self::Degraded,
        Self::Draining,
        Self::Lingering,
        Self::Down,
        Self::Disabled,
    ];

    /// The number in the map.
    pub const fn number(self) -> u32 {
        match self {
            Self::Init => abi::INIT,
            Self::Up => abi::UP,
            Self::Degraded => abi::DEGRADED,
            Self::Draining => abi::DRAINING,
            Self::Lingering => abi::LINGERING,
            Self::Down => abi::DOWN,
            Self::Disabled => abi::DISABLED,
        }
    }
}

/// One service as the data plane shall know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its name; it keeps its id in the maps as long as it keeps its name.
    pub name: String,
    /// Its health.
    pub state: State,
    /// Its Service Addresses.
    pub addresses: Vec<IpAddr>,
    /// Served ports.
    pub ports: Vec<Port>,
    /// Further IP protocols that are passed.
    pub protocols: Vec<u8>,
    /// What packets get while it is not up.
    pub on_down: Policy,
    /// What packets to other ports get.
    pub unlisted: Policy,
    /// What fragments without ports get.
    pub fragments: Fragments,
    /// Answer ARP and neighbour discovery while up; while not up, keep the stack from answering.
    pub neighbor: bool,
    /// Answer `CH TXT id.server` with [`Desired::identity`].
    pub identity: bool,
    /// Sources that are never denied.
    pub allow: Vec<IpNet>,
    /// Sources whose packets are dropped.
    pub deny: Vec<IpNet>,
    /// Rate limits.
    pub limits: Limits,
}

/// Everything that the data plane shall hold; services are named by their place here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The services.
    pub services: Vec<Service>,
    /// What the node calls itself in DNS; 63 bytes at most.
    pub identity: Option<String>,
    /// Sources that are never denied, at any service.
    pub allow: Vec<IpNet>,
    /// Sources whose packets are dropped, at every service.
    pub deny: Vec<IpNet>,
    /// Sources that no source limit applies to.
    pub exempt: Vec<IpNet>,
}

impl Desired {
    /// The features that the program needs for it: [`feature`] bits.
    pub(super) fn features(&self) -> u64 {
        let any = |test: fn(&Service) -> bool| self.services.iter().any(test);
        let listed = !self.allow.is_empty() || !self.deny.is_empty();
        let rejects = |service: &Service| {
            service.on_down == Policy::Reject || service.unlisted == Policy::Reject
        };
        [
            (feature::NEIGHBOR, any(|service| service.neighbor)),
            (feature::LISTS, listed || any(Service::has_lists)),
            (
                feature::SOURCE_LIMITS,
                any(|service| service.limits.source.is_some()),
            ),
            (
                feature::SERVICE_LIMITS,
                any(|service| service.limits.echo.is_some() || service.limits.packets.is_some()),
            ),
            (feature::REJECT, any(rejects)),
            (
                feature::IDENTITY,
                self.identity.is_some() && any(|service| service.identity),
            ),
        ]
        .into_iter()
        .filter_map(|(bit, needed)| needed.then_some(bit))
        .fold(0, std::ops::BitOr::bitor)
    }
}

impl Service {
    /// The entry that the map `SERVICES` shall hold for it.
    ///
    /// # Errors
    /// [`DataPlaneError::TooMany`] of its ports or protocols.
    pub fn entry(&self) -> Result<abi::Service, DataPlaneError> {
        let mut entry = abi::Service {
            state: self.state.number(),
            on_down: number(self.on_down),
            unlisted: number(self.unlisted),
            fragments: match self.fragments {
                Fragments::Pass => policy::PASS,
                Fragments::Drop => policy::DROP,
            },
            neighbor: self.neighbor.into(),
            identity: self.identity.into(),
            lists: self.has_lists().into(),
            echo_limit: self.limits.echo.map_or(Limit::NONE, Rate::limit),
            reject_limit: self.limits.reject.limit(),
            packet_limit: self.limits.packets.map_or(Limit::NONE, Rate::limit),
            ..abi::Service::default()
        };
        if let Some(source) = self.limits.source {
            let SourceLimit {
                rate,
                burst,
                v4_prefix,
                v6_prefix,
            } = source;
            entry.source_limit = Rate { rate, burst }.limit();
            entry.source_prefix_v4 = v4_prefix.into();
            entry.source_prefix_v6 = v6_prefix.into();
        }
        self.fits("port ranges", self.ports.len(), entry.ports.len())?;
        for (range, port) in entry.ports.iter_mut().zip(&self.ports) {
            *range = PortRange {
                protocol: port.transport.number().into(),
                first: port.first,
                last: port.last,
            };
        }
        self.fits("protocols", self.protocols.len(), entry.protocols.len())?;
        for (slot, protocol) in entry.protocols.iter_mut().zip(&self.protocols) {
            *slot = *protocol;
        }
        Ok(entry)
    }

    fn has_lists(&self) -> bool {
        !self.allow.is_empty() || !self.deny.is_empty()
    }

    fn fits(&self, what: &'static str, count: usize, room: usize) -> Result<(), DataPlaneError> {
        if count <= room {
            return Ok(());
        }
        Err(DataPlaneError::TooMany {
            service: self.name.clone(),
            what,
            count,
            room,
        })
    }
}

const fn number(value: Policy) -> u32 {
    match value {
        Policy::Drop => policy::DROP,
        Policy::Pass => policy::PASS,
        Policy::Reject => policy::REJECT,
    }
}

/// Ids of services by name. An id is an index in the maps; 0 belongs to no service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids(BTreeMap<String, u32>);

impl Ids {
    /// The ids of `names`: those known keep theirs, others get the lowest that no known one has.
    pub(super) fn assign(&self, names: &[&str]) -> Result<Self, DataPlaneError> {
        let mut next = Self::default();
        for name in names {
            if let Some(id) = self.get(name) {
                next.0.insert((*name).to_owned(), id);
            }
        }
        let mut free = (1..).filter(|id| !self.0.values().any(|used| used == id));
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                return Err(DataPlaneError::SameName((*name).to_owned()));
            }
            if next.get(name).is_none()
                && let Some(id) = free.next()
            {
                next.0.insert((*name).to_owned(), id);
            }
        }
        Ok(next)
    }

    pub(super) fn get(&self, name: &str) -> Option<u32> {
        self.0.get(name).copied()
    }

    pub(super) fn name(&self, id: u32) -> Option<&str> {
        self.0
            .iter()
            .find(|(_, known)| **known == id)
            .map(|(name, _)| name.as_str())
    }

    pub(super) fn highest(&self) -> u32 {
        self.0.values().copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assign(ids: &Ids, names: &[&str]) -> Ids {
        ids.assign(names).unwrap()
    }

    #[test]
    fn a_service_keeps_its_id_while_others_come_and_go() {
        let first = assign(&Ids::default(), &["a", "b"]);
        assert_eq!((first.get("a"), first.get("b")), (Some(1), Some(2)));
        let second = assign(&first, &["c", "b"]);
        assert_eq!((second.get("b"), second.get("c")), (Some(2), Some(3)));
        let third = assign(&second, &["b", "c", "d"]);
        assert_eq!(
            third.get("d"),
            Some(1),
            "an id is free once its service is gone"
        );
    }

    #[test]
    fn two_services_of_one_name_are_refused() {
        let error = Ids::default().assign(&["a", "a"]).unwrap_err();
        assert!(error.to_string().contains("two services are named `a`"));
    }

    #[test]
    fn more_port_ranges_than_an_entry_holds_are_refused() {
        let service = Service {
            name: "dns".to_owned(),
            ports: vec!["udp/53".parse().unwrap(); 17],
            ..Service::default()
        };
        assert_eq!(
            service.entry().unwrap_err().to_string(),
            "service `dns`: 17 port ranges, where an entry has room for 16"
        );
    }

    #[test]
    fn states_that_serve_are_those_that_the_program_takes_for_serving() {
        for state in State::ALL {
            let entry = abi::Service {
                state: state.number(),
                ..abi::Service::default()
            };
            let wanted = matches!(state, State::Up | State::Degraded | State::Draining);
            assert_eq!(entry.serving(), wanted, "{state:?}");
        }
    }
}
