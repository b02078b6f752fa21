//! What a packet's source decides: lists, limits, and whether it can be answered at all, which its
//! link-layer destination has a part in.

use super::transport::Datagram;
use super::{ipv4, ipv6};
use crate::abi::{EVERY_SERVICE, EXEMPT, Reason, Service, feature};
use crate::packet::{Packet, field};
use crate::tables::Tables;

/// Why a source is refused, if it is.
#[inline(always)]
pub(super) fn refused<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
) -> Option<Reason> {
    if tables.has(feature::LISTS) && denied(packet, tables, id, service, datagram) {
        return Some(Reason::Denied);
    }
    if tables.has(feature::SOURCE_LIMITS)
        && service.source_limit.is_set()
        && over_limit(packet, tables, id, service, datagram)
    {
        return Some(Reason::SourceLimited);
    }
    None
}

/// Denied by the list for all services or by the service's own, and allowed by neither.
#[inline(always)]
fn denied<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
) -> bool {
    let everywhere = listed(packet, tables, datagram, EVERY_SERVICE);
    let here = if service.lists != 0 {
        listed(packet, tables, datagram, id)
    } else {
        None
    };
    let allowed = everywhere == Some(true) || here == Some(true);
    !allowed && (everywhere == Some(false) || here == Some(false))
}

#[inline(always)]
fn listed<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    datagram: &Datagram,
    scope: u32,
) -> Option<bool> {
    if datagram.is_v4() {
        tables.listed_v4(scope, source_v4(packet, datagram)?)
    } else {
        tables.listed_v6(scope, source_v6(packet, datagram)?)
    }
}

#[inline(always)]
fn over_limit<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
) -> bool {
    let limit = &service.source_limit;
    let within = if datagram.is_v4() {
        let Some(source) = source_v4(packet, datagram) else {
            return false;
        };
        let prefix = prefix_v4(*source, service.source_prefix_v4);
        tables.admit_source_v4(id, prefix, limit)
    } else {
        let Some(source) = source_v6(packet, datagram) else {
            return false;
        };
        let prefix = prefix_v6(*source, service.source_prefix_v6);
        tables.admit_source_v6(id, prefix, limit)
    };
    !within && listed(packet, tables, datagram, EXEMPT) != Some(true)
}

/// The first `length` bits of an address; all of it for lengths beyond.
#[inline(always)]
fn prefix_v4(address: [u8; 4], length: u32) -> [u8; 4] {
    let length = if length > 32 { 32 } else { length };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is what is wanted"
    )]
    let mask = (u64::MAX << (32 - length)) as u32;
    (u32::from_be_bytes(address) & mask).to_be_bytes()
}

/// As [`prefix_v4`], in two halves: BPF has no registers of 128 bits.
#[inline(always)]
fn prefix_v6(address: [u8; 16], length: u32) -> [u8; 16] {
    let mut prefix = address;
    let (high, low) = if length >= 128 {
        (u64::MAX, u64::MAX)
    } else if length > 64 {
        (u64::MAX, u64::MAX << (128 - length))
    } else if length == 64 {
        (u64::MAX, 0)
    } else if length > 0 {
        (u64::MAX << (64 - length), 0)
    } else {
        (0, 0)
    };
    let halves = [
        u64::from_be_bytes(*field::<0, 8, _>(&address)) & high,
        u64::from_be_bytes(*field::<8, 8, _>(&address)) & low,
    ];
    crate::packet::put::<0, _, _>(&mut prefix, halves[0].to_be_bytes());
    crate::packet::put::<8, _, _>(&mut prefix, halves[1].to_be_bytes());
    prefix
}

/// Whether an answer can go to the source: a unicast address that is not the destination's own, in a frame
/// that was sent to this node alone (RFC 1122 §3.2.2). Whether to this interface is the link's to say.
#[inline(always)]
pub(super) fn answerable<P: Packet>(packet: &P, datagram: &Datagram) -> bool {
    if packet.front::<1>().is_none_or(to_group) {
        return false;
    }
    if datagram.is_v4() {
        let header = packet.load::<{ ipv4::HEADER }>(datagram.network);
        header.is_some_and(answerable_v4)
    } else {
        let header = packet.load::<{ ipv6::HEADER }>(datagram.network);
        header.is_some_and(answerable_v6)
    }
}

/// Whether a frame that starts so went to a group.
#[inline(always)]
pub(super) fn to_group<const N: usize>(front: &[u8; N]) -> bool {
    let [first] = *field::<0, 1, _>(front);
    first & 1 != 0
}

/// Neither "this network", loopback, multicast nor reserved (RFC 6890, RFC 1122 §3.2.1.3), nor the destination.
#[inline(always)]
pub(super) fn answerable_v4(header: &[u8; ipv4::HEADER]) -> bool {
    let source: [u8; 4] = *field::<12, _, _>(header);
    source[0] != 0 && source[0] != 127 && source[0] < 224 && source != *field::<16, 4, _>(header)
}

/// Neither unspecified, loopback nor multicast (RFC 4291 §2.4), nor the destination.
#[inline(always)]
pub(super) fn answerable_v6(header: &[u8; ipv6::HEADER]) -> bool {
    let source: &[u8; 16] = field::<8, _, _>(header);
    let high = u64::from_be_bytes(*field::<0, 8, _>(source));
    let low = u64::from_be_bytes(*field::<8, 8, _>(source));
    !(high == 0 && low <= 1) && source[0] != 0xff && source != field::<24, 16, _>(header)
}

#[inline(always)]
fn source_v4<'a, P: Packet>(packet: &'a P, datagram: &Datagram) -> Option<&'a [u8; 4]> {
    let header = packet.load::<{ ipv4::HEADER }>(datagram.network)?;
    Some(field::<12, _, _>(header))
}

#[inline(always)]
fn source_v6<'a, P: Packet>(packet: &'a P, datagram: &Datagram) -> Option<&'a [u8; 16]> {
    let header = packet.load::<{ ipv6::HEADER }>(datagram.network)?;
    Some(field::<8, _, _>(header))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_every_length_keep_their_bits_and_no_others() {
        for length in 0..=40 {
            let kept = u32::from_be_bytes(prefix_v4([0xff; 4], length));
            assert_eq!(kept.leading_ones(), length.min(32));
            assert_eq!(kept.count_ones(), length.min(32));
        }
        for length in 0..=140 {
            let kept = u128::from_be_bytes(prefix_v6([0xff; 16], length));
            assert_eq!(kept.leading_ones(), length.min(128));
            assert_eq!(kept.count_ones(), length.min(128));
        }
    }
}
