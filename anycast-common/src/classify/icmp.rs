//! ICMP and ICMPv6 to a Service Address: echo requests, and errors about the service's flows. A first
//! fragment is judged alike, and where it is not refused, the service's policy for fragments decides. Of a service
//! that lingers only the errors are passed.

use super::transport::{self, Datagram, Fragment};
use super::{ipv4, ipv6, source};
use crate::abi::{Bucket, Reason, Service, feature, policy};
use crate::iana::{icmp, icmpv6, protocol};
use crate::packet::{Packet, be16, field};
use crate::tables::Tables;
use crate::verdict::{Answer, Verdict};

/// Type, code, checksum and the word that depends on the type.
pub(super) const HEADER: usize = 8;
/// What an error quotes of the transport header at the least (RFC 792).
const QUOTED: usize = 8;

#[inline(always)]
pub(super) fn classify<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
) -> Verdict {
    let Some(header) = packet.load::<HEADER>(datagram.transport) else {
        return Verdict::drop(id, Reason::Malformed);
    };
    let [kind, code] = *field::<0, 2, _>(header);
    let about_a_flow = if datagram.is_v4() {
        match kind {
            icmp::ECHO_REQUEST if code == 0 && service.serving() => {
                return echo(packet, tables, id, service, datagram);
            }
            icmp::UNREACHABLE | icmp::TIME_EXCEEDED | icmp::PARAMETER_PROBLEM => {
                quotes_flow_v4(packet, service, datagram)
            }
            _ => None,
        }
    } else {
        match kind {
            icmpv6::ECHO_REQUEST if code == 0 && service.serving() => {
                return echo(packet, tables, id, service, datagram);
            }
            icmpv6::UNREACHABLE
            | icmpv6::PACKET_TOO_BIG
            | icmpv6::TIME_EXCEEDED
            | icmpv6::PARAMETER_PROBLEM => quotes_flow_v6(packet, service, datagram),
            _ => None,
        }
    };
    if about_a_flow.is_some() {
        if datagram.fragment == Fragment::First {
            transport::fragment(id, service)
        } else {
            Verdict::pass(id, Reason::IcmpError)
        }
    } else if service.serving() {
        Verdict::drop(id, Reason::IcmpOther)
    } else {
        transport::down(id, service)
    }
}

#[inline(always)]
fn echo<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
) -> Verdict {
    if !source::answerable(packet, datagram) {
        return Verdict::drop(id, Reason::BadSource);
    }
    if over_limit(tables, id, service) {
        return Verdict::drop(id, Reason::EchoLimited);
    }
    if datagram.fragment == Fragment::First {
        return transport::fragment(id, service);
    }
    let place = datagram.place();
    let answer = if datagram.is_v4() {
        Answer::EchoV4(place)
    } else {
        Answer::EchoV6(place)
    };
    Verdict::answer(id, Reason::Echo, answer)
}

/// Whether an echo request is over the service's limit; if it is not, that takes it into account.
#[inline(always)]
pub(super) fn over_limit<T: Tables>(tables: &T, id: u32, service: &Service) -> bool {
    tables.has(feature::SERVICE_LIMITS)
        && service.echo_limit.is_set()
        && !tables.admit(id, Bucket::Echo, &service.echo_limit)
}

/// RFC 792 and RFC 1191: an error quotes the IP header and at least 8 bytes of what we had sent.
#[inline(always)]
fn quotes_flow_v4<P: Packet>(packet: &P, service: &Service, datagram: &Datagram) -> Option<()> {
    let quoted_at = datagram.transport + HEADER;
    let outer = packet.load::<{ ipv4::HEADER }>(datagram.network)?;
    let quoted = packet.load::<{ ipv4::HEADER }>(quoted_at)?;
    let [first] = *field::<0, 1, _>(quoted);
    let header_length = usize::from(first & 0x0f) << 2;
    let later = be16::<6, _>(quoted) & 0x1fff != 0;
    let ours: &[u8; 4] = field::<16, _, _>(outer);
    if first >> 4 != 4
        || header_length < ipv4::HEADER
        || later
        || field::<12, 4, _>(quoted) != ours
        || datagram.length < HEADER + header_length + QUOTED
    {
        return None;
    }
    let [carried] = *field::<9, 1, _>(quoted);
    left_from_port(packet, service, carried, quoted_at + header_length)
}

/// RFC 4443 §3: as [`quotes_flow_v4`]. Of a quoted packet's extension headers only a fragment header is followed,
/// that of a first fragment: answers that are fragmented at their source are how the stack learns a path's MTU
/// over IPv6. A later fragment quotes no port, and the stack does not look for the flow of one either.
#[inline(always)]
fn quotes_flow_v6<P: Packet>(packet: &P, service: &Service, datagram: &Datagram) -> Option<()> {
    let quoted_at = datagram.transport + HEADER;
    let outer = packet.load::<{ ipv6::HEADER }>(datagram.network)?;
    let quoted = packet.load::<{ ipv6::HEADER }>(quoted_at)?;
    let [first] = *field::<0, 1, _>(quoted);
    let ours: &[u8; 16] = field::<24, _, _>(outer);
    if first >> 4 != 6
        || field::<8, 16, _>(quoted) != ours
        || datagram.length < HEADER + ipv6::HEADER + QUOTED
    {
        return None;
    }
    let [next] = *field::<6, 1, _>(quoted);
    let transport = quoted_at + ipv6::HEADER;
    let (carried, transport) = if next == protocol::FRAGMENT {
        let carried = first_fragment(packet, datagram, transport)?;
        (carried, transport + ipv6::EXTENSION)
    } else {
        (next, transport)
    };
    left_from_port(packet, service, carried, transport)
}

/// What a quoted fragment carries by its header at `at`, if that is a first fragment and its ports are quoted.
#[inline(always)]
fn first_fragment<P: Packet>(packet: &P, datagram: &Datagram, at: usize) -> Option<u8> {
    let header = packet.load::<{ ipv6::EXTENSION }>(at)?;
    let [carried] = *field::<0, 1, _>(header);
    let is_first = be16::<2, _>(header) & ipv6::FRAGMENT_OFFSET == 0;
    let quoted = HEADER + ipv6::HEADER + ipv6::EXTENSION + QUOTED;
    (is_first && datagram.length >= quoted).then_some(carried)
}

/// Whether the quoted packet left from a port of the service: then the stack must hear of it.
#[inline(always)]
fn left_from_port<P: Packet>(
    packet: &P,
    service: &Service,
    carried: u8,
    transport: usize,
) -> Option<()> {
    let quoted = packet.load::<QUOTED>(transport)?;
    let has_ports =
        carried == protocol::TCP || carried == protocol::UDP || carried == protocol::SCTP;
    let ours = if has_ports {
        service.serves(carried, be16::<0, _>(quoted)) || service.unlisted == policy::PASS
    } else {
        service.lists_protocol(carried)
    };
    ours.then_some(())
}
