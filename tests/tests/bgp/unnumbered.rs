//! Peers by interface: the routers at both ends of a link find each other without addresses of their own.

use anycast_tests::peers::{Bird, Frr, Router, RoutingDaemon, in_namespace, run, wait_until};
use anycast_userspace::bgp::State;
use anycast_userspace::config::bgp::RemoteAs;
use anycast_userspace::rib::Attributes;

use crate::node::{LIMIT, Node, routes, runtime};

const IPV4: &str = "192.168.250.1/32";
const IPV6: &str = "fd00:250::1/128";
const ANY: &[&str] = &[IPV4, IPV6];

/// A link where both ends have link-local addresses alone.
fn bare_link() -> Router {
    let router = Router::new(1).unwrap();
    for family in ["-4", "-6"] {
        run(
            "ip",
            &[
                family, "address", "flush", "dev", "node1", "scope", "global",
            ],
        )
        .unwrap();
        router
            .ip(&[
                family, "address", "flush", "dev", "router1", "scope", "global",
            ])
            .unwrap();
    }
    wait_until("the link-local addresses", LIMIT, || {
        let settled = |text: String| text.contains("fe80") && !text.contains("tentative");
        let show = ["-6", "address", "show", "scope", "link"];
        (settled(run("ip", &show).ok()?) && settled(router.ip(&show).ok()?)).then_some(())
    })
    .unwrap();
    router
}

/// The link-local address of an interface.
fn link_local(text: &str) -> String {
    let address = text
        .split_whitespace()
        .find(|word| word.starts_with("fe80"))
        .expect("a link-local address");
    address.split('/').next().unwrap().to_owned()
}

fn node(options: &str) -> Node {
    Node::start_from(&format!(
        "[[peers]]\nname = \"leaf\"\ninterface = \"node1\"\nretry = \"200ms\"\n{options}\n"
    ))
}

#[test]
fn an_frr_that_knows_only_the_interface_gets_both_families_over_ipv6_next_hops() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = bare_link();
            let ours = link_local(&run("ip", &["-6", "address", "show", "dev", "node1"]).unwrap());
            let mut frr = Frr::start_unnumbered(&router, "external").unwrap();
            let mut node = node("remote_as = \"external\"");
            node.established("leaf").await;
            node.want(routes(ANY, Attributes::default())).await;
            let table = wait_until("both routes", LIMIT, || {
                let table = frr.table().ok()?;
                (table.contains_key(IPV4) && table.contains_key(IPV6)).then_some(table)
            })
            .unwrap_or_else(|error| panic!("{error}: {:#?}\n{}", frr.table(), frr.log()));
            for prefix in ANY {
                assert!(table[*prefix].contains(&ours), "{ours}: {table:#?}");
            }
            // zebra can use them: an IPv4 route by way of an IPv6 next hop.
            wait_until("the IPv4 route in the kernel", LIMIT, || {
                let text = router.ip(&["-4", "route", "show"]).ok()?;
                (text.contains("192.168.250.1 ") && text.contains("inet6 fe80")).then_some(())
            })
            .unwrap_or_else(|error| panic!("{error}: {:?}", router.ip(&["-4", "route", "show"])));

            let status = node.status("leaf").await;
            assert_eq!(status.remote_as, RemoteAs::number(65001));
            assert_eq!(status.interface.as_deref(), Some("node1"));
            assert!(status.address.is_some(), "{status:?}");

            node.want(routes(&[], Attributes::default())).await;
            wait_until("no routes", LIMIT, || {
                frr.table().ok()?.is_empty().then_some(())
            })
            .unwrap();
            frr.kill();
            node.state("leaf", |state| state != State::Established)
                .await;
            frr.restart().unwrap();
            node.established("leaf").await;
        });
    });
}

#[test]
fn a_wrong_kind_of_as_is_refused_on_an_interface() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = bare_link();
            let _frr = Frr::start_unnumbered(&router, "external").unwrap();
            let mut node = node("remote_as = \"internal\"");
            let sent = node.notification_sent("leaf").await;
            assert_eq!(sent.to_string(), "Bad Peer AS (2/2)");
        });
    });
}

