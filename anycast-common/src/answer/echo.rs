//! Echo replies: the request with addresses swapped, its type changed, and a fresh time to live.

use super::{again_v4, swap_macs, swap_v4, swap_v6, turn_ethernet};
use crate::checksum;
use crate::iana::{icmp, icmpv6};
use crate::packet::{Packet, field_mut, ne16, put};
use crate::verdict::Place;

/// Ethernet, and an IP header without options or extensions.
const ETHERNET: usize = 14;
const V4: usize = 20;
const V6: usize = 40;
/// Type, code and checksum.
const ICMP: usize = 4;

/// RFC 792. IP options go back as they came.
#[inline(always)]
pub(super) fn v4<P: Packet>(packet: &mut P, place: Place) -> Option<()> {
    reply_v4(packet.load_mut::<ICMP>(place.transport)?);
    let header = packet.load_mut::<V4>(place.network)?;
    again_v4(header);
    swap_v4(header);
    turn_ethernet(packet)
}

/// RFC 4443 §4.2. Extension headers go back as they came.
#[inline(always)]
pub(super) fn v6<P: Packet>(packet: &mut P, place: Place) -> Option<()> {
    reply_v6(packet.load_mut::<ICMP>(place.transport)?);
    swap_v6(packet.load_mut::<V6>(place.network)?);
    turn_ethernet(packet)
}

/// As [`v4`], where each header is at its common place.
#[inline(always)]
pub(super) fn common_v4<P: Packet>(packet: &mut P) -> Option<()> {
    let front = packet.front_mut::<{ ETHERNET + V4 + ICMP }>()?;
    reply_v4(field_mut::<{ ETHERNET + V4 }, _, _>(front)?);
    let header = field_mut::<ETHERNET, V4, _>(front)?;
    again_v4(header);
    swap_v4(header);
    swap_macs(field_mut::<0, _, _>(front)?);
    Some(())
}

/// As [`v6`], where each header is at its common place.
#[inline(always)]
pub(super) fn common_v6<P: Packet>(packet: &mut P) -> Option<()> {
    let front = packet.front_mut::<{ ETHERNET + V6 + ICMP }>()?;
    reply_v6(field_mut::<{ ETHERNET + V6 }, _, _>(front)?);
    swap_v6(field_mut::<ETHERNET, V6, _>(front)?);
    swap_macs(field_mut::<0, _, _>(front)?);
    Some(())
}

#[inline(always)]
fn reply_v4(header: &mut [u8; ICMP]) {
    let sum = checksum::replace(
        ne16::<2, _>(header),
        u16::from_ne_bytes([icmp::ECHO_REQUEST, 0]),
        u16::from_ne_bytes([icmp::ECHO_REPLY, 0]),
    );
    // A reply of zeros alone sums to 0, whose checksum is 0xffff. For anything else that the update
    // takes to 0 both forms verify, since they are the same number in one's complement.
    let sum = if sum == 0 { 0xffff } else { sum };
    put::<0, _, _>(header, [icmp::ECHO_REPLY]);
    put::<2, _, _>(header, sum.to_ne_bytes());
}

#[inline(always)]
fn reply_v6(header: &mut [u8; ICMP]) {
    let sum = checksum::replace(
        ne16::<2, _>(header),
        u16::from_ne_bytes([icmpv6::ECHO_REQUEST, 0]),
        u16::from_ne_bytes([icmpv6::ECHO_REPLY, 0]),
    );
    put::<0, _, _>(header, [icmpv6::ECHO_REPLY]);
    put::<2, _, _>(header, sum.to_ne_bytes());
}
