//! The same story with every routing daemon: sessions, routes of both families, flaps, drains, restarts of
//! either side, keys right and wrong, GTSM, route refresh. The table at the end says who can do what.

use std::time::Duration;

use anycast_tests::peers::{
    Bird, ExaBgp, Frr, GoBgp, Options, Router, RoutingDaemon, Table, in_namespace, wait_until,
};
use anycast_userspace::bgp::State;
use anycast_userspace::rib::{Attributes, Community};

use crate::node::{Node, routes, runtime};

const IPV4: &str = "192.168.250.1/32";
const IPV6: &str = "fd00:250::1/128";
const BOTH: &[&str] = &[IPV4, IPV6];
/// The slowest daemon looks at its timers every few seconds.
const LIMIT: Duration = Duration::from_secs(40);

/// Waits until the daemon's table satisfies a test.
fn learnt<D: RoutingDaemon>(daemon: &D, what: &str, test: impl Fn(&Table) -> bool) -> Table {
    let mut last = Table::new();
    let found = wait_until(what, LIMIT, || {
        last = daemon.table().unwrap_or_default();
        test(&last).then(|| last.clone())
    });
    found.unwrap_or_else(|error| panic!("{error}\ntable: {last:#?}\nlog:\n{}", daemon.log()))
}

fn learns_both<D: RoutingDaemon>(daemon: &D) -> Table {
    learnt(daemon, "both routes", |table| {
        table.contains_key(IPV4) && table.contains_key(IPV6)
    })
}

fn forgets_both<D: RoutingDaemon>(daemon: &D) {
    learnt(daemon, "no routes", Table::is_empty);
}

/// Announce, drain, withdraw, flap; then either side restarts.
fn tells_the_whole_story<D: RoutingDaemon + 'static>() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let mut daemon = D::start(&router, &Options::default()).unwrap();
            let mut node = Node::start(&[(1, "")]);
            node.established("peer1").await;

            let up = Attributes {
                med: Some(4711),
                communities: vec![Community(64512 << 16 | 100)],
                ..Attributes::default()
            };
            node.want(routes(BOTH, up.clone())).await;
            let table = learns_both(&daemon);
            assert!(table[IPV4].contains("4711"), "{table:#?}");
            assert!(table[IPV4].contains("10.0.1.1"), "{table:#?}");
            assert!(table[IPV6].contains("fd00:1::1"), "{table:#?}");

            let draining = Attributes {
                med: Some(4712),
                ..up.clone()
            };
            node.want(routes(
                BOTH,
                draining.with_community(Community::GRACEFUL_SHUTDOWN),
            ))
            .await;
            learnt(&daemon, "the draining attributes", |table| {
                BOTH.iter().all(|prefix| {
                    table.get(*prefix).is_some_and(|text| {
                        let shutdown = [
                            "gracefulShutdown",
                            "graceful-shutdown",
                            "65535,0",
                            "65535, 0",
                            "4294901760",
                        ];
                        text.contains("4712") && shutdown.iter().any(|name| text.contains(name))
                    })
                })
            });

            node.want(routes(&[], up.clone())).await;
            forgets_both(&daemon);

            for _ in 0..5 {
                node.want(routes(BOTH, up.clone())).await;
                node.want(routes(&[], up.clone())).await;
            }
            node.want(routes(BOTH, up.clone())).await;
            learns_both(&daemon);

            daemon.kill();
            node.state("peer1", |state| state != State::Established)
                .await;
            daemon.restart().unwrap();
            node.established("peer1").await;
            learns_both(&daemon);

            node.shutdown("the node restarts").await;
            forgets_both(&daemon);
            let mut node = Node::start(&[(1, "")]);
            node.established("peer1").await;
            node.want(routes(BOTH, up)).await;
            learns_both(&daemon);
        });
    });
}

