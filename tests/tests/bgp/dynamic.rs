//! Peers by prefix: whoever connects from it gets the routes, up to a limit, and is forgotten when gone.

use std::time::{Duration, Instant};

use anycast_tests::peers::{Bird, Options, Router, RoutingDaemon, in_namespace};
use anycast_userspace::bgp::{EventKind, GroupStatus, State};
use anycast_userspace::config::bgp::RemoteAs;
use anycast_userspace::rib::Attributes;

use crate::hostile::established_soon;
use crate::node::{LIMIT, Node, routes, runtime};
use crate::scripted::{KEEPALIVE, NOTIFICATION, Scripted, addresses, message, open};

const ANY: &[&str] = &["192.168.250.1/32", "fd00:250::1/128"];

/// A node that takes peers from 10.0.0.0/16.
fn node(options: &str) -> Node {
    Node::start_from(&format!(
        "[[peers]]\nname = \"rack\"\nprefix = \"10.0.0.0/16\"\nremote_as = [65001, \"65010-65020\"]\n{options}\n"
    ))
}

async fn group(node: &Node) -> GroupStatus {
    node.groups().await.remove(0)
}

/// Waits until the prefix has so many sessions.
async fn sessions(node: &Node, want: usize) {
    let wait = async {
        while group(node).await.sessions != want {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| panic!("there are never {want} sessions"));
}

#[test]
fn routers_of_the_prefix_connect_get_the_routes_and_are_forgotten_when_they_go() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut node = node("password = \"sesame\"");
            node.publish(routes(ANY, Attributes::default()));
            let routers = [1, 2].map(|link| Router::new(link).unwrap());
            let options = Options {
                password: Some("sesame"),
                ttl_security: false,
            };
            let mut birds: Vec<Bird> = routers
                .iter()
                .map(|router| Bird::start(router, &options).unwrap())
                .collect();
            for bird in &birds {
                bird.wait_for("show route count", |text| text.contains("Total: 2 of 2"))
                    .unwrap();
            }
            let status = node.status("rack@10.0.2.2").await;
            assert_eq!(status.state, State::Established);
            assert_eq!(status.address, Some([10, 0, 2, 2].into()));
            assert_eq!(status.remote_as, RemoteAs::number(65001));
            assert_eq!(status.routes.len(), 2);
            assert_eq!(group(&node).await.sessions, 2);

            birds.remove(1).kill();
            sessions(&node, 1).await;
            node.want(routes(&[], Attributes::default())).await;
            birds[0]
                .wait_for("show route count", |text| text.contains("Total: 0 of 0"))
                .unwrap();

            node.want(routes(ANY, Attributes::default())).await;
            node.shutdown("maintenance").await;
            birds[0]
                .wait_for("show route count", |text| text.contains("Total: 0 of 0"))
                .unwrap();
            assert!(birds[0].log().contains("maintenance"), "{}", birds[0].log());
        });
    });
}

#[test]
fn a_router_without_the_key_of_the_prefix_gets_no_session() {
    in_namespace(|| {
        runtime().block_on(async {
            let node = node("password = \"sesame\"");
            let router = Router::new(1).unwrap();
            let options = Options {
                password: Some("other"),
                ttl_security: false,
            };
            let bird = Bird::start(&router, &options).unwrap();
            bird.wait_for("show protocols node", |text| {
                text.contains("Connect") || text.contains("Active")
            })
            .unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(group(&node).await.sessions, 0);
        });
    });
}

#[test]
fn the_limit_holds_and_a_place_that_is_free_is_taken_again() {
    in_namespace(|| {
        runtime().block_on(async {
            for link in 1..=3 {
                addresses(link);
            }
            let node = node("limit = 2");
            let first = Scripted::establish(1, 90).await.unwrap();
            let second = Scripted::establish(2, 90).await.unwrap();
            let mut third = Scripted::connect(3).await.unwrap();
            assert!(third.read().await.is_err(), "closed without a word");
            let status = group(&node).await;
            assert_eq!((status.sessions, status.limit, status.refused), (2, 2, 1));
            drop(first);
            sessions(&node, 1).await;
            let third = Scripted::establish(3, 90).await.unwrap();
            sessions(&node, 2).await;
            drop((second, third));
            sessions(&node, 0).await;
        });
    });
}

#[test]
fn only_the_as_numbers_of_the_list_are_taken() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let mut node = node("");
            for (asn, accepted) in [(65009, false), (65010, true), (65021, false)] {
                let mut peer = Scripted::connect(1).await.unwrap();
                peer.send(&of_as(asn)).await.unwrap();
                let (_, _) = peer.read().await.unwrap();
                let (kind, body) = peer.read().await.unwrap();
                if accepted {
                    assert_eq!(kind, KEEPALIVE, "AS {asn}");
                    continue;
                }
                assert_eq!((kind, &body[..2]), (NOTIFICATION, &[2, 2][..]), "AS {asn}");
                node.event("rack@10.0.1.2", |kind| match kind {
                    EventKind::NotificationSent(sent) => Some(sent.clone()),
                    _ => None,
                })
                .await;
                // After an error of its own, the peer is held off, and shown for as long.
                let status = node.status("rack@10.0.1.2").await;
                assert_eq!(status.state, State::Idle);
                assert!(status.last_error_sent.is_some());
                sessions(&node, 0).await;
            }
        });
    });
}

#[test]
fn an_erring_router_of_the_prefix_is_held_off_for_longer_each_time_and_alone() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            addresses(2);
            let node = node("retry = \"200ms\"\nretry_max = \"10s\"");
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
            let _other = Scripted::establish(2, 90).await.unwrap();
            // Once its time is over, nothing is left of it but the memory.
            sessions(&node, 1).await;
        });
    });
}

/// An OPEN of another AS than the script's usual one.
fn of_as(asn: u16) -> Vec<u8> {
    let mut octets = open([10, 0, 1, 2], 90);
    octets[20..22].copy_from_slice(&asn.to_be_bytes());
    let end = octets.len();
    octets[end - 2..].copy_from_slice(&asn.to_be_bytes());
    octets
}

#[test]
fn a_peer_of_its_own_comes_before_the_prefix_that_holds_it_and_a_long_prefix_before_a_short_one() {
    in_namespace(|| {
        runtime().block_on(async {
            for link in 1..=3 {
                addresses(link);
            }
            let mut node = Node::start_from(
                "[[peers]]\nname = \"all\"\nprefix = \"10.0.0.0/8\"\nremote_as = \"external\"\n\
                 [[peers]]\nname = \"rack\"\nprefix = \"10.0.2.0/24\"\nremote_as = \"external\"\n\
                 [[peers]]\nname = \"one\"\naddress = \"10.0.1.2\"\nremote_as = 65001\npassive = true\n",
            );
            let mut peers = Vec::new();
            for link in 1..=3 {
                peers.push(Scripted::establish(link, 90).await.unwrap());
            }
            for name in ["one", "rack@10.0.2.2", "all@10.0.3.2"] {
                node.established(name).await;
            }
        });
    });
}
