//! Every checksum that an answer carries, over all 65,536 values of what it depends on. The sums here are
//! this test's own.
#![cfg(feature = "user")]

use std::net::IpAddr;

use anycast_common::abi::{self, Identity, RECORD, Service, feature, policy};
use anycast_common::host::HostTables;
use anycast_common::{Action, Reason};

const V4: [[u8; 4]; 2] = [[198, 51, 100, 7], [192, 0, 2, 1]];
const V6: [[u8; 16]; 2] = [
    [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
    [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
];
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// A service that is up, answers everything and serves nothing.
fn tables() -> HostTables {
    let mut tables = HostTables {
        features: feature::ALL,
        mac: Some([2, 0, 0, 0, 0, 1]),
        identity: Some(identity()),
        now: 1,
        ..HostTables::default()
    };
    let entry = Service {
        state: abi::UP,
        unlisted: policy::REJECT,
        neighbor: 1,
        identity: 1,
        ..Service::default()
    };
    tables.services.insert(1, entry);
    tables.own(IpAddr::from(V4[1]), 1);
    tables.own(IpAddr::from(V6[1]), 1);
    tables
}

/// The records of a node named `city-a`.
fn identity() -> Identity {
    let mut bytes = b"\xc0\x0c\0\x10\0\x03\0\0\0\0\0\x07\x06city-a".to_vec();
    let txt = bytes.len();
    bytes.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
    // They start at an odd offset.
    let odd = |bytes: &[u8]| words(&[&[0], bytes].concat());
    let mut identity = Identity {
        txt: u16::try_from(txt).unwrap(),
        both: u16::try_from(bytes.len()).unwrap(),
        txt_sum: odd(&bytes[..txt]),
        both_sum: odd(&bytes),
        record: [0; RECORD],
    };
    identity.record[..bytes.len()].copy_from_slice(&bytes);
    identity
}

/// The plain sum of 16-bit words.
fn words(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}

/// RFC 1071: the complement of the sum with end-around carry.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum = words(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

fn pseudo(frame: &[u8], protocol: u8) -> Vec<u8> {
    let (addresses, transport) = match frame[12] {
        0x08 => (26..34, 34),
        _ => (22..54, 54),
    };
    let mut covered = frame[addresses].to_vec();
    covered.extend(
        u32::try_from(frame.len() - transport)
            .unwrap()
            .to_be_bytes(),
    );
    covered.extend([0, 0, 0, protocol]);
    covered.extend(&frame[transport..]);
    covered
}

/// What the transport's checksum covers.
fn covered(frame: &[u8], protocol: u8) -> Vec<u8> {
    if protocol == ICMP {
        frame[34..].to_vec()
    } else {
        pseudo(frame, protocol)
    }
}

/// A packet of either family with correct checksums; that of the transport header is at `at`.
fn packet(
    v4: bool,
    identification: u16,
    hops: u8,
    protocol: u8,
    body: &[u8],
    at: usize,
) -> Vec<u8> {
    let mut frame = vec![2; 12];
    let transport = if v4 {
        let total = u16::try_from(20 + body.len()).unwrap();
        frame.extend([0x08, 0, 0x45, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend(identification.to_be_bytes());
        frame.extend([0, 0, hops, protocol, 0, 0]);
        frame.extend(V4.concat());
        let sum = checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum);
        34
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        frame.extend([protocol, hops]);
        frame.extend(V6.concat());
        54
    };
    frame.extend(body);
    let sum = checksum(&covered(&frame, protocol));
    frame[transport + at..][..2].copy_from_slice(&sum);
    frame
}

/// Answers the frame, and finds all checksums of the answer to verify.
fn check(tables: &HostTables, mut frame: Vec<u8>, reason: Reason, protocol: u8, what: u16) {
    let verdict = tables.run(&mut frame);
    assert!(
        matches!(verdict.action, Action::Answer(_)),
        "{what:#06x}: {verdict:?}"
    );
    assert_eq!(verdict.reason, reason);
    if frame[12] == 0x08 {
        assert_eq!(
            checksum(&frame[14..34]),
            [0, 0],
            "IPv4 header, {what:#06x}: {frame:02x?}"
        );
        assert_eq!(frame[22], 64, "a fresh time to live");
    }
    let sum = checksum(&covered(&frame, protocol));
    assert_eq!(
        sum,
        [0, 0],
        "protocol {protocol}, {what:#06x}: {frame:02x?}"
    );
}

const fn icmp(v4: bool) -> u8 {
    if v4 { ICMP } else { ICMPV6 }
}

#[test]
fn echo_replies_verify_for_every_sum_of_their_data() {
    let tables = tables();
    for v4 in [true, false] {
        let kind = if v4 { 8 } else { 128 };
        for word in 0..=u16::MAX {
            let [a, b] = word.to_be_bytes();
            let frame = packet(v4, 0, 64, icmp(v4), &[kind, 0, 0, 0, 0, 0, a, b], 2);
            check(&tables, frame, Reason::Echo, icmp(v4), word);
        }
    }
}

#[test]
fn headers_verify_after_a_new_time_to_live_for_every_checksum_and_every_time_to_live() {
    let tables = tables();
    for identification in 0..=u16::MAX {
        let [high, low] = identification.to_be_bytes();
        for hops in [high ^ low, 0, 1, 63, 64, 65, 255] {
            let frame = packet(
                true,
                identification,
                hops,
                ICMP,
                &[8, 0, 0, 0, 0, 0, 0, 0],
                2,
            );
            check(&tables, frame, Reason::Echo, ICMP, identification);
        }
    }
    for hops in 0..=u8::MAX {
        for identification in (0..=u16::MAX).step_by(257) {
            let frame = packet(
                true,
                identification,
                hops,
                ICMP,
                &[8, 0, 0, 0, 0, 0, 0, 0],
                2,
            );
            check(&tables, frame, Reason::Echo, ICMP, identification);
        }
    }
}

#[test]
fn resets_verify_for_every_word_of_the_sequence_and_headers_after_a_new_length() {
    let tables = tables();
    for v4 in [true, false] {
        for word in 0..=u16::MAX {
            let [a, b] = word.to_be_bytes();
            for flags in [0x02, 0x10] {
                let mut segment = vec![0x10, 0, 0, 53, 0, 0, a, b, a, b, 0, 9];
                segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
                // Longer than its answer, so that the header's length changes.
                segment.extend([a; 32]);
                let frame = packet(v4, word, 33, TCP, &segment, 16);
                check(&tables, frame, Reason::UnlistedRejected, TCP, word);
            }
        }
    }
}

#[test]
fn port_unreachable_verifies_for_every_word_of_what_it_quotes() {
    let tables = tables();
    for v4 in [true, false] {
        for word in 0..=u16::MAX {
            let [a, b] = word.to_be_bytes();
            let frame = packet(
                v4,
                word,
                33,
                UDP,
                &[a, b, 0, 54, 0, 12, 0, 0, b, a, 1, 2],
                6,
            );
            check(&tables, frame, Reason::UnlistedRejected, icmp(v4), word);
        }
    }
}

#[test]
fn identities_verify_for_every_identifier_of_a_question_and_headers_after_a_new_length() {
    let tables = tables();
    for v4 in [true, false] {
        for word in 0..=u16::MAX {
            let [a, b] = word.to_be_bytes();
            for (name, additional) in [
                (&b"\x02id\x06server\0"[..], &b""[..]),
                (b"\x08hostname\x04bind\0", b"\0\0\x29\x10\0\0\0\0\0\0\0"),
            ] {
                let mut datagram = vec![a, b, 0, 53, 0, 0, 0, 0, a, b, 1, 0, 0, 1, 0, 0, 0, 0, 0];
                datagram.push(u8::from(!additional.is_empty()));
                datagram.extend(name);
                datagram.extend([0, 16, 0, 3]);
                datagram.extend(additional);
                let length = u16::try_from(datagram.len()).unwrap();
                datagram[4..6].copy_from_slice(&length.to_be_bytes());
                let frame = packet(v4, word, 33, UDP, &datagram, 6);
                check(&tables, frame, Reason::Identity, UDP, word);
            }
        }
    }
}

#[test]
fn advertisements_verify_for_every_last_word_of_the_asker() {
    let tables = tables();
    for word in 0..=u16::MAX {
        let mut solicitation = vec![135, 0, 0, 0, 0, 0, 0, 0];
        solicitation.extend(V6[1]);
        let mut frame = packet(false, 0, 255, ICMPV6, &solicitation, 2);
        frame[36..38].copy_from_slice(&word.to_be_bytes());
        check(&tables, frame, Reason::Neighbor, ICMPV6, word);
    }
}
