//! IPv6 headers and a bounded chain of extension headers (RFC 8200).

use super::neighbor;
use super::transport::{self, Datagram, Fragment};
use crate::abi::{Reason, feature};
use crate::iana::protocol;
use crate::packet::{Packet, be16, field};
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Fixed header.
pub(crate) const HEADER: usize = 40;
/// Extension headers that are followed; RFC 8200 §4.1 recommends at most one of each kind but one.
pub(super) const MAX_EXTENSIONS: usize = 6;
/// Every extension header is at least this long; a fragment header is no longer.
pub(super) const EXTENSION: usize = 8;
/// The offset in a fragment header's second word; two reserved bits and M follow.
pub(super) const FRAGMENT_OFFSET: u16 = 0xfff8;
/// M: more fragments follow.
const MORE_FRAGMENTS: u16 = 1;

#[inline(always)]
pub(super) fn classify<P: Packet, T: Tables>(packet: &P, tables: &T, network: usize) -> Verdict {
    let Some(header) = packet.load::<HEADER>(network) else {
        return Verdict::not_ours(Reason::NotIp);
    };
    let [next] = *field::<6, 1, _>(header);
    if next == protocol::ICMPV6
        && tables.has(feature::NEIGHBOR)
        && let Some(verdict) = neighbor::solicitation(packet, tables, network)
    {
        return verdict;
    }
    let destination: &[u8; 16] = field::<24, _, _>(header);
    let Some(owner) = tables.owner_v6(destination) else {
        return Verdict::not_ours(Reason::NotOurs);
    };
    let Some(service) = tables.service(owner.service) else {
        return Verdict::WITHOUT_SERVICE;
    };
    let [first] = *field::<0, 1, _>(header);
    let payload = usize::from(be16::<4, _>(header));
    if first >> 4 != 6 || network + HEADER + payload > packet.length() {
        return Verdict::drop(owner.service, Reason::Malformed);
    }
    if next == protocol::ICMPV6 && neighbor::is_for_the_stack(packet, network, payload) {
        return Verdict::pass(owner.service, Reason::NeighborPassed);
    }
    match follow(packet, next, network + HEADER, payload) {
        Ok(chain) => {
            let datagram = Datagram {
                network,
                transport: network + HEADER + chain.length,
                length: payload - chain.length,
                protocol: chain.next,
                icmp: protocol::ICMPV6,
                fragment: chain.fragment,
            };
            transport::classify(packet, tables, owner.service, service, &datagram)
        }
        Err(reason) => Verdict::drop(owner.service, reason),
    }
}

/// What a chain of extension headers leads to.
struct Chain {
    next: u8,
    /// Bytes of all extension headers, never more than the payload.
    length: usize,
    fragment: Fragment,
}

#[inline(always)]
fn follow<P: Packet>(packet: &P, next: u8, start: usize, payload: usize) -> Result<Chain, Reason> {
    let mut chain = Chain {
        next,
        length: 0,
        fragment: Fragment::None,
    };
    for place in 0..=MAX_EXTENSIONS {
        let kind = chain.next;
        if !is_extension(kind) {
            return Ok(chain);
        }
        if place == MAX_EXTENSIONS || (kind == protocol::HOP_BY_HOP && place > 0) {
            return Err(Reason::HeaderChain);
        }
        let Some(extension) = packet.load::<EXTENSION>(start + chain.length) else {
            return Err(Reason::Malformed);
        };
        let [next, eighths, _, segments_left] = *field::<0, 4, _>(extension);
        let length = if kind == protocol::FRAGMENT {
            EXTENSION
        } else {
            (usize::from(eighths) + 1) * EXTENSION
        };
        if chain.length + length > payload {
            return Err(Reason::Malformed);
        }
        chain.length += length;
        chain.next = next;
        if kind == protocol::ROUTING && segments_left != 0 {
            return Err(Reason::HeaderChain);
        }
        if kind == protocol::FRAGMENT {
            // Offset 0 without M is an atomic fragment, which is whole (RFC 6946).
            match be16::<2, _>(extension) & (FRAGMENT_OFFSET | MORE_FRAGMENTS) {
                0 => {}
                MORE_FRAGMENTS => chain.fragment = Fragment::First,
                _ => {
                    chain.fragment = Fragment::Later;
                    return Ok(chain);
                }
            }
        }
    }
    Err(Reason::HeaderChain)
}

#[inline(always)]
fn is_extension(kind: u8) -> bool {
    kind == protocol::HOP_BY_HOP
        || kind == protocol::ROUTING
        || kind == protocol::FRAGMENT
        || kind == protocol::DESTINATION_OPTIONS
}
