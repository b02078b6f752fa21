//! Every error of RFC 4271 §6 over a live connection, and the NOTIFICATION that it earns: code, subcode and
//! data. UPDATEs follow RFC 7606: an attribute in error never ends the session.

use std::time::Duration;

use anycast_tests::peers::in_namespace;
use anycast_userspace::bgp::State;

use crate::hostile::established_soon;
use crate::node::{Node, runtime};
use crate::scripted::{KEEPALIVE, NOTIFICATION, OPEN, Scripted, UPDATE, addresses, message, open};

const ROUTE_REFRESH: u8 = 5;
const IDENTIFIER: [u8; 4] = [10, 0, 1, 2];

/// How far the session is when the error comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// We have sent our OPEN.
    OpenSent,
    /// We have accepted the peer's.
    OpenConfirm,
    Established,
}
use Stage::{Established, OpenConfirm, OpenSent};

/// A name with its source, when, what is sent, and code, subcode and data of the answer.
type Case = (&'static str, Stage, Vec<u8>, &'static [u8]);

/// An OPEN with these fields and optional parameters.
fn open_with(version: u8, asn: u16, hold: u16, identifier: [u8; 4], parameters: &[u8]) -> Vec<u8> {
    let length = u8::try_from(parameters.len()).unwrap();
    let mut body = vec![version];
    body.extend(asn.to_be_bytes());
    body.extend(hold.to_be_bytes());
    body.extend(identifier);
    body.push(length);
    body.extend(parameters);
    message(OPEN, &body)
}

/// A KEEPALIVE with two octets of its header changed.
fn header(at: usize, octets: [u8; 2]) -> Vec<u8> {
    let mut keepalive = message(KEEPALIVE, &[]);
    keepalive[at..at + 2].copy_from_slice(&octets);
    keepalive
}

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap().to_be_bytes();
    let body = [
        &length(withdrawn)[..],
        withdrawn,
        &length(attributes)[..],
        attributes,
        nlri,
    ];
    message(UPDATE, &body.concat())
}

/// RFC 4271 §6.1.
fn header_errors() -> Vec<Case> {
    vec![
        ("marker (§6.1)", OpenSent, header(4, [0, 0]), &[1, 1]),
        ("marker (§6.1)", Established, header(4, [0, 0]), &[1, 1]),
        (
            "length 18 (§6.1)",
            OpenSent,
            header(16, [0, 18]),
            &[1, 2, 0, 18],
        ),
        (
            "length 4097 (§6.1)",
            Established,
            header(16, [0x10, 1]),
            &[1, 2, 0x10, 1],
        ),
        (
            "length 65535 (§6.1)",
            Established,
            header(16, [255, 255]),
            &[1, 2, 255, 255],
        ),
        (
            "OPEN of 28 (§6.1)",
            OpenSent,
            message(OPEN, &[4; 9]),
            &[1, 2, 0, 28],
        ),
        (
            "UPDATE of 22 (§6.1)",
            Established,
            message(UPDATE, &[0; 3]),
            &[1, 2, 0, 22],
        ),
        (
            "KEEPALIVE of 20 (§6.1)",
            Established,
            message(KEEPALIVE, &[0]),
            &[1, 2, 0, 20],
        ),
        (
            "ROUTE-REFRESH of 22 (§6.1)",
            Established,
            message(ROUTE_REFRESH, &[0, 1, 0]),
            &[1, 2, 0, 22],
        ),
        ("type 0 (§6.1)", Established, message(0, &[]), &[1, 3, 0]),
        ("type 6 (§6.1)", OpenSent, message(6, &[]), &[1, 3, 6]),
        (
            "type 255 (§6.1)",
            Established,
            message(255, &[1, 2, 3]),
            &[1, 3, 255],
        ),
    ]
}

