//! Development commands: `cargo xtask <command>`.

mod lab;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development commands of anycast")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the lab: two cities that own one address.
    BuildAndRun {
        /// Run the failover scenario once, also on a terminal.
        #[arg(long)]
        once: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::BuildAndRun { once } => lab::run(&lab::LabArgs {
            once,
            anycast: std::env::var_os("ANYCAST_BIN")
                .map_or_else(|| PathBuf::from("target/debug/anycast"), PathBuf::from),
        }),
    }
}
