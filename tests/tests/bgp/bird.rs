//! Sessions with BIRD 2.

use std::time::Duration;

use anycast_tests::peers::{Bird, Router, RoutingDaemon, in_namespace};
use anycast_userspace::bgp::{EventKind, State};
use anycast_userspace::rib::Attributes;

use crate::node::{Node, lockstep, routes, runtime};

const ANY: &[&str] = &["192.168.250.1/32", "fd00:250::1/128"];

/// A node with one session to BIRD on link 1.
fn pair(options: &str, bird_options: &str) -> (Router, Bird, Node) {
    let router = Router::new(1).unwrap();
    let bird = Bird::start_with(&router, &Bird::session(1, 64512, bird_options)).unwrap();
    let node = Node::start(&[(1, options)]);
    (router, bird, node)
}

fn attributes(text: &str) -> Attributes {
    toml::from_str(text).unwrap()
}

#[test]
fn routes_reach_bird_with_every_attribute() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, bird, mut node) = pair("", "");
            node.established("peer1").await;
            node.want(routes(
                ANY,
                attributes(
                    r#"
                    med = 10
                    prepend = 2
                    communities = ["64512:100", "no-export"]
                    large_communities = ["64512:1:2"]
                    extended_communities = ["rt:64512:7"]
                    "#,
                ),
            ))
            .await;
            let seen = bird
                .wait_for("show route all", |text| {
                    text.contains("192.168.250.1/32") && text.contains("fd00:250::1/128")
                })
                .unwrap();
            for want in [
                "BGP.as_path: 64512 64512 64512",
                "BGP.med: 10",
                "BGP.next_hop: 10.0.1.1",
                "BGP.next_hop: fd00:1::1",
                "(64512,100) (65535,65281)",
                "(64512, 1, 2)",
                "(rt, 64512, 7)",
                "BGP.origin: IGP",
            ] {
                assert!(seen.contains(want), "{want} is not in\n{seen}");
            }
            assert!(!bird.log().contains("Invalid"), "{}", bird.log());
        });
    });
}

#[test]
fn a_withdrawn_service_leaves_bird_and_comes_back() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, bird, mut node) = pair("", "");
            node.established("peer1").await;
            for _ in 0..3 {
                node.want(routes(ANY, Attributes::default())).await;
                bird.wait_for("show route count", |text| text.contains("Total: 2 of 2"))
                    .unwrap();
                node.want(routes(&[], Attributes::default())).await;
                bird.wait_for("show route count", |text| text.contains("Total: 0 of 0"))
                    .unwrap();
            }
        });
    });
}

#[test]
fn a_flap_that_ends_where_it_began_sends_nothing() {
    in_namespace(|| {
        lockstep().block_on(async {
            let (_router, _bird, mut node) = pair("", "");
            node.established("peer1").await;
            node.want(routes(ANY, Attributes::default())).await;
            let before = node.summary("peer1").messages.sent.update;
            // Both changes are published before the peer's task gets to run.
            node.publish(routes(&[], Attributes::default()));
            node.want(routes(ANY, Attributes::default())).await;
            assert_eq!(node.summary("peer1").messages.sent.update, before);
        });
    });
}

#[test]
fn a_restarted_bird_gets_the_routes_again() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, mut bird, mut node) = pair("", "");
            node.established("peer1").await;
            node.want(routes(ANY, Attributes::default())).await;
            bird.kill();
            node.state("peer1", |state| state != State::Established)
                .await;
            bird.restart().unwrap();
            node.established("peer1").await;
            bird.wait_for("show route count", |text| text.contains("Total: 2 of 2"))
                .unwrap();
        });
    });
}

#[test]
fn a_node_that_dies_and_returns_announces_again() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, bird, mut node) = pair("", "");
            node.established("peer1").await;
            node.want(routes(ANY, Attributes::default())).await;
            bird.wait_for("show route count", |text| text.contains("Total: 2 of 2"))
                .unwrap();
            node.crash();
            bird.wait_for("show route count", |text| text.contains("Total: 0 of 0"))
                .unwrap();
            let mut node = Node::start(&[(1, "")]);
            node.established("peer1").await;
            node.want(routes(ANY, Attributes::default())).await;
            bird.wait_for("show route count", |text| text.contains("Total: 2 of 2"))
                .unwrap();
        });
    });
}

