//! The page against its catalogue, and the server against clients that misbehave.

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalogue;
use super::page::{self, Format};
use super::process::Process;
use super::sample::Sample;
use super::*;
use crate::bgp;
use crate::checks::Report;
use crate::config::Config;
use crate::control::protocol::{
    CheckStatus, Count, Generation, InterfaceStatus, Packets, ServiceStatus,
};
use crate::events::{DataPlanePhase, MapWriter, PeerPhase, Sent};

const CONFIG: &str = r#"
[node]
name = "city-a"
[dataplane]
interfaces = ["lo"]
[[services]]
name = "dns"
addresses = ["192.0.2.1"]
announce = []
[[services.checks]]
name = "tcp"
type = "tcp"
port = 53
"#;

fn metrics() -> Arc<Metrics> {
    let config = Config::parse(CONFIG).expect("a valid configuration");
    Arc::new(Metrics::new(&config.services))
}

fn packets() -> Packets {
    let count = Count {
        packets: 7,
        bytes: 700,
    };
    [("served".to_owned(), count)].into()
}

fn status() -> Status {
    Status {
        node: "city-a".to_owned(),
        version: "1.2.3".to_owned(),
        started_at: "2026-01-02T03:04:05.5Z".parse().expect("a time"),
        pid: 1,
        generation: Generation {
            decided: 9,
            data_plane: 8,
        },
        services: vec![ServiceStatus {
            name: "dns".to_owned(),
            id: 1,
            state: ServiceState::Up,
            reason: String::new(),
            for_ms: 1500,
            addresses: Vec::new(),
            address_count: 1,
            ports: Vec::new(),
            checks: vec![CheckStatus {
                name: "tcp".to_owned(),
                verdict: "up".to_owned(),
                output: String::new(),
                printed: None,
                took_us: 1,
            }],
            words: Vec::new(),
            held_until: Some("2026-01-02T03:05:05.5Z".parse().expect("a time")),
            held_left_ms: Some(2500),
            penalty: Some(1834.5),
            suppressed: true,
            announced: 2,
            last_change: None,
            packets: packets(),
        }],
        interfaces: vec![InterfaceStatus {
            name: "eth0".to_owned(),
            mode: "generic".to_owned(),
            note: None,
        }],
        peers: Vec::new(),
        packets: packets(),
    }
}

fn peer() -> PeerSample {
    PeerSample {
        name: "r1".into(),
        bgp: bgp::Summary {
            state: bgp::State::Established,
            since: Instant::now(),
            applied: Some((8, Instant::now())),
            prefixes: 2,
            messages: bgp::MessageCounts::default(),
            established_count: 3,
        },
        bfd: Some(crate::bfd::SessionStatus {
            peer: "r1".to_owned(),
            address: "10.0.0.2".parse().expect("an address"),
            interface: None,
            multihop: false,
            state: crate::bfd::State::Up,
            remote_state: crate::bfd::State::Up,
            discriminator: 1,
            remote_discriminator: None,
            transmit_interval: None,
            receive_interval: None,
            detection_time: None,
            diagnostic: crate::bfd::Diagnostic::NONE,
            remote_diagnostic: crate::bfd::Diagnostic::NONE,
            up_since: None,
            last_down: None,
            times_up: 4,
            packets: crate::bfd::Packets::default(),
            authentication: None,
            authentication_error: None,
            send_error: None,
        }),
    }
}

fn report(outcome: Outcome) -> Report {
    Report {
        service: 0,
        check: 0,
        outcome,
        output: None,
        at: Instant::now(),
        took: Duration::from_millis(3),
        late: Duration::from_millis(1),
        dataplane_down: None,
    }
}

