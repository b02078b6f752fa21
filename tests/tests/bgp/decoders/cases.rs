//! Sessions with each form of OPEN, UPDATE and end, and what is to be read of them.

use std::net::{IpAddr, Ipv6Addr};

use anycast_userspace::rib::{Attributes, DesiredRoutes, Route};

use crate::node::routes;

pub(super) const EXTERNAL: u32 = 65001;
pub(super) const INTERNAL: u32 = 64512;

/// A session with routes that come and go, and how it is read.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) remote_as: u32,
    /// Of the peer, besides `passive`.
    pub(super) options: &'static str,
    /// Over IPv6 instead of IPv4.
    pub(super) ipv6: bool,
    /// Added to the peer's OPEN.
    pub(super) capabilities: &'static [u8],
    pub(super) wanted: fn() -> DesiredRoutes,
    /// The next hop of IPv4 and of IPv6.
    pub(super) next_hops: [&'static str; 2],
    /// UPDATEs in all: announcements, answers to two refreshes, withdrawals, End-of-RIB.
    pub(super) updates: usize,
    /// What tshark says.
    pub(super) words: &'static [&'static str],
    /// What tshark must not say.
    pub(super) absent: &'static [&'static str],
}

fn attributes() -> Attributes {
    toml::from_str(
        r#"
        med = 10
        prepend = 1
        local_preference = 250
        communities = ["64512:100", "graceful-shutdown"]
        large_communities = ["64512:1:2"]
        extended_communities = ["rt:64512:7"]
        "#,
    )
    .unwrap()
}

const THREE: [&str; 3] = ["192.168.250.1/32", "192.168.251.0/24", "fd00:250::1/128"];

/// More host routes of each family than one message holds, with three sets of attributes.
fn crowd() -> DesiredRoutes {
    let mut desired = DesiredRoutes::new(0);
    for number in 0..3000u32 {
        let attributes = Attributes {
            med: Some(number % 3),
            ..Attributes::default()
        };
        let route = Route::new("dns", attributes);
        let address = std::net::Ipv4Addr::from(0x0A40_0000 + number);
        desired.insert(IpAddr::from(address).into(), route.clone());
        if number < 1200 {
            let address = Ipv6Addr::from(0xFD00_0250_u128 << 96 | u128::from(number));
            desired.insert(IpAddr::from(address).into(), route);
        }
    }
    desired
}

