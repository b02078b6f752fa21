//! NOTIFICATIONs as tshark and ExaBGP read them. That each error earns the right one is for `errors`; those
//! that no error of a message brings about are made here.

use anycast_tests::peers::{dissect, exabgp_decode, in_namespace};
use anycast_userspace::rib::{Attributes, Community};

use crate::hostile::collision;
use crate::node::{Node, routes, runtime};
use crate::scripted::{NOTIFICATION, Scripted, addresses, message};

/// What IANA calls the code and subcode of all that we send. Decoders that are older than an RFC know nothing of it.
const NAMES: [([u8; 2], &str); 22] = [
    ([1, 1], "Connection Not Synchronized"),
    ([1, 2], "Bad Message Length"),
    ([1, 3], "Bad Message Type"),
    // RFC 4271 §6.2: a parameter that is known but malformed.
    ([2, 0], "Unspecific"),
    ([2, 1], "Unsupported Version Number"),
    ([2, 2], "Bad Peer AS"),
    ([2, 3], "Bad BGP Identifier"),
    ([2, 4], "Unsupported Optional Parameter"),
    ([2, 6], "Unacceptable Hold Time"),
    ([2, 7], "Unsupported Capability"),
    // RFC 9234, of 2022.
    ([2, 11], "Role Mismatch"),
    ([3, 1], "Malformed Attribute List"),
    ([3, 10], "Invalid Network Field"),
    ([4, 0], "Unspecific"),
    // RFC 6608.
    ([5, 1], "Receive Unexpected Message in OpenSent State"),
    ([5, 2], "Receive Unexpected Message in OpenConfirm State"),
    ([5, 3], "Receive Unexpected Message in Established State"),
    ([6, 4], "Administrative Reset"),
    ([6, 7], "Connection Collision Resolution"),
    // RFC 8538, and RFC 9384 of 2023.
    ([6, 9], "Hard Reset"),
    ([6, 10], "BFD Down"),
    // RFC 7313.
    ([7, 1], "Invalid Message Length"),
];

/// Two decoders read these NOTIFICATIONs, given without their headers, as what they are.
pub(crate) fn are_read_as_meant(bodies: &[Vec<u8>]) {
    let messages: Vec<_> = bodies
        .iter()
        .map(|body| message(NOTIFICATION, body))
        .collect();
    let read = dissect(&messages).unwrap();
    let values = exabgp_decode(65001, &messages).unwrap();
    for ((body, one), value) in bodies.iter().zip(read).zip(values) {
        let &[code, subcode, ref data @ ..] = body.as_slice() else {
            panic!("{body:?} is too short");
        };
        assert!(one.is_sound(), "{one:#?}");
        assert_eq!(one.values("bgp.type"), ["3"]);
        assert_eq!(one.values("bgp.notify.major_error"), [code.to_string()]);
        // Code 4 has no subcodes, and tshark no field for 0.
        let minor = one.values_below("bgp.notify.minor_error");
        assert!(
            minor == [subcode.to_string()] || minor.is_empty() && code == 4,
            "{one:#?}"
        );
        match (code, subcode) {
            // These two are taken apart.
            (2, 7) => assert_eq!(one.values("bgp.cap.type"), ["1"], "{one:#?}"),
            (6, 4) => {
                let why = one.values("bgp.notify.communication").concat();
                assert!(why.contains("routes cannot be encoded"), "{why}");
            }
            (..) if data.is_empty() => {}
            (..) => assert_eq!(one.values("bgp.notify.minor_data"), [hex(data)]),
        }
        let (_, name) = NAMES
            .iter()
            .find(|(numbers, _)| *numbers == [code, subcode])
            .unwrap_or_else(|| panic!("{code}/{subcode} is not in the table"));
        let value = &value["notification"];
        assert_eq!(
            (&value["code"], &value["subcode"]),
            (&code.into(), &subcode.into())
        );
        if let Some(theirs) = value["name"].as_str() {
            assert_eq!(theirs, *name, "{code}/{subcode}");
        }
    }
}

