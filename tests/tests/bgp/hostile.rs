//! Peers that are slow, silent, many, or wrong: the speaker stays up, small, and fair to the others.

use std::time::{Duration, Instant};

use anycast_tests::peers::{in_namespace, run};
use anycast_userspace::bgp::State;
use anycast_userspace::rib::{Attributes, DesiredRoutes, Route};

use crate::node::{LIMIT, Node, routes, runtime};
use crate::scripted::{KEEPALIVE, NOTIFICATION, OPEN, Scripted, UPDATE, addresses, message, open};

const ROUTE: &[&str] = &["192.168.250.1/32"];
/// What a change may take until another peer has been sent it, at the median.
pub(crate) const TIMELY: Duration = Duration::from_millis(100);

/// A node, the connection that it made, and one that the peer made: the peer's OPEN has come on both.
pub(crate) struct Collision {
    pub(crate) node: Node,
    pub(crate) ours: Scripted,
    pub(crate) theirs: Scripted,
}

/// A peer with this identifier; the node's is 10.0.0.1.
pub(crate) async fn collision(identifier: [u8; 4]) -> Collision {
    let accept = tokio::spawn(Scripted::accept(1));
    let node = Node::start_on(
        "listen = [\"10.0.1.1:179\"]",
        &[(1, 65001, "source = \"10.0.1.1\"")],
    );
    let mut ours = accept.await.unwrap();
    let mut theirs = Scripted::connect(1).await.unwrap();
    for connection in [&mut ours, &mut theirs] {
        assert_eq!(connection.read().await.unwrap().0, OPEN);
        connection.send(&open(identifier, 90)).await.unwrap();
    }
    Collision { node, ours, theirs }
}

#[test]
fn of_two_connections_the_one_of_the_higher_identifier_survives() {
    for (identifier, theirs_survives) in [([10, 0, 0, 9], true), ([9, 0, 0, 9], false)] {
        in_namespace(move || {
            runtime().block_on(async {
                addresses(1);
                let Collision {
                    mut node,
                    ours,
                    theirs,
                } = collision(identifier).await;
                let (mut winner, mut loser) = if theirs_survives {
                    (theirs, ours)
                } else {
                    (ours, theirs)
                };
                // Cease, Connection Collision Resolution.
                assert_eq!(loser.read_until(NOTIFICATION).await.unwrap(), [6, 7]);
                winner.send(&message(KEEPALIVE, &[])).await.unwrap();
                node.established("peer1").await;
                node.publish(routes(ROUTE, Attributes::default()));
                let update = winner.read_until(UPDATE).await.unwrap();
                assert!(update.ends_with(&[32, 192, 168, 250, 1]), "{update:?}");
            });
        });
    }
}

#[test]
fn a_connection_beside_an_established_session_is_closed() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let mut node = Node::start(&[(1, "passive = true")]);
            let _session = Scripted::establish(1, 90).await.unwrap();
            node.established("peer1").await;
            let mut second = Scripted::connect(1).await.unwrap();
            assert!(second.read().await.is_err(), "the second connection lives");
            assert_eq!(node.summary("peer1").state, State::Established);
        });
    });
}

/// Time from publishing a generation until one peer has been sent it.
pub(crate) async fn time_to_apply(node: &mut Node, peer: &str, desired: DesiredRoutes) -> Duration {
    let start = Instant::now();
    let generation = node.publish(desired);
    node.summary_until(peer, |summary| {
        summary
            .applied
            .is_some_and(|(applied, _)| applied >= generation)
    })
    .await;
    start.elapsed()
}

/// Announces and withdraws a route for one peer again and again. The time that this takes is the median's: of one time
/// alone, the machine may have had most.
async fn typical_time_to_apply(node: &mut Node, peer: &str) -> Duration {
    let mut times = Vec::new();
    for round in 0..21 {
        let prefixes = if round % 2 == 0 { ROUTE } else { &[] };
        let wanted = routes(prefixes, Attributes::default());
        times.push(time_to_apply(node, peer, wanted).await);
    }
    median(&mut times)
}

