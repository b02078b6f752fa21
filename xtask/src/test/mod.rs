//! `cargo xtask test`: every test. The unit tests need no privilege; the others run real daemons in
//! network namespaces and load programs into the kernel, so they run as root. The last count instructions on other
//! kernels, in virtual machines. A group that fails does not keep the others from running.

mod summary;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anycast_tests::interrupt;
use anyhow::{Context as _, bail};

use self::summary::{Group, Outcome, Summary};
use crate::command::{build_daemon, cargo, daemon, say};
use crate::host::{self, Purpose};
use crate::test_programs::{self, TestProgram};
use crate::{gate, packages, privilege, toolchain, vm};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only the privileged tests whose names contain this
    filter: Option<String>,
    /// Fail if something cannot be tried here
    #[arg(long)]
    strict: bool,
}

/// Everything but the privileged tests and the eBPF crate, which is built for the kernel.
const UNPRIVILEGED: [&str; 3] = [
    "--workspace",
    "--exclude=anycast-ebpf",
    "--exclude=anycast-tests",
];
const PRIVILEGED: [&str; 3] = ["--package=anycast-tests", "--lib", "--tests"];

pub(crate) fn run_tests(args: &Args) -> anyhow::Result<()> {
    let tools = [packages::TOOLS, vm::TOOLS, packages::TEST_TOOLS];
    host::check(Purpose::Namespaces, &tools)?;
    toolchain::ensure()?;
    for tools in tools {
        packages::ensure_tools(tools)?;
    }
    let summary = run_groups(args.filter.as_deref())?;
    print!("{}", summary.text());
    summary.verdict(args.strict)
}

fn run_groups(filter: Option<&str>) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    if filter.is_none() {
        for target in
            test_programs::build(&[&UNPRIVILEGED[..], &["--lib", "--bins", "--tests"]].concat())?
        {
            let mut command = Command::new(&target.program);
            summary.add(timed(&target.name, || {
                finish(command.current_dir(&target.directory))
            }));
        }
        let mut docs = cargo(&["test", "--doc"]);
        docs.args(UNPRIVILEGED);
        summary.add(timed("examples in the docs", || finish(&mut docs)));
    }
    build_daemon()?;
    for target in test_programs::build(&PRIVILEGED)? {
        summary.add(timed(&target.name, || privileged(&target, filter)));
    }
    if filter.is_none() {
        let mut unavailable = Vec::new();
        summary.add(timed("instructions per packet", || {
            unavailable = gate::run(false)?;
            Ok(Outcome::Passed)
        }));
        summary.not_tried.extend(unavailable);
    }
    Ok(summary)
}

/// Runs the tests of a program as root, one at a time: a process that one test starts holds another's sockets
/// until it runs its program; and times are measured.
fn privileged(target: &TestProgram, filter: Option<&str>) -> anyhow::Result<Outcome> {
    let anycast = daemon();
    let anycast = std::path::absolute(&anycast).unwrap_or(anycast);
    let variables: [(&str, &OsStr); 3] = [
        ("ANYCAST_BIN", anycast.as_os_str()),
        ("RUST_TEST_THREADS", OsStr::new("1")),
        ("RUST_BACKTRACE", OsStr::new("1")),
    ];
    let args: Vec<&str> = filter.into_iter().collect();
    let mut command = privilege::command(&variables, &target.program, &args)?;
    finish(command.current_dir(&target.directory))
}

fn timed(name: &str, work: impl FnOnce() -> anyhow::Result<Outcome>) -> Group {
    say(name);
    let started = Instant::now();
    let outcome = work().unwrap_or_else(|error| Outcome::Failed(vec![format!("{error:#}")]));
    Group {
        name: name.to_owned(),
        outcome,
        took: started.elapsed(),
    }
}

/// Runs a test program to its end, shows what it says, and remembers which tests failed. Ctrl-C is passed on by the
/// terminal; what the tests have made is theirs to take away.
fn finish(command: &mut Command) -> anyhow::Result<Outcome> {
    let deferred = interrupt::defer()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let output = child.stdout.take().context("it is piped")?;
    let mut failed = Vec::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        failed.extend(failed_test(&line).map(str::to_owned));
    }
    let status = child.wait()?;
    drop(deferred);
    interrupt::check()?;
    if status.success() {
        return Ok(Outcome::Passed);
    }
    if failed.is_empty() {
        bail!("{status}");
    }
    Ok(Outcome::Failed(failed))
}

/// The test whose output follows, which is shown of those that fail alone.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_names_its_tests_or_its_exit_status() {
        let script = |script: &str| finish(Command::new("sh").args(["-c", script]));
        assert_eq!(script("echo fine").expect("it ran"), Outcome::Passed);
        let names =
            "echo '---- bgp::a_test stdout ----'; echo words; echo '---- b stdout ----'; exit 101";
        let want = ["bgp::a_test", "b"].map(str::to_owned).to_vec();
        assert_eq!(script(names).expect("it ran"), Outcome::Failed(want));
        assert_eq!(
            script("exit 3").expect_err("no names").to_string(),
            "exit status: 3"
        );
    }
}
