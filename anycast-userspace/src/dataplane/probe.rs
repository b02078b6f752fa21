//! Running the loaded programs on synthetic packets (BPF_PROG_TEST_RUN).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anycast_common::abi::Disposition;
use anycast_common::iana::{ether_type, icmp, icmpv6, protocol};
use anycast_common::{Reason, checksum};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};

use super::error::DataPlaneError;

/// Room for what a program may add to a frame.
const GROWTH: usize = 128;
/// The source of synthetic packets: documentation prefixes (RFC 5737, RFC 3849), never on the wire. The
/// second is for the address that is the first: a packet from an address to itself is dropped.
const SOURCES_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
const SOURCES_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
];

/// What one run of a program did with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The XDP action's number.
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

/// A verdict of the loaded program, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Passed, dropped or answered.
    pub disposition: Disposition,
    /// Why.
    pub reason: Reason,
    /// The name of the service that the packet belongs to.
    pub service: Option<String>,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

pub(super) fn run(program: &Xdp, frame: &[u8]) -> Result<Outcome, DataPlaneError> {
    let mut after = vec![0; frame.len() + GROWTH];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut after),
            ..TestRunOptions::new()
        })
        .map_err(DataPlaneError::Run)?;
    after.truncate(result.data_size_out as usize);
    Ok(Outcome {
        action: result.return_value,
        frame: after,
    })
}

/// An echo request to `address`, in an Ethernet frame.
pub(super) fn echo_request(address: IpAddr) -> Vec<u8> {
    let mut frame = vec![0; 12];
    match address {
        IpAddr::V4(address) => {
            let source = other_than(address, SOURCES_V4).octets();
            frame.extend(ether_type::IPV4.to_be_bytes());
            let mut header = [0; 20];
            header[0] = 0x45;
            header[3] = 28;
            header[8] = 64;
            header[9] = protocol::ICMP;
            header[12..16].copy_from_slice(&source);
            header[16..20].copy_from_slice(&address.octets());
            let sum = !checksum::fold(checksum::sum(&header));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend(header);
            let mut message = [icmp::ECHO_REQUEST, 0, 0, 0, 0, 1, 0, 1];
            let sum = !checksum::fold(checksum::sum(&message));
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            frame.extend(message);
        }
        IpAddr::V6(address) => {
            let source = other_than(address, SOURCES_V6).octets();
            frame.extend(ether_type::IPV6.to_be_bytes());
            frame.extend([0x60, 0, 0, 0, 0, 8, protocol::ICMPV6, 64]);
            frame.extend(source);
            frame.extend(address.octets());
            let mut message = [icmpv6::ECHO_REQUEST, 0, 0, 0, 0, 1, 0, 1];
            let pseudo = checksum::sum(&source)
                + checksum::sum(&address.octets())
                + 8
                + u32::from(protocol::ICMPV6);
            let sum = !checksum::fold(pseudo + checksum::sum(&message));
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            frame.extend(message);
        }
    }
    frame
}

fn other_than<T: PartialEq + Copy>(address: T, [first, second]: [T; 2]) -> T {
    if address == first { second } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_never_comes_from_the_address_that_it_goes_to() {
        for (address, source) in [
            ("192.168.250.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.2"),
            ("192.0.2.2", "192.0.2.1"),
            ("fd00:250::1", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::2"),
            ("2001:db8::2", "2001:db8::1"),
        ] {
            let frame = echo_request(address.parse().unwrap());
            let found = match address.contains(':') {
                false => IpAddr::from(<[u8; 4]>::try_from(&frame[26..30]).unwrap()),
                true => IpAddr::from(<[u8; 16]>::try_from(&frame[22..38]).unwrap()),
            };
            assert_eq!(found, source.parse::<IpAddr>().unwrap(), "to {address}");
        }
    }
}
