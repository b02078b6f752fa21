//! `cargo xtask ci`: what must hold besides the tests: format, lints, dependencies, docs.

use crate::command::{cargo, output_of, run, say};
use crate::pinned::CARGO_DENY;
use crate::{fuzz, packages, toolchain};

pub(crate) fn run_checks() -> anyhow::Result<()> {
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
fn lint_for_the_kernel(toolchain: &str) -> anyhow::Result<()> {
    if output_of("rustup", &["run", toolchain, "clippy-driver", "--version"]).is_none() {
        if toolchain == "nightly" {
            run(std::process::Command::new("rustup").args([
                "component",
                "add",
                "clippy",
                "--toolchain=nightly",
            ]))?;
        } else {
            packages::install(&["rust-web-clippy"])?;
        }
    }
    run(cargo(&[])
        .args(["clippy", "--package=anycast-ebpf", "--lib", "--bins"])
        .args(["--target=bpfel-unknown-none", "-Zbuild-std=core"])
        .args(["--target-dir=target/bpf-lint", "--", "--deny=warnings"])
        .env("RUSTUP_TOOLCHAIN", toolchain)
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTC"))
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
