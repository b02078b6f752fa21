//! Answers that are more than an echo: rejections, neighbours, the node's identity.

use anycast_common::Reason;
use anycast_common::abi::Disposition;
use anycast_tests::packet::{Frame, NODE_MAC, PEER_MAC, Part};
use anycast_userspace::config::dataplane::Policy;
use anycast_userspace::dataplane::{Desired, Service, State};

use crate::case::{Case, answer, case, drop, pass};
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

fn rejecting() -> Bed {
    Bed::new(vec![
        Service {
            unlisted: Policy::Reject,
            ..service("up", State::Up, 1)
        },
        Service {
            on_down: Policy::Reject,
            ..service("down", State::Down, 2)
        },
    ])
}

const SYN: u8 = 0x02;
const FIN: u8 = 0x01;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Port unreachable for `frame`, quoting its headers and eight bytes.
fn unreachable(frame: &Frame) -> Vec<u8> {
    let v4 = frame.bytes()[frame.network()] >> 4 == 4;
    let mut quoted = frame.packet();
    let header = if v4 { 20 } else { 40 };
    quoted.truncate(header + 8);
    let (kind, code) = if v4 { (3, 3) } else { (1, 4) };
    let back = frame.back().identification(0);
    back.icmp(kind, code, [0; 4], &quoted).bytes()
}

#[test]
fn rejected_segments_get_a_reset_with_the_numbers_of_rfc_9293() {
    let mut bed = rejecting();
    for (number, name, reason, port) in [
        (1, "up", Reason::UnlistedRejected, 81),
        (2, "down", Reason::DownRejected, 53),
    ] {
        for plain in to(number) {
            for frame in [
                plain.clone(),
                plain.clone().vlan(3),
                plain.clone().qinq(3, 4),
            ] {
                let back = frame.back();
                let answered = |request: Frame, reset: Frame| {
                    case("reset", &request, answer(name, reason, reset.bytes()))
                };
                bed.check(vec![
                    answered(
                        frame.clone().tcp(4000, port, 1000, 0, SYN, b""),
                        back.clone().reset(port, 4000, 0, 1001, RST | ACK),
                    ),
                    answered(
                        frame
                            .clone()
                            .tcp(4000, port, u32::MAX, 0, SYN | FIN, b"12345"),
                        back.clone().reset(port, 4000, 0, 6, RST | ACK),
                    ),
                    answered(
                        frame.clone().tcp(4000, port, 1000, 77, ACK, b"data"),
                        back.clone().reset(port, 4000, 77, 0, RST),
                    ),
                    answered(
                        frame.clone().padded(30).tcp(4000, port, 1000, 0, SYN, b""),
                        back.clone().reset(port, 4000, 0, 1001, RST | ACK),
                    ),
                ]);
            }
        }
    }
    let [v4, v6] = to(1);
    let v4 = v4.options(&[1; 12]);
    let v6 = v6.extension(60, 1);
    for frame in [v4, v6] {
        let reset = frame.back().reset(81, 4000, 0, 1001, RST | ACK).bytes();
        let request = frame.tcp(4000, 81, 1000, 0, SYN, b"");
        bed.check(vec![case(
            "options",
            &request,
            answer("up", Reason::UnlistedRejected, reset),
        )]);
    }
}

#[test]
fn rejected_datagrams_get_port_unreachable_that_quotes_them() {
    let mut bed = rejecting();
    for plain in to(1) {
        for frame in [
            plain.clone(),
            plain.clone().vlan(3),
            plain.clone().qinq(3, 4),
        ] {
            for request in [
                frame.clone().udp(4000, 54, b""),
                frame.clone().udp(4000, 54, b"odd"),
                frame.clone().udp(4000, 54, &[7; 1200]),
                frame.clone().hops(1).udp(4000, 54, b"far"),
                frame.clone().padded(7).sctp(4000, 54),
            ] {
                let want = answer("up", Reason::UnlistedRejected, unreachable(&request));
                bed.check(vec![case("unreachable", &request, want)]);
            }
        }
    }
}

#[test]
fn what_must_not_be_rejected_is_dropped() {
    let mut bed = rejecting();
    for frame in to(1) {
        bed.check(vec![
            case(
                "RST",
                &frame.clone().tcp(1, 81, 1, 0, RST, b""),
                drop("up", Reason::Unlisted),
            ),
            case(
                "RST with ACK",
                &frame.clone().tcp(1, 81, 1, 1, RST | ACK, b""),
                drop("up", Reason::Unlisted),
            ),
            case(
                "first fragment",
                &frame.clone().part(Part::First).udp(1, 54, &[0; 8]),
                drop("up", Reason::Unlisted),
            ),
            case(
                "link-layer broadcast",
                &frame.clone().ethernet([0xff; 6], PEER_MAC).udp(1, 54, b""),
                drop("up", Reason::Unlisted),
            ),
        ]);
    }
    for (source, destination) in [
        ("127.0.0.1", "192.168.250.1"),
        ("ff02::1", "fd00:250::1"),
        ("fd00:250::1", "fd00:250::1"),
    ] {
        let frame = Frame::new(ip(source), ip(destination)).udp(1, 54, b"");
        bed.check(vec![case(source, &frame, drop("up", Reason::Unlisted))]);
    }
    for frame in to(2) {
        bed.check(vec![
            case(
                "echo to a service that is down",
                &frame.clone().echo(1, 1, b""),
                drop("down", Reason::Down),
            ),
            case(
                "GRE",
                &frame.carrying(47, &[0; 8]),
                drop("down", Reason::Down),
            ),
        ]);
    }
}

