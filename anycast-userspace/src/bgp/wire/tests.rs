//! What is encoded, read back by a decoder, and how little of it there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rustbgpd_wire::{Message, decode_message, peek_message_length};

use super::*;

fn encoder() -> Encoder {
    Encoder {
        local_as: 4_200_000_000,
        external: true,
        four_octet_as: true,
        families: vec![Family::Ipv4, Family::Ipv6],
        extended_next_hop: false,
        configured: NextHop::default(),
        local_address: [10, 0, 1, 1].into(),
        interface: NextHop {
            ipv4: None,
            ipv6: Some("fd00:1::1".parse().unwrap()),
        },
        link_local: None,
        communities: Vec::new(),
        only_to_customer: false,
    }
}

/// UPDATEs as a peer with four-octet AS numbers reads them.
fn read(octets: &BytesMut) -> Vec<rustbgpd_wire::ParsedUpdate> {
    let mut rest = octets.clone().freeze();
    let mut updates = Vec::new();
    while let Some(length) = peek_message_length(&rest, 4096).unwrap() {
        let mut one = rest.split_to(usize::from(length));
        let Message::Update(update) = decode_message(&mut one, 4096).unwrap() else {
            panic!("only UPDATEs are encoded");
        };
        updates.push(update.parse(true, false, &[]).unwrap());
    }
    assert!(rest.is_empty());
    updates
}

fn hosts(count: u32, ipv6: bool) -> Vec<IpNet> {
    (0..count)
        .map(|number| {
            let address = if ipv6 {
                IpAddr::V6((0xfd00_0250_u128 << 96 | u128::from(number)).into())
            } else {
                IpAddr::V4((0xC0A8_0000 + number).into())
            };
            address.into()
        })
        .collect()
}

fn announce(attributes: Attributes, prefixes: Vec<IpNet>) -> Delta {
    Delta {
        withdraw: Vec::new(),
        announce: vec![(Arc::new(attributes), prefixes)],
    }
}

#[test]
fn ten_thousand_prefixes_take_as_few_updates_as_fit() {
    let cases = [
        // 5 octets each beside 23 octets of frame and 20 of attributes; 17 each beside the MP attributes.
        (
            "announce IPv4",
            announce(Attributes::default(), hosts(10_000, false)),
            13,
        ),
        (
            "announce IPv6",
            announce(Attributes::default(), hosts(10_000, true)),
            43,
        ),
        (
            "withdraw IPv4",
            Delta {
                withdraw: hosts(10_000, false),
                announce: Vec::new(),
            },
            13,
        ),
        (
            "withdraw IPv6",
            Delta {
                withdraw: hosts(10_000, true),
                announce: Vec::new(),
            },
            42,
        ),
    ];
    for (name, delta, want) in cases {
        let mut octets = BytesMut::new();
        let count = encoder().encode(&delta, &mut octets).unwrap();
        assert_eq!(count, want, "{name}");
        assert_eq!(u64::try_from(read(&octets).len()).unwrap(), count, "{name}");
    }
}

#[test]
fn withdrawals_come_before_announcements() {
    let mut delta = announce(Attributes::default(), hosts(3, false));
    delta.withdraw = [hosts(1, true), vec!["10.9.0.0/16".parse().unwrap()]].concat();
    let mut octets = BytesMut::new();
    encoder().encode(&delta, &mut octets).unwrap();
    let updates = read(&octets);
    assert_eq!(updates.len(), 3);
    assert_eq!(updates[0].withdrawn.len(), 1);
    assert!(matches!(
        updates[1].attributes[..],
        [PathAttribute::MpUnreachNlri(_)]
    ));
    assert_eq!(updates[2].announced.len(), 3);
}

