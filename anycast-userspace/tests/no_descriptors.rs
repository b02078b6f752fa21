//! A process without free file descriptors. A test binary of its own: the limit is the process's.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anycast_userspace::checks::{REPORT_DEPTH, Subject, spawn};
use anycast_userspace::config::Check;
use anycast_userspace::health::{FailureKind, Outcome};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[tokio::test]
async fn checks_that_find_no_free_descriptor_fail_with_that_reason_and_recover() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).expect("a lower limit");
    let mut taken: Vec<File> = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }

    let checks: Vec<Check> = [
        format!("type = \"tcp\"\nport = {port}"),
        "type = \"exec\"\ncommand = [\"/bin/true\"]".to_owned(),
    ]
    .iter()
    .map(|check| {
        let common = "name = \"c\"\ninterval = \"50ms\"\ntimeout = \"10s\"\nsplay = \"0s\"\n";
        toml::from_str(&format!("{common}{check}")).expect("the check parses")
    })
    .collect();
    let (sender, mut reports) = mpsc::channel(REPORT_DEPTH);
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let subject = Subject {
        node: "node",
        service: 0,
        name: "service",
        addresses: &addresses,
        started: std::time::Instant::now(),
    };
    let running = spawn(&subject, &checks, &sender);
    for _ in 0..4 {
        let report = reports.recv().await.expect("a report");
        match report.outcome {
            Outcome::Fail { kind, detail } => assert_eq!(kind, FailureKind::Resource, "{detail}"),
            Outcome::Pass(detail) => panic!("check {} passed: {detail}", report.check),
        }
    }

    drop(taken);
    let mut passed = [false; 2];
    let recovery = async {
        while passed != [true; 2] {
            let report = reports.recv().await.expect("a report");
            passed[report.check] |= report.outcome.passed();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), recovery)
        .await
        .expect("both checks recover");
    running.stop().await;
}
