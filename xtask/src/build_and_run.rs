//! `cargo xtask build-and-run`: sets up what is missing, builds, and runs: the lab, or the daemon.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::command::{build_daemon, daemon, say};
use crate::host::{self, Purpose};
use crate::lab::LabArgs;
use crate::{lab, packages, privilege, toolchain};

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
    if args.anycast.is_empty() {
        return build_and_run_lab(args.once);
    }
    let takes_root = args.anycast[0] == "run";
    host::check(
        if takes_root {
            Purpose::Daemon
        } else {
            Purpose::Build
        },
        &[],
    )?;
    toolchain::ensure()?;
    build_daemon()?;
    say(&format!(
        "{} {}",
        daemon().display(),
        args.anycast.join(" ")
    ));
    become_it(if takes_root {
        privilege::command(&[], daemon(), &args.anycast)?
    } else {
        let mut command = Command::new(daemon());
        command.args(&args.anycast);
        command
    })
}

fn build_and_run_lab(once: bool) -> anyhow::Result<()> {
    host::check(Purpose::Namespaces, &[packages::TOOLS])?;
    toolchain::ensure()?;
    packages::ensure_tools(packages::TOOLS)?;
    build_daemon()?;
    let args = LabArgs {
        once,
        anycast: daemon(),
    };
    if nix::unistd::geteuid().is_root() {
        return lab::run(&args);
    }
    let anycast = args.anycast.to_string_lossy();
    let mut words = vec!["as-root", "lab", "--anycast", &anycast];
    if once {
        words.push("--once");
    }
    become_it(privilege::itself(&words)?)
}

/// Replaces this process, so that signals reach the other itself.
fn become_it(mut command: Command) -> anyhow::Result<()> {
    Err(command.exec().into())
}
