//! The metrics of a running daemon, scraped by a real Prometheus, against what `anycast status --json` says.
//!
//! Needs root, BIRD, Prometheus (with promtool) and curl. The binary under test is named by `ANYCAST_BIN`,
//! which `cargo xtask test` sets.

mod site;

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use anycast_tests::site::binary;
use anycast_tests::{process, wait};
use anyhow::Context as _;
use serde_json::Value;
use site::{METRICS, PINGS, PROMETHEUS, PROOFS, SOON, Site, configuration, rules};

const MEMORY: f64 = 40.0 * 1024.0 * 1024.0;

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn what_prometheus_scrapes_is_what_status_says() -> anyhow::Result<()> {
    let site = Site::start()?;
    wait::until("the sessions", SOON, || {
        let status = site.control.status()?;
        let peer = &status["peers"][0];
        let up = peer["state"] == "established" && peer["bfd"]["state"] == "up";
        Ok(up.then_some(()))
    })?;
    let mark = site.events.mark();
    site.live()?;
    let down = site
        .events
        .wait(mark, "the course of the failure", SOON, |event| {
            event.kind == "completed" && event.to.as_deref() == Some("down")
        })?;
    assert_eq!(down.service.as_deref(), Some("dns"));

    let before = site.control.status()?;
    let _prometheus = site.prometheus()?;
    wait::until("a scrape", SOON, || {
        Ok(site.one("up{job=\"anycast\"}").ok().filter(|up| *up == 1.0))
    })?;
    let after = site.control.status()?;

    let service = &before["services"][0];
    for state in ["init", "up", "degraded", "draining", "down", "disabled"] {
        let shown = site.one(&format!(
            "anycast_service_state{{service=\"dns\",state=\"{state}\"}}"
        ))?;
        assert_eq!(shown == 1.0, service["state"] == state, "{state}");
    }
    for (expression, want) in [
        ("anycast_service_announced_prefixes", &service["announced"]),
        ("anycast_service_addresses", &service["address_count"]),
        (
            "anycast_generation_decided",
            &before["generation"]["decided"],
        ),
        (
            "anycast_generation_applied",
            &before["generation"]["data_plane"],
        ),
        (
            "anycast_generation_decided",
            &before["generation"]["data_plane"],
        ),
        (
            "anycast_bgp_generation_applied",
            &before["peers"][0]["generation"],
        ),
        (
            "anycast_bgp_peer_established_total",
            &before["peers"][0]["established_count"],
        ),
        (
            "anycast_bfd_session_up_total",
            &before["peers"][0]["bfd"]["times_up"],
        ),
    ] {
        assert_eq!(site.one(expression)?, number(want), "{expression}");
    }
    let routes = before["peers"][0]["routes"].as_array().context("routes")?;
    assert_eq!(
        site.one("anycast_bgp_announced_prefixes{peer=\"router\"}")?,
        routes.len() as f64
    );
    assert_eq!(
        site.one("anycast_check_passing{service=\"dns\",check=\"healthy\"}")?,
        1.0
    );
    assert_eq!(
        site.one("anycast_bgp_peer_state{peer=\"router\",state=\"established\"}")?,
        1.0
    );
    assert_eq!(
        site.one("anycast_bfd_session_state{peer=\"router\",state=\"up\"}")?,
        1.0
    );
    let mode = before["interfaces"][0]["mode"].as_str().context("a mode")?;
    let attached = format!("anycast_interface_mode{{interface=\"eth0\",mode=\"{mode}\"}}");
    assert_eq!(site.one(&attached)?, 1.0);

    assert_eq!(
        service["packets"]["echo"]["packets"],
        PINGS + PROOFS,
        "{}",
        service["packets"]
    );
    packets_agree(&site, &before, &after)?;
    transitions_agree(&site)?;

    let memory = site.one("anycast_process_resident_memory_bytes")?;
    println!(
        "the daemon holds {:.1} MiB, {} descriptors",
        memory / 1024.0 / 1024.0,
        site.one("anycast_process_open_fds")?
    );
    assert!(memory < MEMORY, "the daemon holds {memory} bytes");
    rules_are_evaluated(&site)
}

