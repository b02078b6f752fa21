//! ARP requests (RFC 826) and neighbour discovery (RFC 4861) for Service Addresses.

use super::ipv6;
use crate::abi::{Owner, Reason};
use crate::iana::{ether_type, icmpv6};
use crate::packet::{Packet, be16, field};
use crate::tables::Tables;
use crate::verdict::{Answer, Place, Verdict};

/// ARP for IPv4 over addresses of six bytes.
pub(crate) const ARP: usize = 28;
/// A solicitation, or an advertisement, without options.
pub(crate) const SOLICITATION: usize = 24;
/// Hardware types: Ethernet, and IEEE 802 networks, which Linux takes for the same on Ethernet (RFC 1042).
const ETHERNET: u16 = 1;
const IEEE_802: u16 = 6;
const REQUEST: u16 = 1;
/// Address lengths of ARP: six for Ethernet, four for IPv4.
const LENGTHS: [u8; 2] = [6, 4];
/// RFC 4861 §7.1.1: only a neighbour can send a hop limit of 255.
const NEIGHBOR_HOPS: u8 = 255;

#[inline(always)]
pub(super) fn arp<P: Packet, T: Tables>(packet: &P, tables: &T, network: usize) -> Verdict {
    let Some(header) = packet.load::<ARP>(network) else {
        return Verdict::not_ours(Reason::NotIp);
    };
    let hardware = be16::<0, _>(header);
    let request = (hardware == ETHERNET || hardware == IEEE_802)
        && be16::<2, _>(header) == ether_type::IPV4
        && *field::<4, 2, _>(header) == LENGTHS
        && be16::<6, _>(header) == REQUEST;
    if !request {
        return Verdict::not_ours(Reason::NotIp);
    }
    let target: &[u8; 4] = field::<24, _, _>(header);
    let Some(owner) = tables.owner_v4(target) else {
        return Verdict::not_ours(Reason::NotOurs);
    };
    // A gratuitous request asks nothing (RFC 5227 §3): it tells who else has the address.
    let tells = field::<14, 4, _>(header) == target;
    let place = Place {
        network,
        transport: network,
    };
    judge(tables, owner, tells, Answer::Arp(place))
}

/// `None`: not a solicitation, to be judged as any other packet.
#[inline(always)]
pub(super) fn solicitation<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    network: usize,
) -> Option<Verdict> {
    let transport = network + ipv6::HEADER;
    let message = packet.load::<SOLICITATION>(transport)?;
    if *field::<0, 2, _>(message) != [icmpv6::NEIGHBOR_SOLICITATION, 0] {
        return None;
    }
    let header = packet.load::<{ ipv6::HEADER }>(network)?;
    if *field::<7, 1, _>(header) != [NEIGHBOR_HOPS]
        || usize::from(be16::<4, _>(header)) < SOLICITATION
    {
        return None;
    }
    let owner = tables.owner_v6(field::<8, 16, _>(message))?;
    let place = Place { network, transport };
    Some(judge(tables, owner, false, Answer::Advertisement(place)))
}

/// Whether a packet to a Service Address with `payload` bytes is what a neighbour on the link has sent to it alone: an
/// advertisement, or a solicitation that [`solicitation`] has left. The stack needs them, as it needs ARP.
#[inline(always)]
pub(super) fn is_for_the_stack<P: Packet>(packet: &P, network: usize, payload: usize) -> bool {
    let Some(header) = packet.load::<{ ipv6::HEADER }>(network) else {
        return false;
    };
    let Some(message) = packet.load::<SOLICITATION>(network + ipv6::HEADER) else {
        return false;
    };
    let [kind, code] = *field::<0, 2, _>(message);
    payload >= SOLICITATION
        && *field::<7, 1, _>(header) == [NEIGHBOR_HOPS]
        && code == 0
        && (kind == icmpv6::NEIGHBOR_SOLICITATION || kind == icmpv6::NEIGHBOR_ADVERTISEMENT)
}

#[inline(always)]
fn judge<T: Tables>(tables: &T, owner: Owner, tells: bool, answer: Answer) -> Verdict {
    let id = owner.service;
    let Some(service) = tables.service(id) else {
        return Verdict::WITHOUT_SERVICE;
    };
    if service.neighbor == 0 || tells {
        Verdict::pass(id, Reason::NeighborPassed)
    } else if !service.serving() {
        Verdict::drop(id, Reason::NeighborDown)
    } else if tables.mac().is_some() {
        Verdict::answer(id, Reason::Neighbor, answer)
    } else {
        Verdict::pass(id, Reason::NeighborPassed)
    }
}
