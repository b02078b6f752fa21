//! The node's identity in DNS.

use anycast_common::Reason;
use anycast_common::abi::feature;
use anycast_tests::packet::{Frame, PEER_MAC, Part};
use anycast_tests::processor;
use anycast_userspace::config::dataplane::{Limits, Rate};
use anycast_userspace::dataplane::{Desired, Service, State};

use crate::case::{Case, answer, case, drop, pass};
use crate::replies::query;
use crate::support::{Bed, ip, settings};

fn service(name: &str, state: State, number: u8) -> Service {
    Service {
        name: name.to_owned(),
        state,
        addresses: vec![
            ip(&format!("192.168.250.{number}")),
            ip(&format!("fd00:250::{number}")),
        ],
        ports: vec!["udp/53".parse().unwrap(), "tcp/53".parse().unwrap()],
        ..Service::default()
    }
}

fn to(number: u8) -> [Frame; 2] {
    [
        Frame::new(ip("10.9.8.7"), ip(&format!("192.168.250.{number}"))),
        Frame::new(ip("2001:db8:9::7"), ip(&format!("fd00:250::{number}"))),
    ]
}

const OPT: &[u8] = &[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0];
const COOKIE: &[u8] = &[
    0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8,
];

fn identified(state: State) -> Bed {
    named("city-a", state)
}

fn named(name: &str, state: State) -> Bed {
    Bed::holding(
        &settings(),
        Desired {
            services: vec![Service {
                identity: true,
                ..service("dns", state, 1)
            }],
            identity: Some(name.to_owned()),
            ..Desired::default()
        },
    )
}

/// What a node of this name answers with: the TXT record, and an OPT record with these flags.
fn records(name: &str, flags: Option<u8>) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    let mut records = vec![0xc0, 0x0c, 0, 16, 0, 3, 0, 0, 0, 0, 0, length + 1, length];
    records.extend(name.bytes());
    if let Some(flags) = flags {
        records.extend([0, 0, 41, 0x04, 0xd0, 0, 0, flags, 0, 0, 0]);
    }
    records
}

#[test]
fn the_node_says_its_name_in_dns_whatever_the_case_and_with_or_without_edns() {
    let mut bed = identified(State::Up);
    let plain_record = records("city-a", None);
    let with_opt = records("city-a", Some(0));
    let with_do = records("city-a", Some(0x80));
    for plain in to(1) {
        for frame in [plain.clone(), plain.clone().vlan(3), plain.padded(6)] {
            for name in [
                &b"\x02id\x06server\0"[..],
                b"\x02ID\x06sErVeR\0",
                b"\x08hostname\x04bind\0",
                b"\x08HostName\x04BIND\0",
            ] {
                for (asked, counts, rest, answered, record) in [
                    (0x0000, [0, 0, 0], &b""[..], 0x8400, &plain_record),
                    (0x0100, [0, 0, 0], b"", 0x8500, &plain_record),
                    (0x0120, [0, 0, 1], OPT, 0x8500, &with_opt),
                    (0x0120, [0, 0, 1], COOKIE, 0x8500, &with_do),
                ] {
                    let request =
                        frame
                            .clone()
                            .udp(4000, 53, &query(asked, counts, name, 16, 3, rest));
                    let reply = query(answered, [1, 0, counts[2]], name, 16, 3, record);
                    let reply = frame.back().udp(53, 4000, &reply).bytes();
                    bed.check(vec![case(
                        "identity",
                        &request,
                        answer("dns", Reason::Identity, reply),
                    )]);
                }
            }
        }
    }
}

/// An OPT record with these flags and options.
fn opt(flags: u8, options: &[u8]) -> Vec<u8> {
    let length = u8::try_from(options.len()).unwrap();
    let mut bytes = vec![0, 0, 41, 0x10, 0, 0, 0, flags, 0, 0, length];
    bytes.extend(options);
    bytes
}