#[test]
fn a_bird_that_knows_our_link_local_address_is_taken_when_it_connects() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = bare_link();
            let ours = link_local(&run("ip", &["-6", "address", "show", "dev", "node1"]).unwrap());
            let session = Bird::session(1, 64512, "")
                .replace("local 10.0.1.2 as", "local as")
                .replace("neighbor 10.0.1.1", &format!("neighbor {ours}%router1"))
                .replace("ipv4 {", "ipv4 { extended next hop on;");
            let bird = Bird::start_with(&router, &session).unwrap();
            let mut node = node("remote_as = 65001");
            node.established("leaf").await;
            node.want(routes(ANY, Attributes::default())).await;
            let seen = bird
                .wait_for("show route all", |text| {
                    text.contains(IPV4) && text.contains(IPV6)
                })
                .unwrap();
            assert!(
                seen.contains(&format!("BGP.next_hop: {ours}"))
                    || seen.contains(&format!("BGP.next_hop: :: {ours}")),
                "{seen}"
            );
        });
    });
}

#[test]
fn a_bird_that_takes_any_neighbour_of_the_link_is_found_by_its_advertisements() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = bare_link();
            let session = Bird::session(1, 64512, "interface \"router1\";")
                .replace("local 10.0.1.2 as", "local as")
                .replace("neighbor 10.0.1.1 as", "neighbor range fe80::/10 as")
                .replace("ipv4 {", "ipv4 { extended next hop on;")
                + "protocol radv {\n interface \"router1\" { min ra interval 3; max ra interval 4; };\n}\n";
            let bird = Bird::start_with(&router, &session).unwrap();
            let mut node = node("remote_as = \"external\"");
            node.established("leaf").await;
            node.want(routes(ANY, Attributes::default())).await;
            bird.wait_for("show route all", |text| {
                text.contains(IPV4) && text.contains(IPV6)
            })
            .unwrap();
        });
    });
}

#[test]
fn ipv4_alone_travels_over_ipv6_next_hops() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = bare_link();
            let ours = link_local(&run("ip", &["-6", "address", "show", "dev", "node1"]).unwrap());
            let ipv4_alone = "remote_as = \"external\"\nfamilies = [\"ipv4\"]";

            let frr = Frr::start_unnumbered(&router, "external").unwrap();
            let mut leaf = node(ipv4_alone);
            leaf.established("leaf").await;
            leaf.want(routes(ANY, Attributes::default())).await;
            assert_eq!(leaf.status("leaf").await.routes.len(), 1, "IPv4 alone");
            wait_until("the IPv4 route", LIMIT, || {
                frr.table().ok()?.get(IPV4)?.contains(&ours).then_some(())
            })
            .unwrap_or_else(|error| panic!("{error}: {:#?}\n{}", frr.table(), frr.log()));
            leaf.crash();
            drop(frr);

            let session = Bird::session(1, 64512, "")
                .replace("local 10.0.1.2 as", "local as")
                .replace("neighbor 10.0.1.1", &format!("neighbor {ours}%router1"))
                .replace("ipv4 {", "ipv4 { extended next hop on;")
                .replace("ipv6 { import all; export none; };", "");
            let bird = Bird::start_with(&router, &session).unwrap();
            let mut leaf = node(ipv4_alone);
            leaf.established("leaf").await;
            leaf.want(routes(ANY, Attributes::default())).await;
            bird.wait_for("show route all", |text| {
                text.contains(IPV4) && text.contains(&ours)
            })
            .unwrap();
        });
    });
}

#[test]
fn an_interface_that_appears_later_is_found() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut node = node("remote_as = \"external\"");
            let waiting = node.status("leaf").await;
            assert_eq!(waiting.state, State::Active);
            assert!(waiting.reason.contains("node1"), "{waiting:?}");
            let router = bare_link();
            let _frr = Frr::start_unnumbered(&router, "external").unwrap();
            node.established("leaf").await;
        });
    });
}
