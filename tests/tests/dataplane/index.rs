//! The index of the addresses: a short cut that never says anything else than the maps of the addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anycast_common::Reason;
use anycast_common::abi::index::{PlaceV4, PlaceV6, RowV4, RowV6, row_v4, shift};
use anycast_common::abi::{NO_SERVICE, map};
use anycast_tests::packet::Frame;
use anycast_userspace::config::dataplane::DataPlane as Settings;
use anycast_userspace::dataplane::{DataPlane, Service, State, index};
use aya::maps::{Array, Map, MapData};

use crate::support::{Bed, ip, settings};
use crate::whole::{desired, service};

const NAMES: [&str; 3] = ["a", "b", "c"];

fn pinned(pin: &Path, name: &str) -> Map {
    Map::Array(MapData::from_pin(pin.join(name)).unwrap())
}

/// How many addresses of each family have a place.
fn placed(pin: &Path) -> [usize; 2] {
    let v4: Array<_, RowV4> = pinned(pin, map::INDEX_V4).try_into().unwrap();
    let v6: Array<_, RowV6> = pinned(pin, map::INDEX_V6).try_into().unwrap();
    let v4 = v4.iter().flat_map(|row| row.unwrap().places);
    let v6 = v6.iter().flat_map(|row| row.unwrap().places);
    [
        v4.filter(|place: &PlaceV4| place.service != NO_SERVICE)
            .count(),
        v6.filter(|place: &PlaceV6| place.service != NO_SERVICE)
            .count(),
    ]
}

fn services(owners: &BTreeMap<IpAddr, usize>) -> Vec<Service> {
    let of = |place| owners.iter().filter(move |(_, owner)| **owner == place);
    (0..NAMES.len())
        .map(|place| Service {
            addresses: of(place).map(|(address, _)| *address).collect(),
            ..service(NAMES[place], State::Up, &[])
        })
        .collect()
}

fn seen(plane: &mut DataPlane, address: IpAddr) -> Option<String> {
    let from = if address.is_ipv4() {
        ip("10.0.0.1")
    } else {
        ip("2001:db8::1")
    };
    let frame = Frame::new(from, address).echo(1, 1, b"x");
    plane.explain(&frame.bytes()).unwrap().service
}

#[test]
fn an_address_is_always_its_present_services_be_there_a_place_for_it_or_not() {
    let settings = Settings {
        max_addresses: 128,
        ..settings()
    };
    let mut random = 0x2545_f491_u32;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random.to_be_bytes()
    };
    // At random: addresses that follow each other have hardly a row in common.
    let pool: Vec<IpAddr> = (0..240)
        .map(|n| {
            let [a, b, c, d] = next();
            if n % 2 == 0 {
                Ipv4Addr::new(10, a, b, c).into()
            } else {
                let [a, b, c, d] = [a, b, c, d].map(u16::from);
                Ipv6Addr::new(0xfd00, 7, a, b, 0, 0, c, d).into()
            }
        })
        .collect();
    let mut bed = Bed::with(&settings, vec![]);
    let mut owners = BTreeMap::new();
    let mut found_without_a_place = [false; 2];
    for round in 0..20 {
        for address in &pool {
            let [high, ..] = next();
            match high {
                0..48 => owners.remove(address),
                48..160 => owners.insert(*address, usize::from(high % 3)),
                160.. => None,
            };
        }
        bed.plane().apply(&desired(services(&owners))).unwrap();
        for address in &pool {
            let wanted = owners.get(address).map(|place| NAMES[*place]);
            let seen = seen(bed.plane(), *address);
            assert_eq!(seen.as_deref(), wanted, "{address} in round {round}");
        }
        let v4 = owners.keys().filter(|address| address.is_ipv4()).count();
        let all = [v4, owners.len() - v4];
        for (family, placed) in placed(&settings.pin).into_iter().enumerate() {
            assert!(0 < placed && placed <= all[family], "{placed} of {all:?}");
            found_without_a_place[family] |= placed < all[family];
        }
    }
    assert_eq!(found_without_a_place, [true; 2], "rows have overflowed");
}

#[test]
fn what_another_hand_writes_into_the_index_counts_until_the_next_resync() {
    let settings = settings();
    let mut bed = Bed::with(&settings, vec![service("a", State::Up, &["192.0.2.10"])]);
    let foreign = Ipv4Addr::new(192, 0, 2, 99);
    let id = bed.plane().id(0).unwrap();
    assert_eq!(seen(bed.plane(), foreign.into()), None);

    let mut rows: Array<_, RowV4> = pinned(&settings.pin, map::INDEX_V4).try_into().unwrap();
    let word = u32::from_ne_bytes(foreign.octets());
    let row = row_v4(word, shift(index::rows(settings.max_addresses)));
    let places = [
        PlaceV4 {
            service: id,
            address: foreign.octets(),
        },
        PlaceV4::default(),
    ];
    rows.set(row, RowV4 { places }, 0).unwrap();
    // The program looks there first.
    assert_eq!(seen(bed.plane(), foreign.into()).as_deref(), Some("a"));

    assert_eq!(bed.plane().resync().unwrap(), 1);
    assert_eq!(seen(bed.plane(), foreign.into()), None);
    assert_eq!(bed.plane().resync().unwrap(), 0);
    assert_eq!(seen(bed.plane(), ip("192.0.2.10")).as_deref(), Some("a"));
}

#[test]
fn addresses_of_zeros_are_found_and_not_taken_for_free_places() {
    let zeros = ["0.0.0.0", "::"];
    let mut bed = Bed::with(&settings(), vec![]);
    for address in zeros {
        let to = ip(address);
        let from = if to.is_ipv4() {
            "10.0.0.1"
        } else {
            "2001:db8::1"
        };
        let frame = Frame::new(ip(from), to).echo(1, 1, b"x").bytes();
        let explained = bed.plane().explain(&frame).unwrap();
        assert_eq!(explained.reason, Reason::NotOurs, "{address}");
    }
    let mut with_zeros = service("a", State::Up, &zeros);
    with_zeros.addresses.push(ip("192.0.2.10"));
    bed.plane().apply(&desired(vec![with_zeros])).unwrap();
    for address in ["0.0.0.0", "::", "192.0.2.10"] {
        let seen = seen(bed.plane(), ip(address));
        assert_eq!(seen.as_deref(), Some("a"), "{address}");
    }
    bed.plane()
        .apply(&desired(vec![service("a", State::Up, &["192.0.2.10"])]))
        .unwrap();
    assert_eq!(seen(bed.plane(), ip("0.0.0.0")), None);
    assert_eq!(seen(bed.plane(), ip("::")), None);
}
