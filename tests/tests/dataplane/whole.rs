//! The data plane as a whole: loading, maps, counting.

use crate::support::{Bed, ip, settings};
use crate::tools::{bpftool, dump};
use anycast_common::Reason;
use anycast_tests::packet::Frame;
use anycast_userspace::config::dataplane::DataPlane as Settings;
use anycast_userspace::dataplane::{DataPlane, DataPlaneError, Desired, Service, State};

pub(crate) fn service(name: &str, state: State, addresses: &[&str]) -> Service {
    Service {
        name: name.to_owned(),
        state,
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        ports: vec!["udp/53".parse().unwrap(), "tcp/8000-8080".parse().unwrap()],
        ..Service::default()
    }
}

pub(crate) fn desired(services: Vec<Service>) -> Desired {
    Desired {
        services,
        ..Desired::default()
    }
}

#[test]
fn every_packet_is_counted_once_under_its_service_and_reason() {
    let mut bed = Bed::new(vec![
        service("up", State::Up, &["192.168.250.1"]),
        service("down", State::Down, &["192.168.250.2"]),
    ]);
    let from = ip("10.0.0.1");
    let up = Frame::new(from, ip("192.168.250.1"));
    let down = Frame::new(from, ip("192.168.250.2"));
    let other = Frame::new(from, ip("192.168.250.3"));
    let frames = [
        (Some(0), Reason::Served, up.clone().udp(1, 53, b"x").bytes()),
        (Some(0), Reason::Echo, up.clone().echo(1, 1, b"x").bytes()),
        (Some(0), Reason::Unlisted, up.syn(1, 22).bytes()),
        (Some(1), Reason::Down, down.echo(1, 1, b"x").bytes()),
        (None, Reason::NotOurs, other.echo(1, 1, b"x").bytes()),
        (None, Reason::NotIp, vec![0; 60]),
    ];
    let before = bed.plane().counters().unwrap();
    assert_eq!(before.total().packets, 0);
    for (_, _, frame) in &frames {
        for _ in 0..3 {
            bed.plane().run(frame).unwrap();
        }
    }
    let after = bed.plane().counters().unwrap();
    for (service, reason, frame) in &frames {
        let counters = service.map_or(&after.unowned, |place: usize| &after.services[place]);
        let count = counters.get(*reason);
        assert_eq!(
            (count.packets, count.bytes),
            (3, 3 * frame.len() as u64),
            "{}",
            reason.name()
        );
    }
    let bytes: usize = frames.iter().map(|(_, _, frame)| 3 * frame.len()).sum();
    assert_eq!(after.total().packets, 3 * frames.len() as u64);
    assert_eq!(after.total().bytes, bytes as u64);
}

#[test]
fn explaining_counts_nothing() {
    let mut bed = Bed::new(vec![service("up", State::Up, &["192.168.250.1"])]);
    let frame = Frame::new(ip("10.0.0.1"), ip("192.168.250.1")).echo(1, 1, b"");
    let explained = bed.plane().explain(&frame.bytes()).unwrap();
    assert_eq!(explained.reason, Reason::Echo);
    assert_eq!(explained.service.as_deref(), Some("up"));
    assert_eq!(bed.plane().counters().unwrap().total().packets, 0);
}

#[test]
fn an_address_that_proofs_come_from_is_proved_as_any_other() {
    let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];
    let mut bed = Bed::new(vec![service("up", State::Up, &addresses)]);
    for address in addresses {
        let proof = bed.plane().prove(ip(address)).unwrap();
        assert_eq!(proof.reason, Reason::Echo, "{address}");
    }
}

#[test]
fn one_write_flips_ten_thousand_addresses() {
    let addresses: Vec<String> = (0..5_000)
        .flat_map(|n| {
            [
                format!("10.7.{}.{}", n / 250, n % 250),
                format!("fd00:7::{n:x}"),
            ]
        })
        .collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut bed = Bed::new(Vec::new());
    let plane = bed.plane();
    let many = desired(vec![service("many", State::Down, &addresses)]);
    assert_eq!(
        plane.apply(&many).unwrap(),
        10_002,
        "addresses, the entry, its counters"
    );
    let before = plane.writes();
    for address in [0, 1, 4_998, 4_999, 9_998, 9_999] {
        let address = ip(addresses[address]);
        assert!(matches!(
            plane.prove(address),
            Err(DataPlaneError::NotProved { .. })
        ));
    }
    plane.flip(0, State::Up).unwrap();
    assert_eq!(plane.writes() - before, 1, "a flip is one write");
    for address in &addresses {
        let explained = plane.prove(ip(address)).unwrap();
        assert_eq!(explained.reason, Reason::Echo, "{address}");
    }
    plane.flip(0, State::Down).unwrap();
    let error = plane.prove(ip(addresses[0])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the loaded program does not serve 10.7.0.0: verdict down (Drop), XDP action 1"
    );
}

