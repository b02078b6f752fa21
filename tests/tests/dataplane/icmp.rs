//! ICMP and ICMPv6: echo requests are answered, errors about the service's flows are passed.

use anycast_common::Reason;
use anycast_tests::packet::{Frame, PEER_MAC, Part};

use crate::case::{answer, case, drop, pass};
use crate::support::ip;
use crate::verdicts::{run, to};

#[test]
fn echo_is_answered_while_up_and_the_answer_is_a_correct_reply() {
    let mut cases = Vec::new();
    for frame in to(1) {
        for (name, request) in [
            ("empty", frame.clone().echo(7, 1, b"")),
            ("odd length", frame.clone().echo(7, 1, b"odd")),
            ("in a VLAN", frame.clone().vlan(9).echo(7, 1, b"data")),
            (
                "in two VLANs",
                frame.clone().qinq(9, 10).echo(7, 1, b"data"),
            ),
            ("padded", frame.clone().padded(18).echo(7, 1, b"")),
            ("TTL 1", frame.clone().hops(1).echo(7, 1, b"data")),
            ("TTL 255", frame.clone().hops(255).echo(7, 1, b"data")),
            ("long", frame.clone().echo(7, 1, &[0xab; 1400])),
        ] {
            let reply = request.echo_reply();
            cases.push(case(name, &request, answer("up", Reason::Echo, reply)));
        }
    }
    let [v4, v6] = to(1);
    let request = v4.clone().options(&[1; 8]).echo(7, 1, b"data");
    cases.push(case(
        "IPv4 with options",
        &request,
        answer("up", Reason::Echo, request.echo_reply()),
    ));
    let request = v6
        .clone()
        .extension(0, 0)
        .extension(60, 2)
        .echo(7, 1, b"data");
    cases.push(case(
        "IPv6 with extensions",
        &request,
        answer("up", Reason::Echo, request.echo_reply()),
    ));
    let request = v6.atomic_fragment().echo(7, 1, b"data");
    cases.push(case(
        "IPv6 atomic fragment",
        &request,
        answer("up", Reason::Echo, request.echo_reply()),
    ));
    for number in [3, 6] {
        let name = if number == 3 { "open" } else { "draining" };
        for frame in to(number) {
            let request = frame.echo(7, 1, b"data");
            cases.push(case(
                "degraded or draining",
                &request,
                answer(name, Reason::Echo, request.echo_reply()),
            ));
        }
    }
    run(cases);
}

#[test]
fn echo_from_an_address_that_cannot_be_answered_is_dropped() {
    let mut cases = Vec::new();
    for source in [
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.168.250.1",
    ] {
        let frame = Frame::new(ip(source), ip("192.168.250.1")).echo(1, 1, b"");
        cases.push(case(source, &frame, drop("up", Reason::BadSource)));
    }
    for source in ["::", "::1", "ff02::1", "fd00:250::1"] {
        let frame = Frame::new(ip(source), ip("fd00:250::1")).echo(1, 1, b"");
        cases.push(case(source, &frame, drop("up", Reason::BadSource)));
    }
    run(cases);
}

#[test]
fn echo_to_a_link_layer_group_is_dropped() {
    let mut cases = Vec::new();
    for frame in to(1) {
        for (name, group) in [
            ("broadcast", [0xff; 6]),
            ("multicast", [0x01, 0, 0x5e, 0, 0, 1]),
        ] {
            let request = frame.clone().ethernet(group, PEER_MAC);
            for (name, request) in [
                (name, request.clone()),
                ("the same in a VLAN", request.vlan(5)),
            ] {
                let request = request.echo(1, 1, b"");
                cases.push(case(name, &request, drop("up", Reason::BadSource)));
            }
        }
        let another = frame.ethernet([0x02, 0, 0, 0, 0, 0x77], PEER_MAC);
        let request = another.echo(1, 1, b"");
        let reply = request.echo_reply();
        cases.push(case(
            "another node's address",
            &request,
            answer("up", Reason::Echo, reply),
        ));
    }
    run(cases);
}