#[test]
fn the_answer_has_the_do_bit_of_the_question_and_none_of_its_options() {
    let id = b"\x02id\x06server\0";
    let cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let nsid = [0, 3, 0, 0];
    // The sum of the records depends on whether a name's length is even.
    for name in ["city-a", "city-ab", "x"] {
        let mut bed = named(name, State::Up);
        for flags in [0, 0x80] {
            let reply = query(0x8400, [1, 0, 1], id, 16, 3, &records(name, Some(flags)));
            for (what, options) in [
                ("no option", Vec::new()),
                ("one option", cookie.to_vec()),
                ("an option without data", nsid.to_vec()),
                ("two options", [&nsid[..], &cookie].concat()),
            ] {
                let message = query(0, [0, 0, 1], id, 16, 3, &opt(flags, &options));
                for frame in to(1) {
                    let reply = frame.back().udp(53, 4000, &reply).bytes();
                    let want = answer("dns", Reason::Identity, reply);
                    bed.check(vec![case(what, &frame.udp(4000, 53, &message), want)]);
                }
            }
        }
    }
}

#[test]
fn edns_that_is_unusual_is_left_to_the_server_behind() {
    let mut bed = identified(State::Up);
    let id = b"\x02id\x06server\0";
    let changed = |at: usize, byte: u8| {
        let mut bytes = opt(0, &[]);
        bytes[at] = byte;
        bytes
    };
    for (name, record) in [
        ("one byte, which is no option", opt(0, &[7])),
        ("a code alone", opt(0, &[0, 3])),
        ("an option cut short", opt(0, &[0, 10, 0, 8, 1, 2, 3])),
        (
            "an option with half of another",
            opt(0, &[0, 3, 0, 0, 0, 10]),
        ),
        (
            "an option that takes more than there is",
            opt(0x80, &[0, 10, 0, 1]),
        ),
        ("three options", opt(0, &[0, 3, 0, 0].repeat(3))),
        ("an extended code", changed(5, 1)),
        ("version 1", changed(6, 1)),
        ("a flag that is not DO", changed(7, 0x40)),
        ("another flag that is not DO", changed(8, 1)),
        ("not at the root", changed(0, 1)),
        ("another type", changed(2, 42)),
    ] {
        for frame in to(1) {
            let message = query(0, [0, 0, 1], id, 16, 3, &record);
            let request = frame.udp(4000, 53, &message);
            bed.check(vec![case(name, &request, pass("dns", Reason::Served))]);
        }
    }
}

