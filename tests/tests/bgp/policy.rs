//! What each peer is told: its services, attributes of its own, no more prefixes than it may get.

use std::collections::BTreeMap;
use std::sync::Arc;

use anycast_tests::peers::{Bird, Router, in_namespace};
use anycast_userspace::rib::{Attributes, DesiredRoutes, Route};

use crate::node::{Node, runtime};

fn med(med: u32) -> Attributes {
    Attributes {
        med: Some(med),
        ..Attributes::default()
    }
}

#[test]
fn each_peer_is_told_what_its_policy_says() {
    in_namespace(|| {
        runtime().block_on(async {
            let routers = [1, 2, 3].map(|link| Router::new(link).unwrap());
            let birds: Vec<Bird> = routers
                .iter()
                .map(|router| {
                    let session = Bird::session(router.link, 64512, "");
                    Bird::start_with(router, &session).unwrap()
                })
                .collect();
            let mut node = Node::start(&[
                (1, ""),
                (2, "services = [\"dns\"]\ncommunities = [\"64512:7\"]"),
                (3, "max_prefixes = 1"),
            ]);
            for peer in ["peer1", "peer2", "peer3"] {
                node.established(peer).await;
            }
            let mut desired = DesiredRoutes::new(0);
            let dns = Route {
                by_peer: Some(Arc::new(BTreeMap::from([(
                    "peer2".to_owned(),
                    Arc::new(med(20)),
                )]))),
                ..Route::new("dns", med(10))
            };
            desired.insert("192.168.250.1/32".parse().unwrap(), dns);
            node.want(desired.clone()).await;
            desired.insert(
                "192.168.251.1/32".parse().unwrap(),
                Route::new("web", med(30)),
            );
            node.want(desired).await;

            let table = |bird: &Bird, count: usize| {
                let total = format!("Total: {count} of {count}");
                bird.wait_for("show route count", |text| text.contains(&total))
                    .unwrap();
                bird.birdc("show route all").unwrap()
            };
            let all = table(&birds[0], 2);
            assert!(
                all.contains("BGP.med: 10") && all.contains("BGP.med: 30"),
                "{all}"
            );
            let own = table(&birds[1], 1);
            assert!(own.contains("BGP.med: 20"), "{own}");
            assert!(own.contains("(64512,7)"), "{own}");
            let few = table(&birds[2], 1);
            assert!(few.contains("192.168.250.1/32"), "{few}");
            let held = node.status("peer3").await.held;
            assert!(held[0].contains("`max_prefixes` is 1"), "{held:?}");
        });
    });
}
