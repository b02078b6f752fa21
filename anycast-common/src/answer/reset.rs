//! TCP RST to a segment for which there is no connection (RFC 9293 §3.10.7.1).

use super::{length16, turn_ethernet, turn_v4, turn_v6};
use crate::checksum;
use crate::iana::protocol;
use crate::packet::{Packet, be16, field, put};
use crate::verdict::Place;

const TCP: usize = 20;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// Five words of header.
const OFFSET: u8 = 0x50;

/// IP options go back as they came.
#[inline(always)]
pub(super) fn v4<P: Packet>(packet: &mut P, place: Place, length: u32) -> Option<()> {
    if !packet.resize(place.transport + TCP) {
        return None;
    }
    let total = place.transport - place.network + TCP;
    let addresses = turn_v4(packet, place.network, length16(total))?;
    segment(packet, place.transport, length, addresses)?;
    turn_ethernet(packet)
}

/// Extension headers go back as they came.
#[inline(always)]
pub(super) fn v6<P: Packet>(packet: &mut P, place: Place, length: u32) -> Option<()> {
    if !packet.resize(place.transport + TCP) {
        return None;
    }
    let payload = place.transport - place.network - 40 + TCP;
    let addresses = turn_v6(packet, place.network, length16(payload))?;
    segment(packet, place.transport, length, addresses)?;
    turn_ethernet(packet)
}

/// `length` is what the segment takes of sequence space: its data, SYN and FIN.
#[inline(always)]
fn segment<P: Packet>(packet: &mut P, at: usize, length: u32, addresses: u32) -> Option<()> {
    let header = packet.load_mut::<TCP>(at)?;
    let source: [u8; 2] = *field::<0, _, _>(header);
    let destination: [u8; 2] = *field::<2, _, _>(header);
    let sequence = u32::from_be_bytes(*field::<4, _, _>(header));
    let acknowledged: [u8; 4] = *field::<8, _, _>(header);
    let [flags] = *field::<13, 1, _>(header);
    let (sequence, acknowledged, flags) = if flags & ACK != 0 {
        (acknowledged, [0; 4], RST)
    } else {
        let next = sequence.wrapping_add(length);
        ([0; 4], next.to_be_bytes(), RST | ACK)
    };
    put::<0, _, _>(header, destination);
    put::<2, _, _>(header, source);
    put::<4, _, _>(header, sequence);
    put::<8, _, _>(header, acknowledged);
    put::<12, _, _>(header, [OFFSET, flags]);
    put::<14, _, _>(header, [0; 2]);
    put::<16, _, _>(header, [0; 4]);
    let pseudo = addresses + u32::from(protocol::TCP) + u32::from(length16(TCP));
    let sum = !checksum::fold(pseudo + checksum::sum(header));
    put::<16, _, _>(header, sum.to_be_bytes());
    debug_assert_eq!(be16::<16, _>(header), sum);
    Some(())
}
