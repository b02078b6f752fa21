//! The log of verdicts: what the tracing program writes through aya-log, as events of tracing.

use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};

use anycast_common::Reason;
use anycast_common::abi::{Description, Disposition, SAMPLE, Sample};
use anycast_common::iana::{ether_type, protocol};
use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::desired::Ids;
use super::error::DataPlaneError;

/// The target of the events, for filters such as `ANYCAST_LOG=anycast::verdicts=off`.
const TARGET: &str = "anycast::verdicts";

/// The reader of the log. Its descriptor is readable while there are lines.
///
/// The program waits for nobody: while this is not read, or the log is full, lines are lost and packets
/// are not.
pub struct VerdictLog(EbpfLogger<Lines>);

impl VerdictLog {
    pub(super) fn of(ebpf: &mut Ebpf, ids: &Ids) -> Result<Self, DataPlaneError> {
        let lines = Lines { ids: ids.clone() };
        EbpfLogger::init_with_logger(ebpf, lines)
            .map(Self)
            .map_err(|error| DataPlaneError::Load(format!("its log cannot be read: {error}")))
    }

    /// Emits an event for each line there is.
    pub fn flush(&mut self) {
        self.0.flush();
    }
}

impl AsFd for VerdictLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Turns lines into events.
struct Lines {
    ids: Ids,
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        match decode(&line) {
            Some(sample) => emit(&sample, self.ids.name(sample.service)),
            None => tracing::warn!(target: TARGET, line, "a line that is no verdict"),
        }
    }

    fn flush(&self) {}
}

/// A sample from the hexadecimal digits of its bytes.
fn decode(line: &str) -> Option<Sample> {
    let mut bytes = [0; SAMPLE];
    if line.len() != 2 * SAMPLE {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(line.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(Sample::from_bytes(&bytes))
}

fn emit(sample: &Sample, service: Option<&str>) {
    let Description {
        source,
        destination,
        port,
        ..
    } = sample.packet;
    let address = |octets: [u8; 16]| {
        let address = Ipv6Addr::from(octets).to_canonical();
        (sample.packet.is_ip_or_arp()).then(|| tracing::field::display(address))
    };
    tracing::info!(
        target: TARGET,
        verdict = verdict(sample.disposition),
        reason = Reason::from_number(sample.reason).map_or("unknown", Reason::name),
        service,
        source = address(source),
        destination = address(destination),
        protocol = protocol_name(&sample.packet),
        port = (port != 0).then_some(port),
        length = sample.length,
        "verdict"
    );
}

const fn verdict(number: u32) -> &'static str {
    if number == Disposition::Pass as u32 {
        "pass"
    } else if number == Disposition::Drop as u32 {
        "drop"
    } else if number == Disposition::Answer as u32 {
        "answer"
    } else {
        "unknown"
    }
}

/// The protocol's name, or its number where it has none here.
fn protocol_name(packet: &Description) -> String {
    match packet.kind {
        ether_type::IPV4 | ether_type::IPV6 => match packet.protocol {
            protocol::ICMP => "icmp".to_owned(),
            protocol::TCP => "tcp".to_owned(),
            protocol::UDP => "udp".to_owned(),
            protocol::ICMPV6 => "icmpv6".to_owned(),
            protocol::SCTP => "sctp".to_owned(),
            other => other.to_string(),
        },
        ether_type::ARP => "arp".to_owned(),
        other => format!("ethertype {other:#06x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_as_it_was_written() {
        let sample = Sample {
            packet: Description {
                source: [1; 16],
                destination: [2; 16],
                kind: ether_type::IPV6,
                port: 53,
                protocol: protocol::UDP,
                _padding: [0; 3],
            },
            disposition: Disposition::Answer as u32,
            reason: Reason::Identity as u32,
            service: 7,
            length: 90,
        };
        let mut bytes = vec![1; 16];
        bytes.extend([2; 16]);
        bytes.extend(ether_type::IPV6.to_ne_bytes());
        bytes.extend(53_u16.to_ne_bytes());
        bytes.extend([protocol::UDP, 0, 0, 0]);
        for word in [2, Reason::Identity as u32, 7, 90] {
            bytes.extend(word.to_ne_bytes());
        }
        let line: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(decode(&line), Some(sample));
        assert_eq!(decode(&line[2..]), None);
        assert_eq!(decode(&line.replace('0', "x")), None);
    }

    #[test]
    fn protocols_have_their_names_and_the_rest_their_numbers() {
        for (kind, number, name) in [
            (ether_type::IPV4, 17, "udp"),
            (ether_type::IPV6, 58, "icmpv6"),
            (ether_type::IPV4, 47, "47"),
            (ether_type::ARP, 0, "arp"),
            (0x88cc, 0, "ethertype 0x88cc"),
        ] {
            let packet = Description {
                kind,
                protocol: number,
                ..Description::default()
            };
            assert_eq!(protocol_name(&packet), name);
        }
    }
}
