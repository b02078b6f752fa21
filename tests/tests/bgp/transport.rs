//! The TCP connection of a session: TTLs, ports, sources, devices, keys; over IPv4 and IPv6.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anycast_tests::peers::{Bird, Router, in_namespace, run, wait_until};
use anycast_userspace::bgp::State;
use anycast_userspace::sockopt::{set_md5_key, set_min_ttl};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::node::{LIMIT, Node, runtime};
use crate::scripted::{KEEPALIVE, Scripted, addresses, message, open};

/// Nothing comes for this long: nothing will. The node tries every 200 ms.
const SILENCE: Duration = Duration::from_millis(1500);

/// IPv4 and IPv6.
const FAMILIES: [bool; 2] = [true, false];

/// The address of a host on link 1.
fn on_link(ipv4: bool, host: u8) -> IpAddr {
    if ipv4 {
        IpAddr::from([10, 0, 1, host])
    } else {
        IpAddr::from([0xFD00, 1, 0, 0, 0, 0, 0, host.into()])
    }
}

fn listener(address: SocketAddr, min_ttl: u8) -> TcpListener {
    let ipv4 = address.is_ipv4();
    let socket = if ipv4 {
        TcpSocket::new_v4().unwrap()
    } else {
        TcpSocket::new_v6().unwrap()
    };
    socket.set_reuseaddr(true).unwrap();
    set_min_ttl(socket.as_fd(), ipv4, min_ttl).unwrap();
    // A process that another test starts holds the last listener's descriptor until it runs its program.
    wait_until("the address", LIMIT, || match socket.bind(address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => None,
        bound => Some(bound),
    })
    .unwrap()
    .unwrap();
    let listener = socket.listen(8).unwrap();
    // Its answers pass the node's GTSM.
    let socket = SockRef::from(&listener);
    if ipv4 {
        socket.set_ttl_v4(255).unwrap();
    } else {
        socket.set_unicast_hops_v6(255).unwrap();
    }
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
            for host in ["fd00:1::1/128", "fd00:1::2/128"] {
                run("ip", &["address", "add", host, "dev", "lo"]).unwrap();
            }
            for (name, options, min_ttl, connects) in cases {
                for ipv4 in FAMILIES {
                    let peer = on_link(ipv4, 2);
                    let listener = listener((peer, 179).into(), min_ttl);
                    let options = format!("address = \"{peer}\"\n{options}");
                    let node = Node::start_on("listen = []", &[(1, 65001, &options)]);
                    let limit = if connects { LIMIT } else { SILENCE };
                    let accepted = tokio::time::timeout(limit, listener.accept()).await;
                    assert_eq!(accepted.is_ok(), connects, "{name}, {peer}");
                    drop(node);
                }
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
            for ipv4 in FAMILIES {
                let (ours, peer) = (on_link(ipv4, 1), on_link(ipv4, 2));
                let session = Bird::session(1, 64512, "passive on;")
                    .replace("local 10.0.1.2", &format!("local {peer}"))
                    .replace("neighbor 10.0.1.1", &format!("neighbor {ours}"));
                let _bird = Bird::start_with(&routers[0], &session).unwrap();
                let bits = if ipv4 { 32 } else { 128 };
                let better = format!("{peer}/{bits}");
                run("ip", &["route", "add", &better, "dev", "node2"]).unwrap();
                let address = format!("address = \"{peer}\"");
                let mut astray = Node::start_on("listen = []", &[(1, 65001, &address)]);
                let wait = tokio::time::timeout(SILENCE, astray.established("peer1"));
                assert!(wait.await.is_err(), "the route to {peer} leads elsewhere");
                drop(astray);
                let bound = format!("{address}\ndevice = \"node1\"");
                let mut bound = Node::start_on("listen = []", &[(1, 65001, &bound)]);
                bound.established("peer1").await;
            }
        });
    });
}

/// How the router's side of a connection differs from the usual.
#[derive(Clone, Copy, Default)]
struct Own {
    /// A key that signs it.
    key: Option<&'static str>,
    /// The hop limit of its packets.
    hop_limit: Option<u32>,
    /// Link-local addresses are on this interface of the router's.
    interface: Option<&'static str>,
}

