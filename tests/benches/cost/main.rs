//! What a packet costs: each case runs a loaded program on one frame by BPF_PROG_TEST_RUN.
//!
//! `cost cases` lists the cases, `cost run` measures them and prints one JSON line for each. It needs a
//! kernel, root and a bpf file system on /sys/fs/bpf, and no other program.
//!
//! A program is measured in short calls, in shuffled rounds over all cases; what counts is the least time.
//! Nothing of the machine is changed but for a directory of pinned maps, which is removed.

mod bed;
mod cases;
mod frames;
mod live;
mod measure;
mod peers;
mod tables;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

use crate::bed::Bed;
use crate::cases::Case;
use crate::measure::{Clock, Plan};
use crate::peers::Peers;

/// Measure what a packet costs.
#[derive(Debug, Parser)]
#[command(name = "cost", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What cargo bench adds.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the cases, each with what it is
    Cases,
    /// Measure, and print a JSON line for each case
    Run(Run),
    /// Send frames through a veth pair to the data plane, to the kernel's stack, to nftables and to tc, and
    /// print a JSON line for each: how many each deals with on one processor. Needs ip, ethtool and nft
    Live(live::Args),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Only these cases (may be repeated); those of peers whose objects are not there fail
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Rounds over all cases, in a new order each
    #[arg(long, default_value_t = 1000)]
    rounds: u32,
    /// Runs of the program in one call
    #[arg(long, default_value_t = 10_000)]
    repeat: u32,
    /// Take the duration that the kernel reports, in whole nanoseconds, instead of the thread's CPU time.
    /// Under an emulator that counts instructions as time, these are instructions
    #[arg(long)]
    kernel_duration: bool,
    /// Do not attach the programs: each call then takes some 30 ms longer, outside of what is measured
    #[arg(long)]
    no_attach: bool,
    #[command(flatten)]
    peers: Peers,
    /// Measure this object instead of the one that was built with this program
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,
    /// JSON lines are what is printed; this says so
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Cases => {
            for case in cases::all() {
                println!("{:<28} {}", case.name, case.what);
            }
            Ok(())
        }
        Command::Run(run) => measure(&run),
        Command::Live(args) => live::measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(run: &Run) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("loading programs takes root");
    }
    let chosen = choose(run)?;
    let object = match &run.object {
        Some(path) => fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => anycast_userspace::OBJECT.to_vec(),
    };
    let mut bed = Bed::new(run.peers.clone(), object, !run.no_attach);
    let runners = chosen
        .iter()
        .map(|case| bed.prepare(case))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let plan = Plan {
        rounds: run.rounds,
        repeat: run.repeat,
        clock: if run.kernel_duration {
            Clock::Kernel
        } else {
            Clock::Thread
        },
    };
    let costs = measure::measure(&runners, &plan)?;
    for (case, cost) in chosen.iter().zip(costs) {
        let line = serde_json::json!({
            "case": case.name,
            "ns": round(cost.least),
            "median": round(cost.median),
        });
        println!("{line}");
    }
    Ok(())
}

/// Hundredths of a nanosecond are already noise.
fn round(ns: f64) -> f64 {
    (ns * 100.0).round() / 100.0
}

fn choose(run: &Run) -> anyhow::Result<Vec<Case>> {
    let all = cases::all();
    if run.cases.is_empty() {
        return Ok(all
            .into_iter()
            .filter(|case| run.peers.have(case.program))
            .collect());
    }
    for name in &run.cases {
        if !all.iter().any(|case| case.name == name) {
            bail!("there is no case {name}: `cost cases` lists them");
        }
    }
    Ok(all
        .into_iter()
        .filter(|case| run.cases.iter().any(|name| case.name == name))
        .collect())
}
