//! The packets that come in masses, decided in a straight line: IP without tags,
//! options, extension headers and fragments.
//!
//! It decides nothing that [`super::general`] would decide otherwise, and leaves to it whatever is rare: headers
//! that contradict the frame, and all answers but those to echo requests.

use super::transport::{self, Datagram, Fragment, TCP, UDP};
use super::{ETHERNET, icmp, identity, ipv4, ipv6, source};
use crate::abi::{LINGERING, Owner, Reason, Service, feature, policy};
use crate::iana::{self, ether_type, protocol};
use crate::packet::{Packet, be16, field};
use crate::tables::Tables;
use crate::verdict::{Answer, Verdict};

/// Offset of what follows the IP header.
const TRANSPORT_V4: usize = ETHERNET + ipv4::HEADER;
const TRANSPORT_V6: usize = ETHERNET + ipv6::HEADER;
/// What is looked at of every packet's transport: a UDP header, or as much of TCP and ICMP.
const HEAD: usize = UDP;
/// Version 4, and a header without options.
const V4_WITHOUT_OPTIONS: u8 = 0x45;

/// The verdict about a packet that is of the common kind.
#[inline(always)]
pub fn quick<P: Packet, T: Tables>(packet: &P, tables: &T) -> Option<Verdict> {
    let ethernet = packet.front::<ETHERNET>()?;
    let kind = be16::<12, _>(ethernet);
    if kind == ether_type::IPV4 {
        v4(packet, tables)
    } else if kind == ether_type::IPV6 {
        v6(packet, tables)
    } else {
        None
    }
}

#[inline(always)]
fn v4<P: Packet, T: Tables>(packet: &P, tables: &T) -> Option<Verdict> {
    let front = packet.front::<{ TRANSPORT_V4 + HEAD }>()?;
    let destination: &[u8; 4] = field::<{ ETHERNET + 16 }, _, _>(front);
    let Some(owner) = tables.owner_v4(destination) else {
        return Some(Verdict::not_ours(Reason::NotOurs));
    };
    let [first] = *field::<ETHERNET, 1, _>(front);
    let total = usize::from(be16::<{ ETHERNET + 2 }, _>(front));
    if first != V4_WITHOUT_OPTIONS
        || be16::<{ ETHERNET + 6 }, _>(front) & ipv4::FRAGMENTED != 0
        || total < ipv4::HEADER + HEAD
        || ETHERNET + total > packet.length()
    {
        return None;
    }
    let [carried] = *field::<{ ETHERNET + 9 }, 1, _>(front);
    let datagram = Datagram {
        network: ETHERNET,
        transport: TRANSPORT_V4,
        length: total - ipv4::HEADER,
        protocol: carried,
        icmp: protocol::ICMP,
        fragment: Fragment::None,
    };
    let head = field::<TRANSPORT_V4, HEAD, _>(front);
    let answerable = || {
        let header = field::<ETHERNET, { ipv4::HEADER }, _>(front);
        !source::to_group(front) && source::answerable_v4(header)
    };
    by_service::<P, T, { TRANSPORT_V4 + TCP }>(packet, tables, owner, &datagram, head, answerable)
}

#[inline(always)]
fn v6<P: Packet, T: Tables>(packet: &P, tables: &T) -> Option<Verdict> {
    let front = packet.front::<{ TRANSPORT_V6 + HEAD }>()?;
    let [carried] = *field::<{ ETHERNET + 6 }, 1, _>(front);
    let head = field::<TRANSPORT_V6, HEAD, _>(front);
    // Solicitations are sent to groups as well, which are nobody's Service Addresses.
    if tables.has(feature::NEIGHBOR)
        && carried == protocol::ICMPV6
        && head[0] != iana::icmpv6::ECHO_REQUEST
    {
        return None;
    }
    let destination: &[u8; 16] = field::<{ ETHERNET + 24 }, _, _>(front);
    let Some(owner) = tables.owner_v6(destination) else {
        return Some(Verdict::not_ours(Reason::NotOurs));
    };
    let [first] = *field::<ETHERNET, 1, _>(front);
    let payload = usize::from(be16::<{ ETHERNET + 4 }, _>(front));
    if first >> 4 != 6 || payload < HEAD || TRANSPORT_V6 + payload > packet.length() {
        return None;
    }
    let datagram = Datagram {
        network: ETHERNET,
        transport: TRANSPORT_V6,
        length: payload,
        protocol: carried,
        icmp: protocol::ICMPV6,
        fragment: Fragment::None,
    };
    let answerable = || {
        let header = field::<ETHERNET, { ipv6::HEADER }, _>(front);
        !source::to_group(front) && source::answerable_v6(header)
    };
    by_service::<P, T, { TRANSPORT_V6 + TCP }>(packet, tables, owner, &datagram, head, answerable)
}

