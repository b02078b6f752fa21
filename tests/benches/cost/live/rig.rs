//! A node and its peer in two network namespaces, joined by a veth pair. The calling thread stays in the
//! peer's, from where frames are sent.

use std::fs;

use anycast_common::abi::{self, Counters, Interface, feature, global, map};
use anycast_common::bench::{Kept, name};
use anycast_tests::netns::{Home, Namespace, veth};
use anycast_tests::packet::{NODE_MAC, PEER_MAC};
use anycast_tests::process;
use anyhow::{Context as _, bail};
use aya::maps::{Array, HashMap, PerCpuArray};
use aya::programs::tc::TcAttachType;
use aya::programs::{SchedClassifier, TestRun as _, TestRunAttrs, TestRunOptions, XdpMode};
use aya::{Ebpf, EbpfLoader};
use nix::net::if_::if_nametoindex;

use super::{Dealer, Live};
use crate::bed::{Loaded, kept};
use crate::frames::{self, SOURCE_V4};
use crate::tables::{Filled, Tables, service};

/// What the names of our namespaces begin with, those that a killed run has left among them.
const PREFIX: &str = "anycast-bench-";
const NODE: &str = "anycast-bench-node";
const PEER: &str = "anycast-bench-peer";
const NODE_INTERFACE: &str = "node0";
const PEER_INTERFACE: &str = "peer0";
/// Frames that the kernel makes at once.
const BATCH: u32 = 64;

/// What the node runs.
enum Running {
    Nothing,
    Xdp(Loaded),
    Classifier(Ebpf),
}

pub(super) struct Rig {
    case: Live,
    running: Running,
    sender: Loaded,
    frame: Vec<u8>,
    /// Takes the answers: without it they would not arrive, and the peer's stack would see them.
    _catcher: Loaded,
    _maps: Filled,
    /// Takes the calling thread home: after what is attached is detached, before the namespaces go.
    _home: Home,
    node: Namespace,
    _peer: Namespace,
}

impl Rig {
    pub(super) fn new(case: Live) -> anyhow::Result<Self> {
        Namespace::remove_leftovers(PREFIX)?;
        let (node, peer) = (Namespace::create(NODE)?, Namespace::create(PEER)?);
        let home = Home::here()?;
        veth((&node, NODE_INTERFACE), (&peer, PEER_INTERFACE))?;
        configure(&node, &peer)?;
        let pins = format!("/sys/fs/bpf/anycast-bench-live-{}", std::process::id());
        let maps = Filled::new(pins.into(), anycast_userspace::OBJECT, Tables::SMALL)?;
        home.visit(&node)?;
        let running = run(case, &node, &maps)?;
        home.visit(&peer)?;
        let bench = || {
            EbpfLoader::new()
                .btf(None)
                .load(anycast_userspace::BENCH_OBJECT)
        };
        let mut catcher = Loaded::load(bench()?, name::DROP)?;
        let index = if_nametoindex(PEER_INTERFACE)?;
        catcher
            .program_mut()?
            .attach_to_if_index(index, XdpMode::Driver)?;
        let mut sender = Loaded::load(bench()?, name::SEND)?;
        let frame = case.frame();
        let mut entry: Array<_, Kept> = sender.map(name::KEPT)?.try_into()?;
        entry.set(0, kept(&frame, 0, 0)?, 0)?;
        Ok(Self {
            case,
            running,
            sender,
            frame,
            _catcher: catcher,
            _maps: maps,
            _home: home,
            node,
            _peer: peer,
        })
    }

    /// Sends the frame so many times.
    pub(super) fn send(&self, frames: u32) -> anyhow::Result<()> {
        let index = if_nametoindex(PEER_INTERFACE)?;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let words = [0, u32::try_from(self.frame.len())?, 0, index, 0, 0];
        let context: Vec<u8> = words
            .iter()
            .flat_map(|word: &u32| word.to_ne_bytes())
            .collect();
        self.sender.program()?.test_run(TestRunOptions {
            data_in: Some(&self.frame),
            ctx_in: Some(&context),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        })?;
        Ok(())
    }

    /// With how many frames the node has done what the case is about, so far.
    pub(super) fn done(&self) -> anyhow::Result<u64> {
        match (&self.running, self.case) {
            (Running::Xdp(loaded), case) => {
                let counters: PerCpuArray<_, Counters> =
                    loaded.shared(map::COUNTERS)?.try_into()?;
                let mut packets = 0;
                for service in 0..counters.len() {
                    for counted in counters.get(&service, 0)?.iter() {
                        packets += counted.get(case.reason()).packets;
                    }
                }
                Ok(packets)
            }
            (Running::Classifier(ebpf), _) => {
                let map = ebpf.map(name::KEPT).context("the classifier's map")?;
                let entry: Array<_, Kept> = map.try_into()?;
                Ok(entry.get(&0, 0)?.state)
            }
            (Running::Nothing, Live::EchoKernel) => self.echo_replies(),
            (Running::Nothing, Live::ArpKernel) => received(),
            (Running::Nothing, _) => self.dropped_by_rule(),
        }
    }

