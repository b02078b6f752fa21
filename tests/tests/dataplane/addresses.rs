//! Counters by Service Address.

use std::time::Duration;

use anycast_common::Reason;
use anycast_common::abi::{AddressCounters, AddressV4, Disposition, Owner, map};
use anycast_tests::packet::Frame;
use anycast_tests::wait;
use anycast_userspace::config::dataplane::DataPlane as Settings;
use anycast_userspace::dataplane::{AddressCount, State, by_reason};
use aya::maps::{HashMap, Map, MapData};

use crate::case::{Want, case, drop};
use crate::daemon::Daemon;
use crate::live::Link;
use crate::support::{Bed, ip, settings};
use crate::tools::{dump, in_a_namespace};
use crate::whole::{desired, service};

fn counting() -> Settings {
    Settings {
        address_counters: true,
        ..settings()
    }
}

fn read(bed: &mut Bed) -> Vec<AddressCount> {
    let reader = bed.plane().address_counters().expect("they are on");
    reader.read().unwrap()
}

fn packets(counters: AddressCounters) -> [u64; 3] {
    let AddressCounters {
        passed,
        dropped,
        answered,
    } = counters;
    [passed, dropped, answered].map(|count| count.packets)
}

fn of(counts: &[AddressCount], address: &str) -> [u64; 3] {
    let found = counts.iter().find(|count| count.address == ip(address));
    packets(found.expect("an address of a service").counters)
}

#[test]
fn packets_are_counted_by_address_and_the_sum_is_that_of_the_service() {
    let mut bed = Bed::with(
        &counting(),
        vec![
            service(
                "up",
                State::Up,
                &["192.168.250.1", "192.168.250.2", "fd00:250::1"],
            ),
            service("down", State::Down, &["192.168.250.3", "fd00:250::3"]),
        ],
    );
    let mut random = 0x2545_f491_u32;
    for _ in 0..3_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [kind, place, length, _] = random.to_be_bytes();
        let (from, to) = [
            ("10.0.0.1", "192.168.250.1"),
            ("10.0.0.1", "192.168.250.2"),
            ("2001:db8::1", "fd00:250::1"),
            ("10.0.0.1", "192.168.250.3"),
            ("2001:db8::1", "fd00:250::3"),
            ("10.0.0.1", "192.168.250.9"),
        ][usize::from(place % 6)];
        let frame = Frame::new(ip(from), ip(to));
        let data = vec![kind; usize::from(length)];
        let frame = match kind % 4 {
            0 => frame.udp(4000, 53, &data),
            1 => frame.udp(4000, 54, &data),
            2 => frame.echo(1, 1, &data),
            _ => frame.carrying(47, &data),
        };
        bed.plane().run(&frame.bytes()).unwrap();
    }
    let counts = read(&mut bed);
    assert_eq!(counts.len(), 5);
    let services = bed.plane().counters().unwrap().services;
    for (place, counters) in services.iter().enumerate() {
        let mut by_service = AddressCounters::default();
        for (reason, count) in by_reason(counters) {
            let into = by_service.get_mut(disposition(reason.name()));
            into.packets += count.packets;
            into.bytes += count.bytes;
        }
        let mut by_address = AddressCounters::default();
        for count in counts.iter().filter(|count| count.service == place) {
            for (into, from) in [
                (&mut by_address.passed, count.counters.passed),
                (&mut by_address.dropped, count.counters.dropped),
                (&mut by_address.answered, count.counters.answered),
            ] {
                assert!(from.packets > 0 || place == 1, "{count:?}");
                into.packets += from.packets;
                into.bytes += from.bytes;
            }
        }
        assert_eq!(by_address, by_service, "service {place}");
    }
}

/// What these packets' reasons come to.
fn disposition(reason: &str) -> Disposition {
    match reason {
        "served" => Disposition::Pass,
        "echo" => Disposition::Answer,
        _ => Disposition::Drop,
    }
}

#[test]
fn an_address_keeps_its_counters_while_others_come_and_go_and_a_new_one_starts_at_zero() {
    let mut bed = Bed::with(
        &counting(),
        vec![service(
            "up",
            State::Up,
            &["192.168.250.1", "192.168.250.2"],
        )],
    );
    let send = |bed: &mut Bed, to: &str| {
        let frame = Frame::new(ip("10.0.0.1"), ip(to)).echo(1, 1, b"");
        bed.plane().run(&frame.bytes()).unwrap();
    };
    for address in ["192.168.250.1", "192.168.250.2", "192.168.250.2"] {
        send(&mut bed, address);
    }
    let next = service(
        "up",
        State::Up,
        &["192.168.250.0", "192.168.250.2", "fd00:250::1"],
    );
    bed.plane().apply(&desired(vec![next])).unwrap();
    send(&mut bed, "192.168.250.0");
    let counts = read(&mut bed);
    assert_eq!(of(&counts, "192.168.250.0"), [0, 0, 1], "not what .1 had");
    assert_eq!(of(&counts, "192.168.250.2"), [0, 0, 2]);
    assert_eq!(of(&counts, "fd00:250::1"), [0, 0, 0]);
    assert_eq!(bed.plane().resync().unwrap(), 0);
}

