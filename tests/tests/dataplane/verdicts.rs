//! Packet tables: each case through the host's build and through the loaded program.

use crate::case::{Case, case, drop, pass};
use crate::support::{Bed, ip};
use anycast_common::Reason;
use anycast_tests::packet::{Frame, Part};
use anycast_userspace::config::dataplane::{Fragments, Policy};
use anycast_userspace::dataplane::{Service, State};

const DNS: &[&str] = &["udp/53", "tcp/53", "tcp/80", "udp/5000-5010"];

fn service(name: &str, state: State, number: u8) -> Service {
    Service {
        name: name.to_owned(),
        state,
        addresses: vec![
            ip(&format!("192.168.250.{number}")),
            ip(&format!("fd00:250::{number}")),
        ],
        ports: DNS.iter().map(|port| port.parse().unwrap()).collect(),
        ..Service::default()
    }
}

pub(crate) fn services() -> Vec<Service> {
    vec![
        service("up", State::Up, 1),
        service("down", State::Down, 2),
        Service {
            unlisted: Policy::Pass,
            fragments: Fragments::Drop,
            protocols: vec![47],
            ..service("open", State::Degraded, 3)
        },
        Service {
            on_down: Policy::Pass,
            ..service("maintained", State::Disabled, 4)
        },
        service("lingering", State::Lingering, 5),
        service("draining", State::Draining, 6),
        service("new", State::Init, 7),
    ]
}

/// A frame to the service with this number, by family.
pub(crate) fn to(number: u8) -> [Frame; 2] {
    [
        Frame::new(ip("10.9.8.7"), ip(&format!("192.168.250.{number}"))),
        Frame::new(ip("2001:db8:9::7"), ip(&format!("fd00:250::{number}"))),
    ]
}

pub(crate) fn run(cases: Vec<Case>) {
    Bed::new(services()).check(cases);
}

#[test]
fn what_is_not_ours_passes_untouched() {
    let mut arp = vec![0xff; 6];
    arp.extend([2, 0, 0, 0, 0, 2, 0x08, 0x06]);
    arp.extend([0; 28]);
    let mut three_tags = vec![0; 12];
    three_tags.extend([
        0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 0x08, 0x00, 0x45,
    ]);
    let other_v4 = Frame::new(ip("10.9.8.7"), ip("192.168.250.99"));
    let other_v6 = Frame::new(ip("2001:db8::1"), ip("fd00:250::99"));
    let mut short = to(1)[0].clone().syn(1, 80).bytes();
    short.truncate(14 + 19);
    run(vec![
        Case {
            name: "ARP",
            frame: arp,
            want: pass(None, Reason::NotIp),
        },
        Case {
            name: "three VLAN tags",
            frame: three_tags,
            want: pass(None, Reason::NotIp),
        },
        Case {
            name: "a bare Ethernet header",
            frame: vec![0; 14],
            want: pass(None, Reason::NotIp),
        },
        Case {
            name: "an IPv4 header cut short",
            frame: short,
            want: pass(None, Reason::NotIp),
        },
        case(
            "IPv4 to another address",
            &other_v4.clone().syn(1, 80),
            pass(None, Reason::NotOurs),
        ),
        case(
            "IPv6 to another address",
            &other_v6.syn(1, 80),
            pass(None, Reason::NotOurs),
        ),
        case(
            "echo to another address",
            &other_v4.clone().echo(1, 1, b"hi"),
            pass(None, Reason::NotOurs),
        ),
        case(
            "the same in a VLAN",
            &other_v4.vlan(5).echo(1, 1, b"hi"),
            pass(None, Reason::NotOurs),
        ),
    ]);
}

#[test]
fn a_service_that_is_up_gets_its_ports_and_nothing_else() {
    for frame in to(1) {
        run(vec![
            case(
                "UDP to a served port",
                &frame.clone().udp(4000, 53, b"query"),
                pass("up", Reason::Served),
            ),
            case(
                "TCP to a served port",
                &frame.clone().syn(4000, 80),
                pass("up", Reason::Served),
            ),
            case(
                "the first port of a range",
                &frame.clone().udp(1, 5000, b""),
                pass("up", Reason::Served),
            ),
            case(
                "the last port of a range",
                &frame.clone().udp(1, 5010, b""),
                pass("up", Reason::Served),
            ),
            case(
                "behind a range",
                &frame.clone().udp(1, 5011, b""),
                drop("up", Reason::Unlisted),
            ),
            case(
                "before a range",
                &frame.clone().udp(1, 4999, b""),
                drop("up", Reason::Unlisted),
            ),
            case(
                "the port of another protocol",
                &frame.clone().udp(1, 80, b""),
                drop("up", Reason::Unlisted),
            ),
            case(
                "SCTP to a port of UDP",
                &frame.clone().sctp(1, 53),
                drop("up", Reason::Unlisted),
            ),
            case(
                "port 0",
                &frame.clone().udp(1, 0, b""),
                drop("up", Reason::Unlisted),
            ),
            case(
                "GRE",
                &frame.clone().carrying(47, &[0; 8]),
                drop("up", Reason::ProtocolUnlisted),
            ),
            case(
                "no next header",
                &frame.clone().carrying(59, b""),
                drop("up", Reason::ProtocolUnlisted),
            ),
            case(
                "in a VLAN",
                &frame.clone().vlan(9).syn(1, 80),
                pass("up", Reason::Served),
            ),
            case(
                "in two VLANs",
                &frame.clone().qinq(9, 10).syn(1, 80),
                pass("up", Reason::Served),
            ),
            case(
                "padded by Ethernet",
                &frame.clone().padded(9).syn(1, 80),
                pass("up", Reason::Served),
            ),
        ]);
    }
}

