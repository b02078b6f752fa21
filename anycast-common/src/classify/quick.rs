//! The packets that come in masses, decided in a straight line: IPv4 without tags, options and fragments.
//!
//! It decides nothing that [`super::general`] would decide otherwise, and leaves to it whatever is rare: headers
//! that contradict the frame, other IP versions, and all answers but to echo requests.

use super::transport::{self, Datagram, Fragment, TCP, UDP};
use super::{ETHERNET, icmp, identity, ipv4, source};
use crate::abi::{LINGERING, Reason, Service, feature, policy};
use crate::iana::{self, ether_type, protocol};
use crate::packet::{Packet, be16, field};
use crate::tables::Tables;
use crate::verdict::{Answer, Verdict};

/// Offset of what follows the IP header.
const TRANSPORT: usize = ETHERNET + ipv4::HEADER;
/// What is looked at of every packet: a UDP header is as long as what starts an ICMP message.
const FRONT: usize = TRANSPORT + UDP;
/// Version 4, and a header without options.
const VERSION_AND_LENGTH: u8 = 0x45;

/// The verdict about a packet that is of the common kind.
#[inline(always)]
pub fn quick<P: Packet, T: Tables>(packet: &P, tables: &T) -> Option<Verdict> {
    let front = packet.front::<FRONT>()?;
    if be16::<12, _>(front) != ether_type::IPV4 {
        return None;
    }
    let destination: &[u8; 4] = field::<{ ETHERNET + 16 }, _, _>(front);
    let Some(owner) = tables.owner_v4(destination) else {
        return Some(Verdict::not_ours(Reason::NotOurs));
    };
    let service = tables.service(owner.service)?;
    let [version_and_length] = *field::<ETHERNET, 1, _>(front);
    let total = usize::from(be16::<{ ETHERNET + 2 }, _>(front));
    if version_and_length != VERSION_AND_LENGTH
        || be16::<{ ETHERNET + 6 }, _>(front) & ipv4::FRAGMENTED != 0
        || total < ipv4::HEADER + UDP
        || ETHERNET + total > packet.length()
    {
        return None;
    }
    let [carried] = *field::<{ ETHERNET + 9 }, 1, _>(front);
    let datagram = Datagram {
        network: ETHERNET,
        transport: TRANSPORT,
        length: total - ipv4::HEADER,
        protocol: carried,
        icmp: protocol::ICMP,
        fragment: Fragment::None,
    };
    let is_whole = match carried {
        protocol::UDP => is_whole_udp(front, &datagram),
        protocol::TCP => is_whole_tcp(packet, &datagram),
        protocol::ICMP => true,
        _ => false,
    };
    if !is_whole {
        return None;
    }
    let id = owner.service;
    if !service.serving() {
        let drops = service.on_down == policy::DROP && service.state != LINGERING;
        return drops.then_some(Verdict::drop(id, Reason::Down));
    }
    // Whatever is left to others is left before the limits, which take a packet into account once.
    let verdict = if carried == protocol::ICMP {
        echo(packet, id, &datagram, front)?
    } else {
        to_port(tables, id, service, &datagram, be16::<{ TRANSPORT + 2 }, _>(front))?
    };
    Some(match limited(packet, tables, id, service, &datagram) {
        Some(reason) => Verdict::drop(id, reason),
        None => verdict,
    })
}

/// The verdict about ICMP, but for the limits.
#[inline(always)]
fn echo<P: Packet>(
    packet: &P,
    id: u32,
    datagram: &Datagram,
    front: &[u8; FRONT],
) -> Option<Verdict> {
    let is_echo = *field::<TRANSPORT, 2, _>(front) == [iana::icmp::ECHO_REQUEST, 0];
    (is_echo && source::answerable(packet, datagram)).then_some(Verdict::answer(
        id,
        Reason::Echo,
        Answer::EchoV4(datagram.place()),
    ))
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
    (datagram.protocol == protocol::ICMP && icmp::over_limit(tables, id, service))
        .then_some(Reason::EchoLimited)
}

/// Whether a UDP header agrees with the packet (RFC 768).
#[inline(always)]
fn is_whole_udp(front: &[u8; FRONT], datagram: &Datagram) -> bool {
    let length = usize::from(be16::<{ TRANSPORT + 4 }, _>(front));
    UDP <= length && length <= datagram.length
}

/// Whether a TCP header agrees with the packet (RFC 9293 §3.1).
#[inline(always)]
fn is_whole_tcp<P: Packet>(packet: &P, datagram: &Datagram) -> bool {
    let Some(front) = packet.front::<{ TRANSPORT + TCP }>() else {
        return false;
    };
    let [offset] = *field::<{ TRANSPORT + 12 }, 1, _>(front);
    let length = usize::from(offset >> 4) << 2;
    TCP <= length && length <= datagram.length
}
