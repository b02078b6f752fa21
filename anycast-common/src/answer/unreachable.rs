//! ICMP and ICMPv6 port unreachable: new headers before the packet, which is quoted up to the eighth
//! byte of its transport header.

use super::{HOPS, QUOTABLE, length16};
use crate::checksum;
use crate::iana::{icmp, icmpv6, protocol};
use crate::packet::{Ip6, Mac, Packet, be16, field, put};
use crate::verdict::Place;

/// What is quoted of the transport header. RFC 792 asks for this much.
///
/// DEVIATION: RFC 4443 §2.4 (c) asks for as much as fits in 1280 bytes; this much identifies the
/// flow, and keeps a rejection shorter than most of what it rejects.
const QUOTED: usize = 8;
const ICMP: usize = 8;
const V4: usize = 20;
const V6: usize = 40;

#[inline(always)]
pub(super) fn v4<P: Packet>(packet: &mut P, place: Place) -> Option<()> {
    let quote = place.transport - place.network + QUOTED;
    let message = open::<P, { V4 + ICMP }>(packet, place, quote)?;
    let quoted = packet.load::<V4>(message + ICMP)?;
    let from: [u8; 4] = *field::<16, _, _>(quoted);
    let to: [u8; 4] = *field::<12, _, _>(quoted);
    let total = length16(V4 + ICMP + quote);

    let header = packet.load_mut::<V4>(place.network)?;
    put::<0, _, _>(header, [0x45, 0]);
    put::<2, _, _>(header, total.to_be_bytes());
    // Do not fragment, and then the identification means nothing (RFC 6864 §4.1).
    put::<4, _, _>(header, [0, 0, 0x40, 0]);
    put::<8, _, _>(header, [HOPS, protocol::ICMP, 0, 0]);
    put::<12, _, _>(header, from);
    put::<16, _, _>(header, to);
    let sum = !checksum::fold(checksum::sum(header));
    put::<10, _, _>(header, sum.to_be_bytes());
    message_of(
        packet,
        message,
        [icmp::UNREACHABLE, icmp::CODE_PORT],
        quote,
        0,
    )
}

#[inline(always)]
pub(super) fn v6<P: Packet>(packet: &mut P, place: Place) -> Option<()> {
    let quote = place.transport - place.network + QUOTED;
    let message = open::<P, { V6 + ICMP }>(packet, place, quote)?;
    let quoted = packet.load::<V6>(message + ICMP)?;
    let from = Ip6::load::<24, _>(quoted);
    let to = Ip6::load::<8, _>(quoted);
    let length = length16(ICMP + quote);

    let header = packet.load_mut::<V6>(place.network)?;
    put::<0, _, _>(header, [0x60, 0, 0, 0]);
    put::<4, _, _>(header, length.to_be_bytes());
    put::<6, _, _>(header, [protocol::ICMPV6, HOPS]);
    from.store::<8, _>(header);
    to.store::<24, _>(header);
    let pseudo = from.sum() + to.sum() + u32::from(length) + u32::from(protocol::ICMPV6);
    message_of(
        packet,
        message,
        [icmpv6::UNREACHABLE, icmpv6::CODE_PORT],
        quote,
        pseudo,
    )
}

/// Cuts the packet behind its quote, puts `HEADERS` bytes between the link layer and the packet, and
/// turns the link layer around. Returns where the ICMP message starts.
#[inline(always)]
fn open<P: Packet, const HEADERS: usize>(
    packet: &mut P,
    place: Place,
    quote: usize,
) -> Option<usize> {
    if !packet.resize(place.network + quote) || !packet.prepend(HEADERS) {
        return None;
    }
    let ethernet = packet.load::<14>(HEADERS)?;
    let destination = Mac::load::<0, _>(ethernet);
    let source = Mac::load::<6, _>(ethernet);
    let kind: [u8; 2] = *field::<12, _, _>(ethernet);
    let ethernet = packet.load_mut::<14>(0)?;
    source.store::<0, _>(ethernet);
    destination.store::<6, _>(ethernet);
    put::<12, _, _>(ethernet, kind);
    if place.network > 14 {
        let tag = *packet.load::<4>(HEADERS + 14)?;
        *packet.load_mut::<4>(14)? = tag;
    }
    if place.network > 18 {
        let tag = *packet.load::<4>(HEADERS + 18)?;
        *packet.load_mut::<4>(18)? = tag;
    }
    Some(place.network + HEADERS - ICMP)
}

/// Writes the message's header and its checksum, which covers `quote` bytes behind it.
#[inline(always)]
fn message_of<P: Packet>(
    packet: &mut P,
    at: usize,
    kind: [u8; 2],
    quote: usize,
    pseudo: u32,
) -> Option<()> {
    let mut sum = pseudo + u32::from(u16::from_be_bytes(kind));
    for word in 0..(QUOTABLE + QUOTED) / 2 {
        if word * 2 >= quote {
            break;
        }
        sum += u32::from(be16::<0, _>(packet.load::<2>(at + ICMP + word * 2)?));
    }
    let header = packet.load_mut::<ICMP>(at)?;
    put::<0, _, _>(header, kind);
    put::<2, _, _>(header, (!checksum::fold(sum)).to_be_bytes());
    put::<4, _, _>(header, [0; 4]);
    Some(())
}
