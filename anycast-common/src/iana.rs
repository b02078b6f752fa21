//! Registry numbers of the protocols that the data plane reads, each with its source.

/// EtherTypes (IEEE 802 numbers registry).
pub mod ether_type {
    /// IPv4, RFC 894.
    pub const IPV4: u16 = 0x0800;
    /// Address resolution, RFC 826.
    pub const ARP: u16 = 0x0806;
    /// Customer VLAN tag, IEEE 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// IPv6, RFC 2464.
    pub const IPV6: u16 = 0x86dd;
    /// Service VLAN tag, IEEE 802.1ad.
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

/// IP protocol numbers, and IPv6 extension headers.
pub mod protocol {
    /// IPv6 hop-by-hop options, RFC 8200 §4.3.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP, RFC 792.
    pub const ICMP: u8 = 1;
    /// TCP, RFC 9293.
    pub const TCP: u8 = 6;
    /// UDP, RFC 768.
    pub const UDP: u8 = 17;
    /// IPv6 routing header, RFC 8200 §4.4.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header, RFC 8200 §4.5.
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6, RFC 4443.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options, RFC 8200 §4.6.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// SCTP, RFC 9260.
    pub const SCTP: u8 = 132;
}

/// ICMP types, RFC 792.
pub mod icmp {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable; code 4 carries the path MTU, RFC 1191.
    pub const UNREACHABLE: u8 = 3;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Code of [`UNREACHABLE`]: port unreachable.
    pub const CODE_PORT: u8 = 3;
}

/// ICMPv6 types, RFC 4443 and RFC 4861.
pub mod icmpv6 {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Neighbour solicitation, RFC 4861 §4.3.
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement, RFC 4861 §4.4.
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    /// Code of [`UNREACHABLE`]: port unreachable.
    pub const CODE_PORT: u8 = 4;
}
