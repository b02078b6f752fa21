//! `cargo xtask bench --check`: instructions per packet against the counts that are kept in the repository.
//!
//! The counts come out of virtual machines whose time is instructions, so they are integers that do not depend
//! on the machine nor on what else it does. They do depend on the kernel and on the compiler; both are kept
//! with them: as they are, 3 % is too much; with another kernel of the series 10 %, with another compiler 25 %.

mod counts;
mod judge;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::command::{output_of, root, say};
use crate::vm::{self, Kernel};
use crate::{test_programs, toolchain};
use counts::{Build, Counts, Kept};

/// How long a machine may take; the emulator is slow where it shares its processor.
const LIMIT: Duration = Duration::from_secs(900);
/// Runs of a program in one call: enough that what the clock interrupt takes is less than one instruction of
/// each packet.
const RUNS: &str = "20000";
/// Rounds of calls, the least of which counts.
const ROUNDS: &str = "2";

/// Counts on every kernel that can be had, and compares with what is kept, or keeps what was counted. Returns the
/// series that it was not tried on, and why.
pub(crate) fn run(update: bool) -> anyhow::Result<Vec<(String, String)>> {
    let path = root().join("tests/benches/instructions.json");
    let kept = Kept::read(&path)?;
    let fetched = vm::ensure(None, |series| kept.release(series))?;
    let build = Build::of(toolchain::ensure()?);
    let (kernels, unavailable) = if update {
        (fetched.strictly()?, Vec::new())
    } else {
        (fetched.kernels, fetched.unavailable)
    };
    if kernels.is_empty() {
        return Ok(unavailable);
    }
    let program = test_programs::built("bench", "cost")?;
    let found = Kept {
        kernels: count_all(&kernels, &program)?,
        build,
    };
    if update {
        found.write(&path)?;
        say(&format!("wrote {}", path.display()));
        return Ok(unavailable);
    }
    let findings = judge::compare(&kept, &found);
    print!("{}", judge::report(&kept, &found, &findings));
    let failing = findings.iter().filter(|finding| finding.fails).count();
    ensure!(
        failing == 0,
        "{failing} counts are not as kept in tests/benches/instructions.json: after a change that is meant, \
         `cargo xtask bench --check --update` keeps the new ones"
    );
    Ok(unavailable)
}

/// Instructions per packet by series of kernels and case, with `program`, which is built.
pub(crate) fn count_by_series(
    program: &Path,
) -> anyhow::Result<BTreeMap<String, BTreeMap<String, u64>>> {
    let kernels = vm::ensure(None, |_| None)?.strictly()?;
    let mut by_release = count_all(&kernels, program)?;
    Ok(kernels
        .iter()
        .filter_map(|kernel| {
            let counts = by_release.remove(&kernel.release)?;
            Some((counts::series(&kernel.release).to_owned(), counts))
        })
        .collect())
}

fn count_all(kernels: &[Kernel], program: &Path) -> anyhow::Result<BTreeMap<String, Counts>> {
    let cases = cases(program)?;
    let counted = vm::on_each(kernels, |kernel| {
        Ok((kernel.release.clone(), count(kernel, program, &cases)?))
    })?;
    Ok(counted.into_iter().collect())
}

fn count(kernel: &Kernel, program: &Path, cases: &[String]) -> anyhow::Result<Counts> {
    let mut args = vec![
        "run",
        "--kernel-duration",
        "--rounds",
        ROUNDS,
        "--repeat",
        RUNS,
    ];
    for case in cases {
        args.extend(["--case", case]);
    }
    let output = vm::run(kernel, program, &args, LIMIT)?;
    if output.status != 0 {
        bail!("counting failed on {}: {}", kernel.release, output.stderr);
    }
    say(&format!(
        "counted on {} in {:.0} s",
        kernel.release,
        output.took.as_secs_f64()
    ));
    counts::lines(&output.stdout)
}

/// The cases that are counted. Those over large tables take the emulator minutes to fill and come to the same
/// number of instructions; those of peers say nothing about this program.
fn cases(program: &Path) -> anyhow::Result<Vec<String>> {
    let program = program.to_string_lossy();
    let text = output_of(&program, &["cases"]).context("the program lists no cases")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| is_counted(name))
        .map(str::to_owned)
        .collect())
}

fn is_counted(case: &str) -> bool {
    let large = ["/10", "/10k", "/1M"];
    let peers = ["xdp-filter", "katran"];
    !peers.iter().any(|peer| case.starts_with(peer))
        && !large.iter().any(|ending| case.ends_with(ending))
}
