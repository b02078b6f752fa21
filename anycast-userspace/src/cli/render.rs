//! Text for people: `status` and `events`.

use std::fmt::Write as _;
use std::time::Duration;

use super::render_routes;
use crate::control::protocol::{AddressStatus, Packets, ServiceStatus, Status};
use crate::events::{Completion, Event, EventKind, Phases};
use crate::state::ServiceState;

/// The whole node on one screen.
pub(super) fn status(status: &Status) -> String {
    let mut out = format!(
        "{}  anycast {}  pid {}  since {:.0}\n",
        status.node, status.version, status.pid, status.started_at
    );
    for interface in &status.interfaces {
        line(
            &mut out,
            format_args!(
                "interface {}  {}{}",
                interface.name,
                interface.mode,
                interface
                    .note
                    .as_ref()
                    .map_or(String::new(), |note| format!("  ({note})"))
            ),
        );
    }
    for peer in &status.peers {
        line(&mut out, format_args!("{}", one_peer(peer)));
    }
    for service in &status.services {
        out.push('\n');
        one_service(&mut out, service);
    }
    out.push('\n');
    packets(&mut out, "packets of no service", &status.packets);
    out
}

fn one_peer(peer: &serde_json::Value) -> String {
    if !peer["prefix"].is_null() {
        return render_routes::group(peer);
    }
    let text = |field: &str| match &peer[field] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!(
        "peer {}  {} AS{}  {}  for {}  announced {}  {}",
        text("name"),
        render_routes::place(peer),
        render_routes::remote_as(&peer["remote_as"]),
        text("state"),
        text("for"),
        peer["routes"].as_array().map_or(0, Vec::len),
        text("reason"),
    )
}

fn one_service(out: &mut String, service: &ServiceStatus) {
    line(
        out,
        format_args!(
            "service {}  {}  for {:#}  {}",
            service.name,
            service.state,
            coarse(Duration::from_millis(service.for_ms)),
            service.reason
        ),
    );
    let shown: Vec<String> = service.addresses.iter().map(ToString::to_string).collect();
    let more = service.address_count.saturating_sub(shown.len());
    line(
        out,
        format_args!(
            "  addresses {}{}  ports {}  announced {}",
            shown.join(" "),
            if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            },
            service.ports.join(" "),
            service.announced
        ),
    );
    for word in &service.words {
        let left = word.left_ms.map_or(String::new(), |left| {
            format!("  ({:#} left)", coarse(Duration::from_millis(left)))
        });
        line(
            out,
            format_args!(
                "  {} by {}: {}{left}",
                word.word.as_str(),
                word.source,
                word.reason
            ),
        );
    }
    if let Some(held) = held(service) {
        line(out, format_args!("  {held}"));
    }
    if let Some(last) = &service.last_change {
        line(out, format_args!("  last change {}", phases(last)));
    }
    for check in &service.checks {
        line(
            out,
            format_args!(
                "  check {}  {}  {} ms  {}",
                check.name,
                check.verdict,
                millis(check.took_us),
                check.output
            ),
        );
    }
    packets(out, "  packets", &service.packets);
}

/// What keeps a service from getting better whatever its checks say, and the penalty for its flaps.
fn held(service: &ServiceStatus) -> Option<String> {
    let penalty = service.penalty.map(f64::round);
    let penalty = penalty.filter(|penalty| *penalty > 0.0);
    let penalty = penalty.map(|penalty| format!("flap penalty {penalty}"));
    let held = service.held_until.map(|until| {
        let by = if service.suppressed {
            "suppressed for flapping"
        } else {
            "held"
        };
        let left = Duration::from_millis(service.held_left_ms.unwrap_or(0));
        format!("{by} until {until:.0}  ({:#} left)", coarse(left))
    });
    match (held, penalty) {
        (Some(held), Some(penalty)) => Some(format!("{held}  {penalty}")),
        (held, penalty) => held.or(penalty),
    }
}

/// A line for each Service Address.
pub(super) fn addresses(addresses: &[AddressStatus]) -> String {
    let mut out = String::new();
    let mut shown = None;
    for address in addresses {
        if shown != Some(&address.service) {
            line(&mut out, format_args!("service {}", address.service));
            shown = Some(&address.service);
        }
        let AddressStatus {
            passed,
            dropped,
            answered,
            ..
        } = address;
        line(
            &mut out,
            format_args!(
                "  {}  passed {} ({} bytes)  dropped {} ({} bytes)  answered {} ({} bytes)",
                address.address,
                passed.packets,
                passed.bytes,
                dropped.packets,
                dropped.bytes,
                answered.packets,
                answered.bytes
            ),
        );
    }
    out
}

fn packets(out: &mut String, title: &str, packets: &Packets) {
    let total: u64 = packets.values().map(|count| count.packets).sum();
    line(out, format_args!("{title} {total}"));
    for (reason, count) in packets.iter().filter(|(_, count)| count.packets > 0) {
        line(
            out,
            format_args!("    {reason}  {}  ({} bytes)", count.packets, count.bytes),
        );
    }
}

