//! IPv4 headers (RFC 791).

use super::transport::{self, Datagram, Fragment};
use crate::abi::Reason;
use crate::iana::protocol;
use crate::packet::{Packet, be16, field};
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Header without options.
pub(crate) const HEADER: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// Not 0 in fragments.
pub(super) const FRAGMENTED: u16 = MORE_FRAGMENTS | FRAGMENT_OFFSET;

#[inline(always)]
pub(super) fn classify<P: Packet, T: Tables>(packet: &P, tables: &T, network: usize) -> Verdict {
    let Some(header) = packet.load::<HEADER>(network) else {
        return Verdict::not_ours(Reason::NotIp);
    };
    let destination: &[u8; 4] = field::<16, _, _>(header);
    let Some(owner) = tables.owner_v4(destination) else {
        return Verdict::not_ours(Reason::NotOurs);
    };
    let Some(service) = tables.service(owner.service) else {
        return Verdict::WITHOUT_SERVICE;
    };
    let [first] = *field::<0, 1, _>(header);
    let header_length = usize::from(first & 0x0f) << 2;
    let total = usize::from(be16::<2, _>(header));
    if first >> 4 != 4
        || header_length < HEADER
        || total < header_length
        || network + total > packet.length()
    {
        return Verdict::drop(owner.service, Reason::Malformed);
    }
    let fragment = match be16::<6, _>(header) & FRAGMENTED {
        0 => Fragment::None,
        MORE_FRAGMENTS => Fragment::First,
        _ => Fragment::Later,
    };
    let [carried] = *field::<9, 1, _>(header);
    let datagram = Datagram {
        network,
        transport: network + header_length,
        length: total - header_length,
        protocol: carried,
        icmp: protocol::ICMP,
        fragment,
    };
    transport::classify(packet, tables, owner.service, service, &datagram)
}
