//! BFD with BIRD and FRR: a node that falls silent is out of the peer's table at once.

use std::time::{Duration, Instant};

use anycast_tests::peers::{
    Bird, Frr, Options, Router, RoutingDaemon, in_namespace, run, wait_until,
};
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
    bfd_state(node, bfd::State::Up).await;
}

async fn bfd_state(node: &mut Node, want: bfd::State) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let status = node.status("peer1").await.bfd.expect("BFD is configured");
        if status.state == want {
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
fn a_hanging_bird_is_noticed_and_the_session_closed_with_bfd_down() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let bird = bird(&router);
            let mut node = Node::start(&[(1, FAST)]);
            both_up(&mut node, &bird).await;
            bird.process().pause().unwrap();
            let start = Instant::now();
            // At the start, one of two connections may have been closed as well.
            node.event("peer1", |kind| match kind {
                EventKind::NotificationSent(sent) => {
                    ((sent.code, sent.subcode) == (6, 10)).then_some(())
                }
                _ => None,
            })
            .await;
            let time = start.elapsed();
            assert!(time < Duration::from_millis(300), "{time:?}");
            bird.process().resume().unwrap();
            both_up(&mut node, &bird).await;
        });
    });
}

/// FRR with BFD towards the node, 50 ms times 3.
fn frr(router: &Router) -> Frr {
    Frr::start_with(router, &Options::default(), " neighbor {} bfd 3 50 50\n").unwrap()
}

async fn up(node: &mut Node) {
    node.established("peer1").await;
    bfd_state(node, bfd::State::Up).await;
}

#[test]
fn frr_and_the_node_keep_bfd_up_and_a_silent_node_is_out_of_frrs_table() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let frr = frr(&router);
            let mut node = Node::start(&[(1, FAST)]);
            up(&mut node).await;
            node.want(routes(ROUTE, Attributes::default())).await;
            let has_route = || frr.table().unwrap_or_default().contains_key(ROUTE[0]);
            wait_until("the route", LIMIT, || has_route().then_some(())).unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(node.summary("peer1").established_count, 1);
            let start = Instant::now();
            run("ip", &["route", "add", "blackhole", "10.0.1.2/32"]).unwrap();
            wait_until("no route", LIMIT, || (!has_route()).then_some(())).unwrap();
            // vtysh takes its time to answer; the Hold Time would be 90 seconds.
            assert!(
                start.elapsed() < Duration::from_millis(600),
                "{:?}",
                start.elapsed()
            );
        });
    });
}

#[test]
fn a_peer_that_takes_bfd_down_on_purpose_keeps_its_session() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let frr = frr(&router);
            let mut node = Node::start(&[(1, FAST)]);
            up(&mut node).await;
            frr.configure(&["bfd", "peer 10.0.1.1", "shutdown"])
                .unwrap();
            bfd_state(&mut node, bfd::State::Down).await;
            let status = node.status("peer1").await;
            assert_eq!(
                status.state,
                State::Established,
                "{status:#?} {}",
                frr.log()
            );
            assert_eq!(
                status.bfd.unwrap().why,
                bfd::Diagnostic::AdministrativelyDown
            );
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
