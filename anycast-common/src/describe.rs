//! What a log line says of a packet: from where, to where, of what kind. It decides nothing, and is
//! lenient where the verdict function is strict.

use crate::abi::Description;
use crate::iana::{ether_type, protocol};
use crate::packet::{Packet, be16, field, put};

/// Extension headers that are looked behind.
const MAX_EXTENSIONS: usize = 6;

/// Describes a frame; what cannot be read is 0.
///
/// Into memory of the caller's, since a program's stack has no room for it.
#[inline(always)]
pub fn describe<P: Packet>(packet: &P, into: &mut Description) {
    *into = Description::default();
    let Some((kind, network)) = behind_tags(packet) else {
        return;
    };
    into.kind = kind;
    // A header that is cut short is described as far as it was read.
    let _cut = match kind {
        ether_type::IPV4 => describe_v4(packet, network, into),
        ether_type::IPV6 => describe_v6(packet, network, into),
        ether_type::ARP => describe_arp(packet, network, into),
        _ => None,
    };
}

/// The EtherType behind at most two tags, and where what it names starts.
#[inline(always)]
fn behind_tags<P: Packet>(packet: &P) -> Option<(u16, usize)> {
    let mut kind = be16::<12, _>(packet.front::<14>()?);
    let mut network = 14;
    for _ in 0..2 {
        if kind != ether_type::VLAN && kind != ether_type::SERVICE_VLAN {
            break;
        }
        kind = be16::<2, _>(packet.load::<4>(network)?);
        network += 4;
    }
    Some((kind, network))
}

#[inline(always)]
fn describe_v4<P: Packet>(packet: &P, network: usize, into: &mut Description) -> Option<()> {
    let header = packet.load::<20>(network)?;
    let [first] = *field::<0, 1, _>(header);
    let [carried] = *field::<9, 1, _>(header);
    let later = be16::<6, _>(header) & 0x1fff != 0;
    map(field::<12, 4, _>(header), &mut into.source);
    map(field::<16, 4, _>(header), &mut into.destination);
    into.protocol = carried;
    if !later {
        into.port = port(packet, carried, network + (usize::from(first & 0x0f) << 2));
    }
    Some(())
}

#[inline(always)]
fn describe_v6<P: Packet>(packet: &P, network: usize, into: &mut Description) -> Option<()> {
    let header = packet.load::<40>(network)?;
    into.source = *field::<8, 16, _>(header);
    into.destination = *field::<24, 16, _>(header);
    let [mut carried] = *field::<6, 1, _>(header);
    let mut transport = network + 40;
    for _ in 0..MAX_EXTENSIONS {
        let fragment = carried == protocol::FRAGMENT;
        let options = carried == protocol::HOP_BY_HOP
            || carried == protocol::ROUTING
            || carried == protocol::DESTINATION_OPTIONS;
        if !fragment && !options {
            break;
        }
        into.protocol = carried;
        let extension = packet.load::<8>(transport)?;
        let [next, eighths] = *field::<0, 2, _>(extension);
        carried = next;
        if fragment && be16::<2, _>(extension) & 0xfff8 != 0 {
            into.protocol = carried;
            return Some(());
        }
        transport += if fragment {
            8
        } else {
            (usize::from(eighths) + 1) * 8
        };
    }
    into.protocol = carried;
    into.port = port(packet, carried, transport);
    Some(())
}

#[inline(always)]
fn describe_arp<P: Packet>(packet: &P, network: usize, into: &mut Description) -> Option<()> {
    let header = packet.load::<28>(network)?;
    map(field::<14, 4, _>(header), &mut into.source);
    map(field::<24, 4, _>(header), &mut into.destination);
    Some(())
}

#[inline(always)]
fn map(address: &[u8; 4], into: &mut [u8; 16]) {
    put::<10, _, _>(into, [0xff, 0xff]);
    put::<12, _, _>(into, *address);
}

#[inline(always)]
fn port<P: Packet>(packet: &P, carried: u8, transport: usize) -> u16 {
    match carried {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            packet.load::<4>(transport).map_or(0, be16::<2, 4>)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SliceFrame;

    const TAGS: [&[u8]; 3] = [b"", b"\x81\0\0\x05", b"\x88\xa8\0\x05\x81\0\0\x06"];

    fn described(tags: &[u8], packet: &[u8]) -> Description {
        let mut frame = [0; 200];
        frame[12..12 + tags.len()].copy_from_slice(tags);
        let end = 12 + tags.len() + packet.len();
        frame[12 + tags.len()..end].copy_from_slice(packet);
        let mut description = Description::default();
        describe(&SliceFrame::new(&mut frame, end), &mut description);
        description
    }

    #[test]
    fn ipv4_is_described_with_its_port_where_it_carries_one() {
        let mut packet = *b"\x08\0\x46\0\0\x20\0\0\0\0\x40\x11\0\0\x0a\0\0\x01\xc0\xa8\xfa\x01\
            \x01\x01\x01\x01\x10\0\0\x35\0\x08\0\0";
        for tags in TAGS {
            let found = described(tags, &packet);
            assert_eq!((found.kind, found.protocol, found.port), (0x0800, 17, 53));
            assert_eq!(found.source[10..], [0xff, 0xff, 10, 0, 0, 1]);
            assert_eq!(found.destination[10..], [0xff, 0xff, 192, 168, 250, 1]);
        }
        packet[9] = 1;
        assert_eq!(described(b"", &packet).port, 0, "a later fragment");
        assert_eq!(
            described(b"", &packet[..20]),
            Description {
                kind: 0x0800,
                ..Description::default()
            }
        );
    }

    #[test]
    fn ipv6_is_described_by_what_follows_its_extension_headers() {
        let mut packet = [0; 2 + 40 + 8 + 20];
        packet[..2].copy_from_slice(&[0x86, 0xdd]);
        packet[2] = 0x60;
        packet[7] = 28;
        packet[8] = 60;
        packet[10] = 0x20;
        packet[26] = 0xfd;
        packet[42] = 6;
        packet[52..54].copy_from_slice(&[0x1f, 0x90]);
        for tags in TAGS {
            let found = described(tags, &packet);
            assert_eq!((found.kind, found.protocol, found.port), (0x86dd, 6, 8080));
            assert_eq!((found.source[0], found.destination[0]), (0x20, 0xfd));
        }
    }

    #[test]
    fn what_is_neither_is_described_by_its_kind_alone() {
        let lldp = described(b"", b"\x88\xcc\x02\x07");
        assert_eq!(
            lldp,
            Description {
                kind: 0x88cc,
                ..Description::default()
            }
        );
        assert_eq!(described(b"", b""), Description::default());
    }
}
