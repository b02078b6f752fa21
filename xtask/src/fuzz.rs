//! `cargo xtask fuzz`: the fuzz targets of `tests/fuzz`, one after the other.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command::{cargo, output_of, root, run, say, succeeds};
use crate::packages;
use crate::pinned::CARGO_FUZZ;

/// The most that one allocation, and all of them together, may take: what a peer sends is small.
const ALLOCATION_LIMIT_MIB: u32 = 16;
const MEMORY_LIMIT_MIB: u32 = 1024;
/// The longest input: some messages of BGP, or hundreds of BFD.
const LONGEST_INPUT: u32 = 8192;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The target to run; all of them if none is named
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// What watches the memory [default: address where the toolchain has its runtime, else none]
    #[arg(long, value_enum)]
    sanitizer: Option<Sanitizer>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Sanitizer {
    /// Nothing; the targets run faster
    None,
    /// AddressSanitizer
    Address,
}

impl Sanitizer {
    /// As cargo-fuzz calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Address => "address",
        }
    }

    /// AddressSanitizer where the toolchain brings its runtime.
    fn of(toolchain: &str) -> Self {
        if has_runtime(toolchain) {
            Self::Address
        } else {
            Self::None
        }
    }
}

pub(crate) fn run_targets(args: &Args) -> anyhow::Result<()> {
    let known = targets()?;
    let chosen = match &args.target {
        None => known,
        Some(target) if known.contains(target) => vec![target.clone()],
        Some(target) => bail!("no fuzz target `{target}`: there are {}", known.join(", ")),
    };
    let toolchain = ensure()?;
    let sanitizer = args
        .sanitizer
        .unwrap_or_else(|| Sanitizer::of(toolchain))
        .name();
    for target in &chosen {
        run(&mut fuzz(
            toolchain,
            &["build", target, "--sanitizer", sanitizer],
        ))?;
    }
    for target in &chosen {
        let corpus = corpus(target);
        fs::create_dir_all(&corpus)
            .with_context(|| format!("cannot create {}", corpus.display()))?;
        let mut command = fuzz(toolchain, &["run", target, "--sanitizer", sanitizer]);
        command.arg(corpus).arg("--").args([
            format!("-max_total_time={}", args.seconds),
            format!("-max_len={LONGEST_INPUT}"),
            format!("-malloc_limit_mb={ALLOCATION_LIMIT_MIB}"),
            format!("-rss_limit_mb={MEMORY_LIMIT_MIB}"),
            "-print_final_stats=1".to_owned(),
            "-verbosity=0".to_owned(),
        ]);
        run(&mut command).with_context(|| {
            format!("{target} has found something: the input is in tests/fuzz/artifacts/{target}")
        })?;
    }
    say(&format!(
        "{} fuzz targets ran for {} s each and found nothing",
        chosen.len(),
        args.seconds
    ));
    Ok(())
}

/// The targets still compile with the versions of their lock file, and clippy finds nothing in them. Needs
/// no nightly, no cargo-fuzz and no C++ compiler.
pub(crate) fn lint() -> anyhow::Result<()> {
    run(cargo(&["fmt", "--check"]).current_dir(directory()))?;
    let clippy = [
        "clippy",
        "--locked",
        "--all-targets",
        "--",
        "--deny=warnings",
    ];
    run(cargo(&clippy)
        .current_dir(directory())
        .env("CARGO_TARGET_DIR", root().join("target"))
        // Nothing is linked, so the fuzzer need not be compiled: any file that exists stands for it.
        .env("CUSTOM_LIBFUZZER_PATH", directory().join("Cargo.toml")))
}

fn directory() -> PathBuf {
    root().join("tests/fuzz")
}

fn corpus(target: &str) -> PathBuf {
    directory().join("corpus").join(target)
}

/// The names of the targets, in order.
fn targets() -> anyhow::Result<Vec<String>> {
    let directory = directory().join("fuzz_targets");
    let mut names = Vec::new();
    for entry in
        fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// `cargo fuzz` of a toolchain; one that is not a nightly is told to take the fuzzer's flags all the same.
fn fuzz(toolchain: &str, args: &[&str]) -> Command {
    let mut command = cargo(&[]);
    command
        .env("RUSTUP_TOOLCHAIN", toolchain)
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTC")
        .arg("fuzz")
        .args(args)
        .args(["--fuzz-dir", "tests/fuzz", "--target-dir", "target/fuzz"]);
    command
}

/// The fuzzer is C++.
fn ensure_compiler() -> anyhow::Result<()> {
    if packages::is_on_path("c++") {
        return Ok(());
    }
    packages::install(&["g++"])
}

/// cargo-fuzz, a compiler for the fuzzer, and the toolchain to use.
fn ensure() -> anyhow::Result<&'static str> {
    ensure_compiler()?;
    if !CARGO_FUZZ.is_here() {
        run(&mut CARGO_FUZZ.install())?;
    }
    let toolchains = ["nightly", "stable"];
    toolchains
        .into_iter()
        .find(|toolchain| succeeds("rustup", &["run", toolchain, "rustc", "--version"]))
        .context("neither a nightly nor a stable toolchain: run `rustup toolchain install nightly`")
}

/// Whether the toolchain brings the runtime of AddressSanitizer.
fn has_runtime(toolchain: &str) -> bool {
    let library = output_of(
        "rustup",
        &["run", toolchain, "rustc", "--print", "target-libdir"],
    );
    library
        .and_then(|directory| fs::read_dir(directory).ok())
        .is_some_and(|entries| {
            entries
                .flatten()
                .any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"))
        })
}