pub(super) const CASES: [Case; 7] = [
    Case {
        name: "external, every attribute, both families, enhanced refresh, End-of-RIB, role",
        remote_as: EXTERNAL,
        options: "role = \"customer\"\nnext_hop = { ipv6 = \"fd00:1::1\" }",
        ipv6: false,
        // Enhanced route refresh (70), and graceful restart (64), which makes us send End-of-RIB.
        capabilities: &[70, 0, 64, 2, 0, 0],
        wanted: || routes(&THREE, attributes()),
        next_hops: ["10.0.1.1", "fd00:1::1"],
        updates: 8,
        words: &[
            "Type: OPEN Message (1)",
            "My AS: 64512",
            "Hold Time: 90",
            "BGP Identifier: 10.0.0.1",
            "Capability: Multiprotocol extensions capability",
            "Capability: Route refresh capability",
            "Capability: Enhanced route refresh capability",
            "Capability: Support for 4-octet AS number capability",
            "Capability: Extended Next Hop Encoding",
            "Type: KEEPALIVE Message (4)",
            "Path Attribute - ORIGIN: IGP",
            "AS Path segment: 64512 64512",
            "Path Attribute - NEXT_HOP: 10.0.1.1",
            "Path Attribute - MULTI_EXIT_DISC: 10",
            "Path Attribute - COMMUNITIES: 64512:100 GRACEFUL_SHUTDOWN",
            "Path Attribute - LARGE_COMMUNITY: 64512:1:2",
            "Route Target: 64512:7",
            "192.168.250.1/32",
            "192.168.251.0/24",
            "Path Attribute - MP_REACH_NLRI",
            "fd00:1::1",
            "fd00:250::1/128",
            "Path Attribute - MP_UNREACH_NLRI",
            "Withdrawn Routes Length: 9",
            "Demarcation of the beginning of a route refresh",
            "Demarcation of the ending of a route refresh",
            "Type: NOTIFICATION Message (3)",
            "Major error Code: Cease (6)",
            "Administratively Shutdown",
            "moving to rack 7",
        ],
        absent: &["LOCAL_PREF"],
    },
    Case {
        name: "internal: LOCAL_PREF, and no AS in the path",
        remote_as: INTERNAL,
        options: "next_hop = { ipv6 = \"fd00:1::1\" }",
        ipv6: false,
        capabilities: &[],
        wanted: || routes(&THREE, attributes()),
        next_hops: ["10.0.1.1", "fd00:1::1"],
        updates: 6,
        words: &[
            "Path Attribute - LOCAL_PREF: 250",
            "Path Attribute - AS_PATH: empty",
        ],
        absent: &[],
    },
    Case {
        name: "no attributes but the mandatory ones",
        remote_as: EXTERNAL,
        options: "next_hop = { ipv6 = \"fd00:1::1\" }",
        ipv6: false,
        capabilities: &[],
        wanted: || routes(&THREE, Attributes::default()),
        next_hops: ["10.0.1.1", "fd00:1::1"],
        updates: 6,
        words: &["AS Path segment: 64512"],
        absent: &["MULTI_EXIT_DISC", "COMMUNIT", "LOCAL_PREF"],
    },
    Case {
        name: "provider of the peer: OTC (RFC 9234)",
        remote_as: EXTERNAL,
        options: "role = \"provider\"\nnext_hop = { ipv6 = \"fd00:1::1\" }",
        ipv6: false,
        // Role (9): customer.
        capabilities: &[9, 1, 3],
        wanted: || routes(&THREE, Attributes::default()),
        next_hops: ["10.0.1.1", "fd00:1::1"],
        updates: 6,
        // Attribute 35 has no name in tshark 4.0 yet.
        words: &["Path Attribute - Unknown (35)"],
        absent: &[],
    },
    Case {
        name: "IPv4 with an IPv6 next hop in MP_REACH_NLRI (RFC 8950)",
        remote_as: EXTERNAL,
        options: "address = \"fd00:1::2\"",
        ipv6: true,
        // Extended next hop (5): IPv4 unicast over IPv6.
        capabilities: &[5, 6, 0, 1, 0, 1, 0, 2],
        wanted: || routes(&THREE, attributes()),
        next_hops: ["fd00:1::1", "fd00:1::1"],
        updates: 6,
        words: &[
            "Address family identifier (AFI): IPv4 (1)",
            "Next hop: fd00:1::1",
        ],
        absent: &["Path Attribute - NEXT_HOP"],
    },
    Case {
        name: "graceful restart with the N bit: a Hard Reset at the end",
        remote_as: EXTERNAL,
        options: "graceful_restart = true\nnext_hop = { ipv6 = \"fd00:1::1\" }",
        ipv6: false,
        capabilities: &[64, 6, 0x40, 0, 0, 1, 1, 0],
        wanted: || routes(&THREE, Attributes::default()),
        next_hops: ["10.0.1.1", "fd00:1::1"],
        updates: 8,
        words: &["Graceful Restart capability", "Hard Reset"],
        absent: &[],
    },
    Case {
        name: "more prefixes than messages hold",
        remote_as: EXTERNAL,
        options: "next_hop = { ipv6 = \"fd00:1::1\" }",
        ipv6: false,
        capabilities: &[],
        wanted: crowd,
        next_hops: ["10.0.1.1", "fd00:1::1"],
        // Of each set 1000 IPv4 prefixes of 5 octets in two messages and 400 IPv6 ones of 17 in two; the
        // same again for the refresh; 3000 and 1200 withdrawals in four and six.
        updates: 12 + 12 + 10,
        words: &["Path Attribute - MULTI_EXIT_DISC: 2"],
        absent: &[],
    },
];
