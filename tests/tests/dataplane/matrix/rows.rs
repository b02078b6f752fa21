//! The rows of the table, each with the verdict of a whole packet, a first and a later fragment.

use anycast_common::Reason;
use anycast_tests::packet::{Frame, Layers, Part};
use anycast_userspace::config::dataplane::{Fragments, Limits, Policy, SourceLimit};
use anycast_userspace::dataplane::{Desired, Service, State};

use crate::replies::{identified, identity_question, unreachable};
use crate::support::{Bed, ip, settings};

/// What becomes of a packet; an answer with the frame that it is rewritten into.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Pass(Reason),
    Drop(Reason),
    Answer(Reason, fn(&Frame) -> Vec<u8>),
}

use Outcome::{Answer, Drop, Pass};

#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// The service that the packet is for, if any.
    pub(super) service: Option<&'static str>,
    /// The last number of the destination.
    number: u8,
    /// The sources, IPv4 and IPv6.
    from: [&'static str; 2],
    /// Adds what follows the IP header.
    pub(super) carries: fn(Frame) -> Frame,
    /// Bytes of the transport header, without which a packet is malformed.
    pub(super) needs: usize,
    /// Whether the transport header says how long the whole of it is.
    pub(super) exact: bool,
    /// Bytes behind the transport header without which `short` holds, IPv4 and IPv6, besides an IP header.
    quotes: Option<[usize; 2]>,
    pub(super) short: Outcome,
    pub(super) whole: Outcome,
    /// For a whole packet with options or extension headers, if that is another verdict.
    pub(super) not_plain: Option<Outcome>,
    pub(super) first: Outcome,
    pub(super) later: Outcome,
    /// A byte of the IP header that is wrong, for each family.
    pub(super) spoiled: Option<[u8; 2]>,
}