/// The verdict about a packet to a Service Address. A TCP header would end at byte `TCP_END`; `answerable` says
/// whether its source is.
#[inline(always)]
fn by_service<P: Packet, T: Tables, const TCP_END: usize>(
    packet: &P,
    tables: &T,
    owner: Owner,
    datagram: &Datagram,
    head: &[u8; HEAD],
    answerable: impl Fn() -> bool,
) -> Option<Verdict> {
    let id = owner.service;
    let service = tables.service(id)?;
    let is_whole = if datagram.protocol == datagram.icmp {
        // Neighbour discovery is rare, and comes before the service's state.
        datagram.is_v4() || head[0] == iana::icmpv6::ECHO_REQUEST
    } else {
        match datagram.protocol {
            protocol::UDP => is_whole_udp(head, datagram),
            protocol::TCP => is_whole_tcp::<P, TCP_END>(packet, datagram),
            _ => false,
        }
    };
    if !is_whole {
        return None;
    }
    if !service.serving() {
        let drops = service.on_down == policy::DROP && service.state != LINGERING;
        return drops.then_some(Verdict::drop(id, Reason::Down));
    }
    // Whatever is left to others is left before the limits, which take a packet into account once.
    let verdict = if datagram.protocol == datagram.icmp {
        echo(id, datagram, head, answerable)?
    } else {
        to_port(tables, id, service, datagram, be16::<2, _>(head))?
    };
    Some(match limited(packet, tables, id, service, datagram) {
        Some(reason) => Verdict::drop(id, reason),
        None => verdict,
    })
}

/// The verdict about ICMP, but for the limits.
#[inline(always)]
fn echo(
    id: u32,
    datagram: &Datagram,
    head: &[u8; HEAD],
    answerable: impl Fn() -> bool,
) -> Option<Verdict> {
    let (request, answer) = if datagram.is_v4() {
        (iana::icmp::ECHO_REQUEST, Answer::EchoV4(datagram.place()))
    } else {
        (iana::icmpv6::ECHO_REQUEST, Answer::EchoV6(datagram.place()))
    };
    let is_echo = *field::<0, 2, _>(head) == [request, 0];
    (is_echo && answerable()).then_some(Verdict::answer(id, Reason::Echo, answer))
}

/// The verdict about a packet to a port, but for the limits.
#[inline(always)]
fn to_port<T: Tables>(
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
    port: u16,
) -> Option<Verdict> {
    if tables.has(feature::IDENTITY) && service.identity != 0 && port == identity::PORT {
        return None;
    }
    if service.serves(datagram.protocol, port) {
        return Some(Verdict::pass(id, Reason::Served));
    }
    (service.unlisted == policy::DROP).then_some(Verdict::drop(id, Reason::Unlisted))
}

/// Which limit or list a packet does not pass, if any.
#[inline(always)]
fn limited<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
) -> Option<Reason> {
    if let Some(reason) = source::refused(packet, tables, id, service, datagram) {
        return Some(reason);
    }
    if transport::over_limit(tables, id, service) {
        return Some(Reason::ServiceLimited);
    }
    (datagram.protocol == datagram.icmp && icmp::over_limit(tables, id, service))
        .then_some(Reason::EchoLimited)
}

/// Whether a UDP header agrees with the packet (RFC 768).
#[inline(always)]
fn is_whole_udp(head: &[u8; HEAD], datagram: &Datagram) -> bool {
    let length = usize::from(be16::<4, _>(head));
    UDP <= length && length <= datagram.length
}

/// Whether a TCP header agrees with the packet (RFC 9293 §3.1).
#[inline(always)]
fn is_whole_tcp<P: Packet, const TCP_END: usize>(packet: &P, datagram: &Datagram) -> bool {
    let Some(header) = packet
        .front::<TCP_END>()
        .and_then(|front| front.last_chunk::<TCP>())
    else {
        return false;
    };
    let [offset] = *field::<12, 1, _>(header);
    let length = usize::from(offset >> 4) << 2;
    TCP <= length && length <= datagram.length
}