    /// OutEchoReps of the node's stack.
    fn echo_replies(&self) -> anyhow::Result<u64> {
        let mut command = self.node.command("cat")?;
        command.arg("/proc/net/snmp");
        let text = process::output(command)?;
        let mut lines = text.lines().filter(|line| line.starts_with("Icmp:"));
        let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
            bail!("/proc/net/snmp has no ICMP");
        };
        let found = names
            .split(' ')
            .zip(values.split(' '))
            .find(|(name, _)| *name == "OutEchoReps");
        let (_, value) = found.context("/proc/net/snmp has no OutEchoReps")?;
        Ok(value.parse()?)
    }

    /// Packets that the rule's counter says.
    fn dropped_by_rule(&self) -> anyhow::Result<u64> {
        let mut command = self.node.command("nft")?;
        command.args(["-j", "list", "ruleset"]);
        let rules: serde_json::Value = serde_json::from_str(&process::output(command)?)?;
        rules["nftables"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item["rule"]["expr"].as_array())
            .flatten()
            .find_map(|part| part["counter"]["packets"].as_u64())
            .context("nft shows no counter")
    }
}

/// Frames that have come back to the peer.
fn received() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("peer0:"))
        .context("the peer has no interface")?;
    let packets = line.split_whitespace().nth(1).context("received packets")?;
    Ok(packets.parse()?)
}

fn configure(node: &Namespace, peer: &Namespace) -> anyhow::Result<()> {
    let address = frames::v4(service::NEIGHBOR);
    node.sysctl(&[
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.default.rp_filter", "0"),
    ])?;
    node.ip(&[
        &format!("link set {NODE_INTERFACE} address {}", mac(NODE_MAC)),
        &format!("addr add {address}/32 dev lo"),
        &format!("addr add 192.0.2.1/24 dev {NODE_INTERFACE}"),
        &format!("route add {SOURCE_V4}/32 dev {NODE_INTERFACE}"),
        &format!(
            "neigh replace {SOURCE_V4} lladdr {} dev {NODE_INTERFACE} nud permanent",
            mac(PEER_MAC)
        ),
    ])?;
    peer.ip(&[&format!(
        "link set {PEER_INTERFACE} address {}",
        mac(PEER_MAC)
    )])
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// Puts what deals with the frames in place; the calling thread is in the node's namespace.
fn run(case: Live, node: &Namespace, maps: &Filled) -> anyhow::Result<Running> {
    let index = if_nametoindex(NODE_INTERFACE)?;
    if case.dealer() != Dealer::Xdp {
        // Only then does a veth take frames that are not socket buffers.
        let mut ethtool = node.command("ethtool")?;
        ethtool.args(["-K", NODE_INTERFACE, "gro", "on"]);
        process::output(ethtool)?;
    }
    match case.dealer() {
        Dealer::Kernel => Ok(Running::Nothing),
        Dealer::Xdp => {
            let ebpf = maps
                .loader(Tables::SMALL)
                .override_global(global::FEATURES, &feature::NEIGHBOR, true)
                .load(anycast_userspace::OBJECT)?;
            let mut loaded = Loaded::load(ebpf, abi::PROGRAM)?;
            let mut interfaces: HashMap<_, u32, Interface> =
                loaded.map(map::INTERFACES)?.try_into()?;
            let interface = Interface {
                mac: NODE_MAC,
                _padding: [0; 2],
            };
            interfaces.insert(index, interface, 0)?;
            loaded
                .program_mut()?
                .attach_to_if_index(index, XdpMode::Driver)?;
            Ok(Running::Xdp(loaded))
        }
        Dealer::Nftables => {
            let address = frames::v4(service::DOWN);
            for line in [
                "add table ip bench".to_owned(),
                "add chain ip bench in { type filter hook prerouting priority raw; }".to_owned(),
                format!("add rule ip bench in ip daddr {address} counter drop"),
            ] {
                let mut nft = node.command("nft")?;
                nft.arg(line);
                process::output(nft)?;
            }
            Ok(Running::Nothing)
        }
        Dealer::Tc => {
            let mut ebpf = maps
                .loader(Tables::SMALL)
                .load(anycast_userspace::BENCH_OBJECT)?;
            let program: &mut SchedClassifier = ebpf
                .program_mut(name::CLASSIFY)
                .context("the classifier")?
                .try_into()?;
            program.load()?;
            program.attach(NODE_INTERFACE, TcAttachType::Ingress)?;
            Ok(Running::Classifier(ebpf))
        }
    }
}