/// A page on which every metric has a sample.
fn full(format: Format) -> String {
    let metrics = metrics();
    metrics.on_check(&report(Outcome::pass("")));
    metrics.on_check(&report(Outcome::pass("")));
    metrics.on_check(&report(Outcome::fail(FailureKind::Timeout, "")));
    metrics.on_transition(0, ServiceState::Down);
    let phases = Phases {
        detected_ns: 0,
        decided_us: 40,
        data_plane: Some(DataPlanePhase {
            us: 20,
            by: MapWriter::Kernel,
        }),
        peers: BTreeMap::from([
            (
                "r1".to_owned(),
                PeerPhase {
                    sent: Sent::Withdrawn,
                    us: Some(300),
                },
            ),
            (
                "r2".to_owned(),
                PeerPhase {
                    sent: Sent::SessionLost,
                    us: Some(1),
                },
            ),
        ]),
        total_us: 300,
    };
    metrics.on_completed(ServiceState::Down, Completion::Done, &phases);
    let sample = Sample {
        status: status(),
        peers: vec![peer()],
        process: Process::read(),
    };
    page::write(&metrics, sample, format, 0).expect("a page")
}

/// A sample's line without its value.
fn value_of<'a>(page: &'a str, sample: &str) -> &'a str {
    page.lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no {sample} in\n{page}"))
}

