//! tshark as an independent reader of BGP messages.

use anyhow::Result;

use super::{Scratch, run};

/// What tshark makes of messages that one side of a session sent, one packet each, in words.
///
/// # Errors
/// tshark is not installed, or cannot read the capture.
pub fn dissect(messages: &[Vec<u8>]) -> Result<String> {
    let scratch = Scratch::new("dissect")?;
    let path = scratch.path().join("session.pcap");
    std::fs::write(&path, capture(messages))?;
    let file = path.to_string_lossy();
    run(
        "tshark",
        &[
            "-n",
            "-r",
            &file,
            "-V",
            "-O",
            "bgp",
            "-o",
            "tcp.desegment_tcp_streams:FALSE",
        ],
    )
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
