//! What only FRR does: graceful restart keeps routes of a node that has gone.

use anycast_tests::peers::{Frr, Options, Router, RoutingDaemon, in_namespace, wait_until};
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
            let neighbour = frr.vtysh("show bgp neighbors 10.0.1.1").unwrap();
            assert!(
                neighbour.contains("Administrative Shutdown/Hard Reset"),
                "{neighbour}"
            );
        });
    });
}
