//! What others may send to our port while a session is up.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use anycast_tests::peers::{Router, in_namespace, wait_until};
use anycast_userspace::bfd::iana::PORT_SINGLE_HOP;
use anycast_userspace::bfd::{Discarded, State};
use nix::sched::{CloneFlags, setns};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::bird::Bird;
use crate::daemon::{BfdDaemon, PATIENT, patient, router};
use crate::node::Node;

/// Which counter a packet raises.
type Count = fn(&mut Discarded);

/// A packet that passes every check of the codec: down, from discriminator 1, for `your`.
pub(crate) fn packet(your: u32) -> [u8; 24] {
    let mut octets = [0; 24];
    octets[..4].copy_from_slice(&[0x20, 0x40, 3, 24]);
    octets[7] = 1;
    octets[8..12].copy_from_slice(&your.to_be_bytes());
    octets[13..16].copy_from_slice(&[0x0f, 0x42, 0x40]);
    octets[17..20].copy_from_slice(&[0x0f, 0x42, 0x40]);
    octets
}

/// A socket in the router's namespace, on its address of the link, that sends to `port` of the node.
pub(crate) fn attacker(router: &Router, port: u16, ttl: u32) -> UdpSocket {
    let path = format!("/proc/{}/ns/net", router.pid());
    let namespace = std::fs::File::open(path).expect("the router's namespace");
    let socket = thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).expect("it can be entered");
        UdpSocket::bind("10.0.1.2:0").expect("an address of the router")
    });
    let socket = socket.join().expect("a socket");
    socket.set_ttl(ttl).expect("a TTL");
    socket
        .connect(("10.0.1.1", port))
        .expect("the node's address");
    socket
}

/// A session with BIRD over IPv4 that is up, and the router.
fn with_a_session(test: impl FnOnce(&Router, &mut Node) + Send + 'static) {
    in_namespace(move || {
        let router = router().expect("a router");
        let _bird = Bird::start(&router, PATIENT).expect("BIRD starts");
        let mut node = Node::start(1, &patient()).expect("BFD starts");
        node.wait_until_up().expect("the session comes up");
        test(&router, &mut node);
    });
}

/// Waits until the counters have changed as wanted; what BIRD sends is not among them.
fn wait_for_counters(node: &Node, wanted: Discarded) {
    wait_until("the counters", Duration::from_secs(5), || {
        (node.status().discarded == wanted).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}, want {wanted:?}", node.status().discarded));
}

#[test]
fn every_packet_that_is_discarded_is_counted_by_its_reason() {
    with_a_session(|router, node| {
        let before = node.status().discarded;
        let ours = node.sessions[0].discriminator();
        let with = |at: usize, octet: u8| {
            let mut octets = packet(ours);
            octets[at] = octet;
            octets.to_vec()
        };
        let socket = attacker(router, PORT_SINGLE_HOP, 255);
        let too_far = attacker(router, PORT_SINGLE_HOP, 254);
        let zero_multiplier = with(2, 0);
        let cases: [(&UdpSocket, Vec<u8>, Count); 8] = [
            // Each of these would take the session down if it were let in.
            (&too_far, packet(ours).to_vec(), |d| d.ttl += 1),
            (&too_far, packet(0).to_vec(), |d| d.ttl += 1),
            (&socket, packet(ours ^ 1).to_vec(), |d| {
                d.unknown_session += 1;
            }),
            (&socket, with(0, 0), |d| d.version += 1),
            (&socket, with(3, 23), |d| d.length += 1),
            (&socket, zero_multiplier, |d| d.zero_multiplier += 1),
            (&socket, with(1, 0x41), |d| d.multipoint += 1),
            (&socket, with(7, 0), |d| d.zero_discriminator += 1),
        ];
        let mut want = before;
        for (socket, payload, count) in cases {
            socket.send(&payload).expect("it can be sent");
            count(&mut want);
            wait_for_counters(node, want);
        }
        let mut authenticated = with(1, 0x44);
        authenticated[3] = 28;
        authenticated.extend([1, 4, 1, b'x']);
        socket.send(&authenticated).expect("it can be sent");
        wait_until("the session's counter", Duration::from_secs(5), || {
            (node.status().sessions[0].packets.authentication == 1).then_some(())
        })
        .expect("it is counted");
        assert_eq!(node.states(), [State::Up]);
        node.nothing_happens_for(Duration::from_millis(300))
            .expect("none of them has touched the session");
    });
}

#[test]
fn a_flood_of_broken_packets_leaves_the_session_up() {
    with_a_session(|router, node| {
        let socket = attacker(router, PORT_SINGLE_HOP, 255);
        let sender = thread::spawn(move || {
            let mut runner = TestRunner::deterministic();
            let octets = proptest::collection::vec(proptest::num::u8::ANY, 0..64);
            let mut sent = 0u64;
            for round in 0..20_000u32 {
                let mut payload = if round % 2 == 0 {
                    packet(round).to_vec()
                } else {
                    let tree = octets.new_tree(&mut runner).expect("octets");
                    tree.current()
                };
                // Never a first packet from BIRD's address: that may rightly reset the session.
                if payload.len() >= 12 {
                    payload[8] |= 0x80;
                    payload[9] = 0;
                }
                sent += u64::from(socket.send(&payload).is_ok());
            }
            sent
        });
        let sent = sender.join().expect("the sender ends");
        node.nothing_happens_for(Duration::from_secs(1))
            .expect("the session stays up");
        let Discarded {
            length,
            version,
            zero_multiplier,
            multipoint,
            zero_discriminator,
            ttl,
            unknown_session,
            queue_full,
        } = node.status().discarded;
        let counted = length + version + zero_multiplier + multipoint + zero_discriminator;
        let counted = counted + ttl + unknown_session + queue_full;
        assert!(counted >= sent, "{counted} of {sent} are accounted for");
    });
}
