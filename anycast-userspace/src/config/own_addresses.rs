//! What the file says of the Service Addresses elsewhere: no other router has one of them, and each is
//! announced.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Announcer, Bgp, Config, NextHop, Service};

/// What is wrong with the whole: pairs of a field's path and a message.
pub(super) fn problems(config: &Config) -> Vec<(String, String)> {
    let owners: HashMap<IpAddr, &str> = config
        .services
        .iter()
        .flat_map(|service| {
            let owned = move |address: &IpAddr| (*address, service.name.as_str());
            service.addresses.iter().map(owned)
        })
        .collect();
    let mut problems: Vec<_> = of_routers(config)
        .filter_map(|(path, address)| {
            let owner = owners.get(&address)?;
            let message =
                format!("{address} is a Service Address, of `{owner}`: no other router has it");
            Some((path, message))
        })
        .collect();
    for (index, service) in config.services.iter().enumerate() {
        problems.extend(never_announced(service).map(|(at, address)| {
            (
                format!("services[{index}].addresses[{at}]"),
                format!("{address} lies in none of the service's `prefixes`: it would never be announced"),
            )
        }));
    }
    problems
}

/// The addresses that must be those of other routers, each with its path.
fn of_routers(config: &Config) -> impl Iterator<Item = (String, IpAddr)> {
    let peers = config.bgp.iter().flat_map(|bgp| &bgp.peers).enumerate();
    let peers =
        peers.filter_map(|(at, peer)| Some((format!("bgp.peers[{at}].address"), peer.address?)));
    let services = config
        .services
        .iter()
        .enumerate()
        .flat_map(|(at, service)| {
            let attributes = &service.attributes;
            by_state(
                format!("services[{at}].attributes"),
                Some(attributes.up.next_hop),
                attributes.degraded.as_ref().map(|state| state.next_hop),
                attributes.draining.as_ref().map(|state| state.next_hop),
            )
        });
    let next_hops = services.chain(config.bgp.iter().flat_map(towards_peers));
    let next_hops = next_hops.flat_map(|(path, next_hop)| {
        let v4 = next_hop.ipv4.map(|v4| (format!("{path}.ipv4"), v4.into()));
        let v6 = next_hop.ipv6.map(|v6| (format!("{path}.ipv6"), v6.into()));
        v4.into_iter().chain(v6)
    });
    peers.chain(next_hops)
}

fn towards_peers(bgp: &Bgp) -> impl Iterator<Item = (String, NextHop)> {
    bgp.peers.iter().enumerate().flat_map(|(at, peer)| {
        let attributes = peer.attributes.as_ref();
        let own = (format!("bgp.peers[{at}].next_hop"), peer.next_hop);
        by_state(
            format!("bgp.peers[{at}].attributes"),
            attributes.map(|states| states.up.next_hop),
            attributes.and_then(|states| Some(states.degraded.as_ref()?.next_hop)),
            attributes.and_then(|states| Some(states.draining.as_ref()?.next_hop)),
        )
        .chain([own])
    })
}

fn by_state(
    path: String,
    up: Option<NextHop>,
    degraded: Option<NextHop>,
    draining: Option<NextHop>,
) -> impl Iterator<Item = (String, NextHop)> {
    [("up", up), ("degraded", degraded), ("draining", draining)]
        .into_iter()
        .filter_map(move |(state, next_hop)| Some((format!("{path}.{state}.next_hop"), next_hop?)))
}

/// The addresses of a service that its prefixes leave out, with their positions.
fn never_announced(service: &Service) -> impl Iterator<Item = (usize, IpAddr)> {
    let announces = service.announce.contains(&Announcer::Bgp) && !service.prefixes.is_empty();
    let prefixes: HashSet<IpNet> = service.prefixes.iter().map(IpNet::trunc).collect();
    let lengths: BTreeSet<u8> = prefixes.iter().map(IpNet::prefix_len).collect();
    let covered = move |address: IpAddr| {
        lengths.iter().any(|length| {
            IpNet::new(address, *length).is_ok_and(|around| prefixes.contains(&around.trunc()))
        })
    };
    let addresses = service.addresses.iter().copied().enumerate();
    addresses.filter(move |(_, address)| announces && !covered(*address))
}
