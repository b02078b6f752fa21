//! Random and mutated packets through the host's build and the loaded programs, the serving one and the one that
//! explains: equal verdicts, reasons and bytes, or the test names the packet. The serving one has then counted what
//! the host has seen.
//!
//! `ANYCAST_DIFFERENTIAL` sets the number of packets; `ANYCAST_SEED` repeats a run.

use std::collections::HashMap;
use std::env;

use anycast_common::Reason;
use anycast_common::abi::{Count, Counters};
use anycast_tests::packet::{Frame, Part};
use anycast_userspace::config::dataplane::{
    DataPlane as Settings, Fragments, Limits, Policy, Rate,
};
use anycast_userspace::dataplane::{Desired, Service, State};

use crate::support::{Bed, Seen, ip, settings};

/// xorshift64*: the packets of a seed are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

fn service(name: &str, state: State, number: u8) -> Service {
    Service {
        name: name.to_owned(),
        state,
        addresses: vec![
            ip(&format!("192.168.250.{number}")),
            ip(&format!("fd00:250::{number}")),
        ],
        ports: ["udp/53", "tcp/53", "tcp/80-90", "sctp/9"]
            .iter()
            .map(|port| port.parse().unwrap())
            .collect(),
        limits: Limits {
            reject: Rate::per_second(1_000_000_000),
            ..Limits::default()
        },
        ..Service::default()
    }
}

/// Every feature that does not depend on time, on some service.
fn desired() -> Desired {
    Desired {
        services: vec![
            Service {
                neighbor: true,
                identity: true,
                unlisted: Policy::Reject,
                ..service("up", State::Up, 1)
            },
            Service {
                neighbor: true,
                on_down: Policy::Reject,
                ..service("down", State::Down, 2)
            },
            Service {
                fragments: Fragments::Drop,
                unlisted: Policy::Pass,
                protocols: vec![47, 50],
                deny: vec!["10.9.0.0/16".parse().unwrap()],
                ..service("open", State::Draining, 3)
            },
            Service {
                on_down: Policy::Pass,
                ..service("lingering", State::Lingering, 4)
            },
        ],
        identity: Some("differential".to_owned()),
        deny: vec![
            "10.66.0.0/16".parse().unwrap(),
            "2001:db8:66::/48".parse().unwrap(),
        ],
        ..Desired::default()
    }
}

fn base(random: &mut Random) -> Vec<u8> {
    let number = 1 + random.below(5);
    let v4 = random.below(2) == 0;
    let mut frame = if v4 {
        let source = *random.pick(&["10.1.1.1", "10.9.1.1", "10.66.1.1", "127.0.0.1", "0.0.0.0"]);
        Frame::new(ip(source), ip(&format!("192.168.250.{number}")))
    } else {
        let source = *random.pick(&["2001:db8::1", "2001:db8:66::1", "::1", "::", "ff02::1"]);
        Frame::new(ip(source), ip(&format!("fd00:250::{number}")))
    };
    frame = match random.below(4) {
        0 => frame.vlan(1),
        1 => frame.qinq(1, 2),
        _ => frame,
    };
    frame = match (v4, random.below(4)) {
        (true, 0) => frame.options(&[1; 8]),
        (false, 0) => frame.extension(0, 0).extension(60, 1),
        (false, 1) => (0..random.below(8)).fold(frame, |frame, _| frame.extension(60, 0)),
        _ => frame,
    };
    frame = frame.part(*random.pick(&[
        Part::Whole,
        Part::Whole,
        Part::Whole,
        Part::First,
        Part::Later,
    ]));
    frame = frame.padded(*random.pick(&[0, 0, 1, 20]));
    let port = *random.pick(&[53, 80, 85, 90, 91, 9, 22]);
    let data = vec![random.byte(); random.below(80)];
    let frame = match random.below(9) {
        0 => frame.udp(4000, port, &data),
        1 => frame.tcp(4000, port, 1, 2, random.byte(), &data),
        2 => frame.sctp(4000, port),
        3 => frame.echo(1, 2, &data),
        4 => frame.carrying(*random.pick(&[47, 50, 51, 59]), &data),
        5 => frame.icmp(random.byte(), random.byte() % 5, [0; 4], &data),
        6 => {
            let (source, kind) = if v4 {
                ("192.168.250.1", 3)
            } else {
                ("fd00:250::1", 2)
            };
            let other = if v4 { "10.1.1.1" } else { "2001:db8::1" };
            let quoted = Frame::new(ip(source), ip(other))
                .part(*random.pick(&[Part::Whole, Part::First, Part::Later]))
                .udp(port, 4000, &data)
                .packet();
            frame.icmp(kind, 0, [0, 0, 5, 0], &quoted[..quoted.len().min(60)])
        }
        7 => {
            let mut message =
                b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x02id\x06server\0\0\x10\0\x03".to_vec();
            if random.below(2) == 0 {
                message[11] = 1;
                let some: [&[u8]; 4] = [&[], &[0, 3, 0, 0], &[0, 10, 0, 1, 7], &[7]];
                let options = *random.pick(&some);
                let dnssec = *random.pick(&[0, 0x80]);
                message.extend([0, 0, 41, 0x10, 0, 0, 0, dnssec, 0, 0]);
                message.push(u8::try_from(options.len()).unwrap());
                message.extend(options);
            }
            frame.udp(4000, 53, &message)
        }
        _ if v4 => return arp(random),
        _ => {
            let mut target = vec![0xfd, 0, 2, 0x50];
            target.extend([0; 11]);
            target.push(u8::try_from(number).unwrap());
            target.extend([1, 1, 2, 0, 0, 0, 0, 2]);
            let kind = *random.pick(&[135, 135, 136]);
            frame.hops(255).icmp(kind, 0, [0; 4], &target)
        }
    };
    frame.bytes()
}

