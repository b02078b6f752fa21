//! Roles of RFC 9234 with BIRD and FRR: who may be what to whom, and routes that are only for customers.

use anycast_tests::peers::{
    Bird, Frr, Options, Router, RoutingDaemon, Table, in_namespace, wait_until,
};
use anycast_userspace::rib::Attributes;

use crate::node::{LIMIT, Node, routes, runtime};

const ROUTE: &str = "192.168.250.1/32";

/// What both sides say, and what comes of it.
struct Case {
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
    want: Want,
}

enum Want {
    /// The session, how `routes` shows our role, and whether routes carry OTC.
    Session(Option<&'static str>, bool),
    RoleMismatch,
}

fn bird(link: u8, theirs: &str) -> String {
    Bird::session(link, 64512, theirs)
}

#[test]
fn roles_that_go_together_get_a_session_and_others_a_role_mismatch() {
    let cases = [
        Case {
            name: "a customer by default",
            ours: "",
            theirs: "local role provider; require roles yes;",
            want: Want::Session(Some("customer of a provider"), false),
        },
        Case {
            name: "the peer says nothing",
            ours: "",
            theirs: "",
            want: Want::Session(Some("customer; the peer says none"), false),
        },
        Case {
            name: "the peer says nothing, but must",
            ours: "strict_role = true",
            theirs: "",
            want: Want::RoleMismatch,
        },
        Case {
            name: "two customers",
            ours: "",
            theirs: "local role customer;",
            want: Want::RoleMismatch,
        },
        Case {
            name: "our routes are for a customer",
            ours: "role = \"provider\"",
            theirs: "local role customer;",
            want: Want::Session(Some("provider of a customer"), true),
        },
        Case {
            name: "our routes are for a peer",
            ours: "role = \"peer\"",
            theirs: "local role peer;",
            want: Want::Session(Some("peer of a peer"), true),
        },
        Case {
            name: "our routes are for the clients of a route server",
            ours: "role = \"route-server-client\"",
            theirs: "local role rs_server; rs client;",
            want: Want::Session(Some("route server client of a route server"), false),
        },
    ];
    in_namespace(move || {
        runtime().block_on(async {
            for case in &cases {
                let router = Router::new(1).unwrap();
                let bird = Bird::start_with(&router, &bird(1, case.theirs)).unwrap();
                let mut node = Node::start_on("roles = true", &[(1, 65001, case.ours)]);
                let (shown, marked) = match case.want {
                    Want::RoleMismatch => {
                        let sent = node.notification_sent("peer1").await;
                        assert_eq!(sent.to_string(), "Role Mismatch (2/11)", "{}", case.name);
                        node.crash();
                        continue;
                    }
                    Want::Session(shown, marked) => (shown, marked),
                };
                node.established("peer1").await;
                let roles = node.status("peer1").await.negotiated.unwrap().roles;
                assert_eq!(roles.as_deref(), shown, "{}", case.name);
                node.want(routes(&[ROUTE], Attributes::default())).await;
                let seen = bird
                    .wait_for("show route all", |text| text.contains(ROUTE))
                    .unwrap();
                let otc = seen.contains("BGP.otc: 64512");
                assert_eq!(otc, marked, "{}: {seen}", case.name);
                node.crash();
            }
        });
    });
}

#[test]
fn frr_agrees_on_roles_and_takes_routes_that_are_only_for_customers() {
    in_namespace(|| {
        runtime().block_on(async {
            let router = Router::new(1).unwrap();
            let role = " neighbor {} local-role customer strict-mode\n";
            let frr = Frr::start_with(&router, &Options::default(), role).unwrap();
            let mut node = Node::start(&[(1, "role = \"provider\"\nstrict_role = true")]);
            node.established("peer1").await;
            node.want(routes(&[ROUTE], Attributes::default())).await;
            let mut table = Table::new();
            wait_until("the route with OTC", LIMIT, || {
                table = frr.table().ok()?;
                table.get(ROUTE)?.contains("\"otc\":64512").then_some(())
            })
            .unwrap_or_else(|error| panic!("{error}: {table:#?}"));
        });
    });
}
