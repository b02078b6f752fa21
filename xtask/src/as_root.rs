//! `cargo xtask as-root`: the parts that this program runs through sudo, and nobody types.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Subcommand;

use crate::lab::{self, LabArgs};
use crate::{fresh, packages};

#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Install packages without starting their daemons
    Install {
        #[arg(required = true)]
        packages: Vec<String>,
    },
    /// Run the lab with a daemon that is built
    Lab {
        #[arg(long)]
        anycast: PathBuf,
        #[arg(long)]
        once: bool,
    },
    /// Make a bare root and use it as a newcomer would
    Fresh(fresh::Args),
}

pub(crate) fn run(part: &Part) -> anyhow::Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "this part is for root alone"
    );
    match part {
        Part::Install { packages } => packages::install_as_root(packages),
        Part::Lab { anycast, once } => lab::run(&LabArgs {
            once: *once,
            anycast: anycast.clone(),
        }),
        Part::Fresh(args) => fresh::run_as_root(args),
    }
}
