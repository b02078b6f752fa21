//! `cargo xtask ci`: what must hold besides the tests: format, lints, dependencies, docs.

use std::process::Command;

use crate::command::{cargo, output_of, run, say};
use crate::host::{self, Purpose};
use crate::pinned::CARGO_DENY;
use crate::toolchain::{LINKED, Place, Toolchain};
use crate::{fuzz, packages, toolchain};

pub(crate) fn run_checks() -> anyhow::Result<()> {
    host::check(Purpose::Build, &[])?;
    let bpf = toolchain::ensure()?;
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny=warnings",
    ]))?;
    fuzz::lint()?;
    lint_for_the_kernel(bpf)?;
    check_dependencies()?;
    run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny=warnings"))?;
    say("format, lints, dependencies and docs are in order");
    Ok(())
}

/// The eBPF crate once more, for the target that it is made for.
fn lint_for_the_kernel(toolchain: &Toolchain) -> anyhow::Result<()> {
    let mut clippy = cargo(&[]);
    match toolchain.place() {
        Place::Rustup(name) => {
            if output_of("rustup", &["run", name, "clippy-driver", "--version"]).is_none() {
                ensure_clippy(name)?;
            }
            clippy.env("RUSTUP_TOOLCHAIN", name);
        }
        Place::Path | Place::Usr => {}
    }
    run(clippy
        .args(["clippy", "--package=anycast-ebpf", "--lib", "--bins"])
        .args(["--target=bpfel-unknown-none", "-Zbuild-std=core"])
        .args(["--target-dir=target/bpf-lint", "--", "--deny=warnings"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTC"))
}

fn ensure_clippy(toolchain: &str) -> anyhow::Result<()> {
    if toolchain == LINKED {
        return packages::install(&["rust-web-clippy"]);
    }
    run(Command::new("rustup").args(["component", "add", "clippy", "--toolchain", toolchain]))
}

/// Licences, sources, duplicate and banned crates.
fn check_dependencies() -> anyhow::Result<()> {
    if !CARGO_DENY.is_here() {
        run(&mut CARGO_DENY.install())?;
    }
    run(&mut cargo(&[
        "deny", "check", "bans", "licenses", "sources",
    ]))
}
