//! What the kernel says of a node's data plane: through ip(8) and bpftool(8), not through the controller.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::node::{Node, SERVICE};
use super::timeline::plural;
use super::topology::{SERVICE_V4, SERVICE_V6, UPLINK};
use crate::netns::Namespace;
use crate::process;

/// How XDP is attached to a node's interface.
#[derive(Debug)]
pub struct Xdp {
    /// Whether a program is attached.
    pub attached: bool,
    /// Whether it runs in the driver.
    pub native: bool,
    /// What `ip link` says.
    pub text: String,
}

/// Reads `ip link` of the node's interface.
///
/// # Errors
/// When ip(8) fails or its output is not understood.
pub fn xdp(node: &Namespace) -> anyhow::Result<Xdp> {
    let links = ip_json(node, &["-d", "link", "show", "dev", UPLINK])?;
    // if_link.h: XDP_ATTACHED_NONE 0, XDP_ATTACHED_DRV 1, XDP_ATTACHED_SKB 2.
    let program = &links[0]["xdp"];
    let (attached, native) = match program["mode"].as_u64() {
        None | Some(0) => (false, false),
        Some(mode) => (true, mode == 1),
    };
    let name = program["prog"]["name"]
        .as_str()
        .unwrap_or("a program without a name");
    let text = match (attached, native) {
        (false, _) => format!("no XDP program on {UPLINK}"),
        (true, true) => format!("{name} on {UPLINK}, native (xdp)"),
        (true, false) => format!("{name} on {UPLINK}, not native (xdpgeneric)"),
    };
    Ok(Xdp {
        attached,
        native,
        text,
    })
}

/// The Service Addresses that are on the node's loopback interface.
///
/// # Errors
/// When ip(8) fails or its output is not understood.
pub fn service_addresses(node: &Namespace) -> anyhow::Result<Vec<String>> {
    let links = ip_json(node, &["addr", "show", "dev", "lo"])?;
    let addresses = links[0]["addr_info"]
        .as_array()
        .context("ip addr lists addr_info")?;
    Ok(addresses
        .iter()
        .filter_map(|address| address["local"].as_str())
        .filter(|address| [SERVICE_V4, SERVICE_V6].contains(address))
        .map(ToOwned::to_owned)
        .collect())
}

fn ip_json(node: &Namespace, arguments: &[&str]) -> anyhow::Result<Value> {
    let mut command = process::command("ip");
    command.args(["-n", node.name(), "-j"]).args(arguments);
    serde_json::from_str(&process::output(command)?).context("reading what ip prints")
}

/// The maps that a node pins, by the names that users see.
const ADDRESSES: [(&str, &str); 2] = [("ADDRESSES_V4", SERVICE_V4), ("ADDRESSES_V6", SERVICE_V6)];
const SERVICES: &str = "SERVICES";
const INTERFACES: &str = "INTERFACES";
const COUNTERS: &str = "COUNTERS";
/// The ports in the node's configuration.
const PORTS: [&str; 3] = ["udp/53", "tcp/53", "tcp/80"];
/// How the map ABI writes `up`.
const STATE_UP: u64 = 1;
/// How often the numbers are read until none has moved meanwhile.
const ATTEMPTS: u32 = 20;

/// Something that was looked at.
#[derive(Debug)]
pub struct Finding {
    /// Whether it is as it should be.
    pub good: bool,
    /// What there is.
    pub text: String,
}

/// Reads each map that a node pins with `bpftool map dump`, and holds those that follow from the
/// configuration against it.
///
/// # Errors
/// When a map cannot be read, or without field names.
pub fn maps(node: &Node, namespace: &Namespace) -> anyhow::Result<Vec<Finding>> {
    let (pin, id) = (node.pin(), service_id(&node.control().status()?)?);
    let mut findings = Vec::new();
    for (map, service) in ADDRESSES {
        findings.push(addresses(pin, map, service, id)?);
    }
    findings.push(service(pin, id)?);
    findings.push(interface(pin, namespace)?);
    let mut others = Vec::new();
    for entry in fs::read_dir(pin).with_context(|| format!("listing {}", pin.display()))? {
        let map = entry?.file_name().to_string_lossy().into_owned();
        if ![SERVICES, INTERFACES].contains(&&*map)
            && !ADDRESSES.iter().any(|(name, _)| map == *name)
        {
            let entries = dump(pin, &map)?;
            others.push(format!(
                "{map} ({})",
                plural(entries.len(), "entry", "entries")
            ));
        }
    }
    others.sort();
    let text = format!("with field names also {}", others.join(", "));
    findings.push(Finding { good: true, text });
    Ok(findings)
}

