//! The data plane as a whole: loading, maps, attaching, counting.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Bed, ip, settings};
use anycast_common::Reason;
use anycast_tests::packet::Frame;
use anycast_userspace::config::dataplane::{DataPlane as Settings, Mode};
use anycast_userspace::dataplane::{
    AttachedMode, DataPlane, DataPlaneError, Desired, Service, State, total,
};
use nix::sched::{CloneFlags, unshare};

fn service(name: &str, state: State, addresses: &[&str]) -> Service {
    Service {
        name: name.to_owned(),
        state,
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        ports: vec!["udp/53".parse().unwrap(), "tcp/8000-8080".parse().unwrap()],
        ..Service::default()
    }
}

fn desired(services: Vec<Service>) -> Desired {
    Desired {
        services,
        ..Desired::default()
    }
}

/// What bpftool says, as JSON with its numbers by field name.
fn bpftool(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new("bpftool")
        .arg("--json")
        .args(arguments)
        .output()
        .expect("bpftool is installed");
    assert!(
        output.status.success(),
        "bpftool {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn dump(pin: &Path, map: &str) -> serde_json::Value {
    let path = pin.join(map);
    bpftool(&["map", "dump", "pinned", path.to_str().unwrap()])
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
    assert!(bed.plane().prove(ip("192.0.2.10")).is_err());
    assert_eq!(bed.plane().resync().unwrap(), 1);
    assert_eq!(
        bed.plane().prove(ip("192.0.2.10")).unwrap().reason,
        Reason::Echo
    );
}

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
fn bpftool_prints_the_maps_with_names_that_read_like_the_configuration() {
    let settings = settings();
    let pin = settings.pin.clone();
    let mut bed = Bed::with(
        &settings,
        vec![service("up", State::Up, &["192.168.250.1", "fd00:250::1"])],
    );
    let frame = Frame::new(ip("10.0.0.1"), ip("192.168.250.1"))
        .echo(1, 1, b"")
        .bytes();
    bed.plane().run(&frame).unwrap();

    let addresses = dump(&pin, "ADDRESSES_V4");
    let entry = &addresses[0]["formatted"];
    assert_eq!(
        entry["key"]["address"],
        serde_json::json!([192, 168, 250, 1])
    );
    assert_eq!(entry["value"]["service"], 1);

    let entry = &dump(&pin, "SERVICES")[1]["formatted"]["value"];
    assert_eq!(
        entry["ports"][1],
        serde_json::json!({"protocol": 6, "first": 8000, "last": 8080})
    );
    for field in ["state", "on_down", "unlisted", "fragments", "protocols"] {
        assert!(!entry[field].is_null(), "SERVICES has no field {field}");
    }

    let dumped = dump(&pin, "COUNTERS");
    let per_cpu = dumped[1]["formatted"]["values"].as_array().unwrap();
    let counters = bed.plane().counters().unwrap();
    for reason in Reason::ALL {
        for (field, counted) in [
            ("packets", counters.services[0].get(*reason).packets),
            ("bytes", counters.services[0].get(*reason).bytes),
        ] {
            let dumped: u64 = per_cpu
                .iter()
                .map(|cpu| {
                    cpu["value"][reason.name()][field]
                        .as_u64()
                        .expect("a named counter")
                })
                .sum();
            assert_eq!(dumped, counted, "{} {field}", reason.name());
        }
    }
    assert_eq!(total(&counters.services[0]).packets, 1);
}

#[test]
fn bpftool_loads_the_object_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let object = directory.path().join("anycast.o");
    fs::write(&object, anycast_userspace::OBJECT).unwrap();
    let pin = crate::support::pin();
    let result = std::panic::catch_unwind(|| {
        let (object, pin) = (object.to_str().unwrap(), pin.to_str().unwrap());
        bpftool(&["prog", "loadall", object, pin]);
        for program in ["anycast_xdp", "anycast_xdp_frags"] {
            let shown = bpftool(&["prog", "show", "pinned", &format!("{pin}/{program}")]);
            assert_eq!(shown["type"], "xdp", "{program}: {shown}");
        }
    });
    fs::remove_dir_all(&pin).unwrap();
    result.unwrap();
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

/// Runs `test` in a network namespace of its own, which ends with it.
pub(crate) fn in_a_namespace(test: impl FnOnce() + Send + 'static) {
    let outcome = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
        test();
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) fn ip_tool(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn attaching_takes_native_mode_where_the_driver_has_it_and_says_so_where_not() {
    in_a_namespace(|| {
        ip_tool("link add left type veth peer name right");
        ip_tool("link add name br type bridge");
        let settings = settings();
        let mut plane = DataPlane::load(&settings).unwrap();

        let native = plane.attach("left", Mode::Auto).unwrap().clone();
        assert_eq!((native.mode, native.fallback), (AttachedMode::Native, None));
        assert!(
            ip_tool("link show left").contains(" xdp "),
            "ip link says that it is native"
        );

        let generic = plane.attach("br", Mode::Auto).unwrap().clone();
        assert_eq!(generic.mode, AttachedMode::Generic);
        assert!(generic.fallback.unwrap().contains("refused native mode"));
        assert!(ip_tool("link show br").contains(" xdpgeneric "));

        let error = plane.attach("br", Mode::Native).unwrap_err().to_string();
        assert!(error.contains("br"), "{error}");
        assert_eq!(
            plane.attach("missing", Mode::Auto).unwrap_err().to_string(),
            "there is no interface missing"
        );
        assert_eq!(plane.attachments().count(), 2);
        assert!(plane.detach("left") && !plane.detach("left"));
        assert!(!ip_tool("link show left").contains("xdp"));
        plane.unload().unwrap();
        assert!(!ip_tool("link show br").contains("xdp"));
    });
}

#[test]
fn another_program_on_the_interface_is_left_alone_and_named() {
    in_a_namespace(|| {
        ip_tool("link add left type veth peer name right");
        let (first, second) = (settings(), settings());
        let mut holder = DataPlane::load(&first).unwrap();
        holder.attach("left", Mode::Auto).unwrap();
        let mut plane = DataPlane::load(&second).unwrap();
        let error = plane.attach("left", Mode::Auto).unwrap_err();
        assert!(matches!(error, DataPlaneError::Occupied { .. }), "{error}");
        assert!(
            error.to_string().contains("ip link set left xdp off"),
            "{error}"
        );
        plane.unload().unwrap();
        holder.unload().unwrap();
    });
}

#[test]
fn a_process_that_ends_takes_its_program_off_the_interface() {
    in_a_namespace(|| {
        ip_tool("link add left type veth peer name right");
        let settings = settings();
        let mut plane = DataPlane::load(&settings).unwrap();
        plane.attach("left", Mode::Auto).unwrap();
        assert!(ip_tool("link show left").contains("xdp"));
        // What the kernel does with the descriptors of a killed process, `drop` does here.
        drop(plane);
        assert!(!ip_tool("link show left").contains("xdp"));
        DataPlane::load(&settings).unwrap().unload().unwrap();
    });
}
