//! `cargo xtask <command>`: everything that a developer runs, one file per command.

mod ci;
mod command;
mod packages;
mod setup;
mod test;
mod toolchain;

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
    /// Install what is missing: eBPF toolchain, bpf-linker, the daemons and tools that tests use
    Setup,
    /// Run every test, the privileged ones included (root)
    Test(test::Args),
    /// Check format, lints (host and eBPF), dependencies and docs
    Ci,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Setup => setup::run(),
        Command::Test(args) => test::run_tests(&args),
        Command::Ci => ci::run_checks(),
    }
}