fn addresses(pin: &Path, map: &str, service: &str, id: u64) -> anyhow::Result<Finding> {
    let entries = dump(pin, map)?;
    let read: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                address(&entry["key"]["address"]),
                entry["value"]["service"].as_u64(),
            )
        })
        .collect();
    let text: Vec<_> = read
        .iter()
        .map(|(address, owner)| {
            let address = address.map_or("not an address".into(), |address| address.to_string());
            format!("{address} belongs to service {}", owner.unwrap_or_default())
        })
        .collect();
    let good = read == [(Some(service.parse()?), Some(id))];
    Ok(Finding {
        good,
        text: format!("{map}: {}", text.join(", ")),
    })
}

/// An array of octets.
fn address(octets: &Value) -> Option<IpAddr> {
    let octets: Option<Vec<u8>> = octets
        .as_array()?
        .iter()
        .map(number)
        .map(|octet| octet?.try_into().ok())
        .collect();
    let octets = octets?;
    <[u8; 4]>::try_from(octets.as_slice())
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets.as_slice()).map(IpAddr::from))
        .ok()
}

/// bpftool writes small integers as numbers or as hexadecimal strings.
fn number(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok())
}

fn service(pin: &Path, id: u64) -> anyhow::Result<Finding> {
    let entries = dump(pin, SERVICES)?;
    let entry = entries
        .iter()
        .find(|entry| entry["key"].as_u64() == Some(id));
    let value = &entry.with_context(|| format!("{SERVICES} has no entry {id}"))?["value"];
    let ranges = value["ports"].as_array().context("a service has ports")?;
    let ports: Vec<_> = ranges.iter().filter_map(port).collect();
    let state = value["state"].as_u64();
    let text = format!(
        "{SERVICES}: service {id} is in state {}, its ports are {}",
        state.unwrap_or_default(),
        ports.join(" "),
    );
    Ok(Finding {
        good: state == Some(STATE_UP) && ports == PORTS,
        text,
    })
}

fn interface(pin: &Path, namespace: &Namespace) -> anyhow::Result<Finding> {
    let links = ip_json(namespace, &["link", "show", "dev", UPLINK])?;
    let (index, mac) = (links[0]["ifindex"].as_u64(), links[0]["address"].as_str());
    let entries = dump(pin, INTERFACES)?;
    let held: Vec<_> = entries
        .iter()
        .map(|entry| {
            let octets = entry["value"]["mac"].as_array().into_iter().flatten();
            let octets = octets.map(|octet| format!("{:02x}", number(octet).unwrap_or_default()));
            (entry["key"].as_u64(), octets.collect::<Vec<_>>().join(":"))
        })
        .collect();
    let good = matches!(&held[..], [(key, found)] if *key == index && Some(&**found) == mac);
    let text: Vec<_> = held
        .iter()
        .map(|(key, mac)| {
            format!(
                "interface {} has the address {mac}",
                key.unwrap_or_default()
            )
        })
        .collect();
    Ok(Finding {
        good,
        text: format!("{INTERFACES}: {}", text.join(", ")),
    })
}

/// A used entry of the list of ports, as the configuration writes it.
fn port(range: &Value) -> Option<String> {
    let [protocol, first, last] = ["protocol", "first", "last"].map(|field| range[field].as_u64());
    let name = match protocol? {
        0 => return None,
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => other.to_string(),
    };
    let (first, last) = (first?, last?);
    Some(if first == last {
        format!("{name}/{first}")
    } else {
        format!("{name}/{first}-{last}")
    })
}

