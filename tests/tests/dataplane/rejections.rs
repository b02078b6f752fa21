//! Rejections: TCP RST, and ICMP port unreachable.

use anycast_common::Reason;
use anycast_common::abi::Disposition;
use anycast_tests::packet::{Frame, PEER_MAC, Part};
use anycast_userspace::config::dataplane::Policy;
use anycast_userspace::dataplane::{Desired, Service, State};

use crate::case::{answer, case, drop};
use crate::replies::unreachable;
use crate::support::{Bed, ip};

const SYN: u8 = 0x02;
const FIN: u8 = 0x01;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

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
                // What is quoted of a first fragment is what is quoted of the whole.
                frame.clone().part(Part::First).udp(4000, 54, &[7; 64]),
                frame.clone().part(Part::First).sctp(4000, 54),
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
                "first fragment of a segment",
                &frame
                    .clone()
                    .part(Part::First)
                    .tcp(1, 81, 1, 0, SYN, &[0; 8]),
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
        let part = |part| frame.clone().part(part).udp(1, 53, &[0; 8]);
        let first = part(Part::First);
        bed.check(vec![
            case(
                "first fragment to a service that is down",
                &first,
                answer("down", Reason::DownRejected, unreachable(&first)),
            ),
            case(
                "later fragment to a service that is down",
                &part(Part::Later),
                drop("down", Reason::Down),
            ),
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