impl Row {
    /// Sources and destinations, IPv4 and IPv6.
    pub(super) fn between(&self) -> [(&'static str, String); 2] {
        let [v4, v6] = self.from;
        [
            (v4, format!("192.168.250.{}", self.number)),
            (v6, format!("fd00:250::{}", self.number)),
        ]
    }

    /// Bytes behind the IP header and its extensions from which `short` no longer holds.
    pub(super) fn enough(&self, layers: &Layers) -> usize {
        let quoted_header = layers.fixed - layers.network;
        self.quotes.map_or(0, |[v4, v6]| {
            self.needs + quoted_header + if quoted_header == 20 { v4 } else { v6 }
        })
    }

    pub(super) fn spoil(&self, layers: &Layers, bytes: &mut [u8]) {
        if let (Some([v4, v6]), Some(first)) = (self.spoiled, bytes.get_mut(layers.network)) {
            let is_v4 = layers.fixed - layers.network == 20;
            *first = if is_v4 { v4 } else { v6 };
        }
    }
}

const UP: (Option<&str>, u8) = (Some("up"), 1);
const REJECTING: (Option<&str>, u8) = (Some("rejecting"), 2);
const OPEN: (Option<&str>, u8) = (Some("open"), 3);
const DOWN: (Option<&str>, u8) = (Some("down"), 4);
const MAINTAINED: (Option<&str>, u8) = (Some("maintained"), 5);
const REFUSED: (Option<&str>, u8) = (Some("refused"), 6);
const LINGERING: (Option<&str>, u8) = (Some("lingering"), 7);
const PRIVATE: (Option<&str>, u8) = (Some("private"), 8);
const LIMITED: (Option<&str>, u8) = (Some("limited"), 9);
const NOBODY: (Option<&str>, u8) = (None, 99);

const ANYBODY: [&str; 2] = ["10.9.8.7", "2001:db8:9::7"];
const ALLOWED: [&str; 2] = ["10.1.8.7", "2001:db8:1::7"];
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

const SYN: u8 = 0x02;
const RST_ACK: u8 = 0x14;
const DATA: &[u8] = b"0123456789";

fn service(to: (Option<&str>, u8), state: State) -> Service {
    let (name, number) = to;
    Service {
        name: name.unwrap_or_default().to_owned(),
        state,
        addresses: vec![
            ip(&format!("192.168.250.{number}")),
            ip(&format!("fd00:250::{number}")),
        ],
        ports: ["udp/53", "tcp/53", "sctp/53"]
            .iter()
            .map(|port| port.parse().unwrap())
            .collect(),
        ..Service::default()
    }
}

pub(super) fn bed() -> Bed {
    let nets = |texts: [&str; 2]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let services = vec![
        Service {
            identity: true,
            neighbor: true,
            ..service(UP, State::Up)
        },
        Service {
            unlisted: Policy::Reject,
            fragments: Fragments::Drop,
            limits: generous(),
            ..service(REJECTING, State::Up)
        },
        Service {
            unlisted: Policy::Pass,
            protocols: vec![47],
            ..service(OPEN, State::Degraded)
        },
        Service {
            neighbor: true,
            ..service(DOWN, State::Down)
        },
        Service {
            on_down: Policy::Pass,
            ..service(MAINTAINED, State::Disabled)
        },
        Service {
            on_down: Policy::Reject,
            limits: generous(),
            ..service(REFUSED, State::Down)
        },
        service(LINGERING, State::Lingering),
        Service {
            deny: nets(["0.0.0.0/0", "::/0"]),
            allow: nets(["10.1.0.0/16", "2001:db8:1::/48"]),
            ..service(PRIVATE, State::Up)
        },
        Service {
            limits: Limits {
                source: Some(SourceLimit {
                    rate: 1,
                    burst: None,
                    v4_prefix: 32,
                    v6_prefix: 64,
                }),
                ..Limits::default()
            },
            ..service(LIMITED, State::Up)
        },
    ];
    let mut bed = Bed::holding(
        &settings(),
        Desired {
            services,
            identity: Some("city-a".to_owned()),
            ..Desired::default()
        },
    );
    // Uses up what the limit admits at once.
    let [v4, v6] = limited().between();
    for (from, to) in [v4, v6] {
        let frame = udp(Frame::new(ip(from), ip(&to)), 53).bytes();
        bed.on_host(&frame);
        bed.explained(&frame);
    }
    bed
}

/// Rejections without a limit that these tests would reach.
fn generous() -> Limits {
    Limits {
        reject: anycast_userspace::config::dataplane::Rate::per_second(1_000_000_000),
        ..Limits::default()
    }
}

fn udp(frame: Frame, port: u16) -> Frame {
    frame.udp(4000, port, DATA)
}

fn udp_row(name: &'static str, to: (Option<&'static str>, u8), whole: Outcome) -> Row {
    Row {
        name,
        service: to.0,
        number: to.1,
        from: ANYBODY,
        carries: |frame| udp(frame, 53),
        needs: 8,
        exact: true,
        quotes: None,
        short: whole,
        whole,
        not_plain: None,
        first: whole,
        later: Pass(Reason::Fragment),
        spoiled: None,
    }
}

fn tcp_row(name: &'static str, to: (Option<&'static str>, u8), whole: Outcome) -> Row {
    Row {
        carries: |frame| frame.tcp(4000, 53, 1000, 0, SYN, DATA),
        needs: 20,
        exact: false,
        ..udp_row(name, to, whole)
    }
}

/// Headers of a protocol without ports; a first fragment that is not refused is left to the policy.
fn icmp_row(name: &'static str, to: (Option<&'static str>, u8), whole: Outcome) -> Row {
    Row {
        carries: |frame| frame.echo(7, 1, DATA),
        needs: 8,
        exact: false,
        first: Pass(Reason::Fragment),
        ..udp_row(name, to, whole)
    }
}

fn gre_row(name: &'static str, to: (Option<&'static str>, u8), whole: Outcome) -> Row {
    Row {
        carries: |frame| frame.carrying(47, DATA),
        needs: 0,
        exact: false,
        ..udp_row(name, to, whole)
    }
}

/// The same verdict for every part.
fn always(row: Row) -> Row {
    Row {
        first: row.whole,
        later: row.whole,
        ..row
    }
}

fn limited() -> Row {
    always(udp_row(
        "over the source limit",
        LIMITED,
        Drop(Reason::SourceLimited),
    ))
}

