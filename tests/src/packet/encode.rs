//! The octets of a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Frame, Part, checksum};

impl Frame {
    /// The IP packet alone.
    pub fn packet(&self) -> Vec<u8> {
        let mut payload = self.payload.bytes.clone();
        if let Some(at) = self.payload.checksum
            && at + 2 <= payload.len()
        {
            payload[at..at + 2].copy_from_slice(&[0, 0]);
            let sum = self.transport_sum(&payload);
            let sum = if sum == 0 && self.payload.protocol == 17 {
                0xffff
            } else {
                sum
            };
            payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.packet_v4(source, destination, &payload)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.packet_v6(source, destination, &payload)
            }
            _ => unreachable!("one family"),
        }
    }

    fn packet_v4(&self, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut packet = vec![0x40 | u8::try_from(header / 4).expect("at most 15"), 0];
        packet.extend(
            u16::try_from(header + payload.len())
                .expect("short")
                .to_be_bytes(),
        );
        packet.extend(self.identification.to_be_bytes());
        packet.extend(match self.part {
            Part::Whole => [0x40, 0],
            Part::First => [0x20, 0],
            Part::Later => [0x20, 0xb9],
        });
        packet.extend([self.hops, self.payload.protocol, 0, 0]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(&self.options);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        packet
    }

    fn packet_v6(&self, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
        let mut extensions = self.extensions.clone();
        match self.part {
            Part::Whole => {}
            Part::First => extensions.push((44, vec![0, 0, 0, 1, 0, 0, 0, 9])),
            Part::Later => extensions.push((44, vec![0, 0, 0x05, 0xc9, 0, 0, 0, 9])),
        }
        let mut after = Vec::new();
        for (place, (_, bytes)) in extensions.iter().enumerate() {
            let next = extensions
                .get(place + 1)
                .map_or(self.payload.protocol, |(kind, _)| *kind);
            after.push(next);
            after.extend(&bytes[1..]);
        }
        after.extend(payload);
        let first = extensions
            .first()
            .map_or(self.payload.protocol, |(kind, _)| *kind);
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(u16::try_from(after.len()).expect("short").to_be_bytes());
        packet.extend([first, self.hops]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(after);
        packet
    }

    /// The whole frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.ethernet.0);
        frame.extend(self.ethernet.1);
        for (kind, id) in &self.tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        frame.extend(if self.source.is_ipv4() {
            [0x08, 0x00]
        } else {
            [0x86, 0xdd]
        });
        frame.extend(self.packet());
        frame.extend(vec![0; self.pad]);
        frame
    }

    fn transport_sum(&self, payload: &[u8]) -> u16 {
        match (self.source, self.destination) {
            (IpAddr::V4(_), _) if self.payload.protocol == 1 => checksum(payload),
            (source, destination) => {
                let mut covered = Vec::new();
                for address in [source, destination] {
                    match address {
                        IpAddr::V4(ip) => covered.extend(ip.octets()),
                        IpAddr::V6(ip) => covered.extend(ip.octets()),
                    }
                }
                covered.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
                covered.extend([0, 0, 0, self.payload.protocol]);
                covered.extend(payload);
                checksum(&covered)
            }
        }
    }
}
