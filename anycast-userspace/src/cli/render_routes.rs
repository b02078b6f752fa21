//! Text for people: `routes`.

use std::fmt::Write as _;

use serde_json::Value;

/// Every peer with its session, its announcements and its last errors.
pub(super) fn routes(peers: &[Value]) -> String {
    if peers.is_empty() {
        return "no BGP peers are configured".to_owned();
    }
    let mut out = String::new();
    for peer in peers {
        if !peer["prefix"].is_null() {
            line(&mut out, &group(peer));
            out.push('\n');
            continue;
        }
        session(&mut out, peer);
        negotiated(&mut out, &peer["negotiated"]);
        messages(&mut out, &peer["messages"]);
        announced(&mut out, &peer["routes"]);
        for (label, field) in [
            ("told the peer", "last_error_sent"),
            ("told by the peer", "last_error_received"),
        ] {
            let error = &peer[field];
            if !error.is_null() {
                let said = notification(&error["notification"]);
                line(
                    &mut out,
                    &format!("  last error {label}: {said}, {} ago", text(&error["ago"])),
                );
            }
        }
        if !peer["bfd"].is_null() {
            line(&mut out, &liveness(&peer["bfd"]));
        }
        out.push('\n');
    }
    out
}

fn liveness(bfd: &Value) -> String {
    let state = text(&bfd["state"]);
    match &bfd["authentication_error"] {
        Value::String(error) => format!("  BFD {state}; packets are discarded: {error}"),
        _ => format!("  BFD {state}"),
    }
}

/// The peers of a prefix as a whole; `status` shows the same line.
pub(super) fn group(group: &Value) -> String {
    let mut shown = format!(
        "peers {}  {} AS{}  {} of at most {} connected",
        text(&group["name"]),
        text(&group["prefix"]),
        remote_as(&group["remote_as"]),
        text(&group["sessions"]),
        text(&group["limit"]),
    );
    if group["refused"] != 0 {
        let _infallible = write!(shown, ", {} refused", text(&group["refused"]));
    }
    shown
}

/// Where a peer is: its address, its interface, or both.
pub(super) fn place(peer: &Value) -> String {
    match (&peer["address"], &peer["interface"]) {
        (Value::String(address), Value::String(interface)) => format!("{address}%{interface}"),
        (Value::String(address), _) => address.clone(),
        (_, interface) => text(interface),
    }
}

/// AS numbers as they are configured.
pub(super) fn remote_as(value: &Value) -> String {
    match value {
        Value::Array(_) => format!(" {}", list(value)),
        Value::String(words) => format!(" {words}"),
        other => text(other),
    }
}

fn session(out: &mut String, peer: &Value) {
    line(
        out,
        &format!(
            "peer {}  {} AS{}  {} for {}: {}",
            text(&peer["name"]),
            place(peer),
            remote_as(&peer["remote_as"]),
            text(&peer["state"]),
            text(&peer["for"]),
            text(&peer["reason"]),
        ),
    );
    if !peer["next_attempt_in"].is_null() {
        let wait = text(&peer["next_attempt_in"]);
        line(out, &format!("  next attempt in {wait}"));
    }
    for reason in peer["held"].as_array().into_iter().flatten() {
        line(out, &format!("  held back: {}", text(reason)));
    }
}

fn negotiated(out: &mut String, agreed: &Value) {
    if agreed.is_null() {
        return;
    }
    line(
        out,
        &format!(
            "  {} to {}  identifier {}  hold time {}  keepalive {}",
            text(&agreed["local_address"]),
            text(&agreed["remote_address"]),
            text(&agreed["remote_router_id"]),
            text(&agreed["hold_time"]),
            text(&agreed["keepalive_interval"]),
        ),
    );
    line(
        out,
        &format!(
            "  families {}  the peer can {}",
            list(&agreed["families"]),
            list(&agreed["peer_capabilities"])
        ),
    );
    if !agreed["roles"].is_null() {
        line(out, &format!("  our role {}", text(&agreed["roles"])));
    }
}