/// An ICMP error that quotes a datagram, or a part of one, from `port` of `number`.
fn error(frame: Frame, number: u8, port: u16, part: Part) -> Frame {
    let v4 = frame.layers().fixed - frame.layers().network == 20;
    let [kind, from, to] = if v4 {
        ["3", "192.168.250.", "10.1.1.1"]
    } else {
        ["2", "fd00:250::", "2001:db8:1::1"]
    };
    let quoted = Frame::new(ip(&format!("{from}{number}")), ip(to))
        .part(part)
        .udp(port, 4000, DATA);
    frame.icmp(
        kind.parse().unwrap(),
        if v4 { 4 } else { 0 },
        [0, 0, 5, 0],
        &quoted.packet(),
    )
}

fn reset(request: &Frame, port: u16) -> Vec<u8> {
    let back = request.back();
    back.reset(port, 4000, 0, 1001, RST_ACK).bytes()
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = passed_and_dropped();
    rows.extend(icmp());
    rows.extend(answered());
    rows.extend(not_up());
    rows.extend(refused_sources());
    rows.extend(spoiled());
    rows
}

fn passed_and_dropped() -> Vec<Row> {
    let sctp = |row| Row {
        carries: |frame| frame.sctp(4000, 53),
        needs: 12,
        exact: false,
        ..row
    };
    vec![
        always(udp_row("not ours", NOBODY, Pass(Reason::NotOurs))),
        udp_row("UDP to a served port", UP, Pass(Reason::Served)),
        tcp_row("TCP to a served port", UP, Pass(Reason::Served)),
        sctp(udp_row("SCTP to a served port", UP, Pass(Reason::Served))),
        Row {
            carries: |frame| udp(frame, 54),
            ..udp_row("UDP to another port", UP, Drop(Reason::Unlisted))
        },
        Row {
            carries: |frame| frame.tcp(4000, 54, 1000, 0, SYN, DATA),
            ..tcp_row("TCP to another port", UP, Drop(Reason::Unlisted))
        },
        Row {
            carries: |frame| udp(frame, 54),
            ..udp_row(
                "UDP to another port, passed",
                OPEN,
                Pass(Reason::UnlistedPassed),
            )
        },
        gre_row("another protocol", UP, Drop(Reason::ProtocolUnlisted)),
        gre_row("a listed protocol", OPEN, Pass(Reason::ProtocolListed)),
        Row {
            later: Drop(Reason::FragmentDropped),
            ..udp_row("UDP, fragments dropped", REJECTING, Pass(Reason::Served))
        },
    ]
}

fn icmp() -> Vec<Row> {
    vec![
        icmp_row("echo", UP, Answer(Reason::Echo, Frame::echo_reply)),
        Row {
            first: Drop(Reason::FragmentDropped),
            later: Drop(Reason::FragmentDropped),
            ..icmp_row(
                "echo, fragments dropped",
                REJECTING,
                Answer(Reason::Echo, Frame::echo_reply),
            )
        },
        Row {
            from: LOOPBACK,
            first: Drop(Reason::BadSource),
            ..icmp_row("echo from nowhere", UP, Drop(Reason::BadSource))
        },
        Row {
            carries: |frame| error(frame, 1, 53, Part::Whole),
            quotes: Some([8, 8]),
            short: Drop(Reason::IcmpOther),
            ..icmp_row("an error about a flow", UP, Pass(Reason::IcmpError))
        },
        Row {
            carries: |frame| error(frame, 1, 53, Part::First),
            quotes: Some([8, 16]),
            short: Drop(Reason::IcmpOther),
            ..icmp_row(
                "an error about a first fragment",
                UP,
                Pass(Reason::IcmpError),
            )
        },
        Row {
            carries: |frame| error(frame, 1, 53, Part::Later),
            first: Drop(Reason::IcmpOther),
            ..icmp_row(
                "an error about a later fragment",
                UP,
                Drop(Reason::IcmpOther),
            )
        },
        Row {
            carries: |frame| error(frame, 1, 54, Part::Whole),
            first: Drop(Reason::IcmpOther),
            ..icmp_row("an error about another port", UP, Drop(Reason::IcmpOther))
        },
        Row {
            carries: |frame| error(frame, 99, 53, Part::Whole),
            first: Drop(Reason::IcmpOther),
            ..icmp_row("an error about another's flow", UP, Drop(Reason::IcmpOther))
        },
        Row {
            carries: |frame| frame.icmp(5, 0, [0; 4], DATA),
            first: Drop(Reason::IcmpOther),
            ..icmp_row("other ICMP", UP, Drop(Reason::IcmpOther))
        },
    ]
}