#[test]
fn explaining_counts_for_no_address() {
    let mut bed = Bed::with(
        &counting(),
        vec![service("up", State::Up, &["192.168.250.1"])],
    );
    let frame = Frame::new(ip("10.0.0.1"), ip("192.168.250.1")).echo(1, 1, b"");
    bed.explained(&frame.bytes());
    assert_eq!(of(&read(&mut bed), "192.168.250.1"), [0, 0, 0]);
}

#[test]
fn off_they_are_a_map_of_one_entry_and_an_error_in_words() {
    let settings = settings();
    let pin = settings.pin.clone();
    let mut bed = Bed::with(
        &settings,
        vec![service("up", State::Up, &["192.168.250.1"])],
    );
    assert!(bed.plane().address_counters().is_none());
    assert_eq!(dump(&pin, "ADDRESS_COUNTERS").as_array().unwrap().len(), 1);
    let owner = &dump(&pin, "ADDRESSES_V4")[0]["formatted"]["value"];
    assert_eq!(owner["slot"], 0);
    in_a_namespace(|| {
        let _link = Link::new();
        let daemon = Daemon::start("", &[]);
        let (done, said) = daemon.ask(&["status", "--addresses"]);
        assert!(
            !done && said.contains("`address_counters = true`"),
            "{said}"
        );
    });
}

#[test]
fn bpftool_prints_them_by_name_and_the_slot_leads_from_an_address_to_its_counters() {
    let settings = Settings {
        max_addresses: 4,
        ..counting()
    };
    let pin = settings.pin.clone();
    let mut bed = Bed::with(
        &settings,
        vec![service("up", State::Up, &["192.168.250.1", "fd00:250::1"])],
    );
    let frame = Frame::new(ip("10.0.0.1"), ip("192.168.250.1")).echo(1, 1, b"");
    bed.plane().run(&frame.bytes()).unwrap();
    let owner = &dump(&pin, "ADDRESSES_V4")[0]["formatted"]["value"];
    let slot = usize::try_from(owner["slot"].as_u64().unwrap()).unwrap();
    let counters = dump(&pin, "ADDRESS_COUNTERS");
    assert_eq!(
        counters.as_array().unwrap().len(),
        9,
        "two families, and nobody"
    );
    let cpus = counters[slot]["formatted"]["values"].as_array().unwrap();
    let answered: u64 = cpus
        .iter()
        .map(|cpu| cpu["value"]["answered"]["packets"].as_u64().unwrap())
        .sum();
    assert_eq!(answered, 1);
}

#[test]
fn the_daemon_shows_them_to_people_and_as_json() {
    in_a_namespace(|| {
        let link = Link::new();
        let daemon = Daemon::start("address_counters = true", &[]);
        let dropped = |address: &str| {
            let counts = daemon.json(&["status", "--addresses", "--json"]);
            let counts = counts.as_array().unwrap();
            let found = counts.iter().find(|count| count["address"] == address);
            let found = found.expect("every address is shown");
            assert_eq!(found["service"], "dns");
            found["dropped"]["packets"].as_u64().unwrap()
        };
        link.send("192.168.250.1", 54, 100);
        link.send("fd00:250::1", 54, 50);
        for (address, sent) in [
            ("192.168.250.1", 100),
            ("fd00:250::1", 50),
            ("fd00:251::1", 0),
        ] {
            wait::until("the packets", Duration::from_secs(10), || {
                Ok((dropped(address) == sent).then_some(()))
            })
            .unwrap_or_else(|error| panic!("{error:#}: {address}: {}", dropped(address)));
        }
        let (done, said) = daemon.ask(&["status", "--addresses"]);
        assert!(
            done && said.starts_with("service dns\n  192.168.250.1  passed "),
            "{said}"
        );
    });
}

#[test]
fn a_packet_to_an_address_whose_service_has_no_entry_is_counted_all_the_same() {
    let settings = settings();
    let mut bed = Bed::with(
        &settings,
        vec![service("up", State::Up, &["192.168.250.1"])],
    );
    let map = MapData::from_pin(settings.pin.join(map::ADDRESSES_V4)).unwrap();
    let mut foreign = HashMap::<_, AddressV4, Owner>::try_from(Map::HashMap(map)).unwrap();
    let (address, owner) = (
        AddressV4 {
            address: [192, 168, 250, 7],
        },
        Owner {
            service: settings.max_services + 1,
            slot: 0,
        },
    );
    foreign.insert(address, owner, 0).unwrap();
    bed.host.own(ip("192.168.250.7"), owner.service);
    let frame = Frame::new(ip("10.1.1.1"), ip("192.168.250.7")).udp(1, 53, b"");
    let before = bed.plane().counters().unwrap().unowned.no_service.packets;
    bed.check(vec![case(
        "an owner that nobody knows",
        &frame,
        Want {
            service: None,
            ..drop("", Reason::NoService)
        },
    )]);
    let counters = bed.plane().counters().unwrap();
    assert_eq!(counters.unowned.no_service.packets - before, 1);
}
