//! What we send, as an independent decoder reads it.

use std::time::Duration;

use anycast_tests::peers::{Daemon, Router, Scratch, in_namespace, wait_until};
use anycast_userspace::config::bfd::Bfd;
use anyhow::{Context as _, Result};

use crate::bird::Bird;
use crate::daemon::{ADDRESSES, BfdDaemon, router};
use crate::node::Node;

/// What tshark prints of each packet; one of the first two fields is empty.
const FIELDS: [&str; 15] = [
    "ip.ttl",
    "ipv6.hlim",
    "ip.dsfield.dscp",
    "udp.srcport",
    "_ws.malformed",
    "bfd.version",
    "bfd.message_length",
    "bfd.sta",
    "bfd.diag",
    "bfd.flags.p",
    "bfd.flags.f",
    "bfd.detect_time_multiplier",
    "bfd.desired_min_tx_interval",
    "bfd.required_min_rx_interval",
    "frame.time_relative",
];

/// One packet of ours.
#[derive(Clone, Debug)]
struct Seen(Vec<String>);

impl Seen {
    fn field(&self, name: &str) -> &str {
        let at = FIELDS.iter().position(|field| *field == name);
        at.and_then(|at| self.0.get(at)).map_or("", String::as_str)
    }
}

struct Capture {
    scratch: Scratch,
    _tshark: Daemon,
}

impl Capture {
    /// Captures at the router what comes from `source`.
    fn start(router: &Router, source: &str) -> Result<Self> {
        let scratch = Scratch::new("bfd-tshark")?;
        let filter = format!("udp dst port 3784 and src host {source}");
        let mut arguments = vec!["-i", "router1", "-l", "-n", "-f", &filter];
        arguments.extend(["-T", "fields", "-E", "separator=,"]);
        arguments.extend(FIELDS.iter().flat_map(|field| ["-e", field]));
        let log = scratch.path().join("log");
        let capture = Self {
            _tshark: Daemon::start(router.pid(), &log, "tshark", &arguments)?,
            scratch,
        };
        wait_until("tshark captures", Duration::from_secs(20), || {
            capture.text().contains("Capturing on").then_some(())
        })
        .with_context(|| capture.text())?;
        Ok(capture)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// Waits for `count` packets.
    fn packets(&self, count: usize) -> Result<Vec<Seen>> {
        let seen = || {
            let text = self.text();
            let complete = text.lines().map(|line| line.split(',').map(str::to_owned));
            complete
                .map(|fields| Seen(fields.collect()))
                .filter(|seen| seen.0.len() == FIELDS.len())
                .collect::<Vec<_>>()
        };
        wait_until("packets", Duration::from_secs(20), || {
            Some(seen()).filter(|seen| seen.len() >= count)
        })
        .with_context(|| self.text())
    }
}

fn number(text: &str) -> u64 {
    text.strip_prefix("0x")
        .map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16))
        .unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn an_independent_decoder_agrees(index: usize) {
    in_namespace(move || {
        let router = router().expect("a router");
        let capture = Capture::start(&router, ADDRESSES[index].0).expect("tshark captures");
        let _bird = Bird::start(&router).expect("BIRD starts");
        let mut node = Node::start(index + 1, &Bfd::default()).expect("BFD starts");
        node.wait_until_up().expect("the sessions come up");
        let packets = capture.packets(40).expect("packets are seen");

        let ports: Vec<_> = packets
            .iter()
            .map(|seen| seen.field("udp.srcport"))
            .collect();
        assert!(number(ports[0]) >= 49152);
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        for seen in &packets {
            let hops = [seen.field("ip.ttl"), seen.field("ipv6.hlim")].concat();
            assert_eq!(hops, "255");
            assert_eq!(seen.field("_ws.malformed"), "");
            assert_eq!(seen.field("bfd.version"), "1");
            assert_eq!(seen.field("bfd.message_length"), "24");
            assert_eq!(seen.field("bfd.detect_time_multiplier"), "3");
            assert_eq!(number(seen.field("bfd.required_min_rx_interval")), 50_000);
            assert_eq!(number(seen.field("bfd.diag")), 0);
            let up = number(seen.field("bfd.sta")) == 3;
            let interval = if up { 50_000 } else { 1_000_000 };
            assert_eq!(
                number(seen.field("bfd.desired_min_tx_interval")),
                interval,
                "slow until up: {seen:?}"
            );
        }

        let states: Vec<u64> = packets
            .iter()
            .map(|seen| number(seen.field("bfd.sta")))
            .collect();
        assert_eq!(states[0], 1, "it begins in state down");
        assert!(states.is_sorted(), "down, init, up: {states:?}");
        let up: Vec<_> = packets
            .iter()
            .filter(|seen| number(seen.field("bfd.sta")) == 3)
            .collect();
        let polls = up.iter().any(|seen| is_set(seen.field("bfd.flags.p")));
        assert!(polls, "coming up is a change of timers: {up:?}");
        let last = up.last().expect("it is up");
        assert!(!is_set(last.field("bfd.flags.p")), "BIRD has answered");

        // The pace of what is neither a poll nor its answer, nor right after one.
        let quiet = &up[10..];
        let gaps = quiet.windows(2).map(|pair| {
            let at = |seen: &Seen| -> f64 {
                let text = seen.field("frame.time_relative");
                text.parse().expect("a time")
            };
            at(pair[1]) - at(pair[0])
        });
        for gap in gaps {
            assert!(
                (0.037..0.100).contains(&gap),
                "75 to 100 % of 50 ms, and the machine's delay: {gap}"
            );
        }
    });
}

fn is_set(flag: &str) -> bool {
    matches!(flag, "1" | "True")
}

#[test]
fn tshark_reads_our_ipv4_packets_as_we_mean_them() {
    an_independent_decoder_agrees(0);
}

#[test]
fn tshark_reads_our_ipv6_packets_as_we_mean_them() {
    an_independent_decoder_agrees(1);
}