/// A pinned map's entries, as bpftool prints them with the help of BTF.
///
/// # Errors
/// When bpftool fails, or the map has no BTF.
pub fn dump(pin: &Path, map: &str) -> anyhow::Result<Vec<Value>> {
    let mut command = process::command("bpftool");
    command.args(["map", "dump", "pinned"]).arg(pin.join(map));
    let text = process::output(command)?;
    match serde_json::from_str(&text) {
        Ok(Value::Array(entries)) => Ok(entries),
        _ if text.trim() == "Found 0 elements" => Ok(Vec::new()),
        _ => bail!(
            "bpftool prints no field names of {map}: {}",
            text.lines().next().unwrap_or_default()
        ),
    }
}

type Counts = BTreeMap<(u64, String), (u64, u64)>;

/// Compares every number of packets and bytes in `status` with bpftool's.
///
/// # Errors
/// When one of them cannot be read.
pub fn counters(node: &Node) -> anyhow::Result<Finding> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let before = told(&node.control().status()?)?;
        let held = held(node.pin())?;
        let after = told(&node.control().status()?)?;
        if before == after {
            return Ok(compare(&before, &held));
        }
        last = Some(compare(&after, &held));
    }
    last.context("the counters were read")
}

fn compare(told: &Counts, held: &Counts) -> Finding {
    let differing: Vec<_> = told
        .keys()
        .chain(held.keys())
        .filter(|key| told.get(*key) != held.get(*key))
        .map(|key| {
            format!(
                "{} of service {}: {:?} and {:?}",
                key.1,
                key.0,
                told.get(key),
                held.get(key)
            )
        })
        .collect();
    if !differing.is_empty() {
        return Finding {
            good: false,
            text: differing.join(", "),
        };
    }
    let numbers: Vec<_> = told
        .iter()
        .map(|((_, reason), (packets, _))| format!("{packets} {reason}"))
        .collect();
    Finding {
        good: !told.is_empty(),
        text: numbers.join(", "),
    }
}

/// What `status` says, without zeros.
fn told(status: &Value) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    add(&mut counts, 0, &status["packets"]);
    for service in status["services"]
        .as_array()
        .context("the status lists services")?
    {
        let id = service["id"].as_u64().context("a service has an id")?;
        add(&mut counts, id, &service["packets"]);
    }
    Ok(counts)
}

/// What the map says, without zeros.
fn held(pin: &Path) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    for entry in dump(pin, COUNTERS)? {
        let id = entry["key"].as_u64().context("a key is a number")?;
        for cpu in entry["values"]
            .as_array()
            .context("there is a value per CPU")?
        {
            add(&mut counts, id, &cpu["value"]);
        }
    }
    Ok(counts)
}

fn add(counts: &mut Counts, id: u64, by_reason: &Value) {
    for (reason, count) in by_reason.as_object().into_iter().flatten() {
        let packets = count["packets"].as_u64().unwrap_or_default();
        let bytes = count["bytes"].as_u64().unwrap_or_default();
        if (packets, bytes) != (0, 0) {
            let sum = counts.entry((id, reason.clone())).or_default();
            sum.0 += packets;
            sum.1 += bytes;
        }
    }
}

fn service_id(status: &Value) -> anyhow::Result<u64> {
    let services = status["services"]
        .as_array()
        .context("the status lists services")?;
    let found = services.iter().find(|service| service["name"] == SERVICE);
    found
        .and_then(|service| service["id"].as_u64())
        .context("the status has the service's id")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_read_from_either_way_of_writing_octets() {
        for (octets, want) in [
            (json!([192, 168, 250, 1]), Some("192.168.250.1")),
            (
                json!(["0xc0", "0xa8", "0xfa", "0x01"]),
                Some("192.168.250.1"),
            ),
            (
                json!([0xfd, 0, 2, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
                Some("fd00:250::1"),
            ),
            (json!([1, 2, 3]), None),
            (json!([256, 2, 3, 4]), None),
        ] {
            let want = want.map(|text| text.parse().expect("an address"));
            assert_eq!(address(&octets), want, "{octets}");
        }
    }

    #[test]
    fn a_single_packet_more_is_a_difference() {
        let counts = |packets| Counts::from([((1, "echo".to_owned()), (packets, 98 * packets))]);
        assert!(compare(&counts(2), &counts(2)).good);
        assert!(!compare(&counts(2), &counts(3)).good);
        assert!(!compare(&counts(2), &Counts::new()).good);
        assert!(
            !compare(&Counts::new(), &Counts::new()).good,
            "nothing counted proves nothing"
        );
    }
}
