//! Builds the eBPF object for the program to embed, with the compiler and the linker that `cargo xtask setup` has
//! chosen. It chooses nothing itself, so that every build of a checkout is of one toolchain.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, bail};
use aya_build::{Package, Toolchain};

/// Tells the process that this script starts to do the work itself.
const INNER: &str = "ANYCAST_BUILD_INNER";

/// What `cargo xtask setup` has chosen.
struct Choice {
    /// A toolchain of rustup; empty where there is no rustup, and the compiler is the one on PATH.
    toolchain: String,
    linker: PathBuf,
}

/// Runs the build in a process of its own: aya-build passes on all that the nested cargo says as warnings,
/// which are worth reading only when it fails. (Lints of the eBPF crate are looked at in a run of their own.)
fn main() -> anyhow::Result<()> {
    if env::var_os(INNER).is_some() {
        return build(&chosen()?);
    }
    for crate_dir in ["anycast-common", "anycast-ebpf"] {
        println!(
            "cargo:rerun-if-changed={}",
            workspace()?.join(crate_dir).display()
        );
    }
    if embeds_nothing() {
        return embed_nothing();
    }
    println!("cargo:rerun-if-changed={}", record()?.display());
    let choice = chosen()?;
    println!("cargo:rerun-if-changed={}", choice.linker.display());
    let inner = Command::new(env::current_exe()?)
        .env(INNER, "1")
        // The compiler is a stable one, whose unstable features build core.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &choice.linker)
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

fn build(choice: &Choice) -> anyhow::Result<()> {
    let ebpf = workspace()?.join("anycast-ebpf");
    let package = Package {
        name: "anycast-ebpf",
        root_dir: ebpf.to_str().context("the checkout's path is UTF-8")?,
        ..Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(&choice.toolchain))
}

/// The fuzz targets load no program, and need no toolchain for one.
fn embeds_nothing() -> bool {
    env::var_os("CARGO_FEATURE_FUZZING").is_some()
}

fn embed_nothing() -> anyhow::Result<()> {
    let directory = env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?;
    for name in [
        "anycast-ebpf",
        "anycast-trace",
        "anycast-listener",
        "anycast-bench",
    ] {
        fs::write(Path::new(&directory).join(name), [])?;
    }
    Ok(())
}

fn workspace() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("anycast-userspace has a parent directory")
}

/// Where `cargo xtask setup` keeps its choice.
fn record() -> anyhow::Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(workspace()?.join(target).join("bpf/toolchain"))
}

fn chosen() -> anyhow::Result<Choice> {
    let record = record()?;
    let text = fs::read_to_string(&record).with_context(|| {
        format!(
            "{} does not say which toolchain builds the eBPF object: run `cargo xtask setup` once",
            record.display()
        )
    })?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .with_context(|| {
                format!(
                    "{} names no {name}: run `cargo xtask setup`",
                    record.display()
                )
            })
    };
    let choice = Choice {
        toolchain: field("toolchain")?.to_owned(),
        linker: PathBuf::from(field("linker")?),
    };
    if !choice.linker.is_file() {
        bail!(
            "{} is gone: run `cargo xtask setup`",
            choice.linker.display()
        );
    }
    Ok(choice)
}