#[test]
fn a_stop_withdraws_and_tells_bird_why() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, bird, mut node) = pair("", "");
            node.established("peer1").await;
            node.want(routes(ANY, Attributes::default())).await;
            node.shutdown("moving to rack 7").await;
            bird.wait_for("show protocols all node", |text| {
                text.contains("Received: Administrative shutdown")
                    || text.contains("moving to rack 7")
            })
            .unwrap();
            assert!(bird.log().contains("moving to rack 7"), "{}", bird.log());
            let left = bird.birdc("show route count").unwrap();
            assert!(left.contains("Total: 0 of 0"), "{left}");
        });
    });
}

#[test]
fn what_bird_says_when_it_stops_is_kept() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, bird, mut node) = pair("", "");
            node.established("peer1").await;
            bird.birdc("disable node \"upgrade\"").unwrap();
            let received = node
                .event("peer1", |kind| match kind {
                    EventKind::NotificationReceived(notification) => Some(notification.clone()),
                    _ => None,
                })
                .await;
            assert_eq!((received.code, received.subcode), (6, 2));
            assert_eq!(received.communication.as_deref(), Some("upgrade"));
            let status = node.status("peer1").await;
            assert!(status.last_error_received.is_some(), "{status:?}");
            bird.birdc("enable node").unwrap();
            node.established("peer1").await;
        });
    });
}

#[test]
fn a_wrong_as_number_is_refused_in_words() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let session = Bird::session(1, 64512, "").replace("as 65001", "as 65002");
            let _bird = Bird::start_with(&router, &session).unwrap();
            let mut node = Node::start(&[(1, "")]);
            let sent = node
                .event("peer1", |kind| match kind {
                    EventKind::NotificationSent(notification) => Some(notification.clone()),
                    _ => None,
                })
                .await;
            assert_eq!(sent.to_string(), "Bad Peer AS (2/2)");
        });
    });
}

#[test]
fn an_internal_session_gets_local_preference_and_an_empty_path() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let session = Bird::session(1, 64512, "").replace("as 65001", "as 64512");
            let bird = Bird::start_with(&router, &session).unwrap();
            let mut node = Node::start_with(&[(1, 64512, "")]);
            node.established("peer1").await;
            node.want(routes(
                ANY,
                attributes("local_preference = 250\nprepend = 3"),
            ))
            .await;
            let seen = bird
                .wait_for("show route all", |text| text.contains("fd00:250::1/128"))
                .unwrap();
            assert!(seen.contains("BGP.local_pref: 250"), "{seen}");
            assert!(seen.contains("BGP.as_path: \n"), "{seen}");
        });
    });
}

#[test]
fn the_node_can_wait_for_bird_to_connect() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, bird, mut node) = pair("passive = true", "");
            node.established("peer1").await;
            node.want(routes(ANY, Attributes::default())).await;
            bird.wait_for("show route count", |text| text.contains("Total: 2 of 2"))
                .unwrap();
        });
    });
}

#[test]
fn both_families_travel_over_an_ipv6_session() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let session = Bird::session(1, 64512, "")
                .replace("local 10.0.1.2", "local fd00:1::2")
                .replace("neighbor 10.0.1.1", "neighbor fd00:1::1");
            let bird = Bird::start_with(&router, &session).unwrap();
            let mut node = Node::start(&[(1, "address = \"fd00:1::2\"")]);
            node.established("peer1").await;
            node.want(routes(ANY, Attributes::default())).await;
            let seen = bird
                .wait_for("show route all", |text| {
                    text.contains("192.168.250.1/32") && text.contains("fd00:250::1/128")
                })
                .unwrap();
            assert!(seen.contains("BGP.next_hop: 10.0.1.1"), "{seen}");
            // RFC 2545 §3: on a shared link, the link-local address goes with the global one.
            assert!(seen.contains("BGP.next_hop: fd00:1::1 fe80::"), "{seen}");
        });
    });
}