/// The one in the middle.
pub(crate) fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn a_thousand_connections_do_not_disturb_another_peer() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            addresses(2);
            run("ip", &["address", "add", "10.0.3.2/32", "dev", "lo"]).unwrap();
            let mut node = Node::start(&[(1, "passive = true"), (2, "passive = true")]);
            let mut good = Scripted::establish(2, 90).await.unwrap();
            node.established("peer2").await;
            let before = open_files();
            let mut crowd = Vec::new();
            for number in 0..1000 {
                // Half from the address of a peer, half from nobody's.
                let link = if number % 2 == 0 { 1 } else { 3 };
                crowd.push(connect_from(link).await);
            }
            let time = typical_time_to_apply(&mut node, "peer2").await;
            assert!(time < TIMELY, "{time:?}");
            good.read_until(UPDATE).await.unwrap();
            // Each of the crowd takes a descriptor here, in the same process; the node keeps at most a few.
            let kept = open_files() - before - crowd.len();
            assert!(kept < 10, "{kept} connections are kept");
            drop(crowd);
            let _session = established_soon(1).await;
            node.established("peer1").await;
        });
    });
}

pub(crate) async fn connect_from(link: u8) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([10, 0, link, 2], 0).into()).unwrap();
    socket.connect(([10, 0, 1, 1], 179).into()).await.unwrap()
}

/// A session as soon as the node takes one: it may still hold a connection of before.
pub(crate) async fn established_soon(link: u8) -> Scripted {
    let deadline = Instant::now() + LIMIT;
    loop {
        match Scripted::establish(link, 90).await {
            Ok(peer) => return peer,
            Err(error) if Instant::now() >= deadline => panic!("no session: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(crate) fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

pub(crate) fn many(count: u32, med: u32) -> DesiredRoutes {
    let route = Route::new(
        "dns",
        Attributes {
            med: Some(med),
            ..Attributes::default()
        },
    );
    let mut desired = DesiredRoutes::new(0);
    for host in 0..count {
        let address = std::net::Ipv4Addr::from(0x0A40_0000 + host);
        desired.insert(std::net::IpAddr::from(address).into(), route.clone());
    }
    desired
}

#[test]
fn a_peer_that_stops_reading_is_dropped_after_the_send_hold_time_and_delays_nobody() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            addresses(2);
            let stuck = "passive = true\nhold_time = \"3s\"\nsend_hold_time = \"4s\"";
            let mut node = Node::start(&[(1, stuck), (2, "passive = true")]);
            let silent = Scripted::establish(1, 3).await.unwrap();
            let mut good = Scripted::establish(2, 90).await.unwrap();
            node.established("peer1").await;
            node.established("peer2").await;
            let reader = tokio::spawn(async move { while good.read().await.is_ok() {} });
            // It reads nothing, but sends its keepalives.
            let (_, mut writing) = silent.stream.into_split();
            let alive = tokio::spawn(async move {
                use tokio::io::AsyncWriteExt;
                while writing.write_all(&message(KEEPALIVE, &[])).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            });
            let start = Instant::now();
            let (mut med, mut times) = (0, Vec::new());
            while node.summary("peer1").state == State::Established {
                assert!(start.elapsed() < LIMIT, "the stuck peer keeps its session");
                med += 1;
                times.push(time_to_apply(&mut node, "peer2", many(20_000, med)).await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(
                med > 20,
                "the kernel's buffers hold fewer than {med} tables"
            );
            let time = median(&mut times);
            assert!(time < Duration::from_secs(1), "{time:?}");
            let status = node.status("peer1").await;
            assert!(
                status.reason.contains("send hold time"),
                "{}",
                status.reason
            );
            assert_eq!(node.summary("peer2").state, State::Established);
            alive.abort();
            reader.abort();
        });
    });
}

#[test]
fn a_peer_that_sends_one_octet_at_a_time_gets_its_session() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let mut node = Node::start(&[(1, "passive = true")]);
            let mut slow = Scripted::connect(1).await.unwrap();
            slow.stream.set_nodelay(true).unwrap();
            for octet in [open([10, 0, 1, 2], 90), message(KEEPALIVE, &[])].concat() {
                slow.send(&[octet]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            node.established("peer1").await;
        });
    });
}

