//! Every form of message that we send, read by tshark.

use std::time::Duration;

use anycast_tests::peers::{dissect, in_namespace};
use anycast_userspace::rib::Attributes;

use crate::node::{Node, routes, runtime};
use crate::scripted::{KEEPALIVE, NOTIFICATION, Scripted, UPDATE, addresses, message, open};

/// All messages of one session up to its end, as they were on the wire.
async fn record(
    options: &str,
    peer_open: Vec<u8>,
    prefixes: &[&str],
    attributes: Attributes,
) -> Vec<Vec<u8>> {
    let mut node = Node::start(&[(1, options)]);
    let mut peer = Scripted::connect(1).await.unwrap();
    peer.send(&peer_open).await.unwrap();
    peer.send(&message(KEEPALIVE, &[])).await.unwrap();
    node.established("peer1").await;
    node.want(routes(prefixes, attributes)).await;
    // ROUTE-REFRESH for both families.
    for family in [1, 2] {
        peer.send(&message(5, &[0, family, 0, 1])).await.unwrap();
    }
    node.summary_until("peer1", |summary| {
        summary.messages.received.route_refresh == 2
    })
    .await;
    node.want(routes(&[], Attributes::default())).await;
    node.shutdown("moving to rack 7").await;
    let mut messages = Vec::new();
    let all = async {
        while let Ok((kind, body)) = peer.read().await {
            messages.push(message(kind, &body));
        }
    };
    tokio::time::timeout(Duration::from_secs(5), all)
        .await
        .unwrap();
    messages
}

fn assert_reads(text: &str, wanted: &[&str]) {
    assert!(!text.contains("Malformed"), "{text}");
    assert!(!text.contains("Expert Info (Error"), "{text}");
    assert!(!text.contains("Expert Info (Warning"), "{text}");
    for want in wanted {
        assert!(text.contains(want), "`{want}` is not in\n{text}");
    }
}

fn attributes() -> Attributes {
    toml::from_str(
        r#"
        med = 10
        prepend = 1
        local_preference = 250
        communities = ["64512:100", "graceful-shutdown"]
        large_communities = ["64512:1:2"]
        extended_communities = ["rt:64512:7"]
        "#,
    )
    .unwrap()
}

#[test]
fn a_whole_session_is_read_as_it_was_meant() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let options =
                "passive = true\nrole = \"customer\"\nnext_hop = { ipv6 = \"fd00:1::1\" }";
            let mut enhanced = open([10, 0, 1, 2], 90);
            // Enhanced route refresh (70), and graceful restart (64), which makes us send End-of-RIB.
            add_capabilities(&mut enhanced, &[70, 0, 64, 2, 0, 0]);
            let prefixes = ["192.168.250.1/32", "192.168.251.0/24", "fd00:250::1/128"];
            let messages = record(options, enhanced, &prefixes, attributes()).await;
            assert_eq!(
                messages
                    .iter()
                    .filter(|octets| octets[18] == UPDATE)
                    .count(),
                8
            );
            let text = dissect(&messages).unwrap();
            assert_reads(
                &text,
                &[
                    "Type: OPEN Message (1)",
                    "My AS: 64512",
                    "Hold Time: 90",
                    "BGP Identifier: 10.0.0.1",
                    "Capability: Multiprotocol extensions capability",
                    "Capability: Route refresh capability",
                    "Capability: Enhanced route refresh capability",
                    "Capability: Support for 4-octet AS number capability",
                    "Capability: Extended Next Hop Encoding",
                    "Type: KEEPALIVE Message (4)",
                    "Path Attribute - ORIGIN: IGP",
                    "AS Path segment: 64512 64512",
                    "Path Attribute - NEXT_HOP: 10.0.1.1",
                    "Path Attribute - MULTI_EXIT_DISC: 10",
                    "Path Attribute - COMMUNITIES: 64512:100 GRACEFUL_SHUTDOWN",
                    "Path Attribute - LARGE_COMMUNITY: 64512:1:2",
                    "Route Target: 64512:7",
                    "192.168.250.1/32",
                    "192.168.251.0/24",
                    "Path Attribute - MP_REACH_NLRI",
                    "fd00:1::1",
                    "fd00:250::1/128",
                    "Path Attribute - MP_UNREACH_NLRI",
                    "Withdrawn Routes Length: 9",
                    "Demarcation of the beginning of a route refresh",
                    "Demarcation of the ending of a route refresh",
                    "Type: NOTIFICATION Message (3)",
                    "Major error Code: Cease (6)",
                    "Administratively Shutdown",
                    "moving to rack 7",
                ],
            );
            assert!(
                !text.contains("LOCAL_PREF"),
                "an external peer gets none: {text}"
            );
        });
    });
}

#[test]
fn a_hard_reset_carries_the_shutdown_inside() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let mut helper = open([10, 0, 1, 2], 90);
            // Graceful restart with the N bit for IPv4.
            add_capabilities(&mut helper, &[64, 6, 0x40, 0, 0, 1, 1, 0]);
            let options = "passive = true\ngraceful_restart = true";
            let messages = record(options, helper, &["192.168.250.1/32"], attributes()).await;
            let last = messages.last().unwrap();
            assert_eq!(last[18], NOTIFICATION);
            // Cease, Hard Reset, and in it Cease, Administrative Shutdown with 16 octets of text.
            assert_eq!(last[19..24], [6, 9, 6, 2, 16]);
            let text = dissect(&messages).unwrap();
            assert_reads(&text, &["Graceful Restart capability", "Hard Reset"]);
        });
    });
}

/// Puts more capabilities into an OPEN that has them in one parameter.
fn add_capabilities(open: &mut Vec<u8>, capabilities: &[u8]) {
    let added = u8::try_from(capabilities.len()).unwrap();
    open.extend_from_slice(capabilities);
    let length = u16::try_from(open.len()).unwrap();
    open[16..18].copy_from_slice(&length.to_be_bytes());
    open[28] += added;
    open[30] += added;
}