/// As tshark writes octets.
fn hex(octets: &[u8]) -> String {
    let octets: Vec<_> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    octets.join(":")
}

/// What BFD's report makes of a session.
async fn by_bfd(options: &str, capabilities: &[u8]) -> Vec<u8> {
    let mut node = Node::start(&[(1, options)]);
    let mut peer = Scripted::establish_with(1, 90, capabilities).await.unwrap();
    node.established("peer1").await;
    node.bfd_down("peer1").await;
    let body = peer.read_until(NOTIFICATION).await.unwrap();
    node.crash();
    body
}

/// What a peer gets that is silent for the hold time.
async fn by_silence() -> Vec<u8> {
    let mut node = Node::start(&[(1, "passive = true\nhold_time = \"3s\"")]);
    let mut peer = Scripted::establish(1, 3).await.unwrap();
    node.established("peer1").await;
    let body = peer.read_until(NOTIFICATION).await.unwrap();
    node.crash();
    body
}

/// What a peer gets for an end of a refresh (RFC 7313) that is too long.
async fn by_a_long_marker() -> Vec<u8> {
    let mut node = Node::start(&[(1, "passive = true")]);
    let mut peer = Scripted::establish_with(1, 90, &[2, 0, 70, 0])
        .await
        .unwrap();
    node.established("peer1").await;
    peer.send(&message(5, &[0, 1, 2, 1, 0])).await.unwrap();
    let body = peer.read_until(NOTIFICATION).await.unwrap();
    node.crash();
    body
}

/// What a peer gets that has the family of ours in no capability.
async fn by_families() -> Vec<u8> {
    let node = Node::start(&[(1, "passive = true\nfamilies = [\"ipv6\"]")]);
    let mut peer = Scripted::connect(1).await.unwrap();
    peer.send(&message(1, &[4, 0xFD, 0xE9, 0, 90, 10, 0, 1, 2, 0]))
        .await
        .unwrap();
    let body = peer.read_until(NOTIFICATION).await.unwrap();
    node.crash();
    body
}

/// What a peer gets for routes that no UPDATE can hold.
async fn by_too_many_communities() -> Vec<u8> {
    let mut node = Node::start(&[(1, "passive = true")]);
    let mut peer = Scripted::establish(1, 90).await.unwrap();
    node.established("peer1").await;
    let attributes = Attributes {
        communities: (0..2000).map(Community).collect(),
        ..Attributes::default()
    };
    node.publish(routes(&["192.168.250.1/32"], attributes));
    let body = peer.read_until(NOTIFICATION).await.unwrap();
    node.crash();
    body
}

/// What the connection gets that the peer made, when ours survives.
async fn by_collision() -> Vec<u8> {
    let mut collided = collision([9, 0, 0, 9]).await;
    let body = collided.theirs.read_until(NOTIFICATION).await.unwrap();
    collided.node.crash();
    body
}

#[test]
fn notifications_that_no_message_brings_about_are_read_as_they_were_meant() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            // Graceful restart (64) with the N bit.
            let restart = [64, 6, 0x40, 0, 0, 1, 1, 0];
            let sent = [
                by_collision().await,
                by_bfd("passive = true", &[]).await,
                by_bfd("passive = true\ngraceful_restart = true", &restart).await,
                by_silence().await,
                by_a_long_marker().await,
                by_families().await,
                by_too_many_communities().await,
            ];
            let marker = message(5, &[0, 1, 2, 1, 0]);
            let invalid_length = [&[7, 1], &marker[..]].concat();
            let want: [&[u8]; 7] = [
                &[6, 7],
                &[6, 10],
                &[6, 9, 6, 10],
                &[4, 0],
                &invalid_length,
                // The capability that was missing: multiprotocol, IPv6 unicast.
                &[2, 7, 1, 4, 0, 2, 0, 1],
                &[6, 4],
            ];
            for (sent, want) in sent.iter().zip(want) {
                // The last one says in words what cannot be told.
                let compared = if *want == [6, 4] { 2 } else { sent.len() };
                assert_eq!(sent[..compared], *want);
            }
            are_read_as_meant(&sent);
        });
    });
}
