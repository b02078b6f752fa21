//! Checks against small servers that misbehave, on the loopback interface.

mod closing;
mod dns;
mod exec;
mod grpc;
mod http;
mod network;
mod scheduling;
mod tcp_and_tls;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use garde::Validate as _;
use tokio::sync::mpsc;

use super::{REPORT_DEPTH, Report, RunningChecks, Subject, spawn};
use crate::config::Check;
use crate::health::{FailureKind, Outcome};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A check as the file would describe it.
fn check(toml: &str) -> Check {
    let check: Check = toml::from_str(&format!("name = \"c\"\n{toml}")).expect("the check parses");
    check.validate().expect("the check is valid");
    check
}

fn start(check: &Check, addresses: &[IpAddr]) -> (RunningChecks, mpsc::Receiver<Report>) {
    let (sender, receiver) = mpsc::channel(REPORT_DEPTH);
    let subject = Subject {
        node: "node",
        service: 3,
        name: "service",
        addresses,
        started: tokio::time::Instant::now().into_std(),
    };
    (
        spawn(&subject, std::slice::from_ref(check), &sender),
        receiver,
    )
}

/// The first report of a check against 127.0.0.1.
async fn first_report(toml: &str) -> Report {
    let (running, mut reports) = start(&check(toml), &[LOOPBACK]);
    let report = tokio::time::timeout(Duration::from_secs(20), reports.recv())
        .await
        .expect("a report within 20 s")
        .expect("a report");
    running.stop().await;
    report
}

async fn first_outcome(toml: &str) -> Outcome {
    first_report(toml).await.outcome
}

#[track_caller]
fn assert_fails(outcome: &Outcome, want: FailureKind, words: &str) {
    match outcome {
        Outcome::Fail { kind, detail } => {
            assert_eq!(*kind, want, "{detail}");
            assert!(detail.contains(words), "`{detail}` does not say `{words}`");
        }
        Outcome::Pass(detail) => panic!("passed: {detail}"),
    }
}
