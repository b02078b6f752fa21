//! What is on this host: reads, and changes nothing.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::Handle;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};

use super::messages::local_routes;
use super::{Item, PROTOCOL};

/// What was found.
pub(super) struct Present {
    /// What carries our mark.
    pub(super) marked: BTreeSet<Item>,
    /// Addresses that do not.
    pub(super) others: HashSet<Item>,
}

/// Reads the addresses of all interfaces, and the routes that are ours: the kernel leaves out the others.
pub(super) async fn on_this_host(handle: &Handle) -> Result<Present, rtnetlink::Error> {
    let mut present = Present {
        marked: BTreeSet::new(),
        others: HashSet::new(),
    };
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await? {
        let Some(item) = address_of(&message) else {
            continue;
        };
        if is_marked(&message) {
            present.marked.insert(item);
        } else {
            present.others.insert(item);
        }
    }
    let families: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    for family in families {
        let filter = local_routes(family);
        let header = filter.header.clone();
        let mut routes = handle.route().get(filter).execute();
        while let Some(message) = routes.try_next().await? {
            // A kernel before 5.0 does not filter.
            let same = message.header.table == header.table
                && message.header.protocol == header.protocol
                && message.header.kind == header.kind;
            present
                .marked
                .extend(same.then(|| route_of(&message)).flatten());
        }
    }
    Ok(present)
}

fn is_marked(message: &AddressMessage) -> bool {
    let mut attributes = message.attributes.iter();
    attributes.any(|attribute| {
        matches!(attribute, AddressAttribute::Protocol(mark) if u8::from(*mark) == PROTOCOL)
    })
}

/// Of a point-to-point interface's two addresses, the one at this end.
fn address_of(message: &AddressMessage) -> Option<Item> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => {
                address = Some(*local);
                break;
            }
            AddressAttribute::Address(other) => address = Some(*other),
            _ => {}
        }
    }
    Some(Item::Address(message.header.index, address?))
}

fn route_of(message: &RouteMessage) -> Option<Item> {
    let (mut index, mut network) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(found) => index = Some(*found),
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => network = Some((*v4).into()),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => network = Some((*v6).into()),
            _ => {}
        }
    }
    let prefix = IpNet::new(network?, message.header.destination_prefix_length).ok()?;
    Some(Item::Route(index?, prefix))
}
