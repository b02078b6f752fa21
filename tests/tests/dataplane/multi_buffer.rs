//! Frames that continue in further buffers.

use std::net::UdpSocket;
use std::time::Duration;

use anycast_common::Reason;
use anycast_tests::packet::Frame;
use anycast_userspace::config::dataplane::{DataPlane as Settings, Limits, Policy, Rate};
use anycast_userspace::dataplane::{DataPlane, Desired, Service, State, total};

use crate::case::{answer, case, drop, pass};
use crate::live::{Net, ROUTED, desired};
use crate::replies::unreachable;
use crate::support::{Bed, ip, settings};
use crate::tools::in_a_namespace;

fn multi_buffer() -> Settings {
    Settings {
        multi_buffer: true,
        ..settings()
    }
}

fn bed() -> Bed {
    Bed::with(
        &multi_buffer(),
        vec![
            Service {
                name: "up".to_owned(),
                state: State::Up,
                addresses: vec![ip("192.168.250.1"), ip("fd00:250::1")],
                ports: vec!["udp/53".parse().unwrap(), "tcp/53".parse().unwrap()],
                unlisted: Policy::Reject,
                limits: Limits {
                    reject: Rate::per_second(1_000_000),
                    ..Limits::default()
                },
                ..Service::default()
            },
            Service {
                name: "down".to_owned(),
                state: State::Down,
                addresses: vec![ip("192.168.250.2"), ip("fd00:250::2")],
                ..Service::default()
            },
        ],
    )
}

/// More than the first buffer holds, which is less than a page; the longest takes sixteen further ones.
const LENGTHS: [usize; 5] = [3_500, 4_096, 9_000, 20_001, 60_000];

#[test]
fn a_frame_of_many_buffers_has_the_verdict_and_the_answer_of_one_in_one_piece() {
    let mut bed = bed();
    for length in LENGTHS {
        let data: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[0]).collect();
        for number in [1, 2] {
            for plain in [
                Frame::new(ip("10.1.1.1"), ip(&format!("192.168.250.{number}"))),
                Frame::new(ip("2001:db8::1"), ip(&format!("fd00:250::{number}"))),
            ] {
                for frame in [plain.clone(), plain.clone().qinq(5, 6)] {
                    let served = frame.clone().udp(4000, 53, &data);
                    let echo = frame.clone().echo(1, 1, &data);
                    if number == 2 {
                        bed.check(vec![
                            case("down", &served, drop("down", Reason::Down)),
                            case("echo, down", &echo, drop("down", Reason::Down)),
                        ]);
                        continue;
                    }
                    let datagram = frame.clone().udp(4000, 54, &data);
                    let segment = frame.clone().tcp(4000, 54, 1000, 7, 0x10, &data);
                    let reset = frame.back().reset(54, 4000, 7, 0, 0x04).bytes();
                    let rejected = |frame| answer("up", Reason::UnlistedRejected, frame);
                    bed.check(vec![
                        case("served", &served, pass("up", Reason::Served)),
                        case("echo", &echo, answer("up", Reason::Echo, echo.echo_reply())),
                        case(
                            "rejected datagram",
                            &datagram,
                            rejected(unreachable(&datagram)),
                        ),
                        case("rejected segment", &segment, rejected(reset)),
                    ]);
                }
            }
        }
    }
}

#[test]
fn all_buffers_of_a_frame_are_counted_and_a_frame_that_lacks_its_last_byte_is_malformed() {
    let mut bed = bed();
    let frame = Frame::new(ip("10.1.1.1"), ip("192.168.250.1")).udp(4000, 53, &[7; 9_000]);
    let bytes = frame.bytes();
    bed.plane().run(&bytes).unwrap();
    let counted = bed.plane().counters().unwrap();
    assert_eq!(counted.services[0].served.bytes, bytes.len() as u64);
    assert_eq!(counted.total(), total(&counted.services[0]));
    let cut = &bytes[..bytes.len() - 1];
    assert_eq!(bed.explained(cut).reason, Reason::Malformed);
    assert_eq!(bed.on_host(cut).reason, Reason::Malformed);
}

#[test]
fn jumbo_frames_are_answered_served_and_counted_between_real_stacks() {
    in_a_namespace(|| {
        let mut net = Net::with(&multi_buffer(), &desired(), 9_000);
        for (address, data) in ROUTED.iter().zip([9_000 - 28, 9_000 - 48]) {
            let command = format!("ping -c 3 -i 0.01 -W 1 -M do -s {data} {address}");
            let (answered, said) = net.client.says(&command);
            assert!(answered && said.contains(" 0% packet loss"), "{said}");
            assert!(said.contains(&format!("{} bytes from", data + 8)), "{said}");
        }
        let echo = net.node.counters().unwrap().services[0].echo;
        assert_eq!((echo.packets, echo.bytes), (6, 6 * (14 + 9_000)));

        for (address, headers) in ROUTED.iter().zip([28, 48]) {
            let server = UdpSocket::bind((ip(address), 53)).unwrap();
            server
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            let sent: Vec<u8> = (0..9_000 - headers)
                .map(|n: usize| n.to_le_bytes()[0])
                .collect();
            net.client.within(|| {
                let any = if address.contains(':') {
                    ip("::")
                } else {
                    ip("0.0.0.0")
                };
                let socket = UdpSocket::bind((any, 0)).unwrap();
                socket.send_to(&sent, (ip(address), 53)).unwrap();
            });
            let mut received = vec![0; 10_000];
            let length = server.recv(&mut received).unwrap();
            assert!(
                received[..length] == sent,
                "{length} bytes arrive at {address}"
            );
        }
        let served = net.node.counters().unwrap().services[0].served;
        assert_eq!((served.packets, served.bytes), (2, 2 * (14 + 9_000)));
        net.node.flip(0, State::Down).unwrap();
        let (answered, _) = net
            .client
            .says(&format!("ping -c 1 -W 1 -M do -s 8000 {}", ROUTED[0]));
        assert!(!answered);
        net.end();
    });
}

#[test]
fn a_driver_that_asks_for_multi_buffer_programs_is_named_with_the_setting() {
    in_a_namespace(|| {
        crate::tools::ip_tool("link add left mtu 9000 type veth peer name right mtu 9000");
        let mut plane = DataPlane::load(&settings()).unwrap();
        plane.apply(&Desired::default()).unwrap();
        let error = plane
            .attach("left", anycast_userspace::config::dataplane::Mode::Native)
            .unwrap_err()
            .to_string();
        assert!(error.contains("multi_buffer = true"), "{error}");
        plane.unload().unwrap();
    });
}
