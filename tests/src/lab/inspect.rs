//! What the kernel says of a node's data plane: through ip(8) and bpftool(8), not through the controller.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::node::Node;
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

/// One pinned map.
#[derive(Debug)]
pub struct Map {
    /// The file's name.
    pub name: String,
    /// How many entries, and the fields of one.
    pub summary: String,
    /// Why it cannot be read by name.
    pub error: Option<String>,
}

/// Every map pinned under `pin`, read with `bpftool map dump`.
///
/// # Errors
/// When there is none.
pub fn maps(pin: &Path) -> anyhow::Result<Vec<Map>> {
    let mut names = pinned(pin)?;
    names.sort();
    if names.is_empty() {
        bail!("nothing is pinned under {}", pin.display());
    }
    Ok(names.into_iter().map(|name| describe(pin, name)).collect())
}

fn pinned(pin: &Path) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(pin).with_context(|| format!("listing {}", pin.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let mut show = process::command("bpftool");
        show.args(["-j", "map", "show", "pinned"]).arg(entry.path());
        // Programs and links are pinned here too.
        if process::output(show).is_ok() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn describe(pin: &Path, name: String) -> Map {
    match dump(pin, &name) {
        Ok(entries) => Map {
            summary: summarise(&entries),
            name,
            error: None,
        },
        Err(error) => Map {
            name,
            summary: String::new(),
            error: Some(format!("{error:#}")),
        },
    }
}

/// A pinned map's entries, as bpftool prints them with the help of BTF.
///
/// # Errors
/// When bpftool fails, or the map has no BTF.
pub fn dump(pin: &Path, name: &str) -> anyhow::Result<Vec<Value>> {
    let mut command = process::command("bpftool");
    command.args(["map", "dump", "pinned"]).arg(pin.join(name));
    let text = process::output(command)?;
    match serde_json::from_str(&text) {
        Ok(Value::Array(entries)) => Ok(entries),
        _ if text.trim().is_empty() || text.contains("Found 0 elements") => Ok(Vec::new()),
        _ => bail!(
            "bpftool prints no field names: {}",
            text.lines().next().unwrap_or_default()
        ),
    }
}

fn summarise(entries: &[Value]) -> String {
    let first = entries.first().map(|entry| {
        let value = if entry["value"].is_null() {
            &entry["values"][0]["value"]
        } else {
            &entry["value"]
        };
        let fields: Vec<_> = value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        fields.join(", ")
    });
    match first.as_deref() {
        None => "empty".into(),
        Some("") => super::timeline::plural(entries.len(), "entry"),
        Some(fields) => format!(
            "{}: {fields}",
            super::timeline::plural(entries.len(), "entry")
        ),
    }
}

/// The controller's numbers beside bpftool's.
#[derive(Debug)]
pub struct Comparison {
    /// Whether they are the same.
    pub equal: bool,
    /// The numbers, or what differs.
    pub text: String,
}

/// Compares the packet counters in `status` with those in the map.
///
/// # Errors
/// When one of them cannot be read.
pub fn compare_counters(node: &Node) -> anyhow::Result<Comparison> {
    let _ = (node, BTreeMap::<String, u64>::new());
    bail!("no counters to compare")
}