/// Packets of the service stand still; those of nobody only grow.
fn packets_agree(site: &Site, before: &Value, after: &Value) -> anyhow::Result<()> {
    for unit in ["packets", "bytes"] {
        let metric = if unit == "packets" {
            "anycast_packets_total"
        } else {
            "anycast_packets_bytes_total"
        };
        let mut seen = 0;
        for (labels, value) in site.query(metric)? {
            let reason = labels["reason"].as_str().context("a reason")?;
            // Prometheus drops a label that is empty.
            let bounds = match labels["service"].as_str() {
                Some("dns") => [before, after].map(|status| &status["services"][0]["packets"]),
                None => [before, after].map(|status| &status["packets"]),
                Some(other) => anyhow::bail!("no service is named {other}"),
            };
            let [least, most] = bounds.map(|packets| packets[reason][unit].as_f64().unwrap_or(0.0));
            assert!(
                least <= value && value <= most,
                "{labels}: {least} ≤ {value} ≤ {most}"
            );
            seen += 1;
        }
        let shown = |status: &Value| {
            let of = |packets: &Value| packets.as_object().map_or(0, serde_json::Map::len);
            of(&status["services"][0]["packets"]) + of(&status["packets"])
        };
        assert!(
            shown(before) <= seen && seen <= shown(after),
            "{metric}: {seen}"
        );
    }
    Ok(())
}

/// Counters and histograms against the events.
fn transitions_agree(site: &Site) -> anyhow::Result<()> {
    let events: Vec<Value> = site
        .control
        .run(&["events", "--json"])?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let of = |kind: &str, to: &str| {
        events
            .iter()
            .filter(|event| event["kind"] == kind && event["to"] == to)
            .collect::<Vec<_>>()
    };
    for to in ["up", "down"] {
        let counted = site.one(&format!(
            "anycast_service_transitions_total{{service=\"dns\",to=\"{to}\"}}"
        ))?;
        assert_eq!(counted, of("transition", to).len() as f64, "{to}");
        let completed = of("completed", to);
        let phases = |path: fn(&Value) -> &Value| {
            let steps = completed
                .iter()
                .filter_map(|event| path(&event["phases"]).as_f64());
            steps.fold((0, 0.0), |(count, sum), us| (count + 1, sum + us / 1e6))
        };
        type Step = (&'static str, fn(&Value) -> &Value);
        let steps: [Step; 4] = [
            (
                "anycast_transition_decided_seconds",
                |phases| &phases["decided_us"],
            ),
            ("anycast_transition_data_plane_seconds", |phases| {
                &phases["data_plane"]["us"]
            }),
            ("anycast_transition_routes_seconds", |phases| {
                &phases["peers"]["router"]["us"]
            }),
            (
                "anycast_transition_duration_seconds",
                |phases| &phases["total_us"],
            ),
        ];
        for (metric, path) in steps {
            let (count, sum) = phases(path);
            assert!(count > 0, "{metric} to {to}: {completed:?}");
            let counted = site.one(&format!("sum({metric}_count{{to=\"{to}\"}})"))?;
            assert_eq!(counted, f64::from(count), "{metric} to {to}");
            let summed = site.one(&format!("sum({metric}_sum{{to=\"{to}\"}})"))?;
            assert!(
                (summed - sum).abs() < 1e-9,
                "{metric} to {to}: {summed} and {sum}"
            );
        }
    }
    Ok(())
}

/// Every rule of the documentation is one that Prometheus can evaluate on these metrics.
fn rules_are_evaluated(site: &Site) -> anyhow::Result<()> {
    wait::until("every rule is evaluated", SOON, || {
        let answer = site.curl(&[&format!("http://{PROMETHEUS}/api/v1/rules")])?;
        let answer: Value = serde_json::from_str(&answer)?;
        let rules = answer["data"]["groups"][0]["rules"]
            .as_array()
            .context("rules")?;
        assert!(rules.len() >= 5, "{rules:?}");
        if let Some(bad) = rules.iter().find(|rule| rule["health"] == "err") {
            anyhow::bail!("{bad}");
        }
        Ok(rules
            .iter()
            .all(|rule| rule["health"] == "ok")
            .then_some(()))
    })?;
    let firing = site.query("ALERTS{alertstate=\"firing\"}")?;
    assert!(firing.is_empty(), "a healthy node fires {firing:?}");
    Ok(())
}

#[test]
fn promtool_finds_nothing_wrong_with_the_page_and_the_rules() -> anyhow::Result<()> {
    process::run("promtool", &["check", "rules", &rules().to_string_lossy()])?;
    let site = Site::start()?;
    site.live()?;
    let page = site.page()?;
    let mut promtool = process::command("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    promtool
        .stdin
        .take()
        .context("its input")?
        .write_all(page.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
    Ok(())
}

#[test]
fn an_address_that_is_taken_is_said_at_the_start() -> anyhow::Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let listen = taken.local_addr()?.to_string();
    let config = path.join("anycast.toml");
    fs::write(&config, configuration(path).replace(METRICS, &listen))?;
    let output = std::process::Command::new(binary())
        .arg("run")
        .arg("-c")
        .arg(&config)
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("metrics.listen") && said.contains(&listen) && said.contains("in use"),
        "{said}"
    );
    Ok(())
}
