//! `cargo xtask bench`: what a packet costs, beside what it costs elsewhere, and whether the targets hold.
//!
//! The measuring itself is the bench target `cost` of the crate `tests`, which is built and run as a child:
//! this program is built without the eBPF toolchain.

mod cost;
mod document;
mod plot;
mod results;
mod targets;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::command::{root, say};
use crate::host::{self, Purpose};
use crate::{gate, packages, test_programs, toolchain, vm};
use results::Results;

/// Programs that the comparison needs, and the package of each.
const TOOLS: &[(&str, &str)] = &[
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("xdp-filter", "xdp-tools"),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only count instructions per packet, and fail where a count is more than 3 % off the kept one
    #[arg(long, conflicts_with_all = ["write", "no_instructions"])]
    check: bool,
    /// Keep what is counted now
    #[arg(long, requires = "check")]
    update: bool,
    /// Write docs/benchmarks.md and its plots
    #[arg(long)]
    write: bool,
    /// Rounds over all cases
    #[arg(long, default_value_t = 1000)]
    rounds: u32,
    /// Runs of a program in one call
    #[arg(long, default_value_t = 10_000)]
    repeat: u32,
    /// Leave out the instruction counts, which take virtual machines
    #[arg(long)]
    no_instructions: bool,
    /// Leave out the live frames
    #[arg(long)]
    no_live: bool,
    /// Where Katran's program is pinned, to measure it in the same run
    #[arg(long, value_name = "PIN")]
    katran: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.check {
        host::check(Purpose::Build, &[vm::TOOLS])?;
        return gate::run(args.update).map(|unavailable| {
            for (what, why) in unavailable {
                say(&format!("not tried here: {what} ({why})"));
            }
        });
    }
    host::check(Purpose::Namespaces, &[TOOLS])?;
    toolchain::ensure()?;
    packages::ensure_tools(TOOLS)?;
    let program = test_programs::built("bench", "cost")?;
    let mut results = Results::new(cost::cases(&program)?, cost::machine());
    if !args.no_instructions {
        results.instructions = counts(&program)?;
    }
    say("measuring; keep the machine quiet");
    results.nanoseconds = cost::nanoseconds(&program, args)?;
    results.leave_out_unmeasured();
    if !args.no_instructions {
        let left_out = results.uncounted();
        say(&format!(
            "not counted, but measured by time: {}",
            left_out.join(", ")
        ));
    }
    if !args.no_live {
        results.live = cost::live(&program)?;
    }
    let targets = targets::judge(&results);
    print!("{}", document::table(&results));
    println!();
    print!("{}", document::targets(&targets));
    if args.write {
        write(&results, &targets)?;
    }
    Ok(())
}

/// Instructions as they are compared with times: as numbers of any kind.
fn counts(program: &Path) -> anyhow::Result<BTreeMap<String, BTreeMap<String, f64>>> {
    let float = |count: u64| u32::try_from(count).map(f64::from);
    gate::count_by_series(program)?
        .into_iter()
        .map(|(series, counts)| {
            let counts = counts
                .into_iter()
                .map(|(case, count)| Ok((case, float(count)?)))
                .collect::<anyhow::Result<_>>()?;
            Ok((series, counts))
        })
        .collect()
}

fn write(results: &Results, targets: &[targets::Judged]) -> anyhow::Result<()> {
    let docs = root().join("docs");
    let write = |name: &str, content: &str| {
        let path = docs.join(name);
        say(&format!("writing {}", path.display()));
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    };
    write("benchmarks.md", &document::whole(results, targets))?;
    write("benchmarks-cost.svg", &plot::cost(results)?)?;
    if results.live.is_empty() {
        return Ok(());
    }
    write("benchmarks-live.svg", &plot::live(results)?)
}