/// RFC 4271 §6.2, with RFC 5492, 6286, 7607 and 9234.
fn open_errors() -> Vec<Case> {
    let with = |parameters: &[u8]| open_with(4, 65001, 90, IDENTIFIER, parameters);
    vec![
        (
            "version 3 (§6.2)",
            OpenSent,
            open_with(3, 65001, 90, IDENTIFIER, &[]),
            &[2, 1, 0, 4],
        ),
        (
            "version 5 (§6.2)",
            OpenSent,
            open_with(5, 65001, 90, IDENTIFIER, &[]),
            &[2, 1, 0, 4],
        ),
        (
            "another AS (§6.2)",
            OpenSent,
            open_with(4, 65002, 90, IDENTIFIER, &[]),
            &[2, 2],
        ),
        (
            "AS 0 (RFC 7607)",
            OpenSent,
            open_with(4, 0, 90, IDENTIFIER, &[]),
            &[2, 2],
        ),
        (
            "AS 0 in the capability (RFC 7607)",
            OpenSent,
            open_with(4, 23456, 90, IDENTIFIER, &[2, 6, 65, 4, 0, 0, 0, 0]),
            &[2, 2],
        ),
        (
            "another AS in the capability (RFC 6793)",
            OpenSent,
            open_with(4, 65001, 90, IDENTIFIER, &[2, 6, 65, 4, 0, 1, 0, 0]),
            &[2, 2],
        ),
        (
            "identifier 0.0.0.0 (RFC 6286)",
            OpenSent,
            open_with(4, 65001, 90, [0; 4], &[]),
            &[2, 3],
        ),
        (
            "unknown parameter (§6.2)",
            OpenSent,
            with(&[99, 1, 0]),
            &[2, 4],
        ),
        (
            "deprecated parameter 1 (§6.2)",
            OpenSent,
            with(&[1, 1, 0]),
            &[2, 4],
        ),
        (
            "parameter cut short (§6.2)",
            OpenSent,
            with(&[2, 9, 0]),
            &[2, 0],
        ),
        ("half a parameter (§6.2)", OpenSent, with(&[2]), &[2, 0]),
        (
            "capability cut short (RFC 5492)",
            OpenSent,
            with(&[2, 3, 65, 4, 0]),
            &[2, 0],
        ),
        (
            "Hold Time 1 (§6.2)",
            OpenSent,
            open_with(4, 65001, 1, IDENTIFIER, &[]),
            &[2, 6],
        ),
        (
            "Hold Time 2 (§6.2)",
            OpenSent,
            open_with(4, 65001, 2, IDENTIFIER, &[]),
            &[2, 6],
        ),
        // We are customer; so is the peer.
        (
            "the same role (RFC 9234)",
            OpenSent,
            with(&[2, 3, 9, 1, 3]),
            &[2, 11],
        ),
    ]
}

/// RFC 4271 §6.3 as far as RFC 7606 leaves it: the prefixes cannot be told.
fn update_errors() -> Vec<Case> {
    vec![
        (
            "withdrawn beyond the end (§6.3)",
            Established,
            message(UPDATE, &[0, 9, 0, 0]),
            &[3, 1],
        ),
        (
            "attributes beyond the end (§6.3)",
            Established,
            message(UPDATE, &[0, 0, 0, 9]),
            &[3, 1],
        ),
        (
            "a prefix of 33 bits (§6.3)",
            Established,
            update(&[], &[], &[33, 10, 0, 0, 0, 0]),
            &[3, 10],
        ),
        (
            "a withdrawn prefix of 33 bits (§6.3)",
            Established,
            update(&[33, 10, 0, 0, 0, 0], &[], &[]),
            &[3, 10],
        ),
        (
            "half a prefix (§6.3)",
            Established,
            update(&[], &[], &[24, 10]),
            &[3, 10],
        ),
    ]
}

/// RFC 4271 §6.6, with the subcodes of RFC 6608.
fn state_errors() -> Vec<Case> {
    let keepalive = message(KEEPALIVE, &[]);
    let refresh = message(ROUTE_REFRESH, &[0, 1, 0, 1]);
    vec![
        (
            "KEEPALIVE in OpenSent (RFC 6608)",
            OpenSent,
            keepalive,
            &[5, 1],
        ),
        (
            "UPDATE in OpenSent (RFC 6608)",
            OpenSent,
            update(&[], &[], &[]),
            &[5, 1],
        ),
        (
            "ROUTE-REFRESH in OpenSent (RFC 6608)",
            OpenSent,
            refresh.clone(),
            &[5, 1],
        ),
        (
            "UPDATE in OpenConfirm (RFC 6608)",
            OpenConfirm,
            update(&[], &[], &[]),
            &[5, 2],
        ),
        (
            "OPEN in OpenConfirm (RFC 6608)",
            OpenConfirm,
            open(IDENTIFIER, 90),
            &[5, 2],
        ),
        (
            "ROUTE-REFRESH in OpenConfirm (RFC 6608)",
            OpenConfirm,
            refresh,
            &[5, 2],
        ),
        (
            "OPEN in Established (RFC 6608)",
            Established,
            open(IDENTIFIER, 90),
            &[5, 3],
        ),
    ]
}

/// A node that takes an erring peer again at once.
fn node() -> Node {
    let options = "passive = true\nretry = \"1ms\"\nretry_max = \"1ms\"\nrole = \"customer\"";
    Node::start(&[(1, options)])
}

