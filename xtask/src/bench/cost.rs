//! The measuring program: built, and run here and in virtual machines.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::results;
use crate::command::{cargo, output_of, say};
use crate::vm;

/// How long a machine may take for all cases.
const MACHINE_LIMIT: Duration = Duration::from_secs(900);
/// Runs of a program in a virtual machine: the count is the same in each.
const RUNS: &str = "1000";

/// Builds it; returns its file.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    say("building the measuring program");
    let output = cargo(&["build", "--package=anycast-tests", "--bench=cost"])
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start `cargo`")?;
    if !output.status.success() {
        bail!("the measuring program does not build");
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .context("cargo does not say where the measuring program is")
}

/// The file that cargo's messages name for the target `cost`.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "cost")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// The cases, and what each is.
pub(super) fn cases(program: &Path) -> anyhow::Result<Vec<(String, String)>> {
    Ok(results::cases(&run(program, &["cases"])?))
}

/// Measures all cases by time.
pub(super) fn nanoseconds(
    program: &Path,
    rounds: u32,
    repeat: u32,
) -> anyhow::Result<BTreeMap<String, f64>> {
    let (rounds, repeat) = (rounds.to_string(), repeat.to_string());
    let text = run(program, &["run", "--rounds", &rounds, "--repeat", &repeat])?;
    results::lines(&text, "case", "ns")
}

/// Measures the live frames.
pub(super) fn live(program: &Path) -> anyhow::Result<BTreeMap<String, f64>> {
    results::lines(&run(program, &["live"])?, "live", "mpps")
}

/// Counts instructions on the kernels of all series.
pub(super) fn instructions(
    program: &Path,
) -> anyhow::Result<BTreeMap<String, BTreeMap<String, f64>>> {
    let mut all = BTreeMap::new();
    for kernel in vm::ensure(|_| None)? {
        say(&format!("counting instructions on {}", kernel.release));
        let args = ["run", "--kernel-duration", "--rounds=1", "--repeat", RUNS];
        let output = vm::run(&kernel, program, &args, MACHINE_LIMIT)?;
        if output.status != 0 {
            bail!("counting failed on {}: {}", kernel.release, output.stderr);
        }
        let counts = results::lines(&output.stdout, "case", "ns")?;
        all.insert(kernel.series.to_owned(), counts);
    }
    Ok(all)
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
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("`{} {}` failed", program.display(), args.join(" "));
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages_of_cargo() {
        let messages = r#"{"target":{"name":"anycast"},"executable":"/a"}
{"target":{"name":"cost"},"executable":null}
{"target":{"name":"cost"},"executable":"/target/cost-1"}
{"reason":"build-finished"}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/target/cost-1")));
        assert_eq!(executable(""), None);
    }
}