/// A connection from an address of the router to one of the node's.
fn connect_between(
    router: &Router,
    from: IpAddr,
    to: IpAddr,
    own: Own,
) -> std::io::Result<Scripted> {
    let path = format!("/proc/{}/ns/net", router.pid());
    let namespace = std::fs::File::open(path)?;
    let connecting = std::thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        let at = |address, port| -> std::io::Result<SocketAddr> {
            Ok(match (address, own.interface) {
                (IpAddr::V6(v6), Some(name)) => {
                    SocketAddrV6::new(v6, port, 0, if_nametoindex(name)?).into()
                }
                (IpAddr::V4(_) | IpAddr::V6(_), _) => SocketAddr::new(address, port),
            })
        };
        let domain = if to.is_ipv4() {
            Domain::IPV4
        } else {
            Domain::IPV6
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        if let Some(key) = own.key {
            set_md5_key(socket.as_fd(), to, None, key.as_bytes())?;
        }
        if let Some(limit) = own.hop_limit {
            socket.set_unicast_hops_v6(limit)?;
        }
        socket.bind(&at(from, 0)?.into())?;
        let limit = if own.key.is_some() { SILENCE } else { LIMIT };
        socket.connect_timeout(&at(to, 179)?.into(), limit)?;
        Ok::<_, std::io::Error>(socket)
    });
    let socket = connecting.join().unwrap()?;
    socket.set_nonblocking(true)?;
    let stream = TcpStream::from_std(socket.into())?;
    Ok(Scripted { stream })
}

/// A connection from an address of the router to the node's on link 1.
fn connect_from(router: &Router, ipv4: bool, host: u8) -> Scripted {
    let (from, to) = (on_link(ipv4, host), on_link(ipv4, 1));
    connect_between(router, from, to, Own::default()).unwrap()
}

/// The scripted peer's part of the handshake.
async fn agree(peer: &mut Scripted) {
    peer.send(&open([10, 0, 1, 2], 90)).await.unwrap();
    peer.send(&message(KEEPALIVE, &[])).await.unwrap();
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
            for second in ["10.0.1.3/24", "fd00:1::3/64"] {
                routers[0]
                    .ip(&["address", "add", second, "dev", "router1", "nodad"])
                    .unwrap();
            }
            for (name, device, host, taken) in cases {
                for ipv4 in FAMILIES {
                    let (at, beside) = (on_link(ipv4, host), on_link(ipv4, 4));
                    let other =
                        format!("address = \"{beside}\"\ndevice = \"node1\"\npassive = true");
                    let options = format!("address = \"{at}\"\npassive = true\n{device}");
                    let peers: &[_] = if host == 3 {
                        &[(1, 65001, &*options), (2, 65001, &other)]
                    } else {
                        &[(1, 65001, &*options)]
                    };
                    let mut node = Node::start_with(peers);
                    let mut peer = connect_from(&routers[0], ipv4, host);
                    assert_eq!(peer.read().await.is_ok(), taken, "{name}, {at}");
                    if taken {
                        agree(&mut peer).await;
                        node.established("peer1").await;
                    }
                    node.crash();
                }
            }
        });
    });
}

#[test]
fn a_device_that_comes_later_or_again_is_listened_to_when_it_comes() {
    in_namespace(|| {
        runtime().block_on(async {
            for ipv4 in FAMILIES {
                let options = format!(
                    "address = \"{}\"\ndevice = \"node1\"\npassive = true",
                    on_link(ipv4, 2)
                );
                let mut node = Node::start(&[(1, &options)]);
                for _ in 0..2 {
                    let router = Router::new(1).unwrap();
                    let start = Instant::now();
                    let mut peer = loop {
                        let mut peer = connect_from(&router, ipv4, 2);
                        match peer.read().await {
                            Ok(_) => break peer,
                            Err(error) if start.elapsed() > LIMIT => panic!("never taken: {error}"),
                            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                        }
                    };
                    agree(&mut peer).await;
                    node.established("peer1").await;
                    drop(peer);
                    node.state("peer1", |state| state != State::Established)
                        .await;
                }
                node.crash();
            }
        });
    });
}

