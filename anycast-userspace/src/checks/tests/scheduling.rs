//! When checks run, and what happens to their reports.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{LOOPBACK, assert_fails, check, first_report, start};
use crate::checks::{Subject, spawn};
use crate::health::FailureKind;

/// A listener that accepts in the kernel and never reads.
async fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

#[tokio::test]
async fn a_check_that_hangs_is_cancelled_at_its_timeout_and_counts_as_failed() {
    let (_listener, address) = silent().await;
    let report = first_report(&format!(
        "type = \"http\"\nport = {}\ninterval = \"10s\"\ntimeout = \"80ms\"\nsplay = \"0s\"",
        address.port()
    ))
    .await;
    assert_fails(
        &report.outcome,
        FailureKind::Timeout,
        "no result within 80ms",
    );
    assert!(
        report.took >= Duration::from_millis(80),
        "{:?}",
        report.took
    );
}

#[tokio::test]
async fn a_report_names_the_service_and_the_check_that_it_is_about() {
    let (_listener, address) = silent().await;
    let report = first_report(&format!("type = \"tcp\"\nport = {}", address.port())).await;
    assert_eq!((report.service, report.check), (3, 0));
    assert!(report.outcome.passed(), "{:?}", report.outcome);
}

#[tokio::test]
async fn unsettled_results_come_at_the_fast_interval_and_settled_ones_at_the_interval() {
    let (_listener, address) = silent().await;
    let toml = format!(
        "type = \"tcp\"\nport = {}\ninterval = \"2s\"\nfast_interval = \"20ms\"\nrise = 4\nsplay = \"0s\"",
        address.port()
    );
    let (_running, mut reports) = start(&check(&toml), &[LOOPBACK]);
    let mut due = Vec::new();
    for _ in 0..6 {
        let report = reports.recv().await.expect("a report");
        // When it ran is up to the machine as well.
        due.push(report.at - report.took - report.late);
    }
    // Three fast runs after the first may be cut short by a point of the grid, never lengthened; at the interval they
    // would take three of it.
    assert!(due[3] - due[0] < Duration::from_secs(4), "{due:?}");
    let settled = due[5] - due[4];
    let interval = Duration::from_millis(1500)..Duration::from_millis(5500);
    assert!(interval.contains(&settled), "{settled:?}");
}

#[tokio::test]
async fn a_full_channel_delays_a_check_and_loses_no_report() {
    let (_listener, address) = silent().await;
    let check = check(&format!(
        "type = \"tcp\"\nport = {}\ninterval = \"10ms\"\nsplay = \"0s\"",
        address.port()
    ));
    let (sender, mut receiver) = mpsc::channel(1);
    let subject = Subject {
        node: "node",
        service: 0,
        name: "service",
        addresses: &[LOOPBACK],
        started: tokio::time::Instant::now().into_std(),
    };
    let _running = spawn(&subject, &[check.clone(), check], &sender);
    while sender.capacity() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    // One in the channel and one held by each of the two tasks, but for the one that is in the channel.
    let stalled_at = tokio::time::Instant::now().into_std();
    let mut old = 0;
    while let Some(report) = receiver.recv().await {
        if report.at >= stalled_at {
            break;
        }
        old += 1;
    }
    assert!((2..=3).contains(&old), "{old} reports had piled up");
}

#[tokio::test]
async fn the_tasks_end_when_nobody_takes_reports_any_more() {
    let (_listener, address) = silent().await;
    let check = check(&format!(
        "type = \"tcp\"\nport = {}\ninterval = \"10ms\"",
        address.port()
    ));
    let (mut running, receiver) = start(&check, &[LOOPBACK]);
    drop(receiver);
    let ended = tokio::time::timeout(Duration::from_secs(5), running.tasks.join_next()).await;
    assert!(ended.expect("the task ends").is_some());
}

#[tokio::test]
async fn a_service_without_an_address_fails_its_network_checks_and_says_so() {
    let (_running, mut reports) = start(&check("type = \"tcp\"\nport = 9"), &[]);
    let report = reports.recv().await.expect("a report");
    assert_fails(&report.outcome, FailureKind::Unreachable, "no address");
}
