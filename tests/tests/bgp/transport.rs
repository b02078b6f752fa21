//! The TCP connection of a session: TTLs, ports, sources, devices.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anycast_tests::peers::{Bird, Router, in_namespace, run, wait_until};
use anycast_userspace::bgp::State;
use anycast_userspace::sockopt::set_min_ttl;
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::node::{LIMIT, Node, runtime};
use crate::scripted::{KEEPALIVE, Scripted, addresses, message, open};

/// Nothing comes for this long: nothing will. The node tries every 200 ms.
const SILENCE: Duration = Duration::from_millis(1500);

fn listener(address: SocketAddr, min_ttl: u8) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    set_min_ttl(socket.as_fd(), true, min_ttl).unwrap();
    // A process that another test starts holds the last listener's descriptor until it runs its program.
    wait_until("the address", LIMIT, || match socket.bind(address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => None,
        bound => Some(bound),
    })
    .unwrap()
    .unwrap();
    let listener = socket.listen(8).unwrap();
    // Its answers pass the node's GTSM.
    listener.set_ttl(255).unwrap();
    listener
}

#[test]
fn packets_are_sent_with_the_ttl_that_the_distance_needs() {
    let cases = [
        ("an external peer is on the link", "", 1, true),
        ("and packets reach no further", "", 2, false),
        ("multihop reaches so many hops", "multihop = 5", 5, true),
        ("and no more", "multihop = 5", 6, false),
        ("GTSM needs the highest", "ttl_security = true", 255, true),
        (
            "GTSM over hops too",
            "ttl_security = true\nmultihop = 3",
            255,
            true,
        ),
    ];
    in_namespace(move || {
        runtime().block_on(async {
            addresses(1);
            for (name, options, min_ttl, connects) in cases {
                let listener = listener(([10, 0, 1, 2], 179).into(), min_ttl);
                let node = Node::start_on("listen = []", &[(1, 65001, options)]);
                let limit = if connects { LIMIT } else { SILENCE };
                let accepted = tokio::time::timeout(limit, listener.accept()).await;
                assert_eq!(accepted.is_ok(), connects, "{name}");
                drop(node);
            }
        });
    });
}

#[test]
fn a_session_is_opened_from_the_source_to_the_port() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            run("ip", &["address", "add", "10.0.9.9/32", "dev", "lo"]).unwrap();
            let listener = listener(([10, 0, 1, 2], 1790).into(), 1);
            let _node = Node::start_on(
                "listen = []",
                &[(1, 65001, "port = 1790\nsource = \"10.0.9.9\"")],
            );
            let (_stream, from) = tokio::time::timeout(LIMIT, listener.accept())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(from.ip().to_string(), "10.0.9.9");
        });
    });
}

#[test]
fn a_session_that_is_bound_to_a_device_ignores_a_better_route_elsewhere() {
    in_namespace(|| {
        runtime().block_on(async {
            let routers = [1, 2].map(|link| Router::new(link).unwrap());
            let _bird =
                Bird::start_with(&routers[0], &Bird::session(1, 64512, "passive on;")).unwrap();
            run("ip", &["route", "add", "10.0.1.2/32", "dev", "node2"]).unwrap();
            let mut astray = Node::start_on("listen = []", &[(1, 65001, "")]);
            let wait = tokio::time::timeout(SILENCE, astray.established("peer1"));
            assert!(wait.await.is_err(), "the route leads elsewhere");
            drop(astray);
            let mut bound = Node::start_on("listen = []", &[(1, 65001, "device = \"node1\"")]);
            bound.established("peer1").await;
        });
    });
}

/// A connection from an address of the router to the node's on link 1.
fn connect_from(router: &Router, host: u8) -> Scripted {
    let path = format!("/proc/{}/ns/net", router.pid());
    let namespace = std::fs::File::open(path).unwrap();
    let connecting = std::thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let from = SocketAddr::from(([10, 0, 1, host], 0));
        socket.bind(&from.into()).unwrap();
        let to = SocketAddr::from(([10, 0, 1, 1], 179));
        socket.connect_timeout(&to.into(), LIMIT).unwrap();
        socket
    });
    let socket = connecting.join().unwrap();
    socket.set_nonblocking(true).unwrap();
    let stream = TcpStream::from_std(socket.into()).unwrap();
    Scripted { stream }
}

#[test]
fn a_connection_is_taken_by_the_device_of_its_peer_and_refused_by_another() {
    let cases = [
        ("the peer's device", "device = \"node1\"", 2, true),
        ("another device", "device = \"node2\"", 2, false),
        ("a device that is not there", "device = \"node9\"", 2, false),
        ("no device", "", 2, true),
        ("no device, by that of another peer", "", 3, true),
    ];
    in_namespace(move || {
        runtime().block_on(async {
            let routers = [1, 2].map(|link| Router::new(link).unwrap());
            routers[0]
                .ip(&["address", "add", "10.0.1.3/24", "dev", "router1"])
                .unwrap();
            for (name, device, host, taken) in cases {
                let other = "address = \"10.0.1.4\"\ndevice = \"node1\"\npassive = true";
                let options = format!("address = \"10.0.1.{host}\"\npassive = true\n{device}");
                let peers: &[_] = if host == 3 {
                    &[(1, 65001, &*options), (2, 65001, other)]
                } else {
                    &[(1, 65001, &*options)]
                };
                let mut node = Node::start_with(peers);
                let mut peer = connect_from(&routers[0], host);
                assert_eq!(peer.read().await.is_ok(), taken, "{name}");
                if taken {
                    peer.send(&open([10, 0, 1, host], 90)).await.unwrap();
                    peer.send(&message(KEEPALIVE, &[])).await.unwrap();
                    node.established("peer1").await;
                }
                node.crash();
            }
        });
    });
}

#[test]
fn a_device_that_comes_later_or_again_is_listened_to_when_it_comes() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut node = Node::start(&[(1, "device = \"node1\"\npassive = true")]);
            for _ in 0..2 {
                let router = Router::new(1).unwrap();
                let start = Instant::now();
                let mut peer = loop {
                    let mut peer = connect_from(&router, 2);
                    match peer.read().await {
                        Ok(_) => break peer,
                        Err(error) if start.elapsed() > LIMIT => panic!("never taken: {error}"),
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                };
                peer.send(&open([10, 0, 1, 2], 90)).await.unwrap();
                peer.send(&message(KEEPALIVE, &[])).await.unwrap();
                node.established("peer1").await;
                drop(peer);
                node.state("peer1", |state| state != State::Established)
                    .await;
            }
        });
    });
}

#[test]
fn a_peer_that_is_not_there_yet_is_tried_until_it_is() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let mut node = Node::start_on("listen = []", &[(1, 65001, "")]);
            let status = loop {
                let status = node.status("peer1").await;
                if status.reason.starts_with("cannot connect") {
                    break status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            assert!(status.reason.contains("refused"), "{status:?}");
            let _bird = Bird::start_with(&router, &Bird::session(1, 64512, "passive on;")).unwrap();
            node.established("peer1").await;
        });
    });
}
