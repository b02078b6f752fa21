//! An AS number of ours that needs four octets (RFC 6793), as tshark reads it: towards a peer that knows such
//! numbers, and towards one that does not.

use anycast_tests::peers::{Dissected, dissect, in_namespace};
use anycast_userspace::rib::Attributes;

use super::cases::{AS_PATH, TYPE_CODE};
use crate::node::{Node, routes, runtime};
use crate::scripted::{KEEPALIVE, OPEN, Scripted, UPDATE, addresses, message, open};

const OURS: u32 = 4_200_000_000;
const AS_PATH_OF_TWO: &str = "bgp.update.path_attribute.as_path_segment.as2";
/// The attribute that carries the numbers for which AS_PATH has no room.
const AS4_PATH: &str = "17";

/// Our OPEN and the first UPDATE, for a peer with this OPEN.
async fn told(peer_open: &[u8]) -> [Dissected; 2] {
    let mut node = Node::start_as(
        OURS,
        "[[peers]]\nname = \"peer1\"\naddress = \"10.0.1.2\"\nremote_as = 65001\npassive = true\n",
    );
    let mut peer = Scripted::connect(1).await.unwrap();
    peer.send(peer_open).await.unwrap();
    peer.send(&message(KEEPALIVE, &[])).await.unwrap();
    let opened = peer.read_until(OPEN).await.unwrap();
    node.established("peer1").await;
    node.publish(routes(&["192.168.250.1/32"], Attributes::default()));
    let update = peer.read_until(UPDATE).await.unwrap();
    node.crash();
    let messages = [message(OPEN, &opened), message(UPDATE, &update)];
    dissect(&messages)
        .unwrap()
        .try_into()
        .expect("two messages")
}

#[test]
fn an_as_number_of_four_octets_is_read_as_ours_with_and_without_the_capability() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let knows = open([10, 0, 1, 2], 90);
            // Multiprotocol IPv4 alone.
            let capabilities = [1, 4, 0, 1, 0, 1];
            let head = [4, 0xFD, 0xE9, 0, 90, 10, 0, 1, 2, 8, 2, 6];
            let knows_not = message(OPEN, &[&head[..], &capabilities].concat());
            for (peer_open, path) in [
                (&knows, &[(AS_PATH, "4200000000")][..]),
                (
                    &knows_not,
                    &[
                        (AS_PATH_OF_TWO, "23456"),
                        (TYPE_CODE, AS4_PATH),
                        (AS_PATH, "4200000000"),
                    ],
                ),
            ] {
                let [open, update] = told(peer_open).await;
                assert!(open.is_sound() && update.is_sound(), "{open:?} {update:?}");
                // AS_TRANS, and the number itself in the capability.
                assert_eq!(open.values("bgp.open.myas"), ["23456"]);
                assert_eq!(open.values("bgp.cap.4as"), ["4200000000"]);
                for (field, value) in path {
                    assert!(update.says(field, &[value]), "{field}: {update:?}");
                }
                let with_both = update.says(TYPE_CODE, &[AS4_PATH]);
                assert_eq!(with_both, peer_open == &knows_not, "{update:?}");
            }
        });
    });
}
