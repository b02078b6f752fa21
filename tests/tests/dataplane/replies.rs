//! Frames that answers are compared with, built from RFCs and not from the code under test.

use anycast_tests::packet::{Frame, NODE_MAC, PEER_MAC, Part};

use crate::support::ip;

/// Port unreachable for `frame`, quoting its headers and eight bytes; never a fragment itself.
pub(crate) fn unreachable(frame: &Frame) -> Vec<u8> {
    let layers = frame.layers();
    let v4 = layers.fixed - layers.network == 20;
    let mut quoted = frame.packet();
    quoted.truncate(layers.transport - layers.network + 8);
    let (kind, code) = if v4 { (3, 3) } else { (1, 4) };
    let back = frame.back().bare().part(Part::Whole).identification(0);
    back.icmp(kind, code, [0; 4], &quoted).bytes()
}

/// An ARP packet: operation, sender and target, in a frame.
pub(crate) fn arp(
    operation: u8,
    sender: ([u8; 6], [u8; 4]),
    target: ([u8; 6], [u8; 4]),
    frame: ([u8; 6], [u8; 6]),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(frame.0);
    bytes.extend(frame.1);
    bytes.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, operation]);
    bytes.extend(sender.0);
    bytes.extend(sender.1);
    bytes.extend(target.0);
    bytes.extend(target.1);
    bytes
}

/// A neighbour solicitation for `fd00:250::number`.
pub(crate) fn solicitation(from: &str, to: &str, number: u8, with_option: bool) -> Frame {
    let mut body = target(number);
    if with_option {
        body.extend([1, 1]);
        body.extend(PEER_MAC);
    }
    Frame::new(ip(from), ip(to))
        .hops(255)
        .icmp(135, 0, [0; 4], &body)
}

/// A neighbour advertisement of `fd00:250::number`.
pub(crate) fn advertisement(to: &str, number: u8, flags: u8, mac: [u8; 6]) -> Frame {
    let mut body = target(number);
    body.extend([2, 1]);
    body.extend(NODE_MAC);
    Frame::new(ip(&format!("fd00:250::{number:x}")), ip(to))
        .hops(255)
        .ethernet(mac, NODE_MAC)
        .icmp(136, 0, [flags, 0, 0, 0], &body)
}

fn target(number: u8) -> Vec<u8> {
    let mut bytes = vec![0xfd, 0, 0x02, 0x50];
    bytes.extend([0; 11]);
    bytes.push(number);
    bytes
}

/// A DNS message with one question: flags, counts behind the first, name, type, class, the rest.
pub(crate) fn query(
    flags: u16,
    counts: [u16; 3],
    name: &[u8],
    kind: u16,
    class: u16,
    rest: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd];
    bytes.extend(flags.to_be_bytes());
    bytes.extend([0, 1]);
    for count in counts {
        bytes.extend(count.to_be_bytes());
    }
    bytes.extend(name);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(class.to_be_bytes());
    bytes.extend(rest);
    bytes
}

const ID_SERVER: &[u8] = b"\x02id\x06server\0";

/// The plain question for the node's identity.
pub(crate) fn identity_question() -> Vec<u8> {
    query(0, [0, 0, 0], ID_SERVER, 16, 3, b"")
}

/// Its answer by a node named `city-a`.
pub(crate) fn identified(request: &Frame) -> Vec<u8> {
    let mut record = vec![0xc0, 0x0c, 0, 16, 0, 3, 0, 0, 0, 0, 0, 7, 6];
    record.extend(b"city-a");
    let reply = query(0x8400, [1, 0, 0], ID_SERVER, 16, 3, &record);
    request.back().udp(53, 4000, &reply).bytes()
}
