//! tshark as an independent reader of BGP messages. Its fields are compared and not its words: names of fields
//! last, while words change from version to version.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};

use super::{Scratch, run};

/// What tshark makes of one message: its fields and their values.
#[derive(Debug)]
pub struct Dissected(Map<String, Value>);

impl Dissected {
    /// All values of a field (`bgp.cap.type`), in the message's order; numbers are decimal.
    #[must_use]
    pub fn values(&self, field: &str) -> Vec<String> {
        self.0.get(&key(field)).map(values).unwrap_or_default()
    }

    /// The values of all fields whose names begin so. Where each class of errors has a field of its own, new
    /// versions add and rename them.
    #[must_use]
    pub fn values_below(&self, prefix: &str) -> Vec<String> {
        let prefix = key(prefix);
        let fields = self.0.iter().filter(|(name, _)| name.starts_with(&prefix));
        fields.flat_map(|(_, value)| values(value)).collect()
    }

    /// Whether a field has these values, one after the other.
    #[must_use]
    pub fn says(&self, field: &str, wanted: &[&str]) -> bool {
        let values = self.values(field);
        values.windows(wanted.len()).any(|some| some == wanted)
    }

    /// Whether tshark found nothing wrong with it: neither malformed nor worth an expert's note.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !["_ws_malformed", "_ws_expert", "_ws_unreassembled"]
            .iter()
            .any(|sign| self.0.contains_key(*sign))
    }
}

/// The name of a field in this output: with that of its protocol before it, and without points.
fn key(field: &str) -> String {
    format!("bgp_{}", field.replace('.', "_"))
}

fn values(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(self::values).collect(),
        Value::String(text) => vec![decimal(text)],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            vec![value.to_string()]
        }
    }
}

/// Until 4.4, this output has some numbers in hex.
fn decimal(text: &str) -> String {
    text.strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .map_or_else(|| text.to_owned(), |number| number.to_string())
}

/// What tshark makes of messages that one side of a session sent, one packet each.
///
/// # Errors
/// tshark is not installed, or cannot read the capture.
pub fn dissect(messages: &[Vec<u8>]) -> Result<Vec<Dissected>> {
    let scratch = Scratch::new("dissect")?;
    let path = scratch.path().join("session.pcap");
    std::fs::write(&path, capture(messages))?;
    let file = path.to_string_lossy();
    let options = ["-T", "ek", "-o", "tcp.desegment_tcp_streams:FALSE"];
    let text = run("tshark", &[&["-n", "-r", &file], &options[..]].concat())?;
    let packets = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()
        .context("what tshark says")?;
    // A line that names an index stands before each packet's.
    let dissected: Vec<_> = packets.iter().filter_map(of_packet).collect();
    ensure!(
        dissected.len() == messages.len(),
        "{} of {} are read:\n{text}",
        dissected.len(),
        messages.len()
    );
    Ok(dissected)
}

fn of_packet(packet: &Value) -> Option<Dissected> {
    let layers = packet.get("layers")?.as_object()?;
    let mut fields = layers.get("bgp")?.as_object()?.clone();
    // What is wrong may stand beside the message as well.
    let signs = layers.iter().filter(|(name, _)| name.starts_with("_ws_"));
    fields.extend(signs.map(|(name, value)| (name.clone(), value.clone())));
    Some(Dissected(fields))
}

/// A capture file of raw IPv4 packets (link type 101) from port 179.
fn capture(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    // Magic, version 2.4, time zone, accuracy, snapshot length, link type.
    for field in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65535, 101] {
        file.extend_from_slice(&field.to_le_bytes());
    }
    let mut sequence = 1u32;
    for message in messages {
        let length = u32::try_from(message.len()).expect("a message is short");
        for field in [0, 0, length + 40, length + 40] {
            file.extend_from_slice(&field.to_le_bytes());
        }
        file.extend_from_slice(&headers(sequence, length));
        file.extend_from_slice(message);
        sequence += length;
    }
    file
}

/// IPv4 and TCP headers without checksums: the reader does not look at them.
fn headers(sequence: u32, length: u32) -> Vec<u8> {
    let total = u16::try_from(length + 40).expect("a message is short");
    let mut headers = vec![0x45, 0];
    headers.extend_from_slice(&total.to_be_bytes());
    headers.extend_from_slice(&[0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 1, 1, 10, 0, 1, 2]);
    headers.extend_from_slice(&179u16.to_be_bytes());
    headers.extend_from_slice(&40000u16.to_be_bytes());
    headers.extend_from_slice(&sequence.to_be_bytes());
    // Acknowledgement, header length, PSH and ACK, window, checksum, urgent pointer.
    headers.extend_from_slice(&[0, 0, 0, 1, 0x50, 0x18, 0xFF, 0xFF, 0, 0, 0, 0]);
    headers
}
