//! The `anycast` binary: parses the command line and wires the rest.

use std::process::ExitCode;

use anycast_userspace::cli::{self, Cli};
use clap::Parser as _;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
