//! The first process of a virtual machine: it mounts what programs expect, loads the modules, runs the
//! program, tells its exit status on a serial line of its own, and ends the machine.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};

/// The program that is run.
pub(super) const PROGRAM: &str = "/program";
/// Its arguments, as JSON.
pub(super) const ARGUMENTS: &str = "/arguments";
/// Modules to load, in the order of their names.
pub(super) const MODULES: &str = "/modules";

/// Linux 5.17: the file holds a compressed module (MODULE_INIT_COMPRESSED_FILE).
const COMPRESSED: u32 = 4;
const PATH: &str = "/bin:/usr/bin:/sbin:/usr/sbin";

const MOUNTS: &[(&str, &str)] = &[
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tracefs", "/sys/kernel/tracing"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
];

/// Runs, and ends the machine.
pub(crate) fn main() -> anyhow::Result<()> {
    if std::process::id() != 1 {
        bail!("this is the first process of a virtual machine, and of no other use");
    }
    let ended = live();
    if let Err(error) = &ended {
        // Standard error is the console here.
        eprintln!("init: {error:#}");
    }
    // With `-no-reboot` it ends the emulator.
    let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
    Err(error.into())
}

fn live() -> anyhow::Result<()> {
    for (kind, place) in MOUNTS {
        mount(
            Some(*kind),
            *place,
            Some(*kind),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("cannot mount {kind} at {place}"))?;
    }
    let stdout = serial(Path::new("/dev/ttyS1"))?;
    let stderr = serial(Path::new("/dev/ttyS2"))?;
    let mut status = serial(Path::new("/dev/ttyS3"))?;
    load_modules()?;
    let code = run(&stdout, &stderr)?;
    writeln!(status, "{code}")?;
    for line in [stdout, stderr, status] {
        tcdrain(line)?;
    }
    Ok(())
}

/// A serial line that changes nothing in what passes.
fn serial(path: &Path) -> anyhow::Result<File> {
    let line = OpenOptions::new()
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let mut settings = tcgetattr(&line)?;
    cfmakeraw(&mut settings);
    tcsetattr(&line, SetArg::TCSANOW, &settings)?;
    Ok(line)
}

fn load_modules() -> anyhow::Result<()> {
    let mut files: Vec<_> = fs::read_dir(MODULES)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for path in files {
        let plain = path.extension().is_some_and(|ending| ending == "ko");
        let flags = if plain {
            ModuleInitFlags::empty()
        } else {
            ModuleInitFlags::from_bits_retain(COMPRESSED)
        };
        finit_module(File::open(&path)?, c"", flags)
            .with_context(|| format!("cannot load {}", path.display()))?;
    }
    Ok(())
}

fn run(stdout: &File, stderr: &File) -> anyhow::Result<i32> {
    run_command("/bin/ip", &["link", "set", "lo", "up"])?;
    let args: Vec<String> = serde_json::from_slice(&fs::read(ARGUMENTS)?)?;
    let status = Command::new(PROGRAM)
        .args(args)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/")
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .status()
        .context("cannot start the program")?;
    Ok(status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}

fn run_command(program: &str, args: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(program)
        .args(args)
        .env("PATH", PATH)
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("`{program} {}` failed: {status}", args.join(" "));
    }
    Ok(())
}