#[test]
fn a_service_that_is_not_up_answers_nothing_and_its_policy_decides() {
    let mut cases = Vec::new();
    for (name, number) in [("down", 2), ("new", 7)] {
        for frame in to(number) {
            cases.extend([
                case(
                    "echo",
                    &frame.clone().echo(1, 1, b""),
                    drop(name, Reason::Down),
                ),
                case(
                    "served port",
                    &frame.clone().syn(1, 80),
                    drop(name, Reason::Down),
                ),
                case(
                    "unlisted port",
                    &frame.clone().syn(1, 81),
                    drop(name, Reason::Down),
                ),
                case(
                    "later fragment",
                    &frame.clone().part(Part::Later).carrying(17, &[0; 16]),
                    drop(name, Reason::Down),
                ),
            ]);
        }
    }
    for frame in to(4) {
        cases.extend([
            case(
                "echo",
                &frame.clone().echo(1, 1, b""),
                pass("maintained", Reason::DownPassed),
            ),
            case(
                "served port",
                &frame.clone().syn(1, 80),
                pass("maintained", Reason::DownPassed),
            ),
        ]);
    }
    for frame in to(5) {
        cases.extend([
            case(
                "echo",
                &frame.clone().echo(1, 1, b""),
                drop("lingering", Reason::Down),
            ),
            case(
                "served port",
                &frame.clone().syn(1, 80),
                pass("lingering", Reason::Lingering),
            ),
            case(
                "unlisted port",
                &frame.clone().syn(1, 81),
                drop("lingering", Reason::Down),
            ),
        ]);
    }
    run(cases);
}

#[test]
fn a_service_that_lingers_gets_all_of_its_flows_and_answers_nothing() {
    for (place, frame) in to(5).into_iter().enumerate() {
        let (kind, code) = [(3, 4), (2, 0)][place];
        let (own, peer) = [
            ("192.168.250.5", "10.9.8.7"),
            ("fd00:250::5", "2001:db8:9::7"),
        ][place];
        let error = |port| {
            let quoted = Frame::new(ip(own), ip(peer)).udp(port, 4000, b"reply");
            frame
                .clone()
                .icmp(kind, code, [0, 0, 5, 0], &quoted.packet())
        };
        run(vec![
            case(
                "first fragment",
                &frame.clone().part(Part::First).udp(1, 53, &[0; 8]),
                pass("lingering", Reason::Lingering),
            ),
            case(
                "later fragment",
                &frame.clone().part(Part::Later).carrying(17, &[0; 16]),
                pass("lingering", Reason::Fragment),
            ),
            case(
                "an error about a flow",
                &error(53),
                pass("lingering", Reason::IcmpError),
            ),
            case(
                "an error about another port",
                &error(54),
                drop("lingering", Reason::Down),
            ),
            case(
                "GRE",
                &frame.clone().carrying(47, &[0; 8]),
                drop("lingering", Reason::Down),
            ),
        ]);
    }
}

#[test]
fn policies_of_a_service_decide_about_what_it_does_not_list() {
    for frame in to(3) {
        run(vec![
            case(
                "unlisted port",
                &frame.clone().syn(1, 81),
                pass("open", Reason::UnlistedPassed),
            ),
            case(
                "listed protocol",
                &frame.clone().carrying(47, &[0; 8]),
                pass("open", Reason::ProtocolListed),
            ),
            case(
                "unlisted protocol",
                &frame.clone().carrying(50, &[0; 8]),
                drop("open", Reason::ProtocolUnlisted),
            ),
            case(
                "first fragment",
                &frame.clone().part(Part::First).udp(1, 53, &[0; 8]),
                pass("open", Reason::Served),
            ),
            case(
                "later fragment",
                &frame.clone().part(Part::Later).carrying(17, &[0; 16]),
                drop("open", Reason::FragmentDropped),
            ),
            case(
                "first fragment of an echo",
                &frame.clone().part(Part::First).echo(1, 1, &[0; 8]),
                drop("open", Reason::FragmentDropped),
            ),
        ]);
    }
}