fn agrees_on_a_key<D: RoutingDaemon + 'static>() {
    in_namespace(|| {
        runtime().block_on(async {
            let options = Options {
                password: Some("sesame"),
                ttl_security: false,
            };
            let router = Router::new(1).unwrap();
            let daemon = D::start(&router, &options).unwrap();
            let mut node = Node::start(&[(1, "password = \"sesame\"")]);
            node.established("peer1").await;
            node.want(routes(BOTH, Attributes::default())).await;
            learns_both(&daemon);
            node.crash();
            let mut node = Node::start(&[(1, "password = \"wrong\"")]);
            let wait = tokio::time::timeout(Duration::from_secs(3), node.established("peer1"));
            assert!(wait.await.is_err(), "a wrong key passed");
            // Nothing else was in the way.
            node.crash();
            let mut node = Node::start(&[(1, "password = \"sesame\"")]);
            node.established("peer1").await;
            node.want(routes(BOTH, Attributes::default())).await;
            learns_both(&daemon);
        });
    });
}

fn agrees_on_gtsm<D: RoutingDaemon + 'static>() {
    in_namespace(|| {
        runtime().block_on(async {
            let options = Options {
                password: None,
                ttl_security: true,
            };
            let router = Router::new(1).unwrap();
            let daemon = D::start(&router, &options).unwrap();
            let mut node = Node::start(&[(1, "ttl_security = true")]);
            node.established("peer1").await;
            node.want(routes(BOTH, Attributes::default())).await;
            learns_both(&daemon);
        });
    });
}

fn gets_the_routes_again_when_it_asks<D: RoutingDaemon + 'static>() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let daemon = D::start(&router, &Options::default()).unwrap();
            let mut node = Node::start(&[(1, "")]);
            node.established("peer1").await;
            node.want(routes(BOTH, Attributes::default())).await;
            learns_both(&daemon);
            let before = node.summary("peer1").messages;
            daemon.refresh().unwrap();
            node.summary_until("peer1", |summary| {
                summary.messages.received.route_refresh > before.received.route_refresh
                    && summary.messages.sent.update > before.sent.update
            })
            .await;
            learns_both(&daemon);
        });
    });
}

/// The daemon has no way to ask: when told to look at its routes again, it takes those that it has kept.
fn asks_for_nothing<D: RoutingDaemon + 'static>() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let daemon = D::start(&router, &Options::default()).unwrap();
            let mut node = Node::start(&[(1, "")]);
            node.established("peer1").await;
            node.want(routes(BOTH, Attributes::default())).await;
            learns_both(&daemon);
            daemon.refresh().unwrap();
            // What it would have sent came before what it does with the next change.
            node.want(routes(&[], Attributes::default())).await;
            forgets_both(&daemon);
            assert_eq!(node.summary("peer1").messages.received.route_refresh, 0);
        });
    });
}

/// One test for each cell: `yes`, or what the daemon cannot do, why, and the test that shows it.
macro_rules! table {
    ($($module:ident: $daemon:ty => story $story:tt, key $key:tt, gtsm $gtsm:tt, refresh $refresh:tt;)*) => {
        $(mod $module {
            use super::*;

            table!(@cell tells_the_whole_story, $daemon, $story);
            table!(@cell agrees_on_a_key, $daemon, $key);
            table!(@cell agrees_on_gtsm, $daemon, $gtsm);
            table!(@cell gets_the_routes_again_when_it_asks, $daemon, $refresh);
        })*
    };
    (@cell $test:ident, $daemon:ty, yes) => {
        #[test]
        fn $test() {
            super::$test::<$daemon>();
        }
    };
    (@cell $test:ident, $daemon:ty, (no: $reason:literal, $instead:ident)) => {
        #[doc = $reason]
        #[test]
        fn $instead() {
            super::$instead::<$daemon>();
        }
    };
}

table! {
    bird: Bird => story yes, key yes, gtsm yes, refresh yes;
    frr: Frr => story yes, key yes, gtsm yes, refresh yes;
    gobgp: GoBgp => story yes, key yes, gtsm yes,
        refresh (no: "GoBGP keeps its Adj-RIB-In, and has no command that sends a ROUTE-REFRESH.", asks_for_nothing);
    exabgp: ExaBgp => story yes, key yes, gtsm yes, refresh yes;
}
