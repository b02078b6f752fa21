//! Commands that behave and commands that do not.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use anycast_tests::process;

use super::{LOOPBACK, assert_fails, check, first_report, start};
use crate::checks::Report;
use crate::command::end_of;
use crate::health::FailureKind;

/// Time enough for a command to begin, on a machine that stands still for a second or two.
const AFTER_THE_START: &str = "timeout = \"3s\"";

fn shell(script: &str, settings: &str) -> String {
    let script = toml::Value::from(script);
    format!(
        "type = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", {script}]\ninterval = \"60s\"\nsplay = \"0s\"\n{settings}"
    )
}

async fn run(script: &str, settings: &str) -> Report {
    first_report(&shell(script, settings)).await
}

fn pids(file: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[tokio::test]
async fn the_exit_code_decides_and_the_last_line_is_told() {
    let cases: &[(&str, &str, Result<&str, &str>)] = &[
        ("exit 0", "", Ok("exit code 0")),
        ("echo fine; exit 0", "", Ok("exit code 0: fine")),
        (
            "echo one; echo two >&2; echo; exit 1",
            "",
            Err("exit code 1: two"),
        ),
        ("exit 3", "pass_codes = [0, 3]", Ok("exit code 3")),
        ("exit 0", "pass_codes = [3]", Err("exit code 0")),
        ("kill -9 $$", "", Err("SIGKILL")),
        (
            "test \"$CITY\" = a",
            "environment = { CITY = \"a\" }",
            Ok("exit code 0"),
        ),
        (
            "test \"$ANYCAST_SERVICE $ANYCAST_CHECK $ANYCAST_ADDRESSES\" = 'service c 127.0.0.1'",
            "",
            Ok(""),
        ),
        (
            "test \"$PWD\" = /usr/bin",
            "directory = \"/usr/bin\"",
            Ok(""),
        ),
        ("cat; test $? = 0", "", Ok("exit code 0")),
        (
            "printf 'a\\000b\\033[31m\\tc\\n'; exit 1",
            "",
            Err("exit code 1: a\u{fffd}b\u{fffd}[31m c"),
        ),
    ];
    for (script, settings, want) in cases {
        let outcome = run(script, &format!("timeout = \"5s\"\n{settings}"))
            .await
            .outcome;
        match want {
            Ok(words) => {
                assert!(outcome.passed(), "{script}: {outcome:?}");
                assert!(outcome.detail().contains(words), "{script}: {outcome:?}");
            }
            Err(words) => assert_fails(&outcome, FailureKind::Exit, words),
        }
    }
}

#[tokio::test]
async fn of_ten_thousand_addresses_a_command_is_given_what_fits_and_their_number() {
    let addresses: Vec<IpAddr> = (0..10_000_u128)
        .map(|number| Ipv6Addr::from(0x2001_0db8_ffff_ffff_ffff_ffff_0000_1000 + number).into())
        .collect();
    let script =
        "set -- $ANYCAST_ADDRESSES; echo $ANYCAST_ADDRESS_COUNT, given $#, the last ${1820}";
    let check = check(&shell(script, "timeout = \"5s\""));
    let (_running, mut reports) = start(&check, &addresses);
    let outcome = reports.recv().await.expect("a report").outcome;
    assert!(outcome.passed(), "{outcome:?}");
    let want = "10000, given 1820, the last 2001:db8:ffff:ffff:ffff:ffff:0:171b";
    assert!(outcome.detail().contains(want), "{outcome:?}");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_named() {
    let report = first_report("type = \"exec\"\ncommand = [\"/nonexistent/probe\"]").await;
    assert_fails(&report.outcome, FailureKind::Resource, "/nonexistent/probe");
}

#[tokio::test]
async fn an_unknown_user_is_named() {
    let report = run("exit 0", "user = \"no-such-user\"").await;
    assert_fails(&report.outcome, FailureKind::Resource, "no-such-user");
}

#[tokio::test]
async fn a_command_that_forks_and_ignores_sigterm_is_killed_with_all_its_children_and_reaped() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("pids");
    let script = format!(
        "trap '' TERM INT HUP; echo $$ >> {0}; (trap '' TERM; echo $$; exec sleep 300) & echo $! >> {0}; \
         sleep 300 & echo $! >> {0}; wait",
        file.display()
    );
    let report = run(&script, AFTER_THE_START).await;
    assert_fails(&report.outcome, FailureKind::Timeout, "no result within 3s");
    let pids = pids(&file);
    assert_eq!(pids.len(), 3, "{pids:?}");
    // The command itself is our child. The others are orphans, and reaping them is up to the first process.
    assert_eq!(process::state(pids[0]), None, "it is reaped by now");
    for pid in pids {
        end_of(pid).await;
    }
}

#[tokio::test]
async fn what_a_finished_command_left_in_the_background_is_killed_and_does_not_delay_the_verdict() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("pids");
    let report = run(
        &format!(
            "sleep 300 & echo $! >> {}; echo done; exit 0",
            file.display()
        ),
        "timeout = \"60s\"",
    )
    .await;
    assert!(report.outcome.passed(), "{:?}", report.outcome);
    assert_eq!(report.output.as_deref(), Some("done\n"));
    end_of(pids(&file)[0]).await;
}

#[tokio::test]
async fn stopping_the_checks_kills_a_running_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("pids");
    let script = format!("echo $$ >> {}; sleep 300", file.display());
    let (running, _reports) = start(&check(&shell(&script, "timeout = \"60s\"")), &[LOOPBACK]);
    while pids(&file).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.stop().await;
    end_of(pids(&file)[0]).await;
}

#[tokio::test]
async fn of_a_gigabyte_of_output_the_last_4_kib_are_kept() {
    let before = most_memory_kib();
    let report = run(
        "head -c 1000000000 /dev/zero; echo; echo the end; exit 1",
        "timeout = \"60s\"",
    )
    .await;
    assert_fails(&report.outcome, FailureKind::Exit, "exit code 1: the end");
    let output = report.output.expect("output");
    assert_eq!(output.len(), 4096);
    assert!(output.ends_with("\nthe end\n"));
    let grown = most_memory_kib() - before;
    assert!(grown < 64 * 1024, "the process grew by {grown} KiB");
}

/// The most memory that this process, other tests included, has ever held.
fn most_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.expect("a size").parse().expect("a number")
}

#[tokio::test]
async fn a_command_that_never_stops_printing_ends_at_its_timeout() {
    let report = run("exec yes", AFTER_THE_START).await;
    assert_fails(&report.outcome, FailureKind::Timeout, "no result within 3s");
    assert!(report.output.expect("output").contains("y\ny\n"));
}
