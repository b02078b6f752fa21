//! The `anycast` binary: parses the command line and wires the rest.

use std::process::ExitCode;

use anycast_userspace::cli::{self, Cli};
use clap::Parser as _;
use mimalloc::MiMalloc;

/// Each run of a check takes a dozen pieces of memory, some of several KiB, and gives them back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