#[test]
fn unusual_questions_are_left_to_the_server_behind() {
    let mut bed = identified(State::Up);
    let id = b"\x02id\x06server\0";
    for frame in to(1) {
        for (name, message) in [
            ("class IN", query(0, [0, 0, 0], id, 16, 1, b"")),
            ("type A", query(0, [0, 0, 0], id, 1, 3, b"")),
            (
                "another name",
                query(0, [0, 0, 0], b"\x02ie\x06server\0", 16, 3, b""),
            ),
            (
                "a longer name",
                query(0, [0, 0, 0], b"\x02id\x06server\x03net\0", 16, 3, b""),
            ),
            (
                "a label that looks alike",
                query(0, [0, 0, 0], b"\x22id\x06server\0", 16, 3, b""),
            ),
            ("a response", query(0x8000, [0, 0, 0], id, 16, 3, b"")),
            ("opcode NOTIFY", query(0x2000, [0, 0, 0], id, 16, 3, b"")),
            ("truncated", query(0x0200, [0, 0, 0], id, 16, 3, b"")),
            ("answers in a question", query(0, [1, 0, 0], id, 16, 3, b"")),
            (
                "two additional records",
                query(0, [0, 0, 2], id, 16, 3, OPT),
            ),
            ("bytes behind", query(0, [0, 0, 0], id, 16, 3, b"x")),
            (
                "EDNS version 1",
                query(0, [0, 0, 1], id, 16, 3, &[0, 0, 41, 4, 0, 0, 1, 0, 0, 0, 0]),
            ),
            (
                "OPT longer than the message",
                query(0, [0, 0, 1], id, 16, 3, &[0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 9]),
            ),
            (
                "OPT longer than the message by one byte",
                query(0, [0, 0, 1], id, 16, 3, &[0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 1]),
            ),
            ("not DNS", b"hello".to_vec()),
            ("nothing", Vec::new()),
        ] {
            let request = frame.clone().udp(4000, 53, &message);
            bed.check(vec![case(name, &request, pass("dns", Reason::Served))]);
        }
        let plain = query(0, [0, 0, 0], id, 16, 3, b"");
        let request = frame.clone().ethernet([0xff; 6], PEER_MAC);
        bed.check(vec![case(
            "to a link-layer group",
            &request.udp(4000, 53, &plain),
            pass("dns", Reason::Served),
        )]);
        let request = frame.clone().part(Part::First).udp(4000, 53, &plain);
        bed.check(vec![case(
            "a fragment",
            &request,
            pass("dns", Reason::Served),
        )]);
    }
    let [v4, v6] = to(1);
    let plain = query(0, [0, 0, 0], id, 16, 3, b"");
    for frame in [v4.options(&[1; 4]), v6.extension(60, 0)] {
        bed.check(vec![case(
            "IP options",
            &frame.udp(4000, 53, &plain),
            pass("dns", Reason::Served),
        )]);
    }
}

#[test]
fn a_question_behind_which_udp_ends_early_is_left_to_the_server_behind() {
    let mut bed = identified(State::Up);
    let plain = query(0, [0, 0, 0], b"\x02id\x06server\0", 16, 3, b"");
    for frame in to(1) {
        let request = frame.udp(4000, 53, &plain);
        let (layers, mut bytes) = (request.layers(), request.bytes());
        // Within the packet, so that UDP is well-formed, and shorter than it by one byte.
        let length = u16::try_from(layers.end - layers.transport - 1).unwrap();
        bytes[layers.transport + 4..][..2].copy_from_slice(&length.to_be_bytes());
        bed.check(vec![Case {
            name: "UDP shorter than the packet",
            frame: bytes,
            want: pass("dns", Reason::Served),
        }]);
    }
}

#[test]
fn questions_over_the_limit_of_rejections_are_left_to_the_server_behind() {
    let mut bed = Bed::holding(
        &settings(),
        Desired {
            services: vec![Service {
                identity: true,
                limits: Limits {
                    reject: Rate {
                        rate: 1,
                        burst: Some(3.try_into().unwrap()),
                    },
                    ..Limits::default()
                },
                ..service("dns", State::Up, 1)
            }],
            identity: Some("city-a".to_owned()),
            ..Desired::default()
        },
    );
    bed.host.features = feature::IDENTITY;
    let plain = query(0, [0, 0, 0], b"\x02id\x06server\0", 16, 3, b"");
    let [v4, v6] = to(1).map(|frame| frame.udp(4000, 53, &plain).bytes());
    processor::stay_on_one().unwrap();
    for place in 0..6 {
        let frame = if place % 2 == 0 { &v4 } else { &v6 };
        let wanted = if place < 3 {
            Reason::Identity
        } else {
            Reason::Served
        };
        assert_eq!(bed.on_host(frame).reason, wanted, "on the host: {place}");
        assert_eq!(
            bed.explained(frame).reason,
            wanted,
            "in the kernel: {place}"
        );
    }
}

#[test]
fn a_service_that_is_down_does_not_say_its_name() {
    let mut bed = identified(State::Down);
    let plain = query(0, [0, 0, 0], b"\x02id\x06server\0", 16, 3, b"");
    for frame in to(1) {
        let request = frame.udp(4000, 53, &plain);
        bed.check(vec![case("down", &request, drop("dns", Reason::Down))]);
    }
}