#[test]
fn fragments_are_judged_by_what_they_carry() {
    for frame in to(1) {
        run(vec![
            case(
                "first, served port",
                &frame.clone().part(Part::First).udp(1, 53, &[0; 8]),
                pass("up", Reason::Served),
            ),
            case(
                "first, unlisted port",
                &frame.clone().part(Part::First).udp(1, 54, &[0; 8]),
                drop("up", Reason::Unlisted),
            ),
            case(
                "later",
                &frame.clone().part(Part::Later).carrying(17, &[0; 16]),
                pass("up", Reason::Fragment),
            ),
            case(
                "later, one byte",
                &frame.clone().part(Part::Later).carrying(6, &[0]),
                pass("up", Reason::Fragment),
            ),
            case(
                "first of an echo",
                &frame.clone().part(Part::First).echo(1, 1, &[0; 8]),
                pass("up", Reason::Fragment),
            ),
        ]);
    }
}

#[test]
fn extension_headers_are_followed_as_far_as_the_bound() {
    let [_, frame] = to(1);
    let chain = |count: u8| {
        (0..count).fold(frame.clone(), |frame, place| {
            frame.extension(if place == 0 { 0 } else { 60 }, place)
        })
    };
    run(vec![
        case("six", &chain(6).syn(1, 80), pass("up", Reason::Served)),
        case(
            "seven",
            &chain(7).syn(1, 80),
            drop("up", Reason::HeaderChain),
        ),
        case(
            "hop-by-hop not first",
            &frame.clone().extension(60, 0).extension(0, 0).syn(1, 80),
            drop("up", Reason::HeaderChain),
        ),
        case(
            "routing, at its end",
            &frame.clone().extension(43, 2).syn(1, 80),
            pass("up", Reason::Served),
        ),
        case(
            "routing, segments left",
            &frame.clone().segments_left(1).syn(1, 80),
            drop("up", Reason::HeaderChain),
        ),
        case(
            "the longest header",
            &frame.clone().extension(60, 159).syn(1, 80),
            pass("up", Reason::Served),
        ),
    ]);
}

#[test]
fn a_packet_that_contradicts_itself_is_dropped() {
    let [v4, v6] = to(1);
    let change = |frame: &Frame, at: usize, byte: u8| {
        let mut bytes = frame.bytes();
        bytes[14 + at] = byte;
        bytes
    };
    let udp4 = v4.clone().udp(1, 53, b"12345678");
    let udp6 = v6.clone().udp(1, 53, b"12345678");
    let tcp4 = v4.syn(1, 80);
    let tcp6 = v6.clone().syn(1, 80);
    let malformed = || drop("up", Reason::Malformed);
    run(vec![
        Case {
            name: "version 5",
            frame: change(&udp4, 0, 0x55),
            want: malformed(),
        },
        Case {
            name: "header of 16 bytes",
            frame: change(&udp4, 0, 0x44),
            want: malformed(),
        },
        Case {
            name: "header longer than the packet",
            frame: change(&udp4, 0, 0x4f),
            want: malformed(),
        },
        Case {
            name: "longer than the frame",
            frame: change(&udp4, 3, 200),
            want: malformed(),
        },
        Case {
            name: "shorter than its header",
            frame: change(&udp4, 3, 19),
            want: malformed(),
        },
        Case {
            name: "UDP longer than the packet",
            frame: change(&udp4, 25, 17),
            want: malformed(),
        },
        Case {
            name: "UDP of 7 bytes",
            frame: change(&udp4, 25, 7),
            want: malformed(),
        },
        Case {
            name: "TCP header of 16 bytes",
            frame: change(&tcp4, 32, 0x40),
            want: malformed(),
        },
        Case {
            name: "TCP header beyond the packet",
            frame: change(&tcp4, 32, 0x60),
            want: malformed(),
        },
        Case {
            name: "version 4 in IPv6",
            frame: change(&udp6, 0, 0x40),
            want: malformed(),
        },
        Case {
            name: "IPv6 longer than the frame",
            frame: change(&udp6, 5, 200),
            want: malformed(),
        },
        Case {
            name: "UDP over IPv6 longer than the packet",
            frame: change(&udp6, 45, 17),
            want: malformed(),
        },
        Case {
            name: "TCP over IPv6 with a header of 16 bytes",
            frame: change(&tcp6, 52, 0x40),
            want: malformed(),
        },
        Case {
            name: "an extension beyond the packet",
            frame: change(&v6.clone().udp(0x3bff, 53, b"12345678"), 6, 60),
            want: malformed(),
        },
    ]);
}