#[test]
fn ipv4_over_an_ipv6_session_takes_an_ipv6_next_hop_where_both_agree() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let session = Bird::session(1, 64512, "")
                .replace("local 10.0.1.2", "local fd00:1::2")
                .replace("neighbor 10.0.1.1", "neighbor fd00:1::1")
                .replace("ipv4 {", "ipv4 { extended next hop on;");
            let bird = Bird::start_with(&router, &session).unwrap();
            let mut node = Node::start(&[(1, "address = \"fd00:1::2\"")]);
            node.established("peer1").await;
            node.want(routes(ANY, Attributes::default())).await;
            let seen = bird
                .wait_for("show route all table master4", |text| {
                    text.contains("192.168.250.1/32")
                })
                .unwrap();
            assert!(seen.contains("BGP.next_hop: fd00:1::1"), "{seen}");
        });
    });
}

#[test]
fn md5_signatures_are_accepted_when_they_match_and_nothing_passes_when_they_do_not() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, mut bird, mut node) =
                pair("password = \"sesame\"", "password \"sesame\";");
            node.established("peer1").await;
            bird.kill();
            node.crash();
            let router = Router::new(2).unwrap();
            bird =
                Bird::start_with(&router, &Bird::session(2, 64512, "password \"other\";")).unwrap();
            let mut node = Node::start(&[(2, "password = \"sesame\"")]);
            let established = node.established("peer2");
            let outcome = tokio::time::timeout(Duration::from_secs(3), established).await;
            assert!(outcome.is_err(), "a wrong key passed");
            let state = bird.birdc("show protocols node").unwrap();
            assert!(!state.contains("Established"), "{state}");
        });
    });
}

#[test]
fn gtsm_passes_one_hop() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, bird, mut node) = pair("ttl_security = true", "ttl security on;");
            node.established("peer1").await;
            node.want(routes(ANY, Attributes::default())).await;
            bird.wait_for("show route count", |text| text.contains("Total: 2 of 2"))
                .unwrap();
        });
    });
}

#[test]
fn gtsm_keeps_out_a_peer_that_sends_with_a_low_ttl() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, _bird, mut node) = pair("ttl_security = true\npassive = true", "");
            let outcome =
                tokio::time::timeout(Duration::from_secs(3), node.established("peer1")).await;
            assert!(outcome.is_err(), "packets with TTL 1 passed");
        });
    });
}

#[test]
fn a_route_refresh_brings_the_routes_again() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, bird, mut node) = pair("", "");
            node.established("peer1").await;
            node.want(routes(ANY, Attributes::default())).await;
            let before = node.summary("peer1").messages;
            bird.birdc("reload in node").unwrap();
            let after = node
                .summary_until("peer1", |summary| {
                    summary.messages.received.route_refresh >= before.received.route_refresh + 2
                })
                .await;
            assert_eq!(after.messages.sent.update, before.sent.update + 2);
            bird.wait_for("show route count", |text| text.contains("Total: 2 of 2"))
                .unwrap();
        });
    });
}

#[test]
fn two_connections_at_once_become_one_session() {
    in_namespace(|| {
        runtime().block_on(async {
            // Both sides connect as soon as they can; whichever collide, one session must remain.
            for _ in 0..3 {
                let (_router, bird, mut node) = pair("", "connect delay time 1;");
                node.established("peer1").await;
                node.want(routes(ANY, Attributes::default())).await;
                bird.wait_for("show route count", |text| text.contains("Total: 2 of 2"))
                    .unwrap();
                let status = node.status("peer1").await;
                assert_eq!(status.state, State::Established);
                assert_eq!(status.routes.len(), 2);
            }
        });
    });
}

#[test]
fn a_failure_that_bfd_reports_ends_the_session_and_it_comes_back() {
    in_namespace(|| {
        runtime().block_on(async {
            let (_router, bird, mut node) = pair("", "");
            node.established("peer1").await;
            node.want(routes(ANY, Attributes::default())).await;
            bird.wait_for("show route count", |text| text.contains("Total: 2 of 2"))
                .unwrap();
            node.bfd_down("nobody").await;
            node.bfd_down("peer1").await;
            node.event("peer1", |kind| match kind {
                EventKind::NotificationSent(sent) => {
                    ((sent.code, sent.subcode) == (6, 10)).then_some(())
                }
                _ => None,
            })
            .await;
            node.established("peer1").await;
            bird.wait_for("show route count", |text| text.contains("Total: 2 of 2"))
                .unwrap();
        });
    });
}
