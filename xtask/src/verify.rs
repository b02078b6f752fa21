//! `cargo xtask verify`: the test `kernel` on Debian's kernels and on this one, and what each verifier says.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::command::{output_of, root, say};
use crate::fresh::{self, Suite};
use crate::host::{self, Purpose};
use crate::test_programs::built;
use crate::toolchain::Toolchain;
use crate::vm::{self, Kernel};
use crate::{privilege, toolchain};

/// How long a machine may take: an emulated processor walks through the largest programs for minutes each.
const LIMIT: Duration = Duration::from_secs(5400);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Load every set of features, and write docs/verifier.md; this takes half an hour
    #[arg(long, conflicts_with_all = ["kernel", "fresh"])]
    write: bool,
    /// On this kernel: a release or a series that apt has [default: 6.1 and 6.12]
    #[arg(long, value_name = "RELEASE", conflicts_with = "fresh")]
    kernel: Option<String>,
    /// Run README's two commands in a bare root of this release of Debian, as an ordinary user with sudo; this takes
    /// an hour and 10 GB
    #[arg(long, value_name = "SUITE")]
    fresh: Option<Suite>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(suite) = args.fresh {
        return fresh::run_suite(suite);
    }
    host::check(Purpose::Build, &[vm::TOOLS])?;
    let toolchain = toolchain::ensure()?;
    let kernels = vm::ensure(args.kernel.as_deref(), |_| None)?.strictly()?;
    let program = built("test", "kernel")?;
    if !args.write {
        return on_all(&kernels, &program, false).map(drop);
    }
    let mut rows = on_all(&kernels, &program, true)?;
    rows.push(here(&program)?);
    let path = root().join("docs/verifier.md");
    say(&format!("writing {}", path.display()));
    fs::write(&path, document(&rows, toolchain))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Runs it on each kernel in a virtual machine, all at a time.
fn on_all(
    kernels: &[Kernel],
    program: &Path,
    statistics: bool,
) -> anyhow::Result<Vec<(String, Vec<Row>)>> {
    vm::on_each(kernels, |kernel| on(kernel, program, statistics))
}

fn on(kernel: &Kernel, program: &Path, statistics: bool) -> anyhow::Result<(String, Vec<Row>)> {
    let args: &[&str] = if statistics { &["--statistics"] } else { &[] };
    let output = vm::run(kernel, program, args, LIMIT)?;
    if output.status != 0 {
        bail!("on kernel {}: {}", kernel.release, output.stderr);
    }
    say(&format!(
        "on kernel {} every program loads and works ({:.0} s)",
        kernel.release,
        output.took.as_secs_f64()
    ));
    Ok((kernel.release.clone(), rows(&output.stdout)?))
}

/// Runs it on this kernel.
fn here(program: &Path) -> anyhow::Result<(String, Vec<Row>)> {
    let release = output_of("uname", &["-r"]).context("`uname -r` tells nothing")?;
    let output = privilege::command(&[], program, &["--statistics"])?
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("on this kernel, {release}, something does not hold; it takes root");
    }
    let version = version_of(&release).to_owned();
    Ok((version, rows(&String::from_utf8_lossy(&output.stdout))?))
}

/// The version in a release, without what the builder of that kernel has put behind it.
fn version_of(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.');
    &release[..end.unwrap_or(release.len())]
}

/// What one verifier says of one program.
#[derive(Debug, Deserialize)]
struct Row {
    program: String,
    with: String,
    processed: u32,
    states: u32,
    peak_states: u32,
    stack: u32,
    translated: u32,
    jited: u32,
}

fn rows(text: &str) -> anyhow::Result<Vec<Row>> {
    text.lines()
        .map(|line| {
            serde_json::from_str(line).with_context(|| format!("the program printed `{line}`"))
        })
        .collect()
}

fn document(kernels: &[(String, Vec<Row>)], toolchain: &Toolchain) -> String {
    let mut text = format!(
        "# What the verifier says\n\n\
         Every program is loaded on each of these kernels, by the loader that the daemon uses, with the features \
         that\nconfigurations ask for. The verifier walks through at most 1,000,000 instructions, counting each \
         as often as a path\ncomes by, and a program has at most 512 bytes of stack.\n\n\
         Written by `cargo xtask verify --write`, with {} and {}.\n",
        toolchain.compiler_version(),
        toolchain.linker_version()
    );
    for (release, rows) in kernels {
        let _to_a_string = write!(
            text,
            "\n## {release}\n\n\
             | program | with | instructions walked | states | peak states | stack, bytes | BPF, bytes | machine \
             code, bytes |\n|---|---|---:|---:|---:|---:|---:|---:|\n"
        );
        for row in rows {
            let _to_a_string = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} | {} | {} | {} |",
                row.program,
                row.with,
                row.processed,
                row.states,
                row.peak_states,
                row.stack,
                row.translated,
                row.jited
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_told_without_its_local_suffix() {
        for (release, version) in [
            ("6.18.44-fc-v782", "6.18.44"),
            ("6.18.44", "6.18.44"),
            ("6.1.0-56-cloud-amd64", "6.1.0"),
            ("6.12.57+deb13-amd64", "6.12.57"),
            ("7.0", "7.0"),
        ] {
            assert_eq!(version_of(release), version);
        }
    }
}