/// One event on one line.
pub(super) fn event(event: &Event, colour: bool) -> String {
    let at = event.at.to_zoned(jiff::tz::TimeZone::system());
    format!(
        "{}  {}",
        at.strftime("%F %T%.3f"),
        what(&event.kind, colour)
    )
}

fn what(kind: &EventKind, colour: bool) -> String {
    match kind {
        EventKind::Started { node } => format!("started as {node}"),
        EventKind::Stopping { reason } => format!("stopping: {reason}"),
        EventKind::Detected {
            service,
            verdict,
            reason,
            decided_us,
        } => format!("{service}: checks say {verdict}: {reason} (decided in {decided_us} µs)"),
        EventKind::Transition {
            service,
            from,
            to,
            reason,
            ..
        } => format!("{service}: {from} → {}: {reason}", painted(*to, colour)),
        EventKind::Completed {
            service,
            to,
            outcome,
            phases: steps,
            ..
        } => match outcome {
            Completion::Done => format!("{service}: {to} is done: {}", phases(steps)),
            Completion::Superseded | Completion::Stopping => {
                format!("{service}: {to} is {}: {}", outcome.as_str(), phases(steps))
            }
        },
        EventKind::Operator {
            service,
            word,
            source,
            reason,
        } => format!("{service}: operator says {word} by {source}: {reason}"),
        EventKind::DataPlaneDown { service, .. } => {
            format!("{service}: the kernel has taken it down in the data plane")
        }
        EventKind::DataPlaneApplied {
            generation,
            writes,
            took_us,
        } => {
            format!("data plane holds generation {generation} ({writes} map writes, {took_us} µs)")
        }
        EventKind::DataPlaneFailed { generation, reason } => {
            format!("data plane refused generation {generation}: {reason}")
        }
        EventKind::RouteAnnounced {
            peer,
            generation,
            prefixes,
            took_us,
        } => format!("peer {peer}: {prefixes} announced (generation {generation}, {took_us} µs)"),
        EventKind::RouteWithdrawn {
            peer,
            generation,
            prefixes,
            took_us,
        } => format!("peer {peer}: {prefixes} withdrawn (generation {generation}, {took_us} µs)"),
        EventKind::PeerUp { peer } => format!("peer {peer}: established"),
        EventKind::PeerDown { peer, reason } => format!("peer {peer}: down: {reason}"),
        EventKind::Missed { events } => format!("({events} events missed: read faster)"),
    }
}

/// What each step took, counted from the detection.
fn phases(phases: &Phases) -> String {
    let mut text = format!("decided {} ms", millis(phases.decided_us));
    if let Some(map) = phases.data_plane {
        let by = map.by.as_str();
        text += &format!(", data plane {} ms (by the {by})", millis(map.us));
    }
    for (peer, phase) in &phases.peers {
        let sent = phase.sent.as_str().replace('_', " ");
        text += &match phase.us {
            Some(us) => format!(", {peer} {sent} {} ms", millis(us)),
            None => format!(", {peer} not yet {sent}"),
        };
    }
    text
}

fn painted(state: ServiceState, colour: bool) -> String {
    if !colour {
        return state.to_string();
    }
    let code = match state {
        ServiceState::Up => 32,
        ServiceState::Degraded | ServiceState::Draining => 33,
        ServiceState::Down => 31,
        ServiceState::Init | ServiceState::Disabled => 36,
    };
    format!("\u{1b}[{code}m{state}\u{1b}[0m")
}

fn coarse(span: Duration) -> jiff::SignedDuration {
    let whole = if span.as_secs() >= 10 {
        Duration::from_secs(span.as_secs())
    } else {
        Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    };
    jiff::SignedDuration::try_from(whole).unwrap_or(jiff::SignedDuration::MAX)
}

fn millis(micros: u64) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_s_line_says_what_holds_it_until_when_and_its_penalty() {
        let service: ServiceStatus = serde_json::from_value(serde_json::json!({
            "name": "dns", "id": 1, "state": "down", "reason": "", "for_ms": 1, "addresses": [],
            "address_count": 0, "ports": [], "checks": [], "announced": 0, "packets": {},
        }))
        .expect("what an older daemon answers");
        let until = Some("2026-01-02T03:04:05Z".parse().expect("a time"));
        // until when, milliseconds left, penalty, suppressed
        let cases = [
            (None, None, None, false, None),
            (None, None, Some(0.2), false, None),
            (None, None, Some(812.4), false, Some("flap penalty 812")),
            (
                until,
                Some(4000),
                None,
                false,
                Some("held until 2026-01-02T03:04:05Z  (4s left)"),
            ),
            (
                until,
                Some(90_000),
                Some(1834.5),
                true,
                Some(
                    "suppressed for flapping until 2026-01-02T03:04:05Z  (1m 30s left)  flap penalty 1835",
                ),
            ),
        ];
        for (held_until, held_left_ms, penalty, suppressed, want) in cases {
            let service = ServiceStatus {
                held_until,
                held_left_ms,
                penalty,
                suppressed,
                ..service.clone()
            };
            assert_eq!(held(&service).as_deref(), want);
            let mut out = String::new();
            one_service(&mut out, &service);
            let shown = want.is_none_or(|want| out.contains(&format!("\n  {want}\n")));
            assert!(shown, "{out}");
        }
    }
}