/// An ARP packet: operation, sender and target, in a frame.
fn arp(
    operation: u8,
    sender: ([u8; 6], [u8; 4]),
    target: ([u8; 6], [u8; 4]),
    frame: ([u8; 6], [u8; 6]),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(frame.0);
    bytes.extend(frame.1);
    bytes.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, operation]);
    bytes.extend(sender.0);
    bytes.extend(sender.1);
    bytes.extend(target.0);
    bytes.extend(target.1);
    bytes
}

#[test]
fn arp_is_answered_while_up_and_kept_from_the_stack_while_not() {
    let neighbor = |name, state, number| Service {
        neighbor: true,
        ..service(name, state, number)
    };
    let mut bed = Bed::new(vec![
        neighbor("up", State::Up, 1),
        neighbor("down", State::Down, 2),
        service("left to the stack", State::Down, 3),
    ]);
    let asker = (PEER_MAC, [192, 168, 250, 200]);
    let request = |operation, sender, last, destination| {
        arp(
            operation,
            sender,
            ([0; 6], [192, 168, 250, last]),
            (destination, PEER_MAC),
        )
    };
    let reply = |target| {
        arp(
            2,
            (NODE_MAC, [192, 168, 250, 1]),
            target,
            (PEER_MAC, NODE_MAC),
        )
    };
    let all = [0xff; 6];
    bed.check(vec![
        Case {
            name: "up",
            frame: request(1, asker, 1, all),
            want: answer("up", Reason::Neighbor, reply(asker)),
        },
        Case {
            name: "up, unicast probe",
            frame: request(1, asker, 1, NODE_MAC),
            want: answer("up", Reason::Neighbor, reply(asker)),
        },
        Case {
            name: "up, is the address free",
            frame: request(1, (PEER_MAC, [0; 4]), 1, all),
            want: answer("up", Reason::Neighbor, reply((PEER_MAC, [0; 4]))),
        },
        Case {
            name: "down",
            frame: request(1, asker, 2, all),
            want: drop("down", Reason::NeighborDown),
        },
        Case {
            name: "down, unicast",
            frame: request(1, asker, 2, NODE_MAC),
            want: drop("down", Reason::NeighborDown),
        },
        Case {
            name: "not gated",
            frame: request(1, asker, 3, all),
            want: pass("left to the stack", Reason::NeighborPassed),
        },
        Case {
            name: "gratuitous",
            frame: request(1, (PEER_MAC, [192, 168, 250, 1]), 1, all),
            want: pass("up", Reason::NeighborPassed),
        },
        Case {
            name: "another address",
            frame: request(1, asker, 99, all),
            want: pass(None, Reason::NotOurs),
        },
        Case {
            name: "a reply",
            frame: request(2, asker, 1, NODE_MAC),
            want: pass(None, Reason::NotIp),
        },
        Case {
            name: "cut short",
            frame: request(1, asker, 1, all)[..41].to_vec(),
            want: pass(None, Reason::NotIp),
        },
    ]);
}

#[test]
fn neighbour_solicitations_are_answered_while_up_and_kept_from_the_stack_while_not() {
    let neighbor = |name, state, number| Service {
        neighbor: true,
        ..service(name, state, number)
    };
    let mut bed = Bed::new(vec![
        neighbor("up", State::Up, 1),
        neighbor("down", State::Down, 2),
    ]);
    let node = ip("fd00:250::1");
    let target = |number: u8| {
        let mut bytes = vec![0xfd, 0, 0x02, 0x50];
        bytes.extend([0; 11]);
        bytes.push(number);
        bytes
    };
    let solicitation = |from: &str, to: &str, number, with_option: bool| {
        let mut body = target(number);
        if with_option {
            body.extend([1, 1]);
            body.extend(PEER_MAC);
        }
        Frame::new(ip(from), ip(to))
            .hops(255)
            .icmp(135, 0, [0; 4], &body)
    };
    let advertisement = |to: &str, flags, mac| {
        let mut body = target(1);
        body.extend([2, 1]);
        body.extend(NODE_MAC);
        let frame = Frame::new(node, ip(to)).hops(255).ethernet(mac, NODE_MAC);
        frame.icmp(136, 0, [flags, 0, 0, 0], &body).bytes()
    };
    let asker = "fd00:250::200";
    let everyone = [0x33, 0x33, 0, 0, 0, 1];
    bed.check(vec![
        case(
            "multicast, to the solicited node",
            &solicitation(asker, "ff02::1:ff00:1", 1, true),
            answer("up", Reason::Neighbor, advertisement(asker, 0x40, PEER_MAC)),
        ),
        case(
            "unicast, without the option",
            &solicitation(asker, "fd00:250::1", 1, false),
            answer("up", Reason::Neighbor, advertisement(asker, 0x40, PEER_MAC)),
        ),
        case(
            "is the address free",
            &solicitation("::", "ff02::1:ff00:1", 1, false),
            answer(
                "up",
                Reason::Neighbor,
                advertisement("ff02::1", 0, everyone),
            ),
        ),
        case(
            "down",
            &solicitation(asker, "ff02::1:ff00:2", 2, true),
            drop("down", Reason::NeighborDown),
        ),
        case(
            "down, unicast",
            &solicitation(asker, "fd00:250::2", 2, true),
            drop("down", Reason::NeighborDown),
        ),
        case(
            "another address",
            &solicitation(asker, "ff02::1:ff00:99", 0x99, true),
            pass(None, Reason::NotOurs),
        ),
        case(
            "from beyond a router",
            &solicitation(asker, "fd00:250::1", 1, true).hops(254),
            drop("up", Reason::IcmpOther),
        ),
    ]);
}

