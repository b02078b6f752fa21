//! Addresses and routes as messages to the kernel. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::AddressMessageBuilder;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use super::PROTOCOL;

/// The routing table of what is this host's (`RT_TABLE_LOCAL`).
const LOCAL_TABLE: u8 = 255;

/// A Service Address on an interface.
pub(super) fn host_address(index: u32, address: IpAddr) -> AddressMessage {
    let mut message = match address {
        IpAddr::V4(v4) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(v4, 32)
            .build(),
        IpAddr::V6(v6) => {
            let mut message = AddressMessageBuilder::<Ipv6Addr>::new()
                .index(index)
                .address(v6, 128)
                .build();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
            let mut lifetimes = CacheInfo::default();
            lifetimes.ifa_preferred = 0;
            lifetimes.ifa_valid = u32::MAX;
            message
                .attributes
                .push(AddressAttribute::CacheInfo(lifetimes));
            message
        }
    };
    let mark = AddressProtocol::Other(PROTOCOL);
    message.attributes.push(AddressAttribute::Protocol(mark));
    message
}

/// A route that makes a prefix this host's.
pub(super) fn local_route(index: u32, prefix: IpNet) -> RouteMessage {
    let mut message = local_routes(prefix.addr());
    message.header.scope = RouteScope::Host;
    message.header.destination_prefix_length = prefix.prefix_len();
    let destination = RouteAddress::from(prefix.network());
    message.attributes = vec![
        RouteAttribute::Destination(destination),
        RouteAttribute::Oif(index),
    ];
    message
}

/// What all our routes of a family have in common: a filter for reading them.
pub(super) fn local_routes(family: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match family {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.table = LOCAL_TABLE;
    message.header.protocol = RouteProtocol::from(PROTOCOL);
    message.header.kind = RouteType::Local;
    message
}
