//! An independent judge: tshark reads what the loaded program answers, and finds no bad checksum, length
//! or field.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anycast_common::abi::Disposition;
use anycast_tests::packet::Frame;
use anycast_userspace::config::dataplane::Policy;
use anycast_userspace::dataplane::{Desired, Service, State};

use crate::support::{Bed, ip, settings};

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

#[test]
fn tshark_finds_nothing_wrong_with_any_answer() {
    let mut bed = Bed::holding(
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
    );
    let question = b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x02id\x06server\0\0\x10\0\x03";
    let mut requests = Vec::new();
    for plain in [
        Frame::new(ip("10.1.1.1"), ip("192.168.250.1")),
        Frame::new(ip("2001:db8::1"), ip("fd00:250::1")),
    ] {
        for frame in [plain.clone(), plain.clone().vlan(5), plain.qinq(5, 6)] {
            for length in 0_u8..40 {
                let data: Vec<u8> = (0..length).map(|byte: u8| byte.wrapping_mul(37)).collect();
                requests.push(frame.clone().echo(length.into(), 9, &data).bytes());
                requests.push(
                    frame
                        .clone()
                        .udp(4000, 1000 + u16::from(length), &data)
                        .bytes(),
                );
                requests.push(frame.clone().tcp(4000, 81, 77, 0, 2, &data).bytes());
            }
            requests.push(frame.udp(4000, 53, question).bytes());
        }
    }
    let mut target = vec![0xfd, 0, 2, 0x50];
    target.extend([0; 11]);
    target.push(1);
    let solicitation = Frame::new(ip("fd00:250::7"), ip("fd00:250::1")).hops(255);
    requests.push(solicitation.icmp(135, 0, [0; 4], &target).bytes());
    let answers: Vec<Vec<u8>> = requests
        .iter()
        .map(|request| {
            let explained = bed.plane().explain(request).unwrap();
            assert_eq!(explained.disposition, Disposition::Answer, "{request:02x?}");
            explained.frame
        })
        .collect();
    let fields = [
        "ip.checksum.status",
        "icmp.checksum.status",
        "icmpv6.checksum.status",
        "tcp.checksum.status",
        "udp.checksum.status",
        "_ws.malformed",
    ];
    let lines = tshark(&answers, &fields);
    assert_eq!(lines.len(), answers.len());
    let mut verified = 0;
    for (line, answer) in lines.iter().zip(&answers) {
        let found: Vec<&str> = line.split('\t').collect();
        // 1 is good, 0 is bad; 2 is what is not checked, as in the headers that an error quotes.
        for (status, field) in found[..5].iter().zip(fields) {
            assert_ne!(*status, "0", "{field}: {answer:02x?}");
            verified += usize::from(*status == "1");
        }
        assert_eq!(
            found.get(5).copied().unwrap_or(""),
            "",
            "malformed: {line}: {answer:02x?}"
        );
    }
    assert!(
        verified >= answers.len(),
        "{verified} checksums were found to be good"
    );
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
    assert_eq!(names, vec!["city-a"; 6]);
}