fn arp(random: &mut Random) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    let hardware = *random.pick(&[1, 6]);
    frame.extend([2, 0, 0, 0, 0, 2, 8, 6, 0, hardware, 8, 0, 6, 4, 0, 1]);
    frame.extend([2, 0, 0, 0, 0, 2, 10, 1, 1, 1]);
    frame.extend([0, 0, 0, 0, 0, 0, 192, 168, 250, 1 + random.byte() % 4]);
    frame
}

fn mutate(random: &mut Random, frame: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        // Headers are where mutations matter.
        let at = random.below(frame.len().min(110));
        frame[at] = match random.below(3) {
            0 => random.byte(),
            1 => frame[at] ^ (1 << random.below(8)),
            _ => *random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
        };
    }
    if random.below(4) == 0 {
        frame.truncate(14 + random.below(frame.len() - 13));
    }
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// What the host has seen, by the name of the service and the reason, as the kernel counts it.
#[derive(Default)]
struct Tally(HashMap<Option<String>, Counters>);

impl Tally {
    fn add(&mut self, seen: &Seen, length: usize) {
        let counters = self.0.entry(seen.service.clone()).or_default();
        let count = counters.get_mut(seen.reason);
        count.packets += 1;
        count.bytes += u64::try_from(length).unwrap();
    }

    fn of(&self, service: Option<&str>) -> Counters {
        let service = service.map(str::to_owned);
        self.0.get(&service).copied().unwrap_or_default()
    }

    fn packets(&self, reason: Reason) -> u64 {
        let counters = self.0.values();
        counters.map(|counters| counters.get(reason).packets).sum()
    }
}

/// Sends `count` packets through all of them.
fn compare(settings: &Settings, count: u64) -> Tally {
    let seed = number("ANYCAST_SEED", 0x5eed);
    let mut random = Random(seed | 1);
    let mut bed = Bed::holding(settings, desired());
    let before = bed.plane().counters().unwrap();
    assert_eq!(before.total(), Count::default(), "nothing is counted yet");
    let mut tally = Tally::default();
    for place in 0..count {
        let mut frame = base(&mut random);
        if place % 4 != 0 {
            mutate(&mut random, &mut frame);
        }
        let host = bed.on_host(&frame);
        let kernel = bed.in_kernel(&frame);
        assert!(
            host == kernel,
            "packet {place} of seed {seed}: {frame:02x?}\nhost {host:02x?}\nkernel {kernel:02x?}"
        );
        tally.add(&host, frame.len());
    }
    let counted = bed.plane().counters().unwrap();
    for (service, counters) in desired().services.iter().zip(&counted.services) {
        assert_eq!(*counters, tally.of(Some(&service.name)), "{}", service.name);
    }
    assert_eq!(counted.unowned, tally.of(None), "nobody's");
    assert_eq!(counted.total().packets, count);
    tally
}

#[test]
fn host_and_kernel_agree_on_random_and_mutated_packets_and_the_kernel_counts_each_once() {
    let count = number("ANYCAST_DIFFERENTIAL", 1_000_000);
    let tally = compare(&settings(), count);
    for reason in Reason::ALL {
        println!("{:20} {}", reason.name(), tally.packets(*reason));
    }
    let unseen: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| tally.packets(**reason) == 0)
        .map(|reason| reason.name())
        .collect();
    let expected = [
        "source_limited",
        "service_limited",
        "echo_limited",
        "reject_limited",
        "unanswerable",
        "no_service",
    ];
    if count >= 100_000 {
        assert_eq!(
            unseen, expected,
            "what the packets cannot reach, and nothing else"
        );
    }
}

#[test]
fn host_and_kernel_agree_in_the_programs_for_many_buffers_too() {
    let multi_buffer = Settings {
        multi_buffer: true,
        ..settings()
    };
    compare(
        &multi_buffer,
        number("ANYCAST_DIFFERENTIAL", 1_000_000) / 10,
    );
}
