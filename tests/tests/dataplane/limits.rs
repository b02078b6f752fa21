//! Lists and limits.

use std::time::{Duration, Instant};

use anycast_common::Reason;
use anycast_tests::packet::{Frame, Part};
use anycast_tests::processor;
use anycast_userspace::config::dataplane::{
    DataPlane as Settings, Limits, Policy, Rate, SourceLimit,
};
use anycast_userspace::dataplane::{Desired, Service, State};
use ipnet::IpNet;

use crate::case::{case, drop, pass};
use crate::support::{Bed, ip, settings};

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn service(name: &str, number: u8) -> Service {
    Service {
        name: name.to_owned(),
        state: State::Up,
        addresses: vec![
            ip(&format!("192.168.250.{number}")),
            ip(&format!("fd00:250::{number}")),
        ],
        ports: vec!["udp/53".parse().unwrap()],
        ..Service::default()
    }
}

fn from(source: &str, number: u8) -> Frame {
    let destination = if source.contains(':') {
        format!("fd00:250::{number}")
    } else {
        format!("192.168.250.{number}")
    };
    Frame::new(ip(source), ip(&destination)).udp(4000, 53, b"query")
}

#[test]
fn denied_sources_are_dropped_and_what_is_allowed_wins() {
    let mut bed = Bed::holding(
        &settings(),
        Desired {
            services: vec![
                service("open", 1),
                Service {
                    deny: nets(&["0.0.0.0/0", "::/0"]),
                    allow: nets(&["172.16.0.0/12", "2001:db8:77::/48"]),
                    ..service("private", 2)
                },
            ],
            deny: nets(&[
                "10.0.0.0/8",
                "10.0.0.0/8",
                "172.16.5.0/24",
                "2001:db8:1::/48",
            ]),
            allow: nets(&["10.1.0.0/16", "10.1.0.0/16", "2001:db8:1:1::/64"]),
            ..Desired::default()
        },
    );
    let served = |name| pass(name, Reason::Served);
    let denied = |name| drop(name, Reason::Denied);
    bed.check(vec![
        case("not listed", &from("192.0.2.9", 1), served("open")),
        case("denied", &from("10.2.0.1", 1), denied("open")),
        case(
            "allowed within what is denied",
            &from("10.1.2.3", 1),
            served("open"),
        ),
        case("denied, IPv6", &from("2001:db8:1:2::1", 1), denied("open")),
        case(
            "allowed within what is denied, IPv6",
            &from("2001:db8:1:1::1", 1),
            served("open"),
        ),
        case(
            "not listed, IPv6",
            &from("2001:db8:2::1", 1),
            served("open"),
        ),
        case(
            "denied by the service alone",
            &from("192.0.2.9", 2),
            denied("private"),
        ),
        case(
            "allowed by the service",
            &from("172.20.0.1", 2),
            served("private"),
        ),
        case(
            "allowed by the service, denied for all",
            &from("172.16.5.1", 2),
            served("private"),
        ),
        case(
            "allowed for all, denied by the service",
            &from("10.1.2.3", 2),
            served("private"),
        ),
        case(
            "denied by the service alone, IPv6",
            &from("2001:db8:2::1", 2),
            denied("private"),
        ),
        case(
            "allowed by the service, IPv6",
            &from("2001:db8:77::1", 2),
            served("private"),
        ),
    ]);
}

#[test]
fn a_service_that_lingers_keeps_its_lists() {
    let mut bed = Bed::new(vec![
        Service {
            state: State::Lingering,
            deny: nets(&["10.0.0.0/8", "2001:db8:1::/48"]),
            allow: nets(&["10.1.0.0/16"]),
            ..service("dropping", 1)
        },
        Service {
            state: State::Lingering,
            on_down: Policy::Pass,
            deny: nets(&["10.0.0.0/8"]),
            ..service("passing", 2)
        },
    ]);
    let denied = |name| drop(name, Reason::Denied);
    let lingering = |name| pass(name, Reason::Lingering);
    let part = from("10.2.0.1", 1).part(Part::Later);
    bed.check(vec![
        case("not listed", &from("192.0.2.9", 1), lingering("dropping")),
        case("denied", &from("10.2.0.1", 1), denied("dropping")),
        case("denied, later fragment", &part, denied("dropping")),
        case(
            "denied, IPv6",
            &from("2001:db8:1::1", 1),
            denied("dropping"),
        ),
        case("allowed", &from("10.1.0.1", 1), lingering("dropping")),
        case(
            "denied, where a service that is down is passed",
            &from("10.2.0.1", 2),
            denied("passing"),
        ),
        case(
            "another port, where a service that is down is passed",
            &from("192.0.2.9", 2).udp(1, 54, b""),
            pass("passing", Reason::DownPassed),
        ),
    ]);
}

