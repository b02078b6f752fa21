//! The object in the hands of other tools: bpftool and xdp-loader.

use std::fs;

use anycast_common::Reason;
use anycast_tests::packet::Frame;
use anycast_userspace::dataplane::{State, total};

use crate::support::{Bed, ip, settings};
use crate::tools::{bpftool, dump, in_a_namespace, ip_tool};
use crate::whole::service;

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

/// What xdp-loader says.
fn xdp_loader(arguments: &str) -> String {
    let output = anycast_tests::process::command("xdp-loader")
        .args(arguments.split(' '))
        .output()
        .expect("xdp-loader is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "xdp-loader {arguments}: {said}");
    said
}

#[test]
fn xdp_loader_loads_shows_and_unloads_the_object_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let object = directory.path().join("anycast.o");
    fs::write(&object, anycast_userspace::OBJECT).unwrap();
    let object = object.to_str().unwrap().to_owned();
    in_a_namespace(move || {
        ip_tool("link add left type veth peer name right");
        ip_tool("link set left up");
        for program in ["anycast_xdp", "anycast_xdp_frags"] {
            for (mode, shown) in [("native", " xdp "), ("skb", " xdpgeneric ")] {
                xdp_loader(&format!("load -m {mode} -n {program} left {object}"));
                let status = xdp_loader("status left");
                let line = status.lines().find(|line| line.starts_with("left"));
                let line = line.unwrap_or_else(|| panic!("no interface left in {status}"));
                assert!(line.contains(program) && line.contains(mode), "{line}");
                assert!(ip_tool("link show left").contains(shown));
                xdp_loader("unload left --all");
                assert!(!ip_tool("link show left").contains("xdp"));
            }
        }
    });
}
