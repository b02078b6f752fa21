//! The whole path: frames that the kernel makes run through a veth pair into the node, on one processor,
//! which also makes them. What counts is what the node has done with them.

mod rig;

use std::time::Instant;

use anycast_common::Reason;
use anycast_tests::processor;
use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;

use crate::frames::{arp, at_least, bytes, dns, ping, to_v4};
use crate::tables::service;
use rig::Rig;

/// Who deals with the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dealer {
    /// The data plane.
    Xdp,
    /// The kernel's stack.
    Kernel,
    /// A rule of nftables, in prerouting.
    Nftables,
    /// A BPF classifier with one look-up.
    Tc,
}

/// One case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Live {
    EchoXdp,
    EchoKernel,
    ArpXdp,
    ArpKernel,
    DropXdp,
    DropNftables,
    DropTc,
}

impl Live {
    const fn dealer(self) -> Dealer {
        match self {
            Self::EchoXdp | Self::ArpXdp | Self::DropXdp => Dealer::Xdp,
            Self::EchoKernel | Self::ArpKernel => Dealer::Kernel,
            Self::DropNftables => Dealer::Nftables,
            Self::DropTc => Dealer::Tc,
        }
    }

    /// The reason that the data plane counts.
    const fn reason(self) -> Reason {
        match self {
            Self::EchoXdp | Self::EchoKernel => Reason::Echo,
            Self::ArpXdp | Self::ArpKernel => Reason::Neighbor,
            Self::DropXdp | Self::DropNftables | Self::DropTc => Reason::Down,
        }
    }

    fn frame(self) -> Vec<u8> {
        match self.reason() {
            Reason::Echo => ping(to_v4(service::NEIGHBOR)).bytes(),
            Reason::Neighbor => at_least(arp(service::NEIGHBOR), 64),
            _ => at_least(bytes(&dns(to_v4(service::DOWN))), 64),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these cases
    #[arg(long = "case", value_enum)]
    cases: Vec<Live>,
    /// Frames that are sent in one run
    #[arg(long, default_value_t = 1_000_000)]
    frames: u32,
    /// Runs of each case; the fastest counts
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

/// Measures, and prints a JSON line for each case: millions of packets a second.
pub(crate) fn measure(args: &Args) -> anyhow::Result<()> {
    processor::stay_on_one()?;
    let cases = if args.cases.is_empty() {
        Live::value_variants()
    } else {
        &args.cases
    };
    for case in cases {
        let rig = Rig::new(*case)?;
        let mut best = 0.0_f64;
        for _ in 0..args.rounds {
            best = best.max(run(&rig, args.frames)?);
        }
        let name = case.to_possible_value().context("it has a name")?;
        let line = serde_json::json!({
            "live": name.get_name(),
            "mpps": (best * 100.0).round() / 100.0,
        });
        println!("{line}");
    }
    Ok(())
}

/// Millions of packets a second.
#[expect(clippy::cast_precision_loss, reason = "counts of a few millions")]
fn run(rig: &Rig, frames: u32) -> anyhow::Result<f64> {
    let before = rig.done()?;
    let started = Instant::now();
    rig.send(frames)?;
    let took = started.elapsed();
    let done = rig.done()? - before;
    ensure!(done > 0, "nothing was done with any frame");
    Ok(done as f64 / took.as_secs_f64() / 1e6)
}
