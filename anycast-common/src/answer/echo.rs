//! Echo replies: the request with addresses swapped, its type changed, and a fresh time to live.

use super::{turn_ethernet, turn_v4, turn_v6};
use crate::checksum;
use crate::iana::{icmp, icmpv6};
use crate::packet::{Packet, be16, put};
use crate::verdict::Place;

/// RFC 792. IP options go back as they came.
#[inline(always)]
pub(super) fn v4<P: Packet>(packet: &mut P, place: Place) -> Option<()> {
    let total = be16::<2, _>(packet.load::<4>(place.network)?);
    let header = packet.load_mut::<4>(place.transport)?;
    let sum = checksum::replace(
        be16::<2, _>(header),
        u16::from_be_bytes([icmp::ECHO_REQUEST, 0]),
        u16::from_be_bytes([icmp::ECHO_REPLY, 0]),
    );
    // A reply of zeros alone sums to 0, whose checksum is 0xffff. For anything else that the update
    // takes to 0 both forms verify, since they are the same number in one's complement.
    let sum = if sum == 0 { 0xffff } else { sum };
    put::<0, _, _>(header, [icmp::ECHO_REPLY]);
    put::<2, _, _>(header, sum.to_be_bytes());
    turn_v4(packet, place.network, total)?;
    turn_ethernet(packet)
}

/// RFC 4443 §4.2. Extension headers go back as they came.
#[inline(always)]
pub(super) fn v6<P: Packet>(packet: &mut P, place: Place) -> Option<()> {
    let payload = be16::<4, _>(packet.load::<6>(place.network)?);
    let header = packet.load_mut::<4>(place.transport)?;
    let sum = checksum::replace(
        be16::<2, _>(header),
        u16::from_be_bytes([icmpv6::ECHO_REQUEST, 0]),
        u16::from_be_bytes([icmpv6::ECHO_REPLY, 0]),
    );
    put::<0, _, _>(header, [icmpv6::ECHO_REPLY]);
    put::<2, _, _>(header, sum.to_be_bytes());
    turn_v6(packet, place.network, payload)?;
    turn_ethernet(packet)
}
