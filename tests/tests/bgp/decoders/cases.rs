//! Sessions with each form of OPEN, UPDATE and end, and what is to be read of them.

use std::net::{IpAddr, Ipv6Addr};

use anycast_userspace::rib::{Attributes, DesiredRoutes, Route};

use crate::node::routes;

pub(super) const AS_PATH: &str = "bgp.update.path_attribute.as_path_segment.as4";
pub(super) const TYPE_CODE: &str = "bgp.update.path_attribute.type_code";
const NEXT_HOP: &str = "bgp.update.path_attribute.next_hop";
const MP_NEXT_HOP: &str = "bgp.update.path_attribute.mp_reach_nlri.next_hop.ipv6";
const MULTI_EXIT_DISC: &str = "bgp.update.path_attribute.multi_exit_disc";
const LOCAL_PREF: &str = "bgp.update.path_attribute.local_pref";
const CEASE: &str = "bgp.notify.minor_error_cease";

pub(super) const EXTERNAL: u32 = 65001;
pub(super) const INTERNAL: u32 = 64512;

pub(super) type Field = (&'static str, &'static [&'static str]);

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
    /// What tshark reads in one message or another: a field, and values that it has one after the other.
    pub(super) fields: &'static [Field],
    /// Fields that tshark finds in no message.
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
        fields: &[
            ("bgp.type", &["1"]),
            ("bgp.open.myas", &["64512"]),
            ("bgp.open.holdtime", &["90"]),
            ("bgp.open.identifier", &["10.0.0.1"]),
            ("bgp.cap.mp.afi", &["1", "2"]),
            // Route refresh, enhanced route refresh, AS numbers of four octets, extended next hop.
            ("bgp.cap.type", &["2"]),
            ("bgp.cap.type", &["70"]),
            ("bgp.cap.type", &["65"]),
            ("bgp.cap.type", &["5"]),
            ("bgp.type", &["4"]),
            ("bgp.update.path_attribute.origin", &["0"]),
            (AS_PATH, &["64512", "64512"]),
            (NEXT_HOP, &["10.0.1.1"]),
            (MULTI_EXIT_DISC, &["10"]),
            ("bgp.update.path_attribute.community_as", &["64512"]),
            ("bgp.update.path_attribute.community_value", &["100"]),
            // GRACEFUL_SHUTDOWN, 65535:0.
            (
                "bgp.update.path_attribute.community_wellknown",
                &["4294901760"],
            ),
            ("bgp.large_communities.ga", &["64512"]),
            ("bgp.large_communities.ldp1", &["1"]),
            ("bgp.large_communities.ldp2", &["2"]),
            // Route target.
            ("bgp.ext_com.stype_tr_as2", &["2"]),
            ("bgp.ext_com.value_as2", &["64512"]),
            ("bgp.ext_com.value_an4", &["7"]),
            ("bgp.nlri_prefix", &["192.168.250.1"]),
            ("bgp.nlri_prefix", &["192.168.251.0"]),
            ("bgp.prefix_length", &["32"]),
            ("bgp.prefix_length", &["24"]),
            (MP_NEXT_HOP, &["fd00:1::1"]),
            ("bgp.mp_reach_nlri_ipv6_prefix", &["fd00:250::1"]),
            ("bgp.mp_unreach_nlri_ipv6_prefix", &["fd00:250::1"]),
            ("bgp.prefix_length", &["128"]),
            ("bgp.update.withdrawn_routes.length", &["9"]),
            // Beginning and end of a refresh.
            ("bgp.route_refresh.subtype", &["1"]),
            ("bgp.route_refresh.subtype", &["2"]),
            ("bgp.type", &["3"]),
            // Cease, Administrative Shutdown.
            ("bgp.notify.major_error", &["6"]),
            (CEASE, &["2"]),
            ("bgp.notify.communication", &["moving to rack 7"]),
        ],
        absent: &[LOCAL_PREF],
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
        // The path is there, and no AS in it.
        fields: &[(LOCAL_PREF, &["250"]), (TYPE_CODE, &["2"])],
        absent: &[AS_PATH],
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
        fields: &[(AS_PATH, &["64512"])],
        absent: &[
            MULTI_EXIT_DISC,
            "bgp.update.path_attribute.communities",
            "bgp.ext_communities",
            "bgp.large_communities",
            LOCAL_PREF,
        ],
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
        fields: &[(TYPE_CODE, &["35"])],
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
        fields: &[
            ("bgp.update.path_attribute.mp_reach_nlri.afi", &["1"]),
            (MP_NEXT_HOP, &["fd00:1::1"]),
        ],
        absent: &[NEXT_HOP],
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
        fields: &[("bgp.cap.type", &["64"]), (CEASE, &["9"])],
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
        fields: &[(MULTI_EXIT_DISC, &["2"])],
        absent: &[],
    },
];
