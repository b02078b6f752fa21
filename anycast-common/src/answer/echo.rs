//! Echo replies: the request with addresses swapped, its type changed, and a fresh time to live.

use super::{HOPS, turn_ethernet};
use crate::checksum;
use crate::iana::{icmp, icmpv6};
use crate::packet::{Packet, be16, field, put};

/// RFC 792. IP options go back as they came.
#[inline(always)]
pub(super) fn v4<P: Packet>(packet: &mut P, network: usize, transport: usize) -> Option<()> {
    packet.load::<4>(transport)?;
    let header = packet.load_mut::<20>(network)?;
    let source: [u8; 4] = *field::<12, _, _>(header);
    let destination: [u8; 4] = *field::<16, _, _>(header);
    let [hops, carried] = *field::<8, 2, _>(header);
    let sum = checksum::replace(
        be16::<10, _>(header),
        u16::from_be_bytes([hops, carried]),
        u16::from_be_bytes([HOPS, carried]),
    );
    put::<8, _, _>(header, [HOPS]);
    put::<10, _, _>(header, sum.to_be_bytes());
    put::<12, _, _>(header, destination);
    put::<16, _, _>(header, source);

    let header = packet.load_mut::<4>(transport)?;
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
    turn_ethernet(packet)
}

/// RFC 4443 §4.2. Extension headers go back as they came.
#[inline(always)]
pub(super) fn v6<P: Packet>(packet: &mut P, network: usize, transport: usize) -> Option<()> {
    packet.load::<4>(transport)?;
    let header = packet.load_mut::<40>(network)?;
    let source: [u8; 16] = *field::<8, _, _>(header);
    let destination: [u8; 16] = *field::<24, _, _>(header);
    put::<7, _, _>(header, [HOPS]);
    put::<8, _, _>(header, destination);
    put::<24, _, _>(header, source);

    let header = packet.load_mut::<4>(transport)?;
    let sum = checksum::replace(
        be16::<2, _>(header),
        u16::from_be_bytes([icmpv6::ECHO_REQUEST, 0]),
        u16::from_be_bytes([icmpv6::ECHO_REPLY, 0]),
    );
    put::<0, _, _>(header, [icmpv6::ECHO_REPLY]);
    put::<2, _, _>(header, sum.to_be_bytes());
    turn_ethernet(packet)
}