async fn bring_to(stage: Stage) -> Scripted {
    if stage == Established {
        return established_soon(1).await;
    }
    // The connection before may still be on its way out.
    let mut peer = loop {
        let Ok(mut peer) = Scripted::connect(1).await else {
            continue;
        };
        match peer.read().await {
            Ok((kind, _)) => {
                assert_eq!(kind, OPEN);
                break peer;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    };
    if stage == OpenConfirm {
        peer.send(&open(IDENTIFIER, 90)).await.unwrap();
        assert_eq!(peer.read().await.unwrap().0, KEEPALIVE);
    }
    peer
}

fn each_is_answered(cases: fn() -> Vec<Case>) {
    in_namespace(move || {
        runtime().block_on(async {
            addresses(1);
            let mut node = node();
            for (name, stage, octets, want) in cases() {
                let mut peer = bring_to(stage).await;
                peer.send(&octets).await.unwrap();
                let answer =
                    tokio::time::timeout(Duration::from_secs(5), peer.read_until(NOTIFICATION));
                let got = answer
                    .await
                    .unwrap_or_else(|_| panic!("{name} in {stage:?}: no answer"))
                    .unwrap_or_else(|error| panic!("{name} in {stage:?}: {error}"));
                // RFC 4271 §6.3 gives Invalid Network Field no data, and forbids none.
                let compared = if want == [3, 10] { 2 } else { got.len() };
                assert_eq!(got[..compared], *want, "{name} in {stage:?}");
                // It is the last word, and the operator sees it.
                assert!(peer.read().await.is_err(), "{name} in {stage:?}");
                node.state("peer1", |state| state < State::OpenSent).await;
                let shown = node
                    .status("peer1")
                    .await
                    .last_error_sent
                    .expect("an error");
                let shown = [shown.notification.code, shown.notification.subcode];
                assert_eq!(shown, want[..2], "{name}");
            }
        });
    });
}

#[test]
fn header_errors_are_answered_as_the_rfc_says() {
    each_is_answered(header_errors);
}

#[test]
fn open_errors_are_answered_as_the_rfc_says() {
    each_is_answered(open_errors);
}

#[test]
fn update_errors_that_hide_prefixes_are_answered_as_the_rfc_says() {
    each_is_answered(update_errors);
}

#[test]
fn messages_out_of_place_are_answered_as_the_rfc_says() {
    each_is_answered(state_errors);
}

/// Attributes in error, each with its place in RFC 7606: the routes would be unusable, and we use none.
const BAD_ATTRIBUTES: [(&str, &[u8]); 15] = [
    (
        "unknown well-known attribute (§3 b of RFC 4271 §6.3)",
        &[0x40, 99, 1, 0],
    ),
    ("ORIGIN as optional (§3 c)", &[0xC0, 1, 1, 0]),
    ("ORIGIN 3 (§7.1)", &[0x40, 1, 1, 3]),
    ("ORIGIN of two octets (§7.1)", &[0x40, 1, 2, 0, 0]),
    (
        "AS_PATH of an unknown segment (§7.2)",
        &[0x40, 2, 6, 9, 1, 0, 0, 0xFD, 0xE9],
    ),
    ("AS_PATH cut short (§7.2)", &[0x40, 2, 3, 2, 1, 0]),
    ("NEXT_HOP of three octets (§7.3)", &[0x40, 3, 3, 10, 0, 1]),
    ("MED of three octets (§7.4)", &[0x80, 4, 3, 0, 0, 1]),
    (
        "LOCAL_PREF from an external peer (§7.5)",
        &[0x40, 5, 4, 0, 0, 0, 1],
    ),
    ("ATOMIC_AGGREGATE with a value (§7.6)", &[0x40, 6, 1, 0]),
    (
        "AGGREGATOR of five octets (§7.7)",
        &[0xC0, 7, 5, 0, 0, 0, 0, 0],
    ),
    ("COMMUNITIES of three octets (§7.8)", &[0xC0, 8, 3, 0, 0, 1]),
    (
        "EXTENDED COMMUNITIES of seven octets (§7.14)",
        &[0xC0, 16, 7, 0, 2, 0, 0, 0, 0, 0],
    ),
    (
        "LARGE_COMMUNITY of eleven octets (RFC 8092 §6)",
        &[0xC0, 32, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ),
    ("ORIGIN twice (§3 g)", &[0x40, 1, 1, 0, 0x40, 1, 1, 0]),
];

#[test]
fn an_attribute_in_error_never_ends_the_session() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let mut node = node();
            let mut peer = established_soon(1).await;
            node.established("peer1").await;
            for (name, attributes) in BAD_ATTRIBUTES {
                peer.send(&update(&[], attributes, &[24, 10, 1, 3]))
                    .await
                    .unwrap();
                // Whether the node still talks shows in its answer to the next message.
                let before = node.summary("peer1").messages.received.route_refresh;
                peer.send(&message(ROUTE_REFRESH, &[0, 1, 0, 1]))
                    .await
                    .unwrap();
                node.summary_until("peer1", |summary| {
                    summary.messages.received.route_refresh == before + 1
                        || summary.state != State::Established
                })
                .await;
                let status = node.status("peer1").await;
                assert_eq!(
                    status.state,
                    State::Established,
                    "{name}: {}",
                    status.reason
                );
            }
            assert_eq!(node.summary("peer1").established_count, 1);
        });
    });
}

#[test]
fn a_notification_is_never_answered_and_ends_the_session() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let mut node = node();
            // A good one, an unknown code, bad text, and two that are too short (§6.4).
            for body in [&[6, 2][..], &[99, 99, 1], &[6, 2, 200, 1], &[6], &[]] {
                let mut peer = established_soon(1).await;
                node.established("peer1").await;
                peer.send(&message(NOTIFICATION, body)).await.unwrap();
                let answer = loop {
                    match peer.read().await {
                        Ok((KEEPALIVE | UPDATE, _)) => {}
                        other => break other,
                    }
                };
                assert!(answer.is_err(), "{body:?}: {answer:?}");
                node.state("peer1", |state| state != State::Established)
                    .await;
            }
        });
    });
}
