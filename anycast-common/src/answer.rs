//! Rewriting a packet into its answer. The layer-2 tags stay as they came.
//!
//! Where a rewriting finds less than the verdict promised, or the frame cannot change its length, the
//! packet is dropped: a half-written answer never leaves.

mod echo;
mod identity;
mod neighbor;
mod reset;
mod unreachable;

use crate::abi::Reason;
use crate::checksum;
use crate::packet::{Ip6, Mac, Packet, be16, field, ne16, put};
use crate::tables::Tables;
use crate::verdict::{Action, Answer, Verdict};

/// Time to live and hop limit of answers (the default of RFC 1700).
pub const HOPS: u8 = 64;
/// The longest IP header, extensions included, that an ICMP error quotes.
pub(crate) const QUOTABLE: usize = 104;

/// Writes the answer that `verdict` asks for, if it does; returns the verdict that then holds.
#[inline(always)]
pub fn answer<P: Packet, T: Tables>(packet: &mut P, tables: &T, verdict: Verdict) -> Verdict {
    let Action::Answer(answer) = verdict.action else {
        return verdict;
    };
    let written = match answer {
        Answer::EchoV4(place) => echo::v4(packet, place),
        Answer::EchoV6(place) => echo::v6(packet, place),
        Answer::Arp(place) => neighbor::arp(packet, tables, place),
        Answer::Advertisement(place) => neighbor::advertisement(packet, tables, place),
        Answer::ResetV4(place, length) => reset::v4(packet, place, length),
        Answer::ResetV6(place, length) => reset::v6(packet, place, length),
        Answer::UnreachableV4(place) => unreachable::v4(packet, place),
        Answer::UnreachableV6(place) => unreachable::v6(packet, place),
        Answer::IdentityV4(place, question) => identity::v4(packet, tables, place, question),
        Answer::IdentityV6(place, question) => identity::v6(packet, tables, place, question),
    };
    match written {
        Some(()) => verdict,
        None => Verdict::drop(verdict.service, Reason::Unanswerable),
    }
}

/// As [`answer`], for a verdict of [`quick`](crate::classify::quick()), whose packets have their headers at their
/// common places: they are written in one piece. It asks for no other answers than to echo requests.
#[inline(always)]
pub fn answer_common<P: Packet>(packet: &mut P, verdict: Verdict) -> Verdict {
    let Action::Answer(answer) = verdict.action else {
        return verdict;
    };
    let written = match answer {
        Answer::EchoV4(_) => echo::common_v4(packet),
        Answer::EchoV6(_) => echo::common_v6(packet),
        Answer::Arp(_)
        | Answer::Advertisement(_)
        | Answer::ResetV4(..)
        | Answer::ResetV6(..)
        | Answer::UnreachableV4(_)
        | Answer::UnreachableV6(_)
        | Answer::IdentityV4(..)
        | Answer::IdentityV6(..) => None,
    };
    match written {
        Some(()) => verdict,
        None => Verdict::drop(verdict.service, Reason::Unanswerable),
    }
}

/// Sends the frame back to where it came from.
#[inline(always)]
fn turn_ethernet<P: Packet>(packet: &mut P) -> Option<()> {
    swap_macs(packet.front_mut::<12>()?);
    Some(())
}

#[inline(always)]
fn swap_macs(addresses: &mut [u8; 12]) {
    let destination = Mac::load::<0, _>(addresses);
    Mac::load::<6, _>(addresses).store::<0, _>(addresses);
    destination.store::<6, _>(addresses);
}

/// Turns an IPv4 header around, for a packet of `total` bytes. Returns the sum of its addresses.
#[inline(always)]
fn turn_v4<P: Packet>(packet: &mut P, network: usize, total: u16) -> Option<u32> {
    let header = packet.load_mut::<20>(network)?;
    let sum = checksum::replace(be16::<10, _>(header), be16::<2, _>(header), total);
    put::<2, _, _>(header, total.to_be_bytes());
    put::<10, _, _>(header, sum.to_be_bytes());
    again_v4(header);
    Some(swap_v4(header))
}

/// Gives an IPv4 header a fresh time to live.
#[inline(always)]
fn again_v4(header: &mut [u8; 20]) {
    let [_, carried] = *field::<8, 2, _>(header);
    let sum = checksum::replace(
        ne16::<10, _>(header),
        ne16::<8, _>(header),
        u16::from_ne_bytes([HOPS, carried]),
    );
    put::<8, _, _>(header, [HOPS]);
    put::<10, _, _>(header, sum.to_ne_bytes());
}

/// Swaps an IPv4 header's addresses, which leaves its checksum as it is. Returns their sum.
#[inline(always)]
fn swap_v4(header: &mut [u8; 20]) -> u32 {
    let source: [u8; 4] = *field::<12, _, _>(header);
    let destination: [u8; 4] = *field::<16, _, _>(header);
    put::<12, _, _>(header, destination);
    put::<16, _, _>(header, source);
    checksum::sum(&source) + checksum::sum(&destination)
}

/// Turns an IPv6 header around, for a payload of `length` bytes. Returns the sum of its addresses.
#[inline(always)]
fn turn_v6<P: Packet>(packet: &mut P, network: usize, length: u16) -> Option<u32> {
    let header = packet.load_mut::<40>(network)?;
    put::<4, _, _>(header, length.to_be_bytes());
    Some(swap_v6(header))
}

/// Swaps an IPv6 header's addresses and gives it a fresh hop limit. Returns the addresses' sum.
#[inline(always)]
fn swap_v6(header: &mut [u8; 40]) -> u32 {
    let source = Ip6::load::<8, _>(header);
    let destination = Ip6::load::<24, _>(header);
    put::<7, _, _>(header, [HOPS]);
    destination.store::<8, _>(header);
    source.store::<24, _>(header);
    source.sum() + destination.sum()
}

/// The most that an answer keeps of a packet's front: Ethernet, two tags, IPv6, UDP, DNS, a question.
const FRONT: usize = 14 + 8 + 40 + 8 + 12 + 19;
/// The most that an answer adds behind it.
const ADDED: usize = crate::abi::RECORD;

/// Lets the frame end `added` bytes behind its first `front` bytes, which it keeps.
///
/// A frame that was sent on the same host may have no room behind it; there is always some before it.
/// `front` must come from constants: the verifier follows the rest once for each of its values.
#[inline(always)]
fn end_at<P: Packet>(packet: &mut P, front: usize, added: usize) -> Option<()> {
    if packet.resize(front + added) {
        return Some(());
    }
    let missing = P::within((front + added).wrapping_sub(packet.length()), ADDED)?;
    if front > FRONT || !packet.prepend(missing) {
        return None;
    }
    for place in 0..FRONT {
        if place >= front {
            break;
        }
        let byte = *packet.load::<1>(missing + place)?;
        *packet.load_mut::<1>(place)? = byte;
    }
    Some(())
}

/// A length as headers carry it; frames are shorter than 64 KiB.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the caller's frame is shorter"
)]
const fn length16(length: usize) -> u16 {
    length as u16
}
