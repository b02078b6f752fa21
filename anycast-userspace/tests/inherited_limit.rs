//! A process that has raised its limit of open files. A test binary of its own: the limit is the process's.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anycast_userspace::checks::{REPORT_DEPTH, Subject, spawn};
use anycast_userspace::config::Check;
use anycast_userspace::descriptors;
use anycast_userspace::health::{FailureKind, Outcome};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[tokio::test]
async fn a_command_that_uses_up_its_descriptors_finds_the_limit_of_before_and_disturbs_no_other_check()
 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    assert!(hard > 100, "the hard limit is {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, 100, hard).expect("a lower limit");
    descriptors::raise_limit();
    let raised = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    assert_eq!(raised, (hard, hard));

    // Once the limit is there; it comes right after the start.
    let script = "for i in $(seq 500); do test $(ulimit -n) = 100 && break; sleep 0.01; done; \
                  n=0; while exec {descriptor}< /dev/null; do n=$((n + 1)); test $n -lt 200 || exit 0; done; exit 7";
    let checks: Vec<Check> = [
        format!("type = \"tcp\"\nport = {port}"),
        format!(
            "type = \"exec\"\ncommand = [\"/bin/bash\", \"-c\", {}]",
            toml::Value::from(script)
        ),
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
    let mut seen = [0; 2];
    let all = async {
        while seen.iter().any(|count| *count < 3) {
            let report = reports.recv().await.expect("a report");
            seen[report.check] += 1;
            match (report.check, report.outcome) {
                (0, Outcome::Pass(_)) => {}
                (1, Outcome::Fail { kind, detail }) => {
                    assert_eq!(kind, FailureKind::Exit, "{detail}");
                    assert!(detail.contains("exit code 7"), "{detail}");
                }
                (check, outcome) => panic!("check {check}: {outcome:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all)
        .await
        .expect("reports");
    running.stop().await;
}
