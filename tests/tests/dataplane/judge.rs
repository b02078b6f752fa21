//! An independent judge: tshark reads what the loaded program answers, and finds no bad checksum, length
//! or field.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anycast_common::abi::Disposition;
use anycast_tests::packet::{Frame, PEER_MAC, Part};
use anycast_userspace::config::dataplane::Policy;
use anycast_userspace::dataplane::{Desired, Service, State};

use crate::replies::{arp, query, solicitation};
use crate::support::{Bed, ip, settings};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// What tshark's experts remark on answers that are right.
const HARMLESS: [&str; 1] = [
    // A note that a reset is one.
    "Connection reset (RST)",
];

/// A capture file (libpcap's format, link type Ethernet).
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_ne_bytes());
    }
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        for word in [0, 0, length, length] {
            file.extend(word.to_ne_bytes());
        }
        file.extend(frame);
    }
    file
}

/// One line of fields per frame; of a field that is there more than once, the first.
fn tshark(frames: &[Vec<u8>], fields: &[&str]) -> Vec<String> {
    tshark_with(frames, fields, &["occurrence=f"])
}

/// What tshark's experts say of each frame: malformed packets and broken rules among it.
fn experts(frames: &[Vec<u8>]) -> Vec<String> {
    tshark_with(
        frames,
        &["_ws.expert.message"],
        &["occurrence=a", "aggregator=|"],
    )
}