/// Routers at fe80::2, the node at fe80::1 of each link.
fn linked(links: &[u8]) -> Vec<Router> {
    let routers = links.iter().map(|link| {
        let router = Router::new(*link).unwrap();
        let (here, there) = (format!("node{link}"), format!("router{link}"));
        let ours = ["address", "add", "fe80::1/64", "dev", &here, "nodad"];
        run("ip", &ours).unwrap();
        router
            .ip(&["address", "add", "fe80::2/64", "dev", &there, "nodad"])
            .unwrap();
        router
    });
    routers.collect()
}

const NODE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 1));
const ROUTER: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 2));

#[test]
fn a_session_between_link_local_addresses_stays_on_its_link_whatever_listener_took_it() {
    in_namespace(|| {
        runtime().block_on(async {
            let routers = linked(&[1, 2]);
            let near = |link: u8| {
                format!("address = \"fe80::2\"\ninterface = \"node{link}\"\npassive = true")
            };
            // For the sake of its listener, which hears all that comes by its device.
            let beside = |link: u8| {
                format!("address = \"fd00:{link}::4\"\ndevice = \"node{link}\"\npassive = true")
            };
            let peers = [(1, near(1)), (2, near(2)), (3, beside(1)), (4, beside(2))];
            let peers: Vec<_> = peers
                .iter()
                .map(|(number, options)| (*number, 65001, &**options))
                .collect();
            let mut node = Node::start_with(&peers);
            let mut sessions = Vec::new();
            for (router, interface) in routers.iter().zip(["router1", "router2"]) {
                let own = Own {
                    interface: Some(interface),
                    ..Own::default()
                };
                let mut peer = connect_between(router, ROUTER, NODE, own).unwrap();
                agree(&mut peer).await;
                sessions.push(peer);
            }
            for name in ["peer1", "peer2"] {
                node.established(name).await;
            }
        });
    });
}

#[test]
fn md5_keys_are_demanded_over_ipv6_by_address_by_prefix_and_by_interface() {
    let cases = [
        (
            "address = \"fd00:1::2\"",
            on_link(false, 2),
            on_link(false, 1),
        ),
        (
            "prefix = \"fd00:1::/64\"",
            on_link(false, 2),
            on_link(false, 1),
        ),
        ("interface = \"node1\"", ROUTER, NODE),
        ("address = \"fe80::2\"\ninterface = \"node1\"", ROUTER, NODE),
        (
            "address = \"fd00:1::2\"\ndevice = \"node1\"",
            on_link(false, 2),
            on_link(false, 1),
        ),
    ];
    in_namespace(move || {
        runtime().block_on(async {
            let routers = linked(&[1]);
            for (place, from, to) in cases {
                let mut node = Node::start_from(&format!(
                    "[[peers]]\nname = \"r\"\nremote_as = 65001\npassive = true\n\
                     password = \"sesame\"\n{place}\n"
                ));
                let own = Own {
                    interface: from.eq(&ROUTER).then_some("router1"),
                    ..Own::default()
                };
                let with = |key| {
                    let own = Own { key, ..own };
                    connect_between(&routers[0], from, to, own)
                };
                assert!(with(Some("other")).is_err(), "{place}: a wrong key");
                let mut peer =
                    with(Some("sesame")).unwrap_or_else(|error| panic!("{place}: {error}"));
                agree(&mut peer).await;
                let name = if place.starts_with("prefix") {
                    "r@fd00:1::2"
                } else {
                    "r"
                };
                node.established(name).await;
                node.crash();
            }
        });
    });
}

#[test]
fn what_a_router_has_forwarded_is_not_heard_with_gtsm_over_ipv6() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let options = "address = \"fd00:1::2\"\npassive = true\nttl_security = true";
            for (hop_limit, heard) in [(255, true), (254, false)] {
                let mut node = Node::start(&[(1, options)]);
                let own = Own {
                    hop_limit: Some(hop_limit),
                    ..Own::default()
                };
                let (from, to) = (on_link(false, 2), on_link(false, 1));
                let mut peer = connect_between(&router, from, to, own).unwrap();
                agree(&mut peer).await;
                let limit = if heard { LIMIT } else { SILENCE };
                let up = tokio::time::timeout(limit, node.established("peer1")).await;
                assert_eq!(up.is_ok(), heard, "hop limit {hop_limit}");
                node.crash();
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
