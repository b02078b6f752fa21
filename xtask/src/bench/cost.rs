//! The measuring program, run here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail};

use super::{Args, results};
use crate::command::output_of;
use crate::privilege;

/// The cases, and what each is.
pub(super) fn cases(program: &Path) -> anyhow::Result<Vec<(String, String)>> {
    Ok(results::cases(&run(program, &["cases"])?))
}

/// Measures all cases by time.
pub(super) fn nanoseconds(program: &Path, args: &Args) -> anyhow::Result<BTreeMap<String, f64>> {
    let (rounds, repeat) = (args.rounds.to_string(), args.repeat.to_string());
    let mut words = vec!["run", "--rounds", &rounds, "--repeat", &repeat];
    if let Some(pin) = &args.katran {
        let pin = pin.to_str().context("--katran: not a path in UTF-8")?;
        words.extend(["--katran", pin]);
    }
    results::lines(&run(program, &words)?, "case", "ns")
}

/// Measures the live frames.
pub(super) fn live(program: &Path) -> anyhow::Result<BTreeMap<String, f64>> {
    results::lines(&run(program, &["live"])?, "live", "mpps")
}

/// The processor and the kernel that times are measured on.
pub(super) fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |name| {
            name.trim_start_matches([' ', '\t', ':'])
        });
    let kernel = output_of("uname", &["-r"]).unwrap_or_default();
    // What follows the number names a build, which says nothing to others.
    let kernel = kernel.split('-').next().unwrap_or_default();
    format!("{processor}, Linux {kernel}")
}

fn run(program: &Path, args: &[&str]) -> anyhow::Result<String> {
    let output = privilege::command(&[], program, args)?
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("`{} {}` failed", program.display(), args.join(" "));
    }
    Ok(String::from_utf8(output.stdout)?)
}