fn tshark_with(frames: &[Vec<u8>], fields: &[&str], form: &[&str]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("answers.pcap");
    fs::write(&capture, pcap(frames)).unwrap();
    let mut command = Command::new("tshark");
    command.arg("-r").arg(&capture).args(["-T", "fields"]);
    for form in form {
        command.args(["-E", form]);
    }
    for protocol in ["ip", "tcp", "udp"] {
        command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A request, and the protocol of its answer.
struct Request {
    frame: Vec<u8>,
    answer: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Arp,
    Icmp,
    Icmpv6,
    Tcp,
    Udp,
}

impl Protocol {
    /// The field by which tshark says whether the checksum is right.
    fn checksum(self) -> Option<&'static str> {
        match self {
            Self::Arp => None,
            Self::Icmp => Some("icmp.checksum.status"),
            Self::Icmpv6 => Some("icmpv6.checksum.status"),
            Self::Tcp => Some("tcp.checksum.status"),
            Self::Udp => Some("udp.checksum.status"),
        }
    }
}

fn bed() -> Bed {
    Bed::holding(
        &settings(),
        Desired {
            services: vec![Service {
                name: "up".to_owned(),
                state: State::Up,
                addresses: vec![ip("192.168.250.1"), ip("fd00:250::1")],
                ports: vec!["udp/53".parse().unwrap()],
                unlisted: Policy::Reject,
                identity: true,
                neighbor: true,
                ..Service::default()
            }],
            identity: Some("city-a".to_owned()),
            ..Desired::default()
        },
    )
}

/// Questions for the node's identity: both names, without EDNS, with it, and with DO and a cookie.
fn questions() -> Vec<Vec<u8>> {
    let opt: &[u8] = &[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0];
    let cookie: &[u8] = &[
        0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8,
    ];
    let mut questions = Vec::new();
    for name in [&b"\x02id\x06server\0"[..], b"\x08hostname\x04bind\0"] {
        for rest in [&b""[..], opt, cookie] {
            let additional = u16::from(!rest.is_empty());
            questions.push(query(0x0100, [0, 0, additional], name, 16, 3, rest));
        }
    }
    questions
}

/// Requests of every kind, over one family.
fn over(plain: &Frame) -> Vec<Request> {
    let v4 = plain.layers().fixed - plain.layers().network == 20;
    let icmp = if v4 { Protocol::Icmp } else { Protocol::Icmpv6 };
    let long = if v4 {
        plain.clone().options(&[0x94, 4, 0, 0])
    } else {
        plain.clone().extension(0, 0).extension(60, 1)
    };
    let mut requests = Vec::new();
    let mut add = |frame: Frame, answer| {
        requests.push(Request {
            frame: frame.bytes(),
            answer,
        });
    };
    for (frame, lengths) in [
        (plain.clone(), 40),
        (plain.clone().vlan(5), 40),
        (plain.clone().qinq(5, 6), 40),
        (long, 9_u8),
    ] {
        for length in 0..lengths {
            let data: Vec<u8> = (0..length).map(|byte: u8| byte.wrapping_mul(37)).collect();
            let port = 1000 + u16::from(length);
            add(frame.clone().echo(length.into(), 9, &data), icmp);
            add(frame.clone().udp(4000, port, &data), icmp);
            add(
                frame.clone().tcp(4000, 81, 77, 0, SYN, &data),
                Protocol::Tcp,
            );
            add(
                frame.clone().tcp(4000, 81, 77, 5, ACK, &data),
                Protocol::Tcp,
            );
        }
        add(frame.clone().sctp(4000, 81), icmp);
        add(frame.part(Part::First).udp(4000, 81, &[7; 64]), icmp);
    }
    for frame in [
        plain.clone(),
        plain.clone().vlan(5),
        plain.clone().qinq(5, 6),
    ] {
        for question in questions() {
            add(frame.clone().udp(4000, 53, &question), Protocol::Udp);
        }
    }
    requests
}

fn requests() -> Vec<Request> {
    let mut requests = over(&Frame::new(ip("10.1.1.1"), ip("192.168.250.1")));
    requests.extend(over(&Frame::new(ip("2001:db8::1"), ip("fd00:250::1"))));
    // From a neighbour, and from one that asks whether the address is free.
    for (from, to) in [
        ("fd00:250::7", "fd00:250::1"),
        ("fd00:250::7", "ff02::1:ff00:1"),
        ("::", "ff02::1:ff00:1"),
    ] {
        requests.push(Request {
            frame: solicitation(from, to, 1, from != "::").bytes(),
            answer: Protocol::Icmpv6,
        });
    }
    for sender in [[192, 168, 250, 200], [0; 4]] {
        let target = ([0; 6], [192, 168, 250, 1]);
        requests.push(Request {
            frame: arp(1, (PEER_MAC, sender), target, ([0xff; 6], PEER_MAC)),
            answer: Protocol::Arp,
        });
    }
    requests
}

#[test]
fn tshark_finds_nothing_wrong_with_any_answer() {
    let mut bed = bed();
    let requests = requests();
    let answers: Vec<Vec<u8>> = requests
        .iter()
        .map(|request| {
            let explained = bed.plane().explain(&request.frame).unwrap();
            assert_eq!(
                explained.disposition,
                Disposition::Answer,
                "{:?}: {:02x?}",
                explained.reason,
                request.frame
            );
            explained.frame
        })
        .collect();
    let fields = [
        "_ws.malformed",
        "ip.checksum.status",
        "icmp.checksum.status",
        "icmpv6.checksum.status",
        "tcp.checksum.status",
        "udp.checksum.status",
        "arp.opcode",
    ];
    let lines = tshark(&answers, &fields);
    assert_eq!(lines.len(), answers.len());
    for ((line, answer), request) in lines.iter().zip(&answers).zip(&requests) {
        let said: Vec<&str> = line.split('\t').collect();
        let of = |field| {
            let place = fields.iter().position(|name| *name == field);
            place.and_then(|place| said.get(place)).copied()
        };
        assert_eq!(of("_ws.malformed"), Some(""), "{line}: {answer:02x?}");
        // Of what an error quotes, tshark checks nothing; those are other protocols' fields, or come later.
        match request.answer.checksum() {
            Some(field) => assert_eq!(of(field), Some("1"), "{field}: {line}: {answer:02x?}"),
            None => assert_eq!(of("arp.opcode"), Some("2"), "a reply: {answer:02x?}"),
        }
        // Empty where there is no such header; any other than 1 is a wrong one or none that was looked at.
        let header = of("ip.checksum.status");
        assert!(matches!(header, Some("1" | "")), "{line}: {answer:02x?}");
    }
    let mut remarks = BTreeMap::new();
    for (line, answer) in experts(&answers).iter().zip(&answers) {
        for message in line.split('|').filter(|message| !message.is_empty()) {
            if !HARMLESS.contains(&message) {
                remarks.entry(message.to_owned()).or_insert(answer);
            }
        }
    }
    assert!(remarks.is_empty(), "of such answers: {remarks:02x?}");
    let (names, _) = tshark(&answers, &["dns.txt"])
        .into_iter()
        .partition::<Vec<String>, _>(|text| !text.is_empty());
    assert_eq!(names, vec!["city-a"; 2 * 3 * questions().len()]);
}
