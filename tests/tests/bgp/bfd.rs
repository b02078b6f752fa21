//! BFD with BIRD and FRR: a node that falls silent is out of the peer's table at once.

use std::time::{Duration, Instant};

use anycast_tests::peers::{Bird, Router, RoutingDaemon, in_namespace, run, wait_until};
use anycast_userspace::bfd;
use anycast_userspace::bgp::{EventKind, State};
use anycast_userspace::rib::Attributes;

use crate::node::{LIMIT, Node, routes, runtime};

const ROUTE: &[&str] = &["192.168.250.1/32"];
const FAST: &str = "bfd = { interval = \"50ms\", multiplier = 3 }";

/// BIRD with BFD on every interface, 50 ms times 3.
fn bird(router: &Router) -> Bird {
    let session = Bird::session(router.link, 64512, "bfd on;");
    let bfd = "protocol bfd { interface \"*\" { interval 50 ms; multiplier 3; }; }\n";
    Bird::start_with(router, &(session + bfd)).unwrap()
}

async fn both_up(node: &mut Node, bird: &Bird) {
    node.established("peer1").await;
    bird.wait_for("show bfd sessions", |text| {
        text.lines()
            .any(|line| line.contains("10.0.1.1") && line.contains("Up"))
    })
    .unwrap();
    let deadline = Instant::now() + LIMIT;
    loop {
        let status = node.status("peer1").await.bfd.expect("BFD is configured");
        if status.state == bfd::State::Up {
            return;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The table of BIRD, without waiting for anything.
fn has_route(bird: &Bird) -> bool {
    bird.birdc("show route").unwrap().contains(ROUTE[0])
}

#[test]
fn a_silent_node_is_out_of_birds_table_within_300_ms() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let bird = bird(&router);
            let mut node = Node::start(&[(1, FAST)]);
            both_up(&mut node, &bird).await;
            node.want(routes(ROUTE, Attributes::default())).await;
            wait_until("the route", LIMIT, || has_route(&bird).then_some(())).unwrap();
            // 50 ms times 3 is sustained: nothing happens for a while.
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(node.summary("peer1").established_count, 1);
            // From now on, nothing that the node sends leaves it; the link itself stays up.
            let start = Instant::now();
            run("ip", &["route", "add", "blackhole", "10.0.1.2/32"]).unwrap();
            wait_until("no route", LIMIT, || (!has_route(&bird)).then_some(())).unwrap();
            let time = start.elapsed();
            println!("the route was gone after {time:?}");
            assert!(time < Duration::from_millis(300), "{time:?}");
        });
    });
}

#[test]
fn a_silent_bird_is_noticed_and_the_session_closed_with_bfd_down() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let bird = bird(&router);
            let mut node = Node::start(&[(1, FAST)]);
            both_up(&mut node, &bird).await;
            router
                .ip(&["route", "add", "blackhole", "10.0.1.1/32"])
                .unwrap();
            let start = Instant::now();
            let sent = node
                .event("peer1", |kind| match kind {
                    EventKind::NotificationSent(notification) => Some(notification.clone()),
                    _ => None,
                })
                .await;
            let time = start.elapsed();
            assert!(time < Duration::from_millis(300), "{time:?}");
            assert_eq!((sent.code, sent.subcode), (6, 10));
            router
                .ip(&["route", "delete", "blackhole", "10.0.1.1/32"])
                .unwrap();
            both_up(&mut node, &bird).await;
        });
    });
}

#[test]
fn a_bird_that_takes_bfd_down_on_purpose_keeps_its_session() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let bird = bird(&router);
            let mut node = Node::start(&[(1, FAST)]);
            both_up(&mut node, &bird).await;
            bird.birdc("disable bfd1").unwrap();
            let deadline = Instant::now() + Duration::from_secs(1);
            while Instant::now() < deadline {
                assert_eq!(node.summary("peer1").state, State::Established);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    });
}

#[test]
fn a_stop_takes_bfd_down_on_purpose() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let bird = bird(&router);
            let mut node = Node::start(&[(1, FAST)]);
            both_up(&mut node, &bird).await;
            node.shutdown("maintenance").await;
            bird.wait_for("show bfd sessions", |text| !text.contains("Up"))
                .unwrap();
            let log = bird.log();
            assert!(!log.contains("BFD session down"), "{log}");
        });
    });
}
