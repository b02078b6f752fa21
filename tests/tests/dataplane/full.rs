//! Maps that are full: an error that names the map, its size and the setting, and the old state holds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anycast_common::Reason;
use anycast_tests::packet::Frame;
use anycast_userspace::config::dataplane::{DataPlane as Settings, Mode};
use anycast_userspace::dataplane::{DataPlane, Desired, State};
use ipnet::{IpNet, Ipv4Net};

use crate::support::{Bed, ip, settings};
use crate::tools::{bpftool, in_a_namespace, ip_tool};
use crate::whole::{desired, service};

#[test]
fn more_than_a_map_holds_is_refused_whole_with_the_setting_to_raise() {
    let mut bed = Bed::with(
        &Settings {
            max_addresses: 2,
            max_services: 1,
            ..settings()
        },
        vec![service("a", State::Up, &["192.0.2.10"])],
    );
    let plane = bed.plane();
    let three = service(
        "a",
        State::Down,
        &["192.0.2.10", "192.0.2.11", "192.0.2.12"],
    );
    assert_eq!(
        plane.apply(&desired(vec![three])).unwrap_err().to_string(),
        "map ADDRESSES_V4 has room for 2 entries and 3 are configured: raise \
         `dataplane.max_addresses` to at least 3 and restart"
    );
    let two = vec![
        service("a", State::Down, &[]),
        service("b", State::Down, &[]),
    ];
    assert_eq!(
        plane.apply(&desired(two)).unwrap_err().to_string(),
        "map SERVICES has room for 1 entries and 2 are configured: raise \
         `dataplane.max_services` to at least 2 and restart"
    );
    assert_eq!(
        plane.prove(ip("192.0.2.10")).unwrap().reason,
        Reason::Echo,
        "the old state holds"
    );
}

#[test]
fn a_million_prefixes_are_in_force_and_one_more_is_refused_whole() {
    const MILLION: u32 = 1_000_000;
    let mut bed = Bed::with(
        &Settings {
            max_prefixes: MILLION,
            ..settings()
        },
        vec![service("up", State::Up, &["192.168.250.1"])],
    );
    let denied = |count: u32| Desired {
        deny: (0..count)
            .map(|n| {
                Ipv4Net::new(Ipv4Addr::from_bits(0x1400_0000 + 2 * n), 32)
                    .unwrap()
                    .into()
            })
            .collect(),
        ..desired(vec![service("up", State::Up, &["192.168.250.1"])])
    };
    let reason = |bed: &mut Bed, n: u32| {
        let from = Ipv4Addr::from_bits(0x1400_0000 + n);
        let frame = Frame::new(from.into(), ip("192.168.250.1")).udp(1, 53, b"");
        bed.explained(&frame.bytes()).reason
    };
    assert!(bed.plane().apply(&denied(MILLION)).unwrap() >= u64::from(MILLION));
    let error = bed.plane().apply(&denied(MILLION + 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "map LIST_V4 has room for 1000000 entries and 1000001 are configured: raise \
         `dataplane.max_prefixes` to at least 1000001 and restart"
    );
    for n in [0, 1, 123_456, MILLION - 1] {
        assert_eq!(reason(&mut bed, 2 * n), Reason::Denied, "prefix {n}");
        assert_eq!(
            reason(&mut bed, 2 * n + 1),
            Reason::Served,
            "behind prefix {n}"
        );
    }
    assert_eq!(
        reason(&mut bed, 2 * MILLION),
        Reason::Served,
        "what was refused"
    );
}

/// The host with a number, counted from the start of a network.
fn host(network: &str, number: u32) -> IpAddr {
    match ip(network) {
        IpAddr::V4(start) => Ipv4Addr::from_bits(start.to_bits() + number).into(),
        IpAddr::V6(start) => Ipv6Addr::from_bits(start.to_bits() + u128::from(number)).into(),
    }
}

#[test]
fn a_service_s_prefixes_of_either_family_are_in_force_for_it_alone_up_to_the_last() {
    const EACH: u32 = 100_000;
    const SERVICE_V4: &str = "20.0.0.0";
    const SERVICE_V6: &str = "2001:db8:1::";
    const EVERY_V6: &str = "2001:db8:2::";
    let settings = Settings {
        max_prefixes: 2 * EACH,
        ..settings()
    };
    // Every other host, so that each has a neighbour that is not listed.
    let listed = |network: &'static str, count: u32| {
        (0..count).map(move |place| IpNet::from(host(network, 2 * place)))
    };
    let wanted = |v4: u32, v6: u32| {
        let addresses = [
            ["192.168.250.1", "fd00:250::1"],
            ["192.168.250.2", "fd00:250::2"],
        ];
        let mut services = vec![
            service("listed", State::Up, &addresses[0]),
            service("other", State::Up, &addresses[1]),
        ];
        services[0].deny = listed(SERVICE_V4, v4)
            .chain(listed(SERVICE_V6, EACH))
            .collect();
        Desired {
            deny: listed(EVERY_V6, v6).collect(),
            ..desired(services)
        }
    };
    let mut bed = Bed::holding(&settings, wanted(2 * EACH, EACH));
    for (v4, v6, map) in [
        (2 * EACH + 1, EACH, "LIST_V4"),
        (2 * EACH, EACH + 1, "LIST_V6"),
    ] {
        assert_eq!(
            bed.plane().apply(&wanted(v4, v6)).unwrap_err().to_string(),
            format!(
                "map {map} has room for 200000 entries and 200001 are configured: raise \
                 `dataplane.max_prefixes` to at least 200001 and restart"
            )
        );
    }
    // The list, its last place, and whether it denies at the service and at the other one.
    for (network, last, at) in [
        (SERVICE_V4, 2 * EACH - 1, [true, false]),
        (SERVICE_V6, EACH - 1, [true, false]),
        (EVERY_V6, EACH - 1, [true, true]),
    ] {
        for place in [0, 1, 12_345, last] {
            for (service, denied) in ["1", "2"].into_iter().zip(at) {
                let to = match ip(network) {
                    IpAddr::V4(_) => format!("192.168.250.{service}"),
                    IpAddr::V6(_) => format!("fd00:250::{service}"),
                };
                for (n, denied) in [(2 * place, denied), (2 * place + 1, false)] {
                    let from = host(network, n);
                    let frame = Frame::new(from, ip(&to)).udp(1, 53, b"").bytes();
                    let wanted = match denied {
                        true => Reason::Denied,
                        false => Reason::Served,
                    };
                    assert_eq!(bed.explained(&frame).reason, wanted, "{from} to {to}");
                }
            }
        }
    }
}

