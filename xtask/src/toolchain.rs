//! The eBPF toolchain: a rustc with the source of core, and bpf-linker.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command::{output_of, run, say, succeeds};
use crate::packages;
use crate::pinned::BPF_LINKER;

/// The name under which a distribution's rustc is known to rustup. The build script of
/// anycast-userspace looks for the same names in the same order.
const LINKED: &str = "anycast-bpf";

/// Makes the toolchain usable, installing what is missing. Returns the toolchain's name.
pub(crate) fn ensure() -> anyhow::Result<&'static str> {
    if !succeeds("rustup", &["--version"]) {
        bail!("rustup is missing: install it from rustup.rs, then run this again");
    }
    let toolchain = ensure_rustc()?;
    ensure_linker()?;
    Ok(toolchain)
}

/// The first toolchain that can build for the kernel, if there is one.
pub(crate) fn find() -> Option<&'static str> {
    ["nightly", LINKED]
        .into_iter()
        .find(|toolchain| has_core_source(toolchain))
}

fn ensure_rustc() -> anyhow::Result<&'static str> {
    if let Some(toolchain) = find() {
        say(&format!("eBPF toolchain: {toolchain}"));
        return Ok(toolchain);
    }
    if packages::is_available("rustc-web") && packages::is_available("rust-web-src") {
        say("no nightly toolchain with rust-src: taking the distribution's rustc-web instead");
        packages::install(&["rustc-web", "rust-web-src"])?;
        run(Command::new("rustup").args(["toolchain", "link", LINKED, "/usr"]))?;
    } else {
        say("no nightly toolchain with rust-src: installing one");
        run(Command::new("rustup").args([
            "toolchain",
            "install",
            "nightly",
            "--profile=minimal",
            "--component=rust-src",
        ]))?;
    }
    find().context(
        "still no toolchain that holds the source of core: run \
         `rustup toolchain install nightly --component rust-src`",
    )
}

fn has_core_source(toolchain: &str) -> bool {
    output_of("rustup", &["run", toolchain, "rustc", "--print", "sysroot"]).is_some_and(|sysroot| {
        Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/core/Cargo.toml")
            .exists()
    })
}

fn ensure_linker() -> anyhow::Result<()> {
    if BPF_LINKER.is_here() {
        return Ok(());
    }
    let mut install = BPF_LINKER.install();
    if packages::is_available("llvm-22-dev") {
        packages::install(&[
            "llvm-22-dev",
            "libpolly-22-dev",
            "zlib1g-dev",
            "libzstd-dev",
        ])?;
        install
            .args(["--no-default-features", "--features", "llvm-22"])
            .env("LLVM_PREFIX", "/usr/lib/llvm-22");
    }
    run(&mut install).context("bpf-linker is missing and could not be built")?;
    if !BPF_LINKER.is_here() {
        bail!("bpf-linker was installed but is not on PATH: add ~/.cargo/bin to PATH");
    }
    Ok(())
}
