//! The whole daemon, while its router's operator takes BFD down on purpose.

use std::time::Duration;

use anycast_tests::peers::{Router, RoutingDaemon as _, in_namespace};
use anycast_tests::wait;

use crate::agent::{Agent, ROUTE, SOON, established_once, watched, watching_frr};
use crate::daemon::LINK;

/// More than the Detection Time of 3 s.
const LONG: Duration = Duration::from_secs(5);

#[test]
fn a_router_that_takes_bfd_down_while_a_service_drains_keeps_session_and_route() {
    in_namespace(|| {
        let router = Router::new(LINK).expect("a router");
        let frr = watching_frr(&router);
        let profile = |command: &str| {
            frr.configure(&["bfd", "profile fast", command])
                .expect("FRR is configured");
        };
        let mut agent = Agent::start().expect("the daemon starts");
        let holds_the_route = || {
            let command = format!("show bgp ipv4 unicast {ROUTE} json");
            let answer = frr.ask("bgpd", &command).expect("FRR answers");
            answer.contains(ROUTE)
        };

        agent
            .until("BGP and BFD", |peer| {
                established_once(peer) && watched(peer)
            })
            .unwrap_or_else(|error| panic!("{error:?}\n{}", frr.log()));
        wait::until("the route", SOON, || Ok(holds_the_route().then_some(())))
            .expect("it is announced");
        agent
            .control
            .run(&["drain", "dns"])
            .expect("the service drains");

        profile("shutdown");
        agent
            .until("the router's word", |peer| {
                peer["bfd"]["remote_state"] == "admin_down"
            })
            .expect("it says AdminDown");
        let lost = wait::until("a lost session", LONG, || {
            let kept = agent.peer().is_ok_and(|peer| established_once(&peer));
            Ok((!kept).then_some(()))
        });
        assert!(lost.is_err(), "the session was lost");
        assert!(holds_the_route(), "the route was lost");

        profile("no shutdown");
        agent
            .until("BFD again", |peer| peer["bfd"]["state"] == "up")
            .expect("BFD comes back");
        assert!(established_once(&agent.peer().expect("status")));
    });
}