#[test]
fn icmp_passes_only_as_an_error_about_a_flow_of_the_service() {
    let ours = |to: &Frame, reply: Frame| -> Vec<u8> {
        let mut quoted = reply.packet();
        let header = if to.packet()[0] >> 4 == 4 { 20 } else { 40 };
        quoted.truncate(header + 8);
        quoted
    };
    let replies = [
        Frame::new(ip("192.168.250.1"), ip("10.1.1.1")),
        Frame::new(ip("fd00:250::1"), ip("2001:db8:1::1")),
    ];
    let strangers = [
        Frame::new(ip("192.168.250.9"), ip("10.1.1.1")),
        Frame::new(ip("fd00:250::9"), ip("2001:db8:1::1")),
    ];
    for (place, frame) in to(1).into_iter().enumerate() {
        let (too_big, code) = if place == 0 { (3, 4) } else { (2, 0) };
        let error = |quoted: &[u8]| frame.clone().icmp(too_big, code, [0, 0, 5, 0], quoted);
        let reply = &replies[place];
        let served = ours(&frame, reply.clone().udp(53, 4000, b"reply"));
        let unlisted = ours(&frame, reply.clone().udp(54, 4000, b"reply"));
        let stranger = ours(&frame, strangers[place].clone().udp(53, 4000, b"reply"));
        run(vec![
            case(
                "too big, eight bytes quoted",
                &error(&served),
                pass("up", Reason::IcmpError),
            ),
            case(
                "too big, seven bytes quoted",
                &error(&served[..served.len() - 1]),
                drop("up", Reason::IcmpOther),
            ),
            case(
                "too big, nothing quoted",
                &error(b""),
                drop("up", Reason::IcmpOther),
            ),
            case(
                "about a port that is not served",
                &error(&unlisted),
                drop("up", Reason::IcmpOther),
            ),
            case(
                "about another's flow",
                &error(&stranger),
                drop("up", Reason::IcmpOther),
            ),
            case(
                "redirect",
                &frame.clone().icmp(5, 0, [0; 4], &served),
                drop("up", Reason::IcmpOther),
            ),
            case(
                "echo reply",
                &frame
                    .clone()
                    .icmp(if place == 0 { 0 } else { 129 }, 0, [0; 4], b""),
                drop("up", Reason::IcmpOther),
            ),
            case(
                "time exceeded",
                &frame
                    .clone()
                    .icmp(if place == 0 { 11 } else { 3 }, 0, [0; 4], &served),
                pass("up", Reason::IcmpError),
            ),
        ]);
    }
}

#[test]
fn an_error_about_a_fragment_of_a_flow_passes_if_it_quotes_the_ports() {
    for (family, from, peer, too_big, header) in [
        (0, "192.168.250.1", "10.1.1.1", (3, 4), 20),
        (1, "fd00:250::1", "2001:db8:1::1", (2, 0), 48),
    ] {
        let frame = to(1)[family].clone();
        let reply = Frame::new(ip(from), ip(peer));
        let error = |reply: Frame, bytes: usize| {
            let (kind, code) = too_big;
            let quoted = reply.packet();
            frame
                .clone()
                .icmp(kind, code, [0, 0, 5, 0], &quoted[..bytes])
        };
        let part = |part| reply.clone().part(part);
        let first = |port| part(Part::First).udp(port, 4000, &[7; 64]);
        let passed = || pass("up", Reason::IcmpError);
        let dropped = || drop("up", Reason::IcmpOther);
        run(vec![
            case(
                "of a first fragment, eight bytes quoted",
                &error(first(53), header + 8),
                passed(),
            ),
            case(
                "of a first fragment of TCP",
                &error(part(Part::First).syn(80, 4000), header + 20),
                passed(),
            ),
            case(
                "of a first fragment, seven bytes quoted",
                &error(first(53), header + 7),
                dropped(),
            ),
            case(
                "of a first fragment, its headers quoted",
                &error(first(53), header),
                dropped(),
            ),
            case(
                "of a first fragment, half its headers quoted",
                &error(first(53), header - 4),
                dropped(),
            ),
            case(
                "of a first fragment from a port that is not served",
                &error(first(54), header + 8),
                dropped(),
            ),
            case(
                "of a later fragment",
                &error(part(Part::Later).udp(53, 4000, &[7; 64]), header + 40),
                dropped(),
            ),
            case(
                "in a VLAN",
                &error(first(53), header + 64).vlan(5),
                passed(),
            ),
        ]);
    }
    let [_, frame] = to(1);
    let reply = Frame::new(ip("fd00:250::1"), ip("2001:db8:1::1"));
    let error = |reply: Frame| frame.clone().icmp(2, 0, [0, 0, 5, 0], &reply.packet());
    let atomic = reply.clone().atomic_fragment().udp(53, 4000, b"reply");
    let behind = reply
        .extension(60, 0)
        .part(Part::First)
        .udp(53, 4000, b"reply");
    run(vec![
        case("atomic", &error(atomic), pass("up", Reason::IcmpError)),
        case(
            "behind another extension header",
            &error(behind),
            drop("up", Reason::IcmpOther),
        ),
    ]);
}
