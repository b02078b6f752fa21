//! Commands that the kernel does not let go; this needs root.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anycast_tests::fuse::Silence;
use anycast_tests::process::state;
use anycast_userspace::checks::{REPORT_DEPTH, Report, Subject, spawn};
use anycast_userspace::config::Check;
use tokio::sync::mpsc;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(20);
const TCP: usize = 0;

/// The same time is its interval and its timeout.
fn check(time: &str, settings: &str) -> Check {
    let common =
        format!("name = \"c\"\ninterval = \"{time}\"\ntimeout = \"{time}\"\nsplay = \"0s\"");
    toml::from_str(&format!("{common}\n{settings}")).expect("the check parses")
}

async fn next(reports: &mut mpsc::Receiver<Report>) -> Report {
    let report = tokio::time::timeout(PATIENCE, reports.recv()).await;
    report.expect("a report in time").expect("a report")
}

#[tokio::test]
async fn a_command_that_sigkill_does_not_end_fails_in_time_holds_its_slot_until_it_is_gone_and_delays_no_other_check()
 {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name| directory.path().join(name);
    fs::create_dir(at("silent")).expect("a directory");
    let silence = Silence::mount(&at("silent")).expect("this test needs root and FUSE");
    let listener = TcpListener::bind((LOOPBACK, 0)).expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let script = format!(
        "echo $$ >> {}; read line < {}",
        at("pids").display(),
        at("silent/file").display()
    );
    let checks = [
        check("100ms", &format!("type = \"tcp\"\nport = {port}")),
        // Enough for a shell to start on a machine that stands still for a second.
        check(
            "2s",
            &format!("type = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]"),
        ),
    ];
    let (sender, mut reports) = mpsc::channel(REPORT_DEPTH);
    let subject = Subject {
        node: "node",
        service: 0,
        name: "service",
        addresses: &[LOOPBACK],
        started: Instant::now(),
    };
    let _running = spawn(&subject, &checks, &sender);

    let mut said = Vec::new();
    let mut meanwhile = 0;
    while said.len() < 3 {
        let report = next(&mut reports).await;
        if report.check == TCP {
            assert!(report.outcome.passed(), "{:?}", report.outcome);
            meanwhile += usize::from(said.is_empty());
        } else {
            said.push(report.outcome.detail().to_owned());
        }
    }
    let busy = "the last run has not ended";
    assert_eq!(said, ["no result within 2s", busy, busy]);
    // The first run alone took some thirty intervals, of which the machine may have stood still for some. A check that
    // had to wait for its end had run once by then.
    assert!(meanwhile >= 5, "{meanwhile}");
    let pids = fs::read_to_string(at("pids")).expect("pids");
    let pid = pids.trim().parse().expect("a pid");
    assert_eq!(state(pid), Some('D'), "SIGKILL has ended `{pid}`");

    drop(silence);
    loop {
        let report = next(&mut reports).await;
        if report.check != TCP && report.outcome.detail() != busy {
            let detail = report.outcome.detail();
            assert!(detail.starts_with("exit code 2"), "{detail}");
            break;
        }
    }
    assert_eq!(
        state(pid),
        None,
        "it is reaped before the next one is started"
    );
}
