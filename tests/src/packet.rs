//! Frames for tests, built from their parts: `Frame::v4(a, b).vlan(7).udp(1234, 53, b"…").bytes()`.
//!
//! Lengths and checksums are right unless a test sets them wrong on purpose. The checksums here are
//! this crate's own, so that they can catch those under test.

mod encode;

use std::net::IpAddr;

/// What follows the IP header.
#[derive(Clone, Debug)]
struct Payload {
    protocol: u8,
    bytes: Vec<u8>,
    /// Where in `bytes` the checksum goes, if the protocol has one.
    checksum: Option<usize>,
}

/// Which part of a datagram a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment.
    First,
    /// A later fragment.
    Later,
}

/// Where the layers of a frame start and end, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// The IP header starts.
    pub network: usize,
    /// The part of it that every IP header has ends.
    pub fixed: usize,
    /// Options or extension headers end, and the transport header starts.
    pub transport: usize,
    /// The packet ends.
    pub end: usize,
}

/// A frame in the making.
#[derive(Clone, Debug)]
pub struct Frame {
    source: IpAddr,
    destination: IpAddr,
    tags: Vec<(u16, u16)>,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    part: Part,
    hops: u8,
    payload: Payload,
    ethernet: ([u8; 6], [u8; 6]),
    identification: u16,
    pad: usize,
}

/// MAC address that frames are sent to.
pub const NODE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// MAC address that frames come from.
pub const PEER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

impl Frame {
    /// A frame between two addresses of one family, empty so far.
    pub fn new(source: IpAddr, destination: IpAddr) -> Self {
        assert_eq!(source.is_ipv4(), destination.is_ipv4(), "one family");
        Self {
            source,
            destination,
            tags: Vec::new(),
            options: Vec::new(),
            extensions: Vec::new(),
            part: Part::Whole,
            hops: 61,
            payload: Payload {
                protocol: 59,
                bytes: Vec::new(),
                checksum: None,
            },
            ethernet: (NODE_MAC, PEER_MAC),
            identification: 0x1234,
            pad: 0,
        }
    }

