//! `cargo xtask build-and-run`: sets up what is missing, builds, and runs: the lab, or the daemon.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::command::{cargo, run, say};
use crate::lab::{self, LabArgs};
use crate::{packages, test, toolchain};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run the failover scenario once and exit, also on a terminal
    #[arg(long, conflicts_with = "anycast")]
    once: bool,
    /// Run the daemon on this host with these arguments instead: `-- run -c anycast.toml`
    #[arg(last = true, value_name = "ANYCAST ARGUMENTS")]
    anycast: Vec<String>,
}

pub(crate) fn build_and_run(args: &Args) -> anyhow::Result<()> {
    toolchain::ensure()?;
    if args.anycast.is_empty() {
        packages::ensure_tools(packages::TOOLS)?;
    }
    run(&mut cargo(&[
        "build",
        "--release",
        "--package=anycast-userspace",
    ]))?;
    let binary = test::binary();
    if args.anycast.is_empty() {
        return lab::run(&LabArgs {
            once: args.once,
            anycast: binary,
        });
    }
    become_the_daemon(&binary, &args.anycast)
}

/// Replaces this process, so that signals reach the daemon itself.
fn become_the_daemon(binary: &Path, args: &[String]) -> anyhow::Result<()> {
    say(&format!("{} {}", binary.display(), args.join(" ")));
    Err(Command::new(binary).args(args).exec().into())
}
