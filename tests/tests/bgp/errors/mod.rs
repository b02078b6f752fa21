//! Every error of RFC 4271 §6 over a live connection, and the NOTIFICATION that it earns: code, subcode and
//! data, which other decoders read as well. UPDATEs follow RFC 7606: an attribute in error never ends the session.

mod cases;

use std::time::Duration;

use anycast_tests::peers::in_namespace;
use anycast_userspace::bgp::State;

use crate::decoders::notifications::are_read_as_meant;
use crate::hostile::established_soon;
use crate::node::{Node, runtime};
use crate::scripted::{KEEPALIVE, NOTIFICATION, OPEN, Scripted, UPDATE, addresses, message, open};

use cases::Stage::{self, Established, OpenConfirm};
use cases::{
    BAD_ATTRIBUTES, Case, IDENTIFIER, ROUTE_REFRESH, header_errors, open_errors, state_errors,
    update, update_errors,
};

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
            let mut answers = Vec::new();
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
                answers.push(got);
            }
            are_read_as_meant(&answers);
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