    /// An 802.1Q tag.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push((0x8100, id));
        self
    }

    /// An 802.1ad tag around an 802.1Q tag.
    #[must_use]
    pub fn qinq(mut self, outer: u16, inner: u16) -> Self {
        self.tags.push((0x88a8, outer));
        self.tags.push((0x8100, inner));
        self
    }

    /// IPv4 options; a multiple of four bytes, forty at most.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        assert!(options.len().is_multiple_of(4) && options.len() <= 40);
        self.options = options.to_vec();
        self
    }

    /// An IPv6 extension header of `kind`: hop-by-hop (0), routing (43) or destination options (60),
    /// `eighths` times eight bytes beyond the first eight.
    #[must_use]
    pub fn extension(mut self, kind: u8, eighths: u8) -> Self {
        let mut bytes = vec![0; (usize::from(eighths) + 1) * 8];
        bytes[1] = eighths;
        if kind != 43 {
            // PadN over all of it (RFC 8200 §4.2), in pieces of what one option can hold.
            let mut at = 2;
            while at < bytes.len() {
                let rest = bytes.len() - at;
                if rest == 1 {
                    bytes[at] = 0;
                    at += 1;
                } else {
                    let content = (rest - 2).min(255);
                    bytes[at] = 1;
                    bytes[at + 1] = u8::try_from(content).expect("at most 255");
                    at += 2 + content;
                }
            }
        }
        self.extensions.push((kind, bytes));
        self
    }

    /// An IPv6 routing header with segments left.
    #[must_use]
    pub fn segments_left(mut self, count: u8) -> Self {
        let mut bytes = vec![0; 24];
        bytes[1] = 2;
        bytes[3] = count;
        self.extensions.push((43, bytes));
        self
    }

    /// An IPv6 fragment header that says it is all there is (RFC 6946).
    #[must_use]
    pub fn atomic_fragment(mut self) -> Self {
        self.extensions.push((44, vec![0, 0, 0, 0, 0, 0, 0, 9]));
        self
    }

    /// Makes it a fragment.
    #[must_use]
    pub fn part(mut self, part: Part) -> Self {
        self.part = part;
        self
    }

    /// The IPv4 identification.
    #[must_use]
    pub fn identification(mut self, identification: u16) -> Self {
        self.identification = identification;
        self
    }

    /// To and from these MAC addresses.
    #[must_use]
    pub fn ethernet(mut self, destination: [u8; 6], source: [u8; 6]) -> Self {
        self.ethernet = (destination, source);
        self
    }

    /// The same tags and headers the other way around, as an answer with a fresh time to live has them.
    #[must_use]
    pub fn back(&self) -> Self {
        let mut back = self.clone();
        std::mem::swap(&mut back.source, &mut back.destination);
        back.ethernet = (self.ethernet.1, self.ethernet.0);
        back.hops = 64;
        back.pad = 0;
        back
    }

    /// Time to live or hop limit.
    #[must_use]
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// Bytes after the packet's end, as Ethernet pads short frames.
    #[must_use]
    pub fn padded(mut self, pad: usize) -> Self {
        self.pad = pad;
        self
    }

    /// Any protocol with any content.
    #[must_use]
    pub fn carrying(mut self, protocol: u8, bytes: &[u8]) -> Self {
        self.payload = Payload {
            protocol,
            bytes: bytes.to_vec(),
            checksum: None,
        };
        self
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(mut self, source: u16, destination: u16, data: &[u8]) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(source.to_be_bytes());
        bytes.extend(destination.to_be_bytes());
        bytes.extend(u16::try_from(8 + data.len()).expect("short").to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(data);
        self.payload = Payload {
            protocol: 17,
            bytes,
            checksum: Some(6),
        };
        self
    }

    /// A TCP segment.
    #[must_use]
    pub fn tcp(
        mut self,
        source: u16,
        destination: u16,
        sequence: u32,
        acknowledged: u32,
        flags: u8,
        data: &[u8],
    ) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(source.to_be_bytes());
        bytes.extend(destination.to_be_bytes());
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(acknowledged.to_be_bytes());
        bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend(data);
        self.payload = Payload {
            protocol: 6,
            bytes,
            checksum: Some(16),
        };
        self
    }

    /// A TCP RST, which offers no window.
    #[must_use]
    pub fn reset(
        self,
        source: u16,
        destination: u16,
        sequence: u32,
        acknowledged: u32,
        flags: u8,
    ) -> Self {
        let mut frame = self.tcp(source, destination, sequence, acknowledged, flags, b"");
        frame.payload.bytes[14..16].copy_from_slice(&[0, 0]);
        frame
    }

    /// A TCP SYN.
    #[must_use]
    pub fn syn(self, source: u16, destination: u16) -> Self {
        self.tcp(source, destination, 1000, 0, 0x02, b"")
    }

    /// An SCTP packet of a common header alone.
    #[must_use]
    pub fn sctp(self, source: u16, destination: u16) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(source.to_be_bytes());
        bytes.extend(destination.to_be_bytes());
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 0]);
        self.carrying(132, &bytes)
    }

    /// An ICMP or ICMPv6 message: type, code, the four bytes that follow, and what comes after.
    #[must_use]
    pub fn icmp(mut self, kind: u8, code: u8, word: [u8; 4], data: &[u8]) -> Self {
        let mut bytes = vec![kind, code, 0, 0];
        bytes.extend(word);
        bytes.extend(data);
        self.payload = Payload {
            protocol: if self.source.is_ipv4() { 1 } else { 58 },
            bytes,
            checksum: Some(2),
        };
        self
    }

    /// An echo request.
    #[must_use]
    pub fn echo(self, identifier: u16, sequence: u16, data: &[u8]) -> Self {
        let kind = if self.source.is_ipv4() { 8 } else { 128 };
        let [a, b] = identifier.to_be_bytes();
        let [c, d] = sequence.to_be_bytes();
        self.icmp(kind, 0, [a, b, c, d], data)
    }

    /// The reply that a correct host gives to this echo request.
    pub fn echo_reply(&self) -> Vec<u8> {
        let mut reply = self.back();
        reply.pad = self.pad;
        reply.payload.bytes[0] = if self.source.is_ipv4() { 0 } else { 129 };
        reply.bytes()
    }

    /// Without options and extension headers.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.options.clear();
        self.extensions.clear();
        self
    }

    /// The same packet with only the first `count` bytes behind the IP header and its extensions: a
    /// correct one where the protocol has no length of its own.
    #[must_use]
    pub fn keep(mut self, count: usize) -> Self {
        self.payload.bytes.truncate(count);
        self
    }

    /// Where its layers start and end, as it was described.
    #[must_use]
    pub fn layers(&self) -> Layers {
        let network = self.network();
        let header = if self.source.is_ipv4() {
            20 + self.options.len()
        } else {
            let fragment = if self.part == Part::Whole { 0 } else { 8 };
            let extensions = self.extensions.iter().map(|(_, bytes)| bytes.len());
            40 + extensions.sum::<usize>() + fragment
        };
        let fixed = if self.source.is_ipv4() { 20 } else { 40 };
        Layers {
            network,
            fixed: network + fixed,
            transport: network + header,
            end: network + header + self.payload.bytes.len(),
        }
    }

    /// Where the IP header starts.
    pub fn network(&self) -> usize {
        14 + 4 * self.tags.len()
    }
}

/// The Internet checksum of `bytes` (RFC 1071).
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}
