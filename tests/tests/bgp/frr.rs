//! What only FRR does: graceful restart keeps routes of a node that has gone, if that has offered it.

use anycast_tests::peers::{Frr, Options, Router, RoutingDaemon, in_namespace, wait_until};
use anycast_userspace::bgp::EventKind;
use anycast_userspace::rib::Attributes;

use crate::node::{LIMIT, Node, routes, runtime};

const ROUTE: &str = "192.168.250.1/32";
/// FRR helps a restarting node, and does so for NOTIFICATIONs too (RFC 8538).
const HELPER: &str = " bgp graceful-restart\n bgp graceful-restart notification\n \
    bgp graceful-restart restart-time 60\n neighbor {} graceful-restart\n";

#[test]
fn a_stop_clears_a_route_that_graceful_restart_would_keep() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let frr = Frr::start_with(&router, &Options::default(), HELPER).unwrap();
            let mut node = Node::start(&[(1, "graceful_restart = true")]);
            node.established("peer1").await;
            let status = node.status("peer1").await;
            assert!(
                status.negotiated.unwrap().hard_reset_needed,
                "FRR agreed on the N bit"
            );
            node.want(routes(&[ROUTE], Attributes::default())).await;
            wait_until("the route", LIMIT, || {
                frr.table().ok()?.contains_key(ROUTE).then_some(())
            })
            .unwrap();
            node.shutdown("maintenance").await;
            wait_until("no route", LIMIT, || {
                frr.table().ok()?.is_empty().then_some(())
            })
            .unwrap_or_else(|error| panic!("{error}: {:#?}", frr.table()));
            let sent = node
                .event("peer1", |kind| match kind {
                    EventKind::NotificationSent(sent) if sent.subcode == 9 => {
                        Some(sent.to_string())
                    }
                    _ => None,
                })
                .await;
            assert_eq!(
                sent,
                "Hard Reset, Administrative Shutdown (6/9): \"maintenance\""
            );
        });
    });
}

#[test]
fn a_helper_keeps_no_route_of_a_node_that_stops_or_dies_without_graceful_restart() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let frr = Frr::start_with(&router, &Options::default(), HELPER).unwrap();
            for dies in [false, true] {
                let mut node = Node::start(&[(1, "")]);
                node.established("peer1").await;
                let negotiated = node.status("peer1").await.negotiated.unwrap();
                assert!(!negotiated.hard_reset_needed, "it was not offered");
                node.want(routes(&[ROUTE], Attributes::default())).await;
                wait_until("the route", LIMIT, || {
                    frr.table().ok()?.contains_key(ROUTE).then_some(())
                })
                .unwrap();
                if dies {
                    node.crash();
                } else {
                    node.shutdown("maintenance").await;
                }
                // The restart time, which it would be kept for, is twice as long as this waits.
                wait_until("no route", LIMIT, || {
                    frr.table().ok()?.is_empty().then_some(())
                })
                .unwrap_or_else(|error| panic!("dies: {dies}, {error}: {:#?}", frr.table()));
            }
        });
    });
}
