//! ARP requests and neighbour solicitations.

use anycast_common::Reason;
use anycast_tests::packet::{NODE_MAC, PEER_MAC};
use anycast_userspace::dataplane::{Service, State};

use crate::case::{Case, answer, case, drop, pass};
use crate::replies::{advertisement, arp, solicitation};
use crate::support::{Bed, ip};

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
            name: "gratuitous, down",
            frame: request(1, (PEER_MAC, [192, 168, 250, 2]), 2, all),
            want: pass("down", Reason::NeighborPassed),
        },
        Case {
            name: "down, is the address free",
            frame: request(1, (PEER_MAC, [0; 4]), 2, all),
            want: drop("down", Reason::NeighborDown),
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
fn arp_of_ieee_802_networks_which_the_stack_answers_on_ethernet_too_is_judged_alike() {
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
    let of_type = |hardware: u8, mut frame: Vec<u8>| {
        frame[15] = hardware;
        frame
    };
    let request = |hardware, last| {
        let target = ([0; 6], [192, 168, 250, last]);
        of_type(hardware, arp(1, asker, target, ([0xff; 6], PEER_MAC)))
    };
    let owner = (NODE_MAC, [192, 168, 250, 1]);
    let reply = of_type(6, arp(2, owner, asker, (PEER_MAC, NODE_MAC)));
    bed.check(vec![
        Case {
            name: "up, answered in the asker's own type",
            frame: request(6, 1),
            want: answer("up", Reason::Neighbor, reply),
        },
        Case {
            name: "down",
            frame: request(6, 2),
            want: drop("down", Reason::NeighborDown),
        },
        Case {
            name: "not gated",
            frame: request(6, 3),
            want: pass("left to the stack", Reason::NeighborPassed),
        },
        Case {
            name: "another address",
            frame: request(6, 99),
            want: pass(None, Reason::NotOurs),
        },
        Case {
            name: "another hardware type, which the stack does not answer",
            frame: request(7, 2),
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
    let advertisement = |to, flags, mac| advertisement(to, 1, flags, mac).bytes();
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
        case(
            "to the group, behind an extension header, which is not followed there",
            &solicitation(asker, "ff02::1:ff00:2", 2, true).extension(60, 0),
            pass(None, Reason::NotOurs),
        ),
    ]);
}

#[test]
fn what_neighbours_send_to_a_service_address_alone_is_left_to_the_stack() {
    let services = |neighbor| {
        vec![
            Service {
                neighbor,
                ..service("up", State::Up, 1)
            },
            Service {
                neighbor,
                ..service("down", State::Down, 2)
            },
        ]
    };
    let asker = "fd00:250::200";
    let told = |number: u8| {
        let to = format!("fd00:250::{number}");
        advertisement(&to, 0x33, 0x60, NODE_MAC)
    };
    let passed = |name| pass(name, Reason::NeighborPassed);
    let advertisements = || {
        let short = told(1).keep(23);
        vec![
            case("advertisement, up", &told(1), passed("up")),
            case("advertisement, down", &told(2), passed("down")),
            case("in a VLAN", &told(1).vlan(7), passed("up")),
            case(
                "from beyond a router",
                &told(1).hops(254),
                drop("up", Reason::IcmpOther),
            ),
            case(
                "from beyond a router, down",
                &told(2).hops(254),
                drop("down", Reason::Down),
            ),
            case("too short", &short, drop("up", Reason::IcmpOther)),
            case(
                "behind an extension header",
                &told(1).extension(60, 0),
                drop("up", Reason::IcmpOther),
            ),
            case(
                "code 1",
                &told(1).icmp(136, 1, [0; 4], &[0; 16]),
                drop("up", Reason::IcmpOther),
            ),
            case(
                "a router's, which no host address is asked for",
                &told(1).icmp(134, 0, [0; 4], &[0; 16]),
                drop("up", Reason::IcmpOther),
            ),
        ]
    };
    let mut gated = Bed::new(services(true));
    gated.check(advertisements());
    gated.check(vec![case(
        "solicitation for another address, up",
        &solicitation(asker, "fd00:250::1", 0x99, true),
        passed("up"),
    )]);
    let mut bed = Bed::new(services(false));
    bed.host.features = 0;
    bed.check(advertisements());
    bed.check(vec![
        case(
            "solicitation, up",
            &solicitation(asker, "fd00:250::1", 1, true),
            passed("up"),
        ),
        case(
            "solicitation, down",
            &solicitation(asker, "fd00:250::2", 2, false),
            passed("down"),
        ),
        case(
            "solicitation to the group",
            &solicitation(asker, "ff02::1:ff00:1", 1, true),
            pass(None, Reason::NotOurs),
        ),
        case(
            "solicitation from beyond a router",
            &solicitation(asker, "fd00:250::1", 1, true).hops(254),
            drop("up", Reason::IcmpOther),
        ),
    ]);
}
