//! `cargo xtask <command>`: everything that a developer runs, one file per command.

mod ci;
mod command;
mod lab;
mod packages;
mod setup;
mod test;
mod toolchain;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Development commands of anycast.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the lab: two cities that own one address
    BuildAndRun {
        /// Run the failover scenario once, also on a terminal
        #[arg(long)]
        once: bool,
    },
    /// Install what is missing: eBPF toolchain, bpf-linker, the daemons and tools that tests use
    Setup,
    /// Run every test, the privileged ones included (root)
    Test(test::Args),
    /// Check format, lints (host and eBPF), dependencies and docs
    Ci,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::BuildAndRun { once } => lab::run(&lab::LabArgs {
            once,
            anycast: std::env::var_os("ANYCAST_BIN")
                .map_or_else(|| PathBuf::from("target/debug/anycast"), PathBuf::from),
        }),
        Command::Setup => setup::run(),
        Command::Test(args) => test::run_tests(&args),
        Command::Ci => ci::run_checks(),
    }
}