/// A DNS message with one question: flags, counts behind the first, name, type, class, the rest.
fn query(flags: u16, counts: [u16; 3], name: &[u8], kind: u16, class: u16, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd];
    bytes.extend(flags.to_be_bytes());
    bytes.extend([0, 1]);
    for count in counts {
        bytes.extend(count.to_be_bytes());
    }
    bytes.extend(name);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(class.to_be_bytes());
    bytes.extend(rest);
    bytes
}

const OPT: &[u8] = &[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0];
const COOKIE: &[u8] = &[
    0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8,
];

fn identified(state: State) -> Bed {
    Bed::holding(
        &settings(),
        Desired {
            services: vec![Service {
                identity: true,
                ..service("dns", state, 1)
            }],
            identity: Some("city-a".to_owned()),
            ..Desired::default()
        },
    )
}

#[test]
fn the_node_says_its_name_in_dns_whatever_the_case_and_with_or_without_edns() {
    let mut bed = identified(State::Up);
    let mut record = vec![0xc0, 0x0c, 0, 16, 0, 3, 0, 0, 0, 0, 0, 7, 6];
    record.extend(b"city-a");
    let mut with_opt = record.clone();
    with_opt.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    for plain in to(1) {
        for frame in [plain.clone(), plain.clone().vlan(3), plain.padded(6)] {
            for name in [
                &b"\x02id\x06server\0"[..],
                b"\x02ID\x06sErVeR\0",
                b"\x08hostname\x04bind\0",
                b"\x08HostName\x04BIND\0",
            ] {
                for (asked, counts, rest, answered, record) in [
                    (0x0000, [0, 0, 0], &b""[..], 0x8400, &record),
                    (0x0100, [0, 0, 0], b"", 0x8500, &record),
                    (0x0120, [0, 0, 1], OPT, 0x8500, &with_opt),
                    (0x0120, [0, 0, 1], COOKIE, 0x8500, &with_opt),
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
            ("not DNS", b"hello".to_vec()),
            ("nothing", Vec::new()),
        ] {
            let request = frame.clone().udp(4000, 53, &message);
            bed.check(vec![case(name, &request, pass("dns", Reason::Served))]);
        }
        let plain = query(0, [0, 0, 0], id, 16, 3, b"");
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
fn a_service_that_is_down_does_not_say_its_name() {
    let mut bed = identified(State::Down);
    let plain = query(0, [0, 0, 0], b"\x02id\x06server\0", 16, 3, b"");
    for frame in to(1) {
        let request = frame.udp(4000, 53, &plain);
        bed.check(vec![case("down", &request, drop("dns", Reason::Down))]);
    }
}

#[test]
fn a_feature_that_is_first_asked_for_later_replaces_the_program_in_place() {
    let mut bed = Bed::new(vec![service("up", State::Up, 1)]);
    let [v4, _] = to(1);
    let request = v4.udp(4000, 54, b"");
    let before = bed.plane().verified_instructions();
    assert_eq!(
        bed.plane().explain(&request.bytes()).unwrap().reason,
        Reason::Unlisted
    );
    bed.plane()
        .apply(&Desired {
            services: vec![Service {
                unlisted: Policy::Reject,
                ..service("up", State::Up, 1)
            }],
            ..Desired::default()
        })
        .unwrap();
    let explained = bed.plane().explain(&request.bytes()).unwrap();
    assert_eq!(
        (explained.disposition, explained.frame),
        (Disposition::Answer, unreachable(&request))
    );
    let after = bed.plane().verified_instructions();
    println!("instructions verified: {before:?} without features, {after:?} with rejections");
    assert!(before < after, "features that are off are not there");
}
