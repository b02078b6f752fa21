//! The whole daemon, while the router's BFD hangs and its BGP does not; and what `anycast routes` says.

use anycast_tests::peers::{Router, RoutingDaemon as _, in_namespace};
use serde_json::Value;

use crate::agent::{Agent, ROUTE, established_once, watched, watching_frr};
use crate::daemon::LINK;

/// What one peer's answer, or one of a prefix, is made of; `anycast routes` shows these.
const OF_A_SESSION: [&str; 21] = [
    "/name",
    "/address",
    "/remote_as",
    "/state",
    "/for",
    "/reason",
    "/negotiated/local_address",
    "/negotiated/remote_address",
    "/negotiated/remote_router_id",
    "/negotiated/hold_time",
    "/negotiated/keepalive_interval",
    "/negotiated/families/0",
    "/negotiated/peer_capabilities/0",
    "/messages/sent/update",
    "/messages/received/open",
    "/routes/0/prefix",
    "/routes/0/next_hop",
    "/routes/0/attributes/prepend",
    "/bfd/state",
    "/last_error_sent/ago",
    "/last_error_sent/notification/meaning",
];
const OF_A_PREFIX: [&str; 6] = [
    "/name",
    "/prefix",
    "/remote_as",
    "/sessions",
    "/limit",
    "/refused",
];

#[test]
fn a_router_whose_bfd_fails_while_tcp_goes_on_loses_the_session_and_routes_says_why() {
    in_namespace(|| {
        let router = Router::new(LINK).expect("a router");
        let frr = watching_frr(&router);
        let mut agent = Agent::start().expect("the daemon starts");
        agent
            .until("BGP, BFD and the route", |peer| {
                established_once(peer) && watched(peer) && peer["routes"][0]["prefix"] == ROUTE
            })
            .unwrap_or_else(|error| panic!("{error:?}\n{}", frr.log()));

        frr.bfdd().pause().expect("bfdd hangs");
        agent
            .until("the end of the session", |peer| {
                peer["last_error_sent"]["notification"]["code"] == 6
            })
            .expect("the session ends");
        let peer = agent.peer().expect("status");
        let sent = &peer["last_error_sent"]["notification"];
        // RFC 9384: Cease, BFD Down. Without BFD, the session would have lasted on: bgpd is well.
        assert_eq!(sent["subcode"], 10, "{peer:#}");
        assert_eq!(peer["bfd"]["state"], "down", "{peer:#}");

        frr.bfdd().resume().expect("bfdd goes on");
        agent
            .until("the session again", |peer| {
                peer["state"] == "established"
                    && peer["established_count"] == 2
                    && peer["bfd"]["state"] == "up"
                    && peer["routes"][0]["prefix"] == ROUTE
            })
            .unwrap_or_else(|error| panic!("{error:?}\n{}", frr.log()));

        let text = agent.control.run(&["routes"]).expect("routes");
        for wanted in [
            "peer router  10.0.1.2 AS65001  established for ",
            "identifier 10.0.1.2  hold time 1m 30s  keepalive 30s",
            "families ipv4, ipv6  the peer can ",
            "  sent keepalive ",
            "  received keepalive ",
            &format!("{ROUTE} via 10.0.1.1  "),
            "last error told the peer: BFD Down (6/10), ",
            "  BFD up\n",
            "peers rack  10.0.9.0/24 AS 65001-65010  0 of at most 8 connected",
        ] {
            assert!(text.contains(wanted), "`{wanted}` is not in\n{text}");
        }
        assert!(!text.contains(" - "), "a field is missing:\n{text}");

        let json = agent.control.run(&["routes", "--json"]).expect("routes");
        let peers: Value = serde_json::from_str(&json).expect("JSON");
        let peers = peers.get("peers").unwrap_or(&peers);
        for (at, fields) in [(0, &OF_A_SESSION[..]), (1, &OF_A_PREFIX)] {
            for field in fields {
                let value = peers[at].pointer(field);
                assert!(
                    value.is_some_and(|value| !value.is_null()),
                    "{field} is not in {:#}",
                    peers[at]
                );
            }
        }
    });
}
