//! `cargo xtask test`: every test. The unit tests need no privilege; the others run real daemons in
//! network namespaces and load programs into the kernel, so they need root and say so. The last count
//! instructions on other kernels, in virtual machines.

use std::path::PathBuf;

use anyhow::bail;

use crate::command::{cargo, root, run, say};
use crate::{gate, packages, setup};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only the privileged tests whose names contain this
    filter: Option<String>,
}

pub(crate) fn run_all(filter: Option<&str>) -> anyhow::Result<()> {
    if filter.is_none() {
        run(&mut cargo(&[
            "test",
            "--no-fail-fast",
            "--workspace",
            "--exclude=anycast-ebpf",
            "--exclude=anycast-tests",
        ]))?;
    }
    run(&mut cargo(&[
        "build",
        "--release",
        "--package=anycast-userspace",
    ]))?;
    if !nix::unistd::geteuid().is_root() {
        bail!("the rest of the tests load XDP programs and make network namespaces: run as root");
    }
    let mut privileged = cargo(&[
        "test",
        "--no-fail-fast",
        "--package=anycast-tests",
        "--lib",
        "--tests",
    ]);
    if let Some(filter) = filter {
        privileged.arg(filter);
    }
    run(privileged
        .env("ANYCAST_BIN", binary())
        // A process that one test starts holds another's sockets until it runs its program; and times
        // are measured.
        .env("RUST_TEST_THREADS", "1"))
}

/// Where the release build puts the daemon.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), PathBuf::from)
        .join("release/anycast")
}

pub(crate) fn run_tests(args: &Args) -> anyhow::Result<()> {
    setup::run()?;
    packages::ensure_tools(packages::TEST_TOOLS)?;
    run_all(args.filter.as_deref())?;
    if args.filter.is_none() {
        gate::run(false)?;
    }
    say("all tests passed");
    Ok(())
}
