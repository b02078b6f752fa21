//! What we send, as an independent decoder reads it.

use std::time::Duration;

use anycast_tests::peers::{Daemon, Router, Scratch, in_namespace, run, wait_until};
use anyhow::Result;

use crate::bird::Bird;
use crate::daemon::{ADDRESSES, BfdDaemon, PATIENT, patient, router};
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

/// Enough to come up and to find the pace.
const PACKETS: usize = 40;

/// One packet of ours.
#[derive(Clone, Debug)]
struct Seen(Vec<String>);

impl Seen {
    fn field(&self, name: &str) -> &str {
        let at = FIELDS.iter().position(|field| *field == name);
        at.and_then(|at| self.0.get(at)).map_or("", String::as_str)
    }
}

/// A capture at the router of [`PACKETS`] packets, which then ends.
struct Capture {
    scratch: Scratch,
    tcpdump: Daemon,
}

impl Capture {
    /// Captures what comes from `source`.
    fn start(router: &Router, source: &str) -> Result<Self> {
        let scratch = Scratch::new("bfd-capture")?;
        let filter = format!("udp dst port 3784 and src host {source}");
        let (log, file) = (scratch.path().join("log"), file(&scratch));
        let count = PACKETS.to_string();
        let arguments = [
            "-Z", "root", "-i", "router1", "-U", "-c", &count, "-w", &file, &filter,
        ];
        let tcpdump = Daemon::start(router.pid(), &log, "tcpdump", &arguments)?;
        // It listens before it opens the file, whose header it writes at once.
        wait_until("tcpdump listens", Duration::from_secs(20), || {
            let written = std::fs::metadata(&file).map_or(0, |file| file.len());
            (written > 0).then_some(())
        })?;
        Ok(Self { scratch, tcpdump })
    }

    /// Waits for its end, and has tshark read it.
    fn packets(&mut self) -> Result<Vec<Seen>> {
        wait_until("the packets", Duration::from_secs(20), || {
            (!self.tcpdump.is_running()).then_some(())
        })?;
        let file = file(&self.scratch);
        let mut arguments = vec!["-n", "-r", &file, "-T", "fields", "-E", "separator=,"];
        arguments.extend(FIELDS.iter().flat_map(|field| ["-e", field]));
        let text = run("tshark", &arguments)?;
        let fields = text.lines().map(|line| line.split(',').map(str::to_owned));
        Ok(fields.map(|fields| Seen(fields.collect())).collect())
    }
}

fn file(scratch: &Scratch) -> String {
    scratch.path().join("pcap").to_string_lossy().into_owned()
}

fn number(text: &str) -> u64 {
    text.strip_prefix("0x")
        .map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16))
        .unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn an_independent_decoder_agrees(index: usize) {
    in_namespace(move || {
        let router = router().expect("a router");
        let mut capture = Capture::start(&router, ADDRESSES[index].0).expect("it can be captured");
        let _bird = Bird::start(&router, PATIENT).expect("BIRD starts");
        let mut node = Node::start(index + 1, &patient()).expect("BFD starts");
        node.wait_until_up().expect("the sessions come up");
        let packets = capture.packets().expect("tshark reads them");

        let ports: Vec<_> = packets
            .iter()
            .map(|seen| seen.field("udp.srcport"))
            .collect();
        assert_eq!(packets.len(), PACKETS);
        assert!(number(ports[0]) >= 49152);
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        for seen in &packets {
            let hops = [seen.field("ip.ttl"), seen.field("ipv6.hlim")].concat();
            assert_eq!(hops, "255");
            assert_eq!(seen.field("_ws.malformed"), "");
            assert_eq!(seen.field("bfd.version"), "1");
            assert_eq!(seen.field("bfd.message_length"), "24");
            let multiplier = number(seen.field("bfd.detect_time_multiplier"));
            assert_eq!(multiplier, u64::from(PATIENT));
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
        let mut gaps: Vec<_> = quiet
            .windows(2)
            .map(|pair| {
                let at = |seen: &Seen| -> f64 {
                    let text = seen.field("frame.time_relative");
                    text.parse().expect("a time")
                };
                at(pair[1]) - at(pair[0])
            })
            .collect();
        gaps.sort_by(f64::total_cmp);
        // One that is late is the machine's doing, and shortens the next gap. Most are on time.
        let median = gaps[gaps.len() / 2];
        assert!(
            (0.037..0.100).contains(&median),
            "75 to 100 % of 50 ms, and the machine's delay: {gaps:?}"
        );
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