/// A NOTIFICATION: its name, code and subcode, and what the other side's operator wrote.
fn notification(said: &Value) -> String {
    let mut shown = format!(
        "{} ({}/{})",
        text(&said["meaning"]),
        text(&said["code"]),
        text(&said["subcode"])
    );
    if let Value::String(words) = &said["communication"] {
        let _infallible = write!(shown, ": \"{words}\"");
    }
    shown
}

fn messages(out: &mut String, messages: &Value) {
    let counts = |direction: &str| {
        let counts = messages[direction].as_object();
        counts
            .into_iter()
            .flatten()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    line(out, &format!("  sent {}", counts("sent")));
    line(out, &format!("  received {}", counts("received")));
}

fn announced(out: &mut String, routes: &Value) {
    for route in routes.as_array().into_iter().flatten() {
        let attributes = route["attributes"].as_object();
        let attributes: Vec<String> = attributes
            .into_iter()
            .flatten()
            .map(|(name, value)| match value {
                Value::Array(_) => format!("{name} {}", list(value)),
                other => format!("{name} {}", text(other)),
            })
            .collect();
        line(
            out,
            &format!(
                "  {} via {}  {}",
                text(&route["prefix"]),
                text(&route["next_hop"]),
                attributes.join("  ")
            ),
        );
    }
}

fn list(values: &Value) -> String {
    let values = values.as_array();
    values
        .into_iter()
        .flatten()
        .map(text)
        .collect::<Vec<_>>()
        .join(", ")
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_peer_is_shown_with_session_routes_and_errors_in_words() {
        let peer = json!({
            "name": "r1", "address": "10.0.1.1", "remote_as": 65001, "state": "established",
            "for": "5s", "reason": "the peer's KEEPALIVE",
            "negotiated": {"local_address": "10.0.1.2:40000", "remote_address": "10.0.1.1:179",
                "remote_router_id": "10.0.1.1", "hold_time": "90s", "keepalive_interval": "30s",
                "families": ["ipv4"], "peer_capabilities": ["route refresh"]},
            "messages": {"sent": {"update": 2}, "received": {"keepalive": 1}},
            "routes": [{"prefix": "192.0.2.1/32", "next_hop": "10.0.1.2",
                "attributes": {"med": 10, "communities": ["64512:100"]}}],
            "last_error_received": {"ago": "1m", "notification": {
                "code": 6, "subcode": 2, "meaning": "Administrative Shutdown",
                "communication": "upgrade"}},
            "held": ["3 IPv6 prefixes have no next hop"],
        });
        let shown = routes(&[peer]);
        for wanted in [
            "peer r1  10.0.1.1 AS65001  established for 5s",
            "hold time 90s",
            "families ipv4  the peer can route refresh",
            "sent update 2",
            "192.0.2.1/32 via 10.0.1.2  communities 64512:100  med 10",
            "last error told by the peer: Administrative Shutdown (6/2): \"upgrade\", 1m ago",
            "held back: 3 IPv6 prefixes",
        ] {
            assert!(shown.contains(wanted), "{wanted} is not in\n{shown}");
        }
        assert_eq!(routes(&[]), "no BGP peers are configured");
    }

    #[test]
    fn prefixes_and_interfaces_are_shown_as_they_are_configured() {
        let rack = json!({
            "name": "rack", "prefix": "10.0.0.0/24", "remote_as": ["65001-65010"],
            "sessions": 2, "limit": 100, "refused": 1,
        });
        assert_eq!(
            routes(&[rack]).trim_end(),
            "peers rack  10.0.0.0/24 AS 65001-65010  2 of at most 100 connected, 1 refused"
        );
        let leaf = json!({
            "name": "leaf", "interface": "eth0", "remote_as": "external", "state": "active",
            "for": "5s", "reason": "waiting for a router advertisement on eth0",
        });
        assert!(routes(&[leaf]).starts_with("peer leaf  eth0 AS external  active for 5s: waiting"));
    }
}
