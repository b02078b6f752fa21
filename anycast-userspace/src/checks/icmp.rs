//! The `icmp` check: one echo and its reply.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use anycast_common::checksum;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::Subject;
use super::combine::every;
use super::probe::{Failure, targets};
use crate::config::check::IcmpCheck;
use crate::health::Outcome;

/// Type, code, checksum, identifier, sequence (RFC 792; RFC 4443 §4.1).
const HEADER_LENGTH: usize = 8;
const PAYLOAD: [u8; 16] = *b"anycast icmp 1.0";
/// Room for an answer and, on a raw IPv4 socket, its IP header.
const BUFFER: usize = 512;

pub(super) struct IcmpProbe {
    targets: Vec<SocketAddr>,
    identifier: u16,
    sequence: AtomicU16,
}

/// The numbers of one family's echo.
struct Echo {
    domain: Domain,
    protocol: Protocol,
    request: u8,
    reply: u8,
}

fn echo_of(address: IpAddr) -> Echo {
    match address {
        IpAddr::V4(_) => Echo {
            domain: Domain::IPV4,
            protocol: Protocol::ICMPV4,
            request: 8,
            reply: 0,
        },
        IpAddr::V6(_) => Echo {
            domain: Domain::IPV6,
            protocol: Protocol::ICMPV6,
            request: 128,
            reply: 129,
        },
    }
}

impl IcmpProbe {
    pub(super) fn new(check: &IcmpCheck, subject: &Subject<'_>) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let process = std::process::id();
        Self {
            targets: targets(check.target, subject, 0),
            // Two checks of one process, and most processes of one host, differ.
            identifier: NEXT.fetch_add(1, Ordering::Relaxed)
                ^ u16::from_be_bytes([process.to_le_bytes()[0], 0]),
            sequence: AtomicU16::new(0),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        every(&self.targets, |target| self.one(*target)).await
    }

    async fn one(&self, target: SocketAddr) -> Result<Cow<'static, str>, Failure> {
        let echo = echo_of(target.ip());
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let (socket, raw) = open(&echo)?;
        socket.set_nonblocking(true)?;
        socket.connect(&target.into())?;
        socket.send(&message(&echo, self.identifier, sequence))?;
        let socket = UdpSocket::from_std(socket.into())?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let answer = icmp_of(&buffer[..length], raw && target.is_ipv4());
            if self.is_reply(&echo, answer, sequence, raw) {
                return Ok(Cow::Borrowed("echo reply"));
            }
        }
    }

    /// A raw socket also sees other processes' replies, and on the loopback its own request.
    fn is_reply(&self, echo: &Echo, answer: &[u8], sequence: u16, raw: bool) -> bool {
        let word = |at: usize| {
            answer
                .get(at..at + 2)
                .map(|word| u16::from_be_bytes([word[0], word[1]]))
        };
        answer.first() == Some(&echo.reply)
            && (!raw || word(4) == Some(self.identifier))
            && word(6) == Some(sequence)
            && answer.get(HEADER_LENGTH..) == Some(&PAYLOAD)
    }
}

/// An unprivileged echo socket where the kernel's `ping_group_range` allows it (the kernel then owns the
/// identifier), else a raw one.
fn open(echo: &Echo) -> io::Result<(Socket, bool)> {
    match Socket::new(echo.domain, Type::DGRAM, Some(echo.protocol)) {
        Ok(socket) => Ok((socket, false)),
        Err(_) => Ok((
            Socket::new(echo.domain, Type::RAW, Some(echo.protocol))?,
            true,
        )),
    }
}

fn message(echo: &Echo, identifier: u16, sequence: u16) -> [u8; HEADER_LENGTH + PAYLOAD.len()] {
    let mut message = [0; HEADER_LENGTH + PAYLOAD.len()];
    message[0] = echo.request;
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    message[6..8].copy_from_slice(&sequence.to_be_bytes());
    message[HEADER_LENGTH..].copy_from_slice(&PAYLOAD);
    // For ICMPv6 the kernel writes it, with the pseudo-header (RFC 3542 §3.1).
    let checksum = !checksum::fold(checksum::sum(&message));
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// What follows the IPv4 header, where there is one.
fn icmp_of(packet: &[u8], with_ip_header: bool) -> &[u8] {
    if !with_ip_header {
        return packet;
    }
    let header = packet
        .first()
        .map_or(0, |first| usize::from(first & 0x0f) * 4);
    packet.get(header..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reply_to_this_very_echo_is_taken_for_one() {
        let probe = IcmpProbe {
            targets: Vec::new(),
            identifier: 0x1234,
            sequence: AtomicU16::new(0),
        };
        let echo = echo_of(IpAddr::from([127, 0, 0, 1]));
        let reply = |change: fn(&mut Vec<u8>)| {
            let mut reply = message(&echo, 0x1234, 7).to_vec();
            reply[0] = echo.reply;
            change(&mut reply);
            reply
        };
        let cases: [(&str, Vec<u8>, bool, bool); 7] = [
            ("the reply", reply(|_| {}), true, true),
            ("the request itself", reply(|m| m[0] = 8), false, false),
            ("an error message", reply(|m| m[0] = 3), false, false),
            ("another's identifier", reply(|m| m[4] = 0), false, true),
            ("an older sequence", reply(|m| m[7] = 6), false, false),
            ("another payload", reply(|m| m[8] = 0), false, false),
            ("cut short", reply(|m| m.truncate(20)), false, false),
        ];
        for (name, answer, raw, cooked) in cases {
            assert_eq!(probe.is_reply(&echo, &answer, 7, true), raw, "{name}, raw");
            // The kernel filters, and replaces, identifiers on a socket that is not raw.
            assert_eq!(probe.is_reply(&echo, &answer, 7, false), cooked, "{name}");
        }
    }

    #[test]
    fn the_ip_header_of_a_raw_ipv4_socket_is_skipped_whatever_its_length() {
        let packet = |words: u8| {
            [
                vec![0x40 | words; 1],
                vec![0; usize::from(words) * 4 - 1],
                vec![7; 3],
            ]
            .concat()
        };
        for words in [5, 6, 15] {
            assert_eq!(icmp_of(&packet(words), true), [7; 3]);
        }
        assert_eq!(icmp_of(&[7; 3], false), [7; 3]);
        assert_eq!(icmp_of(&[0x4f, 0, 0], true), [0; 0]);
        assert_eq!(icmp_of(&[], true), [0; 0]);
    }
}
