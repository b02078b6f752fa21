//! ARP replies (RFC 826) and neighbour advertisements (RFC 4861 §4.4), in the interface's name.

use super::{end_at, length16};
use crate::checksum;
use crate::classify::{ARP, SOLICITATION};
use crate::iana::{icmpv6, protocol};
use crate::packet::{Ip6, Mac, Packet, field, put};
use crate::tables::Tables;
use crate::verdict::Place;

const REPLY: u16 = 2;
/// An advertisement with a target link-layer address option.
const ADVERTISEMENT: usize = SOLICITATION + 8;
/// The answer to who asked; not to override, since others may own the address too (§7.2.4, §7.2.7).
const SOLICITED: u8 = 0x40;
/// Target link-layer address, of eight bytes.
const OPTION: [u8; 2] = [2, 1];
const NEIGHBOR_HOPS: u8 = 255;
/// All nodes, for who has no address yet (§7.2.4), and its MAC address (RFC 2464 §7).
const ALL_NODES: Ip6 = Ip6::new(0xff02 << 48, 1);
const ALL_NODES_MAC: Mac = Mac::new([0x33, 0x33, 0, 0, 0, 1]);

/// The hardware type stays the asker's own.
#[inline(always)]
pub(super) fn arp<P: Packet, T: Tables>(packet: &mut P, tables: &T, place: Place) -> Option<()> {
    let mac = Mac::new(tables.mac()?);
    let header = packet.load_mut::<ARP>(place.network)?;
    let asker = Mac::load::<8, _>(header);
    let asker_ip: [u8; 4] = *field::<14, _, _>(header);
    let target: [u8; 4] = *field::<24, _, _>(header);
    put::<6, _, _>(header, REPLY.to_be_bytes());
    mac.store::<8, _>(header);
    put::<14, _, _>(header, target);
    asker.store::<18, _>(header);
    put::<24, _, _>(header, asker_ip);
    address(packet, asker, mac)
}

#[inline(always)]
pub(super) fn advertisement<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    place: Place,
) -> Option<()> {
    let mac = Mac::new(tables.mac()?);
    let transport = place.network + 40;
    end_at(
        packet,
        transport + SOLICITATION,
        ADVERTISEMENT - SOLICITATION,
    )?;
    let target = Ip6::load::<8, _>(packet.load::<ADVERTISEMENT>(transport)?);
    let header = packet.load_mut::<40>(place.network)?;
    let asker = Ip6::load::<8, _>(header);
    let anonymous = asker == Ip6::UNSPECIFIED;
    let destination = if anonymous { ALL_NODES } else { asker };
    put::<4, _, _>(header, length16(ADVERTISEMENT).to_be_bytes());
    put::<7, _, _>(header, [NEIGHBOR_HOPS]);
    target.store::<8, _>(header);
    destination.store::<24, _>(header);

    let message = packet.load_mut::<ADVERTISEMENT>(transport)?;
    let flags = if anonymous { 0 } else { SOLICITED };
    put::<0, _, _>(message, [icmpv6::NEIGHBOR_ADVERTISEMENT, 0, 0, 0]);
    put::<4, _, _>(message, [flags, 0, 0, 0]);
    put::<24, _, _>(message, OPTION);
    mac.store::<26, _>(message);
    let sum = checksum::sum(message)
        + target.sum()
        + destination.sum()
        + u32::from(length16(ADVERTISEMENT))
        + u32::from(protocol::ICMPV6);
    put::<2, _, _>(message, (!checksum::fold(sum)).to_be_bytes());

    let asker = Mac::load::<6, _>(packet.load::<12>(0)?);
    let asker = if anonymous { ALL_NODES_MAC } else { asker };
    address(packet, asker, mac)
}

#[inline(always)]
fn address<P: Packet>(packet: &mut P, destination: Mac, source: Mac) -> Option<()> {
    let addresses = packet.load_mut::<12>(0)?;
    destination.store::<0, _>(addresses);
    source.store::<6, _>(addresses);
    Some(())
}
