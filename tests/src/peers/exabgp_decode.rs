//! ExaBGP's decoder as an independent reader of OPENs and UPDATEs.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Scratch;

const SCRIPT: &str = include_str!("exabgp_decode.py");
/// Debian's interpreter, which has Debian's ExaBGP.
const PYTHON: &str = "/usr/bin/python3";

/// What ExaBGP, in AS `local_as`, makes of messages that AS 64512 has sent it: one value each.
///
/// # Errors
/// ExaBGP is not installed, or cannot read one of them.
pub fn exabgp_decode(local_as: u32, messages: &[Vec<u8>]) -> Result<Vec<Value>> {
    let scratch = Scratch::new("exabgp-decode")?;
    let path = scratch.path().join("exabgp.conf");
    let neighbor = format!(
        "neighbor 10.0.1.1 {{\n router-id 10.0.1.2;\n local-address 10.0.1.2;\n local-as {local_as};\n\
         peer-as 64512;\n capability {{ nexthop enable; }}\n family {{ ipv4 unicast; ipv6 unicast; }}\n\
         nexthop {{ ipv4 unicast ipv6; }}\n}}\n"
    );
    std::fs::write(&path, neighbor)?;
    let mut python = Command::new(PYTHON)
        .args(["-c", SCRIPT])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start python3")?;
    let hex: String = messages
        .iter()
        .flat_map(|octets| {
            octets
                .iter()
                .map(|octet| format!("{octet:02x}"))
                .chain(["\n".to_owned()])
        })
        .collect();
    let mut input = python.stdin.take().context("a pipe")?;
    let writing = std::thread::spawn(move || input.write_all(hex.as_bytes()));
    let output = python.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "ExaBGP cannot read it:\n{complaint}"
    );
    // It has read them all.
    let _ = writing.join();
    let text = String::from_utf8(output.stdout)?;
    let values: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("ExaBGP says `{line}`")))
        .collect::<Result<_>>()?;
    ensure!(
        values.len() == messages.len(),
        "{} of {} are read:\n{complaint}",
        values.len(),
        messages.len()
    );
    Ok(values)
}