#[test]
fn a_peer_that_sends_one_octet_a_second_is_silent_to_the_hold_timer() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let mut node = Node::start(&[(1, "passive = true\nhold_time = \"3s\"")]);
            let mut slow = Scripted::establish(1, 3).await.unwrap();
            node.established("peer1").await;
            let start = Instant::now();
            for octet in message(KEEPALIVE, &[]) {
                if slow.send(&[octet]).await.is_err()
                    || node.summary("peer1").state != State::Established
                {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            // The whole message would take 19 s.
            assert!(
                start.elapsed() < Duration::from_secs(12),
                "{:?}",
                start.elapsed()
            );
            // Hold Timer Expired.
            assert_eq!(slow.read_until(NOTIFICATION).await.unwrap(), [4, 0]);
        });
    });
}

#[test]
fn an_erring_peer_is_held_off_for_longer_each_time() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let _node = Node::start(&[(1, "passive = true\nretry_max = \"10s\"")]);
            let mut waits = Vec::new();
            let mut start = Instant::now();
            for _ in 0..4 {
                let mut peer = established_soon(1).await;
                waits.push(start.elapsed());
                start = Instant::now();
                peer.send(&message(9, &[])).await.unwrap();
                assert_eq!(peer.read_until(NOTIFICATION).await.unwrap(), [1, 3, 9]);
            }
            // 200, 400 and 800 ms, each times 0.75 to 1.
            for (wait, least) in waits[1..].iter().zip([140, 290, 590]) {
                assert!(*wait > Duration::from_millis(least), "{waits:?}");
            }
        });
    });
}

#[test]
fn a_peer_that_asks_again_and_again_is_sent_its_routes_seldom_and_once_more_at_the_end() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let mut node = Node::start(&[(1, "passive = true")]);
            let mut peer = Scripted::establish(1, 90).await.unwrap();
            node.established("peer1").await;
            node.want(routes(ROUTE, Attributes::default())).await;
            let before = node.summary("peer1").messages.sent.update;
            let request = message(5, &[0, 1, 0, 1]);
            let start = Instant::now();
            peer.send(&request).await.unwrap();
            node.summary_until("peer1", |summary| {
                summary.messages.sent.update == before + 1
            })
            .await;
            peer.send(&request.repeat(1000)).await.unwrap();
            let asked = node
                .summary_until("peer1", |summary| {
                    summary.messages.received.route_refresh == 1001
                })
                .await;
            assert_eq!(asked.messages.sent.update, before + 1);
            node.summary_until("peer1", |summary| summary.messages.sent.update > before + 1)
                .await;
            assert!(
                start.elapsed() > Duration::from_secs(4),
                "{:?}",
                start.elapsed()
            );
            assert_eq!(
                node.summary("peer1").messages.sent.update,
                before + 2,
                "what was asked for last is not lost"
            );
        });
    });
}

pub(crate) fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_refresh_of_a_family_that_was_not_agreed_on_asks_for_nothing() {
    in_namespace(|| {
        runtime().block_on(async {
            const ROUTE_REFRESH: u8 = 5;
            addresses(1);
            let mut node = Node::start(&[(1, "passive = true\nfamilies = [\"ipv4\"]")]);
            // Enhanced route refresh: the answer stands between markers that name the family.
            let mut peer = Scripted::establish_with(1, 90, &[2, 0, 70, 0])
                .await
                .unwrap();
            node.established("peer1").await;
            node.want(routes(ROUTE, Attributes::default())).await;
            for family in [2, 1] {
                peer.send(&message(ROUTE_REFRESH, &[0, family, 0, 1]))
                    .await
                    .unwrap();
            }
            // BoRR and EoRR of IPv4 unicast, and no other before them.
            for subtype in [1, 2] {
                let marker = peer.read_until(ROUTE_REFRESH).await.unwrap();
                assert_eq!(marker, [0, 1, subtype, 1]);
            }
        });
    });
}
