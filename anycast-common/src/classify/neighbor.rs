//! ARP requests (RFC 826) and neighbour solicitations (RFC 4861) for Service Addresses.

use super::ipv6;
use crate::abi::{Owner, Reason};
use crate::iana::{ether_type, icmpv6};
use crate::packet::{Packet, be16, field};
use crate::tables::Tables;
use crate::verdict::{Answer, Place, Verdict};

/// ARP for IPv4 over Ethernet.
pub(crate) const ARP: usize = 28;
/// A solicitation without options.
pub(crate) const SOLICITATION: usize = 24;
const ETHERNET: u16 = 1;
const REQUEST: u16 = 1;
/// Address lengths of ARP: six for Ethernet, four for IPv4.
const LENGTHS: [u8; 2] = [6, 4];
/// RFC 4861 §7.1.1: only a neighbour can send a hop limit of 255.
const NEIGHBOR_HOPS: u8 = 255;

/// What a request for an address comes to, in one register, as a function that is not inlined returns it:
/// the service's id in the high half, and one of these.
mod judged {
    /// Not such a request.
    pub(super) const OTHER: u64 = 0;
    pub(super) const NOT_OURS: u64 = 1;
    pub(super) const NO_SERVICE: u64 = 2;
    pub(super) const PASSED: u64 = 3;
    pub(super) const DOWN: u64 = 4;
    pub(super) const ANSWERED: u64 = 5;
}

#[inline(always)]
pub(super) fn arp<P: Packet, T: Tables>(packet: &P, tables: &T, network: usize) -> Verdict {
    let place = Place {
        network,
        transport: network,
    };
    verdict(judge_arp(packet, tables, network), Answer::Arp(place))
        .unwrap_or_else(|| Verdict::not_ours(Reason::NotIp))
}

/// `None`: not a solicitation, to be judged as any other packet.
#[inline(always)]
pub(super) fn solicitation<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    network: usize,
) -> Option<Verdict> {
    let place = Place {
        network,
        transport: network + ipv6::HEADER,
    };
    let judged = judge_solicitation(packet, tables, network);
    verdict(judged, Answer::Advertisement(place))
}

#[inline(always)]
fn verdict(judged: u64, answer: Answer) -> Option<Verdict> {
    #[expect(clippy::cast_possible_truncation, reason = "halves of a word")]
    let id = (judged >> 32) as u32;
    match judged & 0xff {
        judged::OTHER => None,
        judged::NOT_OURS => Some(Verdict::not_ours(Reason::NotOurs)),
        judged::NO_SERVICE => Some(Verdict::drop(id, Reason::NoService)),
        judged::DOWN => Some(Verdict::drop(id, Reason::NeighborDown)),
        judged::ANSWERED => Some(Verdict::answer(id, Reason::Neighbor, answer)),
        _ => Some(Verdict::pass(id, Reason::NeighborPassed)),
    }
}

#[inline(never)]
fn judge_arp<P: Packet, T: Tables>(packet: &P, tables: &T, network: usize) -> u64 {
    let Some(header) = packet.load::<ARP>(network) else {
        return judged::OTHER;
    };
    let request = be16::<0, _>(header) == ETHERNET
        && be16::<2, _>(header) == ether_type::IPV4
        && *field::<4, 2, _>(header) == LENGTHS
        && be16::<6, _>(header) == REQUEST;
    if !request {
        return judged::OTHER;
    }
    let target: &[u8; 4] = field::<24, _, _>(header);
    let Some(owner) = tables.owner_v4(target) else {
        return judged::NOT_OURS;
    };
    // A gratuitous request asks nothing (RFC 5227 §3): it tells who else has the address.
    let tells = field::<14, 4, _>(header) == target;
    judge(tables, owner, tells)
}

#[inline(never)]
fn judge_solicitation<P: Packet, T: Tables>(packet: &P, tables: &T, network: usize) -> u64 {
    let (Some(header), Some(message)) = (
        packet.load::<{ ipv6::HEADER }>(network),
        packet.load::<SOLICITATION>(network + ipv6::HEADER),
    ) else {
        return judged::OTHER;
    };
    if *field::<0, 2, _>(message) != [icmpv6::NEIGHBOR_SOLICITATION, 0]
        || *field::<7, 1, _>(header) != [NEIGHBOR_HOPS]
        || usize::from(be16::<4, _>(header)) < SOLICITATION
    {
        return judged::OTHER;
    }
    match tables.owner_v6(field::<8, 16, _>(message)) {
        Some(owner) => judge(tables, owner, false),
        None => judged::OTHER,
    }
}

#[inline(always)]
fn judge<T: Tables>(tables: &T, owner: Owner, tells: bool) -> u64 {
    let id = owner.service;
    let judged = match tables.service(id) {
        None => judged::NO_SERVICE,
        Some(service) if service.neighbor == 0 || tells => judged::PASSED,
        Some(service) if !service.serving() => judged::DOWN,
        Some(_) if tables.mac().is_some() => judged::ANSWERED,
        Some(_) => judged::PASSED,
    };
    judged | u64::from(id) << 32
}
