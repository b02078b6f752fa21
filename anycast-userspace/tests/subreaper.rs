//! A process that inherits orphans, as the init of a container does. A test binary of its own: it is so for the whole
//! process.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anycast_tests::process::state;
use anycast_userspace::checks::{REPORT_DEPTH, Subject, spawn};
use anycast_userspace::config::Check;
use tokio::sync::mpsc;

#[tokio::test]
async fn what_a_command_leaves_behind_is_reaped_where_it_becomes_our_child() {
    nix::sys::prctl::set_child_subreaper(true).expect("a subreaper");
    let directory = tempfile::tempdir().expect("a directory");
    let pids = directory.path().join("pids");
    let pids_path = pids.display();
    let checks: Vec<Check> = ["exit 0", "wait"]
        .iter()
        .map(|end| {
            let script = format!("sleep 300 & echo $! >> {pids_path}; {end}");
            toml::from_str(&format!(
                "name = \"c\"\ntype = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n\
                 interval = \"60s\"\ntimeout = \"3s\"\nsplay = \"0s\""
            ))
            .expect("the check parses")
        })
        .collect();
    let (sender, mut reports) = mpsc::channel(REPORT_DEPTH);
    let subject = Subject {
        node: "node",
        service: 0,
        name: "service",
        addresses: &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        started: std::time::Instant::now(),
    };
    let _running = spawn(&subject, &checks, &sender);
    for _ in &checks {
        reports.recv().await.expect("a report");
    }
    let pids = std::fs::read_to_string(&pids).expect("the pids");
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        let pid = pid.parse().expect("a pid");
        let gone = async {
            while state(pid).is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(10), gone).await;
        assert!(gone.is_ok(), "{pid} is still there");
    }
}