#[test]
fn the_largest_attributes_still_leave_room_for_prefixes() {
    let attributes = Attributes {
        med: Some(1),
        prepend: 32,
        local_preference: Some(1),
        communities: (0..64).map(Community).collect(),
        large_communities: (0..64)
            .map(|number| crate::rib::LargeCommunity {
                global_administrator: number,
                local_data_1: 0,
                local_data_2: 0,
            })
            .collect(),
        extended_communities: (0..64).map(crate::rib::ExtendedCommunity).collect(),
        next_hop: NextHop::default(),
    };
    let mut encoder = encoder();
    encoder.communities = (1000..1064).map(Community).collect();
    encoder.link_local = Some("fe80::1".parse().unwrap());
    for ipv6 in [false, true] {
        let mut octets = BytesMut::new();
        let delta = announce(attributes.clone(), hosts(1000, ipv6));
        encoder.encode(&delta, &mut octets).unwrap();
        let total: usize = read(&octets)
            .iter()
            .map(|update| {
                let mp = update
                    .attributes
                    .iter()
                    .find_map(|attribute| match attribute {
                        PathAttribute::MpReachNlri(mp) => Some(mp.announced.len()),
                        _ => None,
                    });
                update.announced.len() + mp.unwrap_or(0)
            })
            .sum();
        assert_eq!(total, 1000);
    }
}

#[test]
fn attributes_that_leave_no_room_for_a_prefix_are_an_error_and_not_silence() {
    let mut last_fitting = [0; 2];
    for (at, ipv6) in [false, true].into_iter().enumerate() {
        for count in 900..1030 {
            let attributes = Attributes {
                communities: (0..count).map(Community).collect(),
                ..Attributes::default()
            };
            let mut octets = BytesMut::new();
            let delta = announce(attributes, hosts(1, ipv6));
            if encoder().encode(&delta, &mut octets) == Ok(1) {
                last_fitting[at] = count;
                assert_eq!(read(&octets).len(), 1);
            } else {
                assert!(octets.is_empty());
            }
        }
    }
    assert!(
        last_fitting.iter().all(|count| (990..1020).contains(count)),
        "{last_fitting:?}"
    );
}

#[test]
fn a_peer_with_two_octet_as_numbers_gets_as_trans_and_the_true_path_beside_it() {
    let encoder = Encoder {
        four_octet_as: false,
        ..encoder()
    };
    let mut octets = BytesMut::new();
    let delta = announce(Attributes::default(), hosts(1, false));
    encoder.encode(&delta, &mut octets).unwrap();
    // AS_PATH of one AS_TRANS (23456), and AS4_PATH (type 17) with 4200000000.
    let as_path = [0x40, 2, 4, 2, 1, 0x5B, 0xA0];
    let as4_path = [0xC0, 17, 6, 2, 1, 0xFA, 0x56, 0xEA, 0x00];
    for part in [&as_path[..], &as4_path[..]] {
        assert!(
            octets.windows(part.len()).any(|window| window == part),
            "{octets:02x?}"
        );
    }
}

#[test]
fn next_hops_are_chosen_in_the_documented_order() {
    let v4: IpNet = "192.168.250.1/32".parse().unwrap();
    let v6: IpNet = "fd00:250::1/128".parse().unwrap();
    let route = Attributes {
        next_hop: NextHop {
            ipv4: Some([10, 9, 9, 9].into()),
            ipv6: Some("fd09::9".parse().unwrap()),
        },
        ..Attributes::default()
    };
    let over_ipv6 = Encoder {
        local_address: "fd00:1::1".parse().unwrap(),
        ..encoder()
    };
    let interface_ipv4 = Encoder {
        interface: NextHop {
            ipv4: Some([10, 0, 1, 1].into()),
            ipv6: None,
        },
        ..over_ipv6.clone()
    };
    let configured = Encoder {
        configured: NextHop {
            ipv4: Some([10, 7, 7, 7].into()),
            ipv6: None,
        },
        ..over_ipv6.clone()
    };
    let extended = Encoder {
        extended_next_hop: true,
        ..interface_ipv4.clone()
    };
    let plain = Attributes::default();
    let cases = [
        ("the route's own", &encoder(), &route, v4, Some("10.9.9.9")),
        (
            "the route's own, IPv6",
            &encoder(),
            &route,
            v6,
            Some("fd09::9"),
        ),
        (
            "the session's address",
            &encoder(),
            &plain,
            v4,
            Some("10.0.1.1"),
        ),
        (
            "the interface's, for the other family",
            &encoder(),
            &plain,
            v6,
            Some("fd00:1::1"),
        ),
        ("none for IPv4 over IPv6", &over_ipv6, &plain, v4, None),
        (
            "the peer's setting",
            &configured,
            &plain,
            v4,
            Some("10.7.7.7"),
        ),
        (
            "the interface's IPv4",
            &interface_ipv4,
            &plain,
            v4,
            Some("10.0.1.1"),
        ),
        (
            "IPv6 where RFC 8950 was agreed on",
            &extended,
            &plain,
            v4,
            Some("fd00:1::1"),
        ),
    ];
    for (name, encoder, attributes, prefix, want) in cases {
        let want = want.map(|text| text.parse().unwrap());
        assert_eq!(encoder.next_hop(&prefix, attributes), want, "{name}");
    }
}