#[test]
fn a_list_that_changes_is_in_force_at_once_and_leaves_nothing_behind() {
    let with = |deny: &[&str]| Desired {
        services: vec![service("open", 1)],
        deny: nets(deny),
        ..Desired::default()
    };
    let mut bed = Bed::holding(&settings(), with(&["10.0.0.0/8"]));
    let frame = from("10.1.1.1", 1).bytes();
    assert_eq!(bed.plane().explain(&frame).unwrap().reason, Reason::Denied);
    assert_eq!(bed.plane().apply(&with(&["10.2.0.0/16"])).unwrap(), 2);
    assert_eq!(bed.plane().explain(&frame).unwrap().reason, Reason::Served);
    assert_eq!(bed.plane().resync().unwrap(), 0);
}

#[test]
fn a_list_longer_than_its_map_is_refused_and_the_old_one_stays_in_force() {
    let small = Settings {
        max_prefixes: 2,
        ..settings()
    };
    let with = |deny: &[&str]| Desired {
        services: vec![service("open", 1)],
        deny: nets(deny),
        ..Desired::default()
    };
    let mut bed = Bed::holding(&small, with(&["10.0.0.0/8"]));
    let error = bed
        .plane()
        .apply(&with(&["11.0.0.0/8", "12.0.0.0/8", "13.0.0.0/8"]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "map LIST_V4 has room for 2 entries and 3 are configured: raise `dataplane.max_prefixes` to \
         at least 3 and restart"
    );
    let frame = from("10.1.1.1", 1).bytes();
    assert_eq!(bed.plane().explain(&frame).unwrap().reason, Reason::Denied);
}

/// What is asked of packets that exceed a limit of one packet a second.
struct Exceeding {
    within: Reason,
    beyond: Reason,
    /// How many a limit that has just been full admits at once.
    burst: usize,
}

impl Exceeding {
    /// Sends `count` packets. Since `full`, when the limit can have admitted nothing yet, each whole second
    /// may have let one more through, and no more.
    fn check(&self, bed: &mut Bed, full: Instant, frame: &Frame, count: usize) {
        let frame = frame.bytes();
        // The buckets are per CPU.
        processor::stay_on_one().unwrap();
        let (mut within, mut beyond) = (0, 0);
        for _ in 0..count {
            let reason = bed.plane().explain(&frame).unwrap().reason;
            if reason == self.within {
                within += 1;
            } else {
                assert_eq!(reason, self.beyond);
                beyond += 1;
            }
        }
        let seconds = usize::try_from(full.elapsed().as_secs()).unwrap();
        let admitted = self.burst..=(self.burst + seconds).min(count);
        assert!(
            admitted.contains(&within) && within + beyond == count,
            "{within} of {count} after {seconds} s: {:?} admits {admitted:?}",
            self.within
        );
    }
}

fn slow(burst: u32) -> Rate {
    Rate {
        rate: 1,
        burst: Some(burst.try_into().unwrap()),
    }
}

fn limited(limits: Limits) -> Service {
    Service {
        limits,
        unlisted: Policy::Reject,
        ..service("limited", 1)
    }
}

#[test]
fn limits_of_a_service_admit_their_burst_and_no_more() {
    let echo = |source: &str, to: &str| Frame::new(ip(source), ip(to)).echo(1, 1, b"");
    let mut bed = Bed::new(vec![limited(Limits {
        echo: Some(slow(60)),
        reject: slow(50),
        packets: Some(slow(200)),
        source: None,
    })]);
    let full = Instant::now();
    let unlisted = from("10.0.0.1", 1).udp(1, 54, b"");
    Exceeding {
        within: Reason::Echo,
        beyond: Reason::EchoLimited,
        burst: 60,
    }
    .check(&mut bed, full, &echo("10.0.0.1", "192.168.250.1"), 80);
    let part = echo("10.0.0.1", "192.168.250.1").part(Part::First);
    Exceeding {
        within: Reason::Fragment,
        beyond: Reason::EchoLimited,
        burst: 0,
    }
    .check(&mut bed, full, &part, 5);
    Exceeding {
        within: Reason::UnlistedRejected,
        beyond: Reason::RejectLimited,
        burst: 50,
    }
    .check(&mut bed, full, &unlisted, 80);
    // Of the 200 packets of any kind, 165 have come.
    Exceeding {
        within: Reason::Served,
        beyond: Reason::ServiceLimited,
        burst: 35,
    }
    .check(&mut bed, full, &from("10.0.0.1", 1), 80);
}

#[test]
fn a_service_that_lingers_keeps_its_limits() {
    let lingering = |limits| {
        Bed::new(vec![Service {
            state: State::Lingering,
            ..limited(limits)
        }])
    };
    let mut bed = lingering(Limits {
        packets: Some(slow(20)),
        ..Limits::default()
    });
    Exceeding {
        within: Reason::Lingering,
        beyond: Reason::ServiceLimited,
        burst: 20,
    }
    .check(&mut bed, Instant::now(), &from("10.0.0.1", 1), 30);
    std::mem::drop(bed);
    let mut bed = lingering(Limits {
        source: Some(SourceLimit {
            rate: 1,
            burst: Some(10.try_into().unwrap()),
            v4_prefix: 32,
            v6_prefix: 64,
        }),
        ..Limits::default()
    });
    Exceeding {
        within: Reason::Lingering,
        beyond: Reason::SourceLimited,
        burst: 10,
    }
    .check(&mut bed, Instant::now(), &from("10.0.0.1", 1), 20);
}

#[test]
fn first_fragments_of_echo_requests_use_up_the_limit_of_echoes() {
    let mut bed = Bed::new(vec![limited(Limits {
        echo: Some(slow(10)),
        ..Limits::default()
    })]);
    let full = Instant::now();
    // One limit for both families.
    for (source, to, burst) in [
        ("10.0.0.1", "192.168.250.1", 10),
        ("2001:db8::1", "fd00:250::1", 0),
    ] {
        let whole = Frame::new(ip(source), ip(to)).echo(1, 1, &[0; 8]);
        let part = whole.clone().part(Part::First);
        Exceeding {
            within: Reason::Fragment,
            beyond: Reason::EchoLimited,
            burst,
        }
        .check(&mut bed, full, &part, 15);
        Exceeding {
            within: Reason::Echo,
            beyond: Reason::EchoLimited,
            burst: 0,
        }
        .check(&mut bed, full, &whole, 1);
    }
}

#[test]
fn a_service_is_proved_even_while_its_limit_is_exhausted_and_never_while_it_is_down() {
    let mut bed = Bed::new(vec![limited(Limits {
        echo: Some(slow(1)),
        ..Limits::default()
    })]);
    for _ in 0..5 {
        bed.plane().prove(ip("192.168.250.1")).unwrap();
    }
    bed.plane().flip(0, State::Down).unwrap();
    assert!(bed.plane().prove(ip("192.168.250.1")).is_err());
}

#[test]
fn each_source_has_its_own_limit_and_a_prefix_is_one_source() {
    let mut bed = Bed::holding(
        &settings(),
        Desired {
            services: vec![limited(Limits {
                source: Some(SourceLimit {
                    rate: 1,
                    burst: Some(10.try_into().unwrap()),
                    v4_prefix: 24,
                    v6_prefix: 64,
                }),
                ..Limits::default()
            })],
            exempt: nets(&["10.99.0.0/16"]),
            ..Desired::default()
        },
    );
    let full = Instant::now();
    let mut check = |source: &str, burst: usize, count: usize| {
        let limit = Exceeding {
            within: Reason::Served,
            beyond: Reason::SourceLimited,
            burst,
        };
        limit.check(&mut bed, full, &from(source, 1), count);
    };
    check("10.0.0.1", 10, 15);
    check("10.0.0.2", 0, 5);
    check("10.0.1.2", 10, 15);
    check("10.99.0.1", 50, 50);
    check("2001:db8::1", 10, 15);
    check("2001:db8::2", 0, 5);
    check("2001:db8:0:1::1", 10, 15);
}

#[test]
fn more_sources_than_are_remembered_forget_the_oldest_and_serve_on() {
    let mut bed = Bed::with(
        &Settings {
            max_sources: 64,
            ..settings()
        },
        vec![limited(Limits {
            source: Some(SourceLimit {
                rate: 1,
                burst: Some(1.try_into().unwrap()),
                v4_prefix: 32,
                v6_prefix: 64,
            }),
            ..Limits::default()
        })],
    );
    let mut reason = |source: usize| {
        let frame = from(&format!("10.1.{}.{}", source / 250, source % 250), 1).bytes();
        bed.plane().explain(&frame).unwrap().reason
    };
    // Parts of the map belong to a CPU.
    processor::stay_on_one().unwrap();
    for source in 0..1000 {
        assert_eq!(reason(source), Reason::Served, "source {source} is new");
    }
    // A map that is merely full would remember the first for ever, and nobody of late.
    assert_eq!(reason(0), Reason::Served, "the earliest is forgotten");
    let again = (1000..).find_map(|source| {
        let start = Instant::now();
        assert_eq!(reason(source), Reason::Served, "source {source} is new");
        let again = reason(source);
        // After a second the limit lets it through.
        (start.elapsed() < Duration::from_secs(1)).then_some(again)
    });
    assert_eq!(
        again,
        Some(Reason::SourceLimited),
        "the latest is remembered"
    );
}
