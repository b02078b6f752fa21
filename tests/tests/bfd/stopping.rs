//! The whole daemon is stopped while its router watches it by BFD.

use anycast_tests::peers::{Router, RoutingDaemon as _, in_namespace};
use anycast_tests::wait;
use serde_json::Value;

use crate::agent::{Agent, ROUTE, SOON, established_once, watched, watching_frr};
use crate::daemon::LINK;

/// FRR below 10.7 ends the session when BFD goes AdminDown, and later ones do not: it must be BGP that says goodbye.
#[test]
fn a_stop_is_told_by_bgp_and_needs_no_bfd_to_be_heard() {
    in_namespace(|| {
        let router = Router::new(LINK).expect("a router");
        let frr = watching_frr(&router);
        let ask = |command: &str| -> Value {
            let text = frr.ask("bgpd", command).expect("bgpd answers");
            serde_json::from_str(&text).expect("JSON")
        };
        let holds_the_route = || {
            let answer = ask(&format!("show bgp ipv4 unicast {ROUTE} json"));
            answer["prefix"] == ROUTE
        };
        let mut agent = Agent::start().expect("the daemon starts");
        agent
            .until("BGP and BFD", |peer| {
                established_once(peer) && watched(peer)
            })
            .unwrap_or_else(|error| panic!("{error:?}\n{}", frr.log()));
        wait::until("the route", SOON, || Ok(holds_the_route().then_some(())))
            .expect("it is announced");

        agent.stop().expect("it ends");
        wait::until("no route", SOON, || Ok((!holds_the_route()).then_some(())))
            .expect("it is withdrawn");
        // Had BFD been first, FRR would have ended the session.
        let log = agent.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ends: Vec<_> = lines
            .filter(|line| line["message"] == "BGP session" && line["from"] == "established")
            .map(|line| line["reason"].to_string())
            .collect();
        assert!(
            matches!(&ends[..], [end] if end.contains("we sent: Administrative Shutdown (6/2)")),
            "{ends:?}"
        );
    });
}