#[test]
fn the_community_of_the_peer_joins_those_of_the_route_once() {
    let encoder = Encoder {
        communities: vec![Community(1), Community(2)],
        ..encoder()
    };
    let attributes = Attributes {
        communities: vec![Community(2), Community(3)],
        ..Attributes::default()
    };
    let list = encoder.path_attributes(&attributes);
    assert!(
        list.contains(&PathAttribute::Communities(vec![2, 3, 1])),
        "{list:?}"
    );
}

#[test]
fn routes_that_are_only_for_customers_carry_our_as_as_the_last_attribute() {
    for marked in [true, false] {
        let encoder = Encoder {
            only_to_customer: marked,
            ..encoder()
        };
        let attributes = Attributes {
            large_communities: vec!["64512:1:2".parse().unwrap()],
            ..Attributes::default()
        };
        let mut octets = BytesMut::new();
        let delta = announce(attributes, hosts(1, false));
        encoder.encode(&delta, &mut octets).unwrap();
        let update = read(&octets).remove(0);
        let last = update.attributes.last().unwrap();
        let otc = *last == PathAttribute::OnlyToCustomer(4_200_000_000);
        assert_eq!(otc, marked, "{last:?}");
    }
}

fn prefixes() -> impl Strategy<Value = Vec<IpNet>> {
    let v4 = (any::<u32>(), 0u8..=32).prop_map(|(address, length)| {
        IpNet::new(IpAddr::V4(address.into()), length)
            .unwrap()
            .trunc()
    });
    let v6 = (any::<u128>(), 0u8..=128).prop_map(|(address, length)| {
        IpNet::new(IpAddr::V6(address.into()), length)
            .unwrap()
            .trunc()
    });
    prop::collection::btree_set(prop_oneof![v4, v6], 0..300)
        .prop_map(|set| set.into_iter().collect())
}

/// What a peer knows after reading UPDATEs: each prefix with its MED.
fn learn(view: &mut BTreeMap<String, Option<u32>>, octets: &BytesMut) {
    let text = |prefix: &Prefix| format!("{}/{}", prefix.addr_string(), prefix.prefix_len());
    for update in read(octets) {
        for entry in &update.withdrawn {
            view.remove(&text(&Prefix::V4(entry.prefix)));
        }
        let med = update
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                PathAttribute::Med(med) => Some(*med),
                _ => None,
            });
        for entry in &update.announced {
            view.insert(text(&Prefix::V4(entry.prefix)), med);
        }
        for attribute in &update.attributes {
            match attribute {
                PathAttribute::MpReachNlri(mp) => {
                    view.extend(mp.announced.iter().map(|entry| (text(&entry.prefix), med)));
                }
                PathAttribute::MpUnreachNlri(mp) => {
                    for entry in &mp.withdrawn {
                        view.remove(&text(&entry.prefix));
                    }
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn a_decoder_reads_back_exactly_what_was_to_be_said(
        first in prefixes(), second in prefixes(), gone in prefixes()
    ) {
        let med = |value| Arc::new(Attributes { med: Some(value), ..Attributes::default() });
        let mut view = BTreeMap::new();
        let mut octets = BytesMut::new();
        let known = Delta { withdraw: Vec::new(), announce: vec![(med(0), gone.clone())] };
        encoder().encode(&known, &mut octets).unwrap();
        let delta = Delta {
            withdraw: gone,
            announce: vec![(med(1), first.clone()), (med(2), second.clone())],
        };
        encoder().encode(&delta, &mut octets).unwrap();
        learn(&mut view, &octets);
        let mut want = BTreeMap::new();
        for (value, list) in [(1, &first), (2, &second)] {
            want.extend(list.iter().map(|prefix| (prefix.to_string(), Some(value))));
        }
        prop_assert_eq!(view, want);
    }
}
