//! Builds the eBPF object for the program to embed, with the first usable toolchain: `nightly` with
//! rust-src, or the toolchain `anycast-bpf` that `cargo xtask setup` links to a distribution's rustc.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use aya_build::{Package, Toolchain};

/// The toolchain that takes unstable features as it is; others are told to (`RUSTC_BOOTSTRAP`).
const NIGHTLY: &str = "nightly";

/// Tells the process that this script starts to do the work itself.
const INNER: &str = "ANYCAST_BUILD_INNER";

/// Runs the build in a process of its own: aya-build passes on all that the nested cargo says as warnings,
/// which are worth reading only when it fails. (Lints of the eBPF crate are looked at in a run of their own.)
fn main() -> anyhow::Result<()> {
    if std::env::var_os(INNER).is_some() {
        return build();
    }
    let mut inner = Command::new(std::env::current_exe()?);
    if !embeds_nothing() && usable_toolchain()? != NIGHTLY {
        inner.env("RUSTC_BOOTSTRAP", "1");
    }
    let inner = inner
        .env(INNER, "1")
        .stderr(Stdio::inherit())
        .output()
        .context("starting the build script once more")?;
    let said = String::from_utf8_lossy(&inner.stdout);
    for line in said.lines() {
        if !inner.status.success() || !line.starts_with("cargo:warning=") {
            println!("{line}");
        }
    }
    if !inner.status.success() {
        bail!("the eBPF object could not be built");
    }
    Ok(())
}

fn build() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("anycast-userspace has a parent directory")?;
    for crate_dir in ["anycast-common", "anycast-ebpf"] {
        println!("cargo:rerun-if-changed={}", root.join(crate_dir).display());
    }
    if embeds_nothing() {
        return embed_nothing();
    }
    let ebpf = root.join("anycast-ebpf");
    let package = Package {
        name: "anycast-ebpf",
        root_dir: ebpf.to_str().context("the checkout's path is UTF-8")?,
        ..Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(usable_toolchain()?))
}

/// The fuzz targets load no program, and need no toolchain for one.
fn embeds_nothing() -> bool {
    std::env::var_os("CARGO_FEATURE_FUZZING").is_some()
}

fn embed_nothing() -> anyhow::Result<()> {
    let directory = std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?;
    for name in [
        "anycast-ebpf",
        "anycast-trace",
        "anycast-listener",
        "anycast-bench",
    ] {
        std::fs::write(Path::new(&directory).join(name), [])?;
    }
    Ok(())
}

fn usable_toolchain() -> anyhow::Result<&'static str> {
    for toolchain in [NIGHTLY, "anycast-bpf"] {
        if has_core_source(toolchain) {
            return Ok(toolchain);
        }
    }
    bail!(
        "no toolchain here can build for bpfel-unknown-none: neither `nightly` nor `anycast-bpf` \
         holds the source of core. Run `cargo xtask setup`, or `rustup toolchain install nightly \
         --component rust-src`"
    )
}

fn has_core_source(toolchain: &str) -> bool {
    Command::new("rustup")
        .args(["run", toolchain, "rustc", "--print", "sysroot"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .is_some_and(|sysroot| {
            Path::new(sysroot.trim())
                .join("lib/rustlib/src/rust/library/core/Cargo.toml")
                .exists()
        })
}