#[test]
fn a_map_that_the_kernel_finds_full_is_named_with_its_setting_and_what_was_there_stays() {
    let settings = Settings {
        max_addresses: 2,
        max_prefixes: 2,
        ..settings()
    };
    let pin = settings.pin.clone();
    let mut bed = Bed::with(
        &settings,
        vec![service("up", State::Up, &["192.168.250.1"])],
    );
    // Somebody else's entry takes the room that the configuration has.
    let insert = |map: &str, key: &[&str], value: &[&str]| {
        let path = pin.join(map);
        let mut arguments = vec!["map", "update", "pinned", path.to_str().unwrap(), "key"];
        arguments.extend(key);
        arguments.push("value");
        arguments.extend(value);
        bpftool(&arguments);
    };
    insert("ADDRESSES_V4", &["10", "0", "0", "1"], &["0"; 8]);
    let in_force = |bed: &mut Bed| {
        for (address, reason) in [
            ("192.168.250.1", Reason::Echo),
            ("192.168.250.2", Reason::NotOurs),
            ("192.168.250.3", Reason::NotOurs),
        ] {
            let frame = Frame::new(ip("10.1.0.1"), ip(address)).echo(1, 1, b"");
            assert_eq!(bed.explained(&frame.bytes()).reason, reason, "{address}");
        }
    };
    // The second has removed an address, and added one in its place, when it finds the map full.
    for addresses in [
        ["192.168.250.1", "192.168.250.2"],
        ["192.168.250.2", "192.168.250.3"],
    ] {
        let two = service("up", State::Up, &addresses);
        let error = bed.plane().apply(&desired(vec![two])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "map ADDRESSES_V4 is full at 2 entries: raise `dataplane.max_addresses` and restart"
        );
        in_force(&mut bed);
    }
    for last in ["1", "2"] {
        let key = [
            "64", "0", "0", "0", "0", "0", "0", "0", "10", "0", "0", last,
        ];
        insert("LIST_V4", &key, &["1", "0", "0", "0"]);
    }
    let listed = Desired {
        deny: vec!["11.0.0.0/8".parse().unwrap()],
        ..desired(vec![service("up", State::Up, &["192.168.250.1"])])
    };
    let error = bed.plane().apply(&listed).unwrap_err();
    assert_eq!(
        error.to_string(),
        "map LIST_V4 is full at 2 entries: raise `dataplane.max_prefixes` and restart"
    );
    in_force(&mut bed);
}

#[test]
fn more_interfaces_than_their_map_holds_are_refused_and_the_others_stay_attached() {
    in_a_namespace(|| {
        ip_tool("link add left type veth peer name right");
        let settings = Settings {
            max_interfaces: 1,
            ..settings()
        };
        let mut plane = DataPlane::load(&settings).unwrap();
        plane.attach("left", Mode::Auto).unwrap();
        let error = plane.attach("right", Mode::Auto).unwrap_err();
        assert_eq!(
            error.to_string(),
            "map INTERFACES has room for 1 entries and 2 are configured: raise \
             `dataplane.max_interfaces` to at least 2 and restart"
        );
        assert!(ip_tool("link show left").contains(" xdp "));
        assert!(plane.detach("left"), "which makes room");
        plane.attach("right", Mode::Auto).unwrap();
        plane.unload().unwrap();
    });
}
