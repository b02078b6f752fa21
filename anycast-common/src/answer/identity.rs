//! The node's identity in DNS: the question goes back with a TXT record, and an OPT record where it
//! came with EDNS.

use super::{end_at, length16, turn_ethernet, turn_v4, turn_v6};
use crate::abi::{Identity, RECORD};
use crate::checksum;
use crate::iana::protocol;
use crate::packet::{Packet, be16, field, put};
use crate::tables::Tables;
use crate::verdict::{Place, Question};

/// Neither options nor extension headers, or the question would not have been taken.
const V4: usize = 20;
const V6: usize = 40;
const UDP: usize = 8;
const DNS: usize = 12;
/// Questions for `id.server` and `hostname.bind`, type and class included.
const SHORT: usize = 15;
const LONG: usize = 19;
/// Where an OPT record has its flags.
const OPT_FLAGS: usize = 7;
/// Response, authoritative; recursion desired is copied.
const RESPONSE: u16 = 0x8400;
const RECURSION_DESIRED: u16 = 0x0100;

#[inline(always)]
pub(super) fn v4<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    place: Place,
    question: Question,
) -> Option<()> {
    let identity = tables.identity()?;
    let datagram = UDP + DNS + length_of(question) + usize::from(records(identity, question).0);
    let transport = place.network + V4;
    extend(packet, identity, transport, question)?;
    let addresses = turn_v4(packet, place.network, length16(V4 + datagram))?;
    finish(packet, identity, transport, question, addresses)
}

#[inline(always)]
pub(super) fn v6<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    place: Place,
    question: Question,
) -> Option<()> {
    let identity = tables.identity()?;
    let datagram = UDP + DNS + length_of(question) + usize::from(records(identity, question).0);
    let transport = place.network + V6;
    extend(packet, identity, transport, question)?;
    let addresses = turn_v6(packet, place.network, length16(datagram))?;
    finish(packet, identity, transport, question, addresses)
}

#[inline(always)]
const fn length_of(question: Question) -> usize {
    if question.long { LONG } else { SHORT }
}

/// Length and sum of the records that a question gets.
#[inline(always)]
const fn records(identity: &Identity, question: Question) -> (u16, u32) {
    if question.edns {
        // Records start in the low half of a word.
        let shift = (identity.txt & 1 ^ 1) * 8;
        let flags = (question.flags as u32) << shift;
        (identity.both, identity.both_sum + flags)
    } else {
        (identity.txt, identity.txt_sum)
    }
}

/// Puts the records behind the question; the frame then ends with the last of them.
#[inline(always)]
fn extend<P: Packet>(
    packet: &mut P,
    identity: &Identity,
    transport: usize,
    question: Question,
) -> Option<()> {
    let end = transport + UDP + DNS + length_of(question);
    end_at(packet, end, RECORD)?;
    packet
        .load_mut::<RECORD>(end)?
        .copy_from_slice(&identity.record);
    if question.edns {
        let flags = P::within(usize::from(identity.txt) + OPT_FLAGS, RECORD - 1)?;
        *packet.load_mut::<1>(end + flags)? = [question.flags];
    }
    let length = usize::from(records(identity, question).0);
    packet.resize(end + length).then_some(())
}

/// Writes the DNS and UDP headers, and the checksum from the sums of its parts.
#[inline(always)]
fn finish<P: Packet>(
    packet: &mut P,
    identity: &Identity,
    transport: usize,
    question: Question,
    addresses: u32,
) -> Option<()> {
    let (length, records_sum) = records(identity, question);
    let datagram = length16(UDP + DNS + length_of(question)) + length;
    let asked = transport + UDP + DNS;
    // A question's length is odd: its last byte is the high half of a word whose low half is the
    // first byte of the records.
    let question_sum = if question.long {
        let bytes = packet.load::<LONG>(asked)?;
        checksum::sum(bytes) + (u32::from(bytes[LONG - 1]) << 8)
    } else {
        let bytes = packet.load::<SHORT>(asked)?;
        checksum::sum(bytes) + (u32::from(bytes[SHORT - 1]) << 8)
    };
    let header = packet.load_mut::<{ UDP + DNS }>(transport)?;
    let source: [u8; 2] = *field::<0, _, _>(header);
    let destination: [u8; 2] = *field::<2, _, _>(header);
    let flags = RESPONSE | be16::<10, _>(header) & RECURSION_DESIRED;
    put::<0, _, _>(header, destination);
    put::<2, _, _>(header, source);
    put::<4, _, _>(header, datagram.to_be_bytes());
    put::<6, _, _>(header, [0; 2]);
    put::<10, _, _>(header, flags.to_be_bytes());
    put::<12, _, _>(header, [0, 1, 0, 1, 0, 0, 0, u8::from(question.edns)]);
    let sum = addresses
        + u32::from(protocol::UDP)
        + u32::from(datagram)
        + checksum::sum(header)
        + question_sum
        + records_sum;
    // RFC 768: a sum of zero is sent as ones.
    let sum = match !checksum::fold(sum) {
        0 => 0xffff,
        sum => sum,
    };
    put::<6, _, _>(header, sum.to_be_bytes());
    turn_ethernet(packet)
}
