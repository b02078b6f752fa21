//! The log of verdicts, as the daemon writes it.

use std::process::Command;
use std::time::Duration;

use anycast_common::abi::map;
use anycast_tests::site::binary;
use anycast_tests::wait;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::live::Link;
use crate::tools::in_a_namespace;

/// Packets counted, under whatever service and reason.
fn counted(status: &Value) -> u64 {
    let sum = |packets: &Value| -> u64 {
        let reasons = packets.as_object().expect("packets by reason").values();
        reasons.filter_map(|count| count["packets"].as_u64()).sum()
    };
    sum(&status["packets"]) + sum(&status["services"][0]["packets"])
}

/// The status once the counters stand still, at more than `least` packets: a full ring of the link may
/// lose some of what was sent.
fn arrived(daemon: &Daemon, least: u64) -> Value {
    let mut last = 0;
    wait::until("the packets", Duration::from_secs(20), || {
        let status = daemon.json(&["status", "--json"]);
        let packets = counted(&status);
        let still = packets > least && packets == last;
        last = packets;
        Ok(still.then_some(status))
    })
    .unwrap()
}

/// The lines of verdicts in the log.
fn verdicts(daemon: &Daemon) -> Vec<Value> {
    daemon
        .log()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["target"] == "anycast::verdicts")
        .collect()
}

#[test]
fn one_of_n_verdicts_is_logged_with_what_an_operator_needs() {
    const ONE_OF: u64 = 50;
    in_a_namespace(|| {
        let link = Link::new();
        let daemon = Daemon::start("", &["--trace-verdicts", "50"]);
        assert!(daemon.has_map(map::AYA_LOGS));
        link.send("192.168.250.1", 53, 4_000);
        link.send("fd00:250::1", 54, 4_000);
        let status = arrived(&daemon, 4_000);
        let packets = counted(&status);
        let cpus = std::thread::available_parallelism().unwrap().get() as u64;
        // Each CPU has at most N - 1 verdicts that are not yet due, and packets that came after.
        let expected = packets / ONE_OF - cpus..=packets / ONE_OF + 2;
        let lines = wait::until("the lines", Duration::from_secs(10), || {
            let lines = verdicts(&daemon);
            Ok((lines.len() as u64 >= *expected.start()).then_some(lines))
        })
        .unwrap_or_else(|error| panic!("{error:#}: {expected:?}: {}", daemon.log()));
        assert!(
            expected.contains(&(lines.len() as u64)),
            "{} lines for {packets} packets",
            lines.len()
        );
        let by_reason = &status["services"][0]["packets"];
        for (destination, source, port, verdict, reason, length) in [
            (
                "192.168.250.1",
                "10.0.0.2",
                53,
                "pass",
                "served",
                14 + 20 + 8 + 5,
            ),
            (
                "fd00:250::1",
                "fd00::2",
                54,
                "drop",
                "unlisted",
                14 + 40 + 8 + 5,
            ),
        ] {
            let about: Vec<&Value> = lines
                .iter()
                .filter(|line| line["destination"] == destination && line["protocol"] == "udp")
                .collect();
            let all = by_reason[reason]["packets"].as_u64().unwrap() / ONE_OF;
            let count = about.len() as u64;
            assert!(
                count.abs_diff(all) <= 2 + cpus,
                "{count} lines about {destination}, where {all} are due"
            );
            for line in about {
                assert_eq!(line["source"], source, "{line}");
                assert_eq!(line["port"], port, "{line}");
                assert_eq!(line["verdict"], verdict, "{line}");
                assert_eq!(line["reason"], reason, "{line}");
                assert_eq!(line["service"], "dns", "{line}");
                assert_eq!(line["length"], length, "{line}");
            }
        }
    });
}

#[test]
fn without_the_option_no_verdict_is_logged_and_no_map_of_a_log_is_there() {
    in_a_namespace(|| {
        let link = Link::new();
        let daemon = Daemon::start("", &[]);
        link.send("192.168.250.1", 53, 100);
        arrived(&daemon, 50);
        assert_eq!(verdicts(&daemon), Vec::<Value>::new());
        assert!(daemon.has_map(map::COUNTERS) && !daemon.has_map(map::AYA_LOGS));
    });
}

#[test]
fn an_n_that_is_no_number_of_verdicts_is_refused_with_what_it_should_be() {
    for wrong in ["0", "-1", "many", "4294967296", "1.5", ""] {
        let output = Command::new(binary())
            .args([
                "run",
                "-c",
                "/nonexistent",
                &format!("--trace-verdicts={wrong}"),
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {said}");
        assert!(
            said.contains("--trace-verdicts") && said.contains("from 1 to 4294967295"),
            "{wrong}: {said}"
        );
    }
}