#[test]
fn what_was_counted_and_what_is_stands_on_the_page() {
    let page = full(Format::Text);
    let cases = [
        (r#"anycast_build_info{version="1.2.3",node="city-a"}"#, "1"),
        ("anycast_start_time_seconds", "1767323045.5"),
        ("anycast_generation_decided", "9.0"),
        ("anycast_generation_applied", "8.0"),
        (r#"anycast_service_state{service="dns",state="up"}"#, "1.0"),
        (
            r#"anycast_service_state{service="dns",state="down"}"#,
            "0.0",
        ),
        (r#"anycast_service_state_age_seconds{service="dns"}"#, "1.5"),
        (
            r#"anycast_service_announced_prefixes{service="dns"}"#,
            "2.0",
        ),
        (r#"anycast_service_held_seconds{service="dns"}"#, "2.5"),
        (r#"anycast_service_flap_penalty{service="dns"}"#, "1834.5"),
        (r#"anycast_service_suppressed{service="dns"}"#, "1.0"),
        (
            r#"anycast_service_transitions_total{service="dns",to="down"}"#,
            "1",
        ),
        (
            r#"anycast_service_transitions_total{service="dns",to="up"}"#,
            "0",
        ),
        (r#"anycast_check_passing{service="dns",check="tcp"}"#, "1.0"),
        (
            r#"anycast_check_results_total{service="dns",check="tcp",outcome="pass"}"#,
            "2",
        ),
        (
            r#"anycast_check_results_total{service="dns",check="tcp",outcome="timeout"}"#,
            "1",
        ),
        (r#"anycast_check_duration_seconds_count{type="tcp"}"#, "3"),
        (
            r#"anycast_check_duration_seconds_bucket{type="tcp",le="0.0025"}"#,
            "0",
        ),
        ("anycast_check_delay_seconds_count", "3"),
        (
            r#"anycast_transitions_completed_total{outcome="done"}"#,
            "1",
        ),
        (
            r#"anycast_transition_decided_seconds_sum{to="down"}"#,
            "0.00004",
        ),
        (
            r#"anycast_transition_data_plane_seconds_count{to="down",by="kernel"}"#,
            "1",
        ),
        (
            r#"anycast_transition_routes_seconds_sum{to="down",peer="r1"}"#,
            "0.0003",
        ),
        (
            r#"anycast_transition_duration_seconds_count{to="down"}"#,
            "1",
        ),
        (
            r#"anycast_packets_total{service="dns",reason="served"}"#,
            "7",
        ),
        (
            r#"anycast_packets_bytes_total{service="",reason="served"}"#,
            "700",
        ),
        (
            r#"anycast_interface_mode{interface="eth0",mode="generic"}"#,
            "1.0",
        ),
        (
            r#"anycast_bgp_peer_state{peer="r1",state="established"}"#,
            "1.0",
        ),
        (r#"anycast_bgp_peer_established_total{peer="r1"}"#, "3"),
        (
            r#"anycast_bgp_messages_total{peer="r1",direction="sent",type="update"}"#,
            "0",
        ),
        (r#"anycast_bgp_announced_prefixes{peer="r1"}"#, "2.0"),
        (r#"anycast_bgp_generation_applied{peer="r1"}"#, "8.0"),
        (r#"anycast_bfd_session_state{peer="r1",state="up"}"#, "1.0"),
        (r#"anycast_bfd_session_up_total{peer="r1"}"#, "4"),
    ];
    for (sample, want) in cases {
        assert_eq!(value_of(&page, sample), want, "{sample}");
    }
    assert!(!page.contains("r2"), "nothing was sent to r2:\n{page}");
}

/// A sample's name and the names of its labels.
fn parts(line: &str) -> (String, Vec<String>) {
    let (head, labels) = match line.split_once('{') {
        Some((name, rest)) => (name, rest.split_once('}').expect("a closed brace").0),
        None => (line.split(' ').next().expect("a name"), ""),
    };
    let labels = labels
        .split("\",")
        .filter_map(|label| label.split_once('='))
        .map(|(name, _)| name.to_owned());
    (head.to_owned(), labels.collect())
}

#[test]
fn the_page_has_every_metric_of_the_catalogue_with_its_labels_and_no_other() {
    let page = full(Format::Text);
    let mut seen = BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, mut labels) = parts(line);
        let described = catalogue::ALL
            .iter()
            .find(|described| {
                let full = described.full_name();
                match described.kind_word() {
                    "histogram" => ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|suffix| format!("{full}{suffix}") == name),
                    _ => full == name,
                }
            })
            .unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        labels.retain(|label| label != "le");
        assert_eq!(labels, described.labels, "{line}");
        seen.insert(described.full_name());
    }
    let all: BTreeSet<String> = catalogue::ALL
        .iter()
        .map(|described| described.full_name())
        .collect();
    assert_eq!(seen, all);
    for described in catalogue::ALL {
        let kind = format!("# TYPE {} {}", described.full_name(), described.kind_word());
        assert!(page.contains(&kind), "{kind}");
        assert!(described.help.ends_with('.'), "{}", described.help);
    }
}

#[test]
fn openmetrics_is_written_for_those_who_accept_it() {
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    assert_eq!(Format::accepted_by(prometheus), Format::OpenMetrics);
    assert_eq!(Format::accepted_by("*/*"), Format::Text);
    let page = full(Format::OpenMetrics);
    assert!(page.ends_with("# EOF\n"), "{page}");
    assert!(page.contains("# TYPE anycast_service_transitions counter\n"));
    assert!(page.contains("# UNIT anycast_check_duration_seconds seconds\n"));
}

#[test]
fn what_is_not_configured_is_not_counted() {
    let metrics = metrics();
    metrics.on_check(&Report {
        check: 1,
        ..report(Outcome::pass(""))
    });
    metrics.on_check(&Report {
        service: 1,
        ..report(Outcome::pass(""))
    });
    metrics.on_transition(1, ServiceState::Up);
    let sample = Sample {
        status: status(),
        peers: Vec::new(),
        process: Process::default(),
    };
    let page = page::write(&metrics, sample, Format::Text, 0).expect("a page");
    let passes = r#"anycast_check_results_total{service="dns",check="tcp",outcome="pass"}"#;
    assert_eq!(value_of(&page, passes), "0");
    assert!(!page.contains("anycast_bgp"), "there are no peers:\n{page}");
}

/// The table of `docs/metrics.md`, as it must be.
fn table() -> String {
    let mut table = "| name | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for described in catalogue::ALL {
        let labels: Vec<String> = described
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        table += &format!(
            "| `{}` | {} | {} | {} |\n",
            described.full_name(),
            described.kind_word(),
            labels.join(", "),
            described.help.trim_end_matches('.'),
        );
    }
    table
}

#[test]
fn the_documentation_lists_every_metric() {
    let page = include_str!("../../../docs/metrics.md");
    let table = table();
    assert!(
        page.contains(&table),
        "docs/metrics.md must have this table:\n{table}"
    );
}
