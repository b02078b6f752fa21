//! An AS number of ours that needs four octets (RFC 6793), as tshark reads it: towards a peer that knows such
//! numbers, and towards one that does not.

use anycast_tests::peers::{dissect, in_namespace};
use anycast_userspace::rib::Attributes;

use crate::node::{Node, routes, runtime};
use crate::scripted::{KEEPALIVE, OPEN, Scripted, UPDATE, addresses, message, open};

const OURS: u32 = 4_200_000_000;

/// Our OPEN and the first UPDATE, for a peer with this OPEN.
async fn told(peer_open: &[u8]) -> String {
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
    dissect(&[message(OPEN, &opened), message(UPDATE, &update)]).unwrap()
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
            let of_both = ["My AS: 23456 (AS_TRANS)", "AS Number: 4200000000"];
            for (peer_open, wanted, absent) in [
                (&knows, &["AS_PATH: 4200000000"][..], Some("AS4_PATH")),
                (
                    &knows_not,
                    &["AS_PATH: 23456", "AS4_PATH: 4200000000"],
                    None,
                ),
            ] {
                let text = told(peer_open).await;
                for bad in ["Malformed", "Expert Info (Error", "Expert Info (Warning"] {
                    assert!(!text.contains(bad), "`{bad}` in\n{text}");
                }
                for want in of_both.iter().chain(wanted) {
                    assert!(text.contains(want), "`{want}` is not in\n{text}");
                }
                assert!(absent.is_none_or(|absent| !text.contains(absent)), "{text}");
            }
        });
    });
}
