//! Peers that are added, refused, removed, late, or far away.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use anycast_tests::peers::{in_namespace, run, wait_until};
use anycast_userspace::bfd::iana::PORT_MULTIHOP;
use anycast_userspace::bfd::{
    AddError, Diagnostic, DownReason, Event, EventKind, Manager, Peer, SessionStatus, State,
};
use anycast_userspace::config::Span;
use anycast_userspace::config::bfd::Bfd;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::bird::Bird;
use crate::daemon::{ADDRESSES, BfdDaemon as _, PATIENT, patient, router};
use crate::hostile::{attacker, packet};

const DETECTION: Span = Span::from_millis(3000);

fn peer(address: &str, settings: Bfd) -> Peer {
    Peer {
        name: address.to_owned(),
        address: address.parse().expect("an address"),
        source: None,
        interface: None,
        vrf: None,
        settings,
        key: None,
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// The next event, within what a session needs to come up.
fn next(runtime: &Runtime, events: &mut mpsc::Receiver<Event>) -> Option<Event> {
    let limit = Duration::from_secs(15);
    let event = runtime.block_on(async { timeout(limit, events.recv()).await });
    event.expect("something happens")
}

#[test]
fn peers_that_cannot_be_watched_are_refused_in_words() {
    in_namespace(|| {
        let (manager, _events) = Manager::spawn().expect("BFD starts");
        runtime().block_on(async {
            let first = manager.add(peer("10.0.1.2", patient())).await;
            let first = first.expect("the first");
            let again = manager.add(peer("10.0.1.2", patient())).await;
            assert!(matches!(again, Err(AddError::Duplicate(_))), "{again:?}");
            let nowhere = manager.add(peer("fe80::2", patient())).await;
            assert!(
                matches!(nowhere, Err(AddError::NoInterface(_))),
                "{nowhere:?}"
            );
            let mixed = Peer {
                source: Some(IpAddr::from([10, 0, 1, 1])),
                ..peer("fd00:1::2", patient())
            };
            let mixed = manager.add(mixed).await;
            assert!(matches!(mixed, Err(AddError::Families { .. })), "{mixed:?}");

            let _other = UdpSocket::bind("0.0.0.0:4784").expect("the port is free");
            let far = Bfd {
                multihop: true,
                ..patient()
            };
            let taken = manager.add(peer("10.0.9.9", far)).await;
            let text = taken.expect_err("the port is taken").to_string();
            assert!(
                text.contains("UDP port 4784") && text.contains("another BFD daemon"),
                "{text}"
            );

            first.remove().await;
            assert_eq!(manager.status().await.sessions, []);
            UdpSocket::bind("0.0.0.0:3784").expect("the port is free once nobody is watched");
            manager.shutdown(Duration::ZERO).await;
            let late = manager.add(peer("10.0.1.2", patient())).await;
            assert!(matches!(late, Err(AddError::Stopped)), "{late:?}");
        });
    });
}

#[test]
fn an_address_and_an_interface_that_come_later_are_used_when_they_come() {
    in_namespace(|| {
        let (manager, mut events) = Manager::spawn().expect("BFD starts");
        let (ours, theirs) = ADDRESSES[0];
        let early = Peer {
            source: Some(ours.parse().expect("an address")),
            interface: Some("node1".to_owned()),
            ..peer(theirs, patient())
        };
        let runtime = runtime();
        let _session = runtime
            .block_on(manager.add(early))
            .expect("it can be added");
        let why = runtime.block_on(manager.status()).sessions[0]
            .send_error
            .clone();
        assert!(why.is_some_and(|why| why.contains("No such device")));
        let router = router().expect("a router");
        let _bird = Bird::start(&router, PATIENT).expect("BIRD starts");
        let event = next(&runtime, &mut events).expect("BFD runs");
        assert_eq!(event.kind, EventKind::Up);
        assert_eq!(
            runtime.block_on(manager.status()).sessions[0].send_error,
            None
        );
    });
}

#[test]
fn a_multihop_session_uses_its_own_port_and_minds_the_hops() {
    in_namespace(|| {
        let router = router().expect("a router");
        let bird = Bird::start_with(
            &router,
            "protocol bfd {\n\
             multihop { interval 50 ms; multiplier 60; };\n\
             neighbor 10.0.1.1 local 10.0.1.2 multihop on;\n}\n",
        )
        .expect("BIRD starts");
        let (manager, mut events) = Manager::spawn().expect("BFD starts");
        let runtime = runtime();
        let (ours, theirs) = ADDRESSES[0];
        // BIRD sends multihop packets with the system's TTL, 64.
        let far = |minimum_ttl| Peer {
            source: Some(ours.parse().expect("an address")),
            ..peer(
                theirs,
                Bfd {
                    multihop: true,
                    minimum_ttl: Some(minimum_ttl),
                    ..patient()
                },
            )
        };
        let session = runtime
            .block_on(manager.add(far(64)))
            .expect("it can be added");
        let event = next(&runtime, &mut events).expect("BFD runs");
        assert_eq!(event.kind, EventKind::Up);
        // Would take the session down if it were let in; it has come over too many hops.
        let discriminator = session.discriminator();
        let farther = attacker(&router, PORT_MULTIHOP, 63);
        farther
            .send(&packet(discriminator))
            .expect("it can be sent");
        let discarded = || runtime.block_on(manager.status()).discarded;
        wait_until("the counter", Duration::from_secs(5), || {
            (discarded().ttl == 1).then_some(())
        })
        .expect("it is counted");
        assert_eq!(*session.state().borrow(), State::Up);
        bird.wait_for_single(true).expect("BIRD agrees");

        runtime.block_on(session.configure(far(63).settings));
        // Commands are done in order: once this is answered, that one has its effect.
        assert_eq!(discarded().ttl, 1);
        farther
            .send(&packet(discriminator))
            .expect("it can be sent");
        let event = next(&runtime, &mut events).expect("BFD runs");
        let signaled = DownReason::NeighborSignaledDown(Diagnostic::NONE);
        assert_eq!(event.kind, EventKind::Down(signaled), "now it is let in");
    });
}

#[test]
fn sessions_with_and_without_a_device_are_up_side_by_side_in_either_order() {
    for device_first in [true, false] {
        in_namespace(move || {
            let router = router().expect("a router");
            router
                .ip(&["address", "add", "10.0.1.3/24", "dev", "router1"])
                .expect("a second address");
            run("ip", &["address", "add", "10.0.1.11/24", "dev", "node1"])
                .expect("a second address");
            let _bird = Bird::start_with(
                &router,
                "protocol bfd {\n\
                 interface \"router1\" { interval 50 ms; multiplier 60; };\n\
                 neighbor 10.0.1.1 dev \"router1\" local 10.0.1.2;\n\
                 neighbor 10.0.1.11 dev \"router1\" local 10.0.1.3;\n}\n",
            )
            .expect("BIRD starts");
            let (manager, mut events) = Manager::spawn().expect("BFD starts");
            let runtime = runtime();
            let bound = Peer {
                vrf: Some("node1".to_owned()),
                ..peer("10.0.1.2", patient())
            };
            // Its packets come by the same interface, and so to the socket that is bound to that.
            let unbound = Peer {
                source: Some(IpAddr::from([10, 0, 1, 11])),
                ..peer("10.0.1.3", patient())
            };
            let mut both = [bound, unbound];
            if !device_first {
                both.reverse();
            }
            for peer in both {
                runtime.block_on(manager.add(peer)).expect("it is added");
            }
            let mut up: Vec<_> = (0..2)
                .map(|_| {
                    let event = next(&runtime, &mut events).expect("BFD runs");
                    assert_eq!(event.kind, EventKind::Up, "{event:?}");
                    event.address.to_string()
                })
                .collect();
            up.sort();
            assert_eq!(up, ["10.0.1.2", "10.0.1.3"]);
            for address in ["0.0.0.0:3784", "10.0.1.1:3784"] {
                let taken = UdpSocket::bind(address);
                assert!(taken.is_err(), "others must find the port taken");
            }
        });
    }
}

#[test]
fn a_device_that_comes_later_or_again_carries_its_sessions_when_it_comes() {
    in_namespace(|| {
        let (manager, mut events) = Manager::spawn().expect("BFD starts");
        let runtime = runtime();
        // Beside the device's sockets are those for all others, which share the port with them.
        let elsewhere = ["10.0.9.9", "fd00:9::9"].map(|address| peer(address, patient()));
        let bound = ADDRESSES[..2].iter().map(|(_, theirs)| Peer {
            vrf: Some("node1".to_owned()),
            ..peer(theirs, patient())
        });
        for peer in bound.chain(elsewhere) {
            runtime.block_on(manager.add(peer)).expect("it is added");
        }
        let waiting = runtime.block_on(manager.status()).sessions;
        let why = waiting[0].send_error.clone();
        assert!(
            why.as_ref()
                .is_some_and(|why| why.contains("No such device")),
            "{why:?}"
        );
        for _ in 0..2 {
            let router = router().expect("a router");
            let bird = Bird::start(&router, PATIENT).expect("BIRD starts");
            for _ in 0..2 {
                let event = next(&runtime, &mut events).expect("BFD runs");
                assert_eq!(event.kind, EventKind::Up, "{event:?}");
            }
            // At the slow pace from before, the end would be noticed after a minute.
            wait_until("their pace", Duration::from_secs(15), || {
                let sessions = runtime.block_on(manager.status()).sessions;
                let paced = |session: &SessionStatus| session.detection_time == Some(DETECTION);
                (sessions.iter().filter(|session| paced(session)).count() == 2).then_some(())
            })
            .expect("they find it");
            drop((bird, router));
            for _ in 0..2 {
                let event = next(&runtime, &mut events).expect("BFD runs");
                assert!(matches!(event.kind, EventKind::Down(_)), "{event:?}");
            }
        }
    });
}

#[test]
fn handles_that_are_all_dropped_take_their_sessions_down_in_order() {
    in_namespace(|| {
        let router = router().expect("a router");
        let bird = Bird::start(&router, PATIENT).expect("BIRD starts");
        let (manager, mut events) = Manager::spawn().expect("BFD starts");
        let runtime = runtime();
        let near = Peer {
            interface: Some("node1".to_owned()),
            ..peer(ADDRESSES[0].1, patient())
        };
        let session = runtime
            .block_on(manager.add(near))
            .expect("it can be added");
        let event = next(&runtime, &mut events).expect("BFD runs");
        assert_eq!(event.kind, EventKind::Up);
        drop((session, manager));
        assert_eq!(next(&runtime, &mut events), None, "the thread has ended");
        bird.wait_for_single(false).expect("BIRD was told");
    });
}
