//! The verdict function: the one decision about a packet, for the kernel, tests and fuzzers alike.
//!
//! It reads and decides; [`crate::answer()`] writes. Everything is inlined into one straight program,
//! as the verifier of older kernels wants it; the program calls [`general`] as a function of its own, so that
//! [`quick`] has the registers for itself.

mod icmp;
mod identity;
mod ipv4;
mod ipv6;
mod neighbor;
mod quick;
mod reject;
mod source;
mod transport;

pub(crate) use neighbor::{ARP, SOLICITATION};
pub use quick::quick;

use crate::abi::{Reason, feature};
use crate::iana::ether_type;
use crate::packet::{Packet, be16};
use crate::tables::Tables;
use crate::verdict::Verdict;

const ETHERNET: usize = 14;
const TAG: usize = 4;
/// One customer tag, and one of the provider around it (IEEE 802.1ad).
const MAX_TAGS: usize = 2;

/// Decides what becomes of a frame.
#[inline(always)]
pub fn classify<P: Packet, T: Tables>(packet: &P, tables: &T) -> Verdict {
    quick(packet, tables).unwrap_or_else(|| general(packet, tables))
}

/// As [`classify()`], without the short way for common packets.
#[inline(always)]
pub fn general<P: Packet, T: Tables>(packet: &P, tables: &T) -> Verdict {
    let Some(ethernet) = packet.front::<ETHERNET>() else {
        return Verdict::not_ours(Reason::NotIp);
    };
    let mut kind = be16::<12, _>(ethernet);
    let mut network = ETHERNET;
    for _ in 0..MAX_TAGS {
        if !is_tag(kind) {
            break;
        }
        let Some(tag) = packet.load::<TAG>(network) else {
            return Verdict::not_ours(Reason::NotIp);
        };
        kind = be16::<2, _>(tag);
        network += TAG;
    }
    by_type(packet, tables, kind, network)
}

#[inline(always)]
fn is_tag(kind: u16) -> bool {
    kind == ether_type::VLAN || kind == ether_type::SERVICE_VLAN
}

#[inline(always)]
fn by_type<P: Packet, T: Tables>(packet: &P, tables: &T, kind: u16, network: usize) -> Verdict {
    if kind == ether_type::IPV4 {
        ipv4::classify(packet, tables, network)
    } else if kind == ether_type::IPV6 {
        ipv6::classify(packet, tables, network)
    } else if kind == ether_type::ARP && tables.has(feature::NEIGHBOR) {
        neighbor::arp(packet, tables, network)
    } else {
        Verdict::not_ours(Reason::NotIp)
    }
}
