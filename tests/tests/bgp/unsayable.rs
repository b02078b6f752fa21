//! Routes that no UPDATE can hold: what the peer has must not outlive what is wanted.

use anycast_tests::peers::in_namespace;
use anycast_userspace::rib::{Attributes, Community};

use crate::node::{Node, routes, runtime};
use crate::scripted::{NOTIFICATION, Scripted, UPDATE, addresses};

const BOTH: &[&str] = &["192.168.250.1/32", "192.168.250.2/32"];
const LAST: &[&str] = &["192.168.250.2/32"];

/// More communities than an UPDATE has room for; the configuration allows 64.
fn too_many() -> Attributes {
    Attributes {
        communities: (0..2000).map(Community).collect(),
        ..Attributes::default()
    }
}

#[test]
fn a_withdrawal_beside_a_route_that_cannot_be_told_reaches_the_peer_by_the_end_of_the_session() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let mut node = Node::start(&[(1, "passive = true")]);
            let mut peer = Scripted::establish(1, 90).await.unwrap();
            node.established("peer1").await;
            node.want(routes(BOTH, Attributes::default())).await;
            peer.read_until(UPDATE).await.unwrap();

            node.publish(routes(LAST, too_many()));
            let notification = peer.read_until(NOTIFICATION).await.unwrap();
            // Cease, Administrative Reset.
            assert_eq!(notification[..2], [6, 4]);
            let why = String::from_utf8_lossy(&notification[3..]);
            assert!(why.contains("cannot be encoded"), "{why}");
            assert!(peer.read().await.is_err(), "the session ends");

            node.publish(routes(LAST, Attributes::default()));
            let mut peer = Scripted::establish(1, 90).await.unwrap();
            let update = peer.read_until(UPDATE).await.unwrap();
            assert!(update.ends_with(&[32, 192, 168, 250, 2]), "{update:?}");
        });
    });
}