#[test]
fn a_new_desired_state_costs_only_what_differs() {
    let mut bed = Bed::new(vec![
        service("a", State::Up, &["192.0.2.10"]),
        service("b", State::Up, &["192.0.2.11"]),
    ]);
    let plane = bed.plane();
    let same = desired(vec![
        service("a", State::Up, &["192.0.2.10"]),
        service("b", State::Up, &["192.0.2.11"]),
    ]);
    assert_eq!(plane.apply(&same).unwrap(), 0);
    let moved = desired(vec![service("b", State::Up, &["192.0.2.10", "192.0.2.11"])]);
    assert_eq!(
        plane.apply(&moved).unwrap(),
        2,
        "one address moves, one entry is cleared"
    );
    assert_eq!(
        plane.prove(ip("192.0.2.10")).unwrap().service.as_deref(),
        Some("b")
    );
    assert_eq!(plane.apply(&same).unwrap(), 3, "entry, counters, address");
    assert_eq!(plane.resync().unwrap(), 0, "the maps hold what they shall");
}

#[test]
fn resync_repairs_what_others_changed() {
    let settings = settings();
    let pin = settings.pin.clone();
    let mut bed = Bed::with(
        &settings,
        vec![service("a", State::Up, &["192.0.2.10", "192.0.2.11"])],
    );
    let addresses = pin.join("ADDRESSES_V4");
    bpftool(&[
        "map",
        "delete",
        "pinned",
        addresses.to_str().unwrap(),
        "key",
        "192",
        "0",
        "2",
        "10",
    ]);
    let held = || dump(&pin, "ADDRESSES_V4").as_array().unwrap().len();
    assert_eq!(held(), 1);
    assert_eq!(bed.plane().resync().unwrap(), 1);
    assert_eq!(held(), 2);
    assert_eq!(
        bed.plane().prove(ip("192.0.2.10")).unwrap().reason,
        Reason::Echo
    );
}

#[test]
fn a_second_process_on_the_same_pins_is_refused_and_disturbs_nothing() {
    let settings = settings();
    let mut bed = Bed::with(&settings, vec![service("a", State::Up, &["192.0.2.10"])]);
    let error = DataPlane::load(&settings).err().expect("refused");
    assert!(
        error.to_string().contains("is in use by another process"),
        "{error}"
    );
    assert_eq!(
        bed.plane().prove(ip("192.0.2.10")).unwrap().reason,
        Reason::Echo
    );
}

#[test]
fn what_a_crash_left_is_replaced_and_unloading_leaves_nothing() {
    let settings = settings();
    let mut crashed = DataPlane::load(&settings).unwrap();
    crashed
        .apply(&desired(vec![service("old", State::Up, &["192.0.2.10"])]))
        .unwrap();
    drop(crashed);
    assert!(
        settings.pin.join("SERVICES").exists(),
        "a crash leaves its pins"
    );

    let mut plane = DataPlane::load(&settings).unwrap();
    plane
        .apply(&desired(vec![service("new", State::Up, &["192.0.2.11"])]))
        .unwrap();
    assert!(
        plane.prove(ip("192.0.2.10")).is_err(),
        "nothing of the old state is in force"
    );
    assert!(plane.prove(ip("192.0.2.11")).is_ok());
    plane.unload().unwrap();
    assert!(!settings.pin.exists());
}

#[test]
fn a_pin_directory_outside_a_bpf_file_system_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let error = DataPlane::load(&Settings {
        pin: directory.path().join("pins"),
        ..settings()
    })
    .err()
    .expect("refused");
    assert!(
        error.to_string().contains("is not on a bpf file system"),
        "{error}"
    );
}
