//! `cargo xtask <command>`: everything that a developer runs, one file per command.

mod as_root;
mod bench;
mod build_and_run;
mod ci;
mod command;
mod fresh;
mod fuzz;
mod gate;
mod host;
mod lab;
mod packages;
mod pinned;
mod privilege;
mod setup;
mod test;
mod test_programs;
mod toolchain;
mod verify;
mod vm;

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
    /// Build, and run the lab of two cities that own one address, or with `-- run -c FILE` the daemon
    BuildAndRun(build_and_run::Args),
    /// Install what is missing of the eBPF toolchain, bpf-linker, the lab's daemons and tools, and QEMU; `test` and
    /// `ci` install what they alone need
    Setup,
    /// Run every test; the privileged ones run as root, through sudo where you are not
    Test(test::Args),
    /// Run the fuzz targets of tests/fuzz, each for some seconds
    Fuzz(fuzz::Args),
    /// Measure what a packet costs, and compare it
    Bench(bench::Args),
    /// Check format, lints (host and eBPF), dependencies and docs
    Ci,
    /// Load and try every program on Debian's kernels 6.1 and 6.12, in virtual machines
    Verify(verify::Args),
    /// Run a program on Debian's kernels 6.1 and 6.12, in virtual machines
    Vm(vm::Args),
    /// The first process of such a machine
    #[command(hide = true)]
    VmInit,
    /// What this program itself runs through sudo
    #[command(hide = true, subcommand)]
    AsRoot(as_root::Part),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::BuildAndRun(args) => build_and_run::build_and_run(&args),
        Command::Setup => setup::run(),
        Command::Test(args) => test::run_tests(&args),
        Command::Fuzz(args) => fuzz::run_targets(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Ci => ci::run_checks(),
        Command::Verify(args) => verify::run(&args),
        Command::Vm(args) => vm::run_program(&args),
        Command::VmInit => vm::init::main(),
        Command::AsRoot(part) => as_root::run(&part),
    }
}
