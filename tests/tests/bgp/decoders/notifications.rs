//! NOTIFICATIONs as tshark and ExaBGP read them. That each error earns the right one is for `errors`; those
//! that no error of a message brings about are made here.

use std::fmt::Write as _;

use anycast_tests::peers::{dissect, exabgp_decode, in_namespace};
use anycast_userspace::rib::{Attributes, Community};

use crate::hostile::collision;
use crate::node::{Node, routes, runtime};
use crate::scripted::{NOTIFICATION, Scripted, addresses, message};

/// The name of a code and subcode in one decoder; `None` where its version here has none.
type Name = Option<&'static str>;

/// Code and subcode, tshark's name and ExaBGP's, for all that we send.
const NAMES: [([u8; 2], Name, Name); 22] = [
    (
        [1, 1],
        Some("Connection Not Synchronized"),
        Some("Connection Not Synchronized"),
    ),
    (
        [1, 2],
        Some("Bad Message Length"),
        Some("Bad Message Length"),
    ),
    ([1, 3], Some("Bad Message Type"), Some("Bad Message Type")),
    // RFC 4271 §6.2: a parameter that is known but malformed. tshark 4.0 has no name for any 0.
    ([2, 0], None, Some("Unspecific")),
    (
        [2, 1],
        Some("Unsupported Version Number"),
        Some("Unsupported Version Number"),
    ),
    ([2, 2], Some("Bad Peer AS"), Some("Bad Peer AS")),
    (
        [2, 3],
        Some("Bad BGP Identifier"),
        Some("Bad BGP Identifier"),
    ),
    (
        [2, 4],
        Some("Unsupported Optional Parameter"),
        Some("Unsupported Optional Parameter"),
    ),
    (
        [2, 6],
        Some("Unacceptable Hold Time"),
        Some("Unacceptable Hold Time"),
    ),
    (
        [2, 7],
        Some("Unsupported Capability"),
        Some("Unsupported Capability"),
    ),
    // RFC 9234, of 2022: Role Mismatch.
    ([2, 11], None, None),
    (
        [3, 1],
        Some("Malformed Attribute List"),
        Some("Malformed Attribute List"),
    ),
    (
        [3, 10],
        Some("Invalid Network Field"),
        Some("Invalid Network Field"),
    ),
    ([4, 0], None, Some("Unspecific")),
    (
        [5, 1],
        Some("Receive Unexpected Message in OpenSent State"),
        Some("Receive Unexpected Message in OpenSent State"),
    ),
    (
        [5, 2],
        Some("Receive Unexpected Message in OpenConfirm State"),
        Some("Receive Unexpected Message in OpenConfirm State"),
    ),
    (
        [5, 3],
        Some("Receive Unexpected Message in Established State"),
        Some("Receive Unexpected Message in Established State"),
    ),
    (
        [6, 4],
        Some("Administratively Reset"),
        Some("Administrative Reset"),
    ),
    (
        [6, 7],
        Some("Connection Collision Resolution"),
        Some("Connection Collision Resolution"),
    ),
    // RFC 8538, which ExaBGP 4 does not have.
    ([6, 9], Some("Hard Reset"), None),
    // RFC 9384, of 2023: BFD Down.
    ([6, 10], None, None),
    // RFC 7313; tshark 4.0 has the code of a draft there that came to nothing.
    (
        [7, 1],
        Some("Invalid Action Value"),
        Some("Invalid Message Length"),
    ),
];

/// The names of the codes, likewise.
const CODES: [(&str, &str); 7] = [
    ("Message Header Error", "Message header error"),
    ("OPEN Message Error", "OPEN message error"),
    ("UPDATE Message Error", "UPDATE message error"),
    ("Hold Timer Expired", "Hold timer expired"),
    ("Finite State Machine Error", "State machine error"),
    ("Cease", "Cease"),
    ("CAPABILITY Message Error", "unknown error"),
];

/// Two decoders read these NOTIFICATIONs, given without their headers, as what they are.
pub(crate) fn are_read_as_meant(bodies: &[Vec<u8>]) {
    let messages: Vec<_> = bodies
        .iter()
        .map(|body| message(NOTIFICATION, body))
        .collect();
    let text = dissect(&messages).unwrap();
    for bad in ["Malformed Packet", "Expert Info"] {
        assert!(!text.contains(bad), "{text}");
    }
    let read: Vec<_> = text
        .split("Type: NOTIFICATION Message (3)")
        .skip(1)
        .collect();
    assert_eq!(read.len(), bodies.len(), "{text}");
    let values = exabgp_decode(65001, &messages).unwrap();
    for ((body, text), value) in bodies.iter().zip(read).zip(values) {
        let &[code, subcode, ref data @ ..] = body.as_slice() else {
            panic!("{body:?} is too short");
        };
        let (_, tshark, exabgp) = NAMES
            .iter()
            .find(|(numbers, ..)| *numbers == [code, subcode])
            .unwrap_or_else(|| panic!("{code}/{subcode} is not in the table"));
        let (long, short) = CODES[usize::from(code) - 1];
        says(text, &format!("Major error Code: {long} ({code})"));
        match tshark {
            Some(name) => says(text, &format!("): {name} ({subcode})")),
            None if subcode == 0 => says(text, "Minor error Code"),
            None => says(text, &format!("({subcode})")),
        }
        match (code, subcode) {
            // These two are taken apart.
            (2, 7) => says(text, "Capability: Multiprotocol extensions capability"),
            (6, 4) => says(text, "routes cannot be encoded"),
            (..) if data.is_empty() => {}
            (..) => says(text, &format!("Data: {}", hex(data))),
        }
        let value = &value["notification"];
        assert_eq!(
            (&value["code"], &value["subcode"]),
            (&code.into(), &subcode.into())
        );
        let words = value["words"].as_str().unwrap();
        says(words, &format!("{short} / {}", exabgp.unwrap_or_default()));
    }
}

fn says(text: &str, want: &str) {
    assert!(text.contains(want), "`{want}` is not in\n{text}");
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
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
