//! The frames that are measured. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anycast_tests::packet::Frame;

/// A service of the tables, which is also the last part of its addresses.
pub(crate) type Number = u8;

/// Where frames come from: in no list.
pub(crate) const SOURCE_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
/// In the deny list.
pub(crate) const DENIED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// The shortest frame on the wire, without its check sequence.
const SHORTEST: usize = 60;

/// The IPv4 address of a service.
pub(crate) const fn v4(number: Number) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 250, number)
}

/// The IPv6 address of a service.
pub(crate) const fn v6(number: Number) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x250, 0, 0, 0, 0, 0, number as u16)
}

pub(crate) fn to_v4(number: Number) -> Frame {
    Frame::new(IpAddr::V4(SOURCE_V4), IpAddr::V4(v4(number)))
}

pub(crate) fn to_v6(number: Number) -> Frame {
    Frame::new(IpAddr::V6(SOURCE_V6), IpAddr::V6(v6(number)))
}

pub(crate) fn from_denied(number: Number) -> Frame {
    Frame::new(IpAddr::V4(DENIED), IpAddr::V4(v4(number)))
}

/// A DNS question as most are.
pub(crate) fn dns(frame: Frame) -> Frame {
    frame.udp(40_000, 53, &[0; 32])
}

pub(crate) fn syn(frame: Frame, port: u16) -> Frame {
    frame.syn(40_000, port)
}

/// What `ping` sends.
pub(crate) fn ping(frame: Frame) -> Frame {
    frame.echo(7, 1, &[0x55; 56])
}

/// `CH TXT id.server`, recursion desired, without EDNS.
pub(crate) fn identity(frame: Frame) -> Frame {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend(b"\x02id\x06server\0\0\x10\0\x03");
    frame.udp(40_000, 53, &question)
}

/// The frame, padded as Ethernet pads it.
pub(crate) fn bytes(frame: &Frame) -> Vec<u8> {
    at_least(frame.bytes(), SHORTEST)
}

/// Padded to a length.
pub(crate) fn at_least(mut frame: Vec<u8>, length: usize) -> Vec<u8> {
    frame.resize(frame.len().max(length), 0);
    frame
}

/// Who has the address of a service?
pub(crate) fn arp(number: Number) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(anycast_tests::packet::PEER_MAC);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(anycast_tests::packet::PEER_MAC);
    frame.extend(SOURCE_V4.octets());
    frame.extend([0; 6]);
    frame.extend(v4(number).octets());
    at_least(frame, SHORTEST)
}

/// A neighbour solicitation for the address of a service.
pub(crate) fn solicitation(number: Number) -> Vec<u8> {
    let mut data = v6(number).octets().to_vec();
    data.extend([1, 1]);
    data.extend(anycast_tests::packet::PEER_MAC);
    to_v6(number).hops(255).icmp(135, 0, [0; 4], &data).bytes()
}

/// Link layer discovery: not IP.
pub(crate) fn lldp() -> Vec<u8> {
    let mut frame = vec![0x01, 0x80, 0xc2, 0, 0, 0x0e];
    frame.extend(anycast_tests::packet::PEER_MAC);
    frame.extend([0x88, 0xcc]);
    at_least(frame, SHORTEST)
}