fn answered() -> Vec<Row> {
    let fragments = |row| Row {
        later: Drop(Reason::FragmentDropped),
        ..row
    };
    vec![
        Row {
            carries: |frame| frame.udp(4000, 53, &identity_question()),
            // Unusual, so that the server behind is asked.
            not_plain: Some(Pass(Reason::Served)),
            first: Pass(Reason::Served),
            ..udp_row(
                "the node's identity",
                UP,
                Answer(Reason::Identity, identified),
            )
        },
        fragments(Row {
            carries: |frame| udp(frame, 54),
            ..udp_row(
                "UDP, rejected",
                REJECTING,
                Answer(Reason::UnlistedRejected, unreachable),
            )
        }),
        fragments(Row {
            carries: |frame| frame.sctp(4000, 54),
            needs: 12,
            exact: false,
            ..udp_row(
                "SCTP, rejected",
                REJECTING,
                Answer(Reason::UnlistedRejected, unreachable),
            )
        }),
        fragments(Row {
            carries: |frame| frame.tcp(4000, 54, 1000, 0, SYN, b""),
            first: Drop(Reason::Unlisted),
            ..tcp_row(
                "TCP, rejected",
                REJECTING,
                Answer(Reason::UnlistedRejected, |frame| reset(frame, 54)),
            )
        }),
    ]
}

fn not_up() -> Vec<Row> {
    let (down, passed) = (Drop(Reason::Down), Pass(Reason::DownPassed));
    vec![
        always(udp_row("UDP, down", DOWN, down)),
        always(tcp_row("TCP, down", DOWN, down)),
        always(icmp_row("echo, down", DOWN, down)),
        always(gre_row("another protocol, down", DOWN, down)),
        always(udp_row("UDP, disabled and passed", MAINTAINED, passed)),
        always(icmp_row("echo, disabled and passed", MAINTAINED, passed)),
        Row {
            later: down,
            ..udp_row(
                "UDP, down and rejected",
                REFUSED,
                Answer(Reason::DownRejected, unreachable),
            )
        },
        Row {
            carries: |frame| frame.tcp(4000, 53, 1000, 0, SYN, b""),
            first: down,
            later: down,
            ..tcp_row(
                "TCP, down and rejected",
                REFUSED,
                Answer(Reason::DownRejected, |frame| reset(frame, 53)),
            )
        },
        always(icmp_row("echo, down and rejected", REFUSED, down)),
        udp_row(
            "UDP to a served port, lingering",
            LINGERING,
            Pass(Reason::Lingering),
        ),
        Row {
            carries: |frame| udp(frame, 54),
            ..udp_row("UDP to another port, lingering", LINGERING, down)
        },
        Row {
            first: down,
            ..icmp_row("echo, lingering", LINGERING, down)
        },
        Row {
            carries: |frame| error(frame, 7, 53, Part::Whole),
            quotes: Some([8, 8]),
            short: down,
            ..icmp_row(
                "an error about a flow, lingering",
                LINGERING,
                Pass(Reason::IcmpError),
            )
        },
        Row {
            carries: |frame| error(frame, 7, 54, Part::Whole),
            first: down,
            ..icmp_row("an error about another port, lingering", LINGERING, down)
        },
        gre_row("another protocol, lingering", LINGERING, down),
    ]
}

fn refused_sources() -> Vec<Row> {
    vec![
        always(udp_row("UDP, denied", PRIVATE, Drop(Reason::Denied))),
        always(icmp_row("echo, denied", PRIVATE, Drop(Reason::Denied))),
        Row {
            from: ALLOWED,
            ..udp_row(
                "UDP, allowed within what is denied",
                PRIVATE,
                Pass(Reason::Served),
            )
        },
        limited(),
    ]
}

fn spoiled() -> Vec<Row> {
    let malformed = |name, first: [u8; 2]| Row {
        spoiled: Some(first),
        ..always(udp_row(name, UP, Drop(Reason::Malformed)))
    };
    vec![
        malformed("another version", [0x55, 0x50]),
        malformed("the other version", [0x65, 0x40]),
        malformed("a header shorter than a header", [0x44, 0x00]),
    ]
}
