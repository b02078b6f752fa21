//! The emulator: it is started, watched and read.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anycast_tests::interrupt;
use anycast_tests::process::Process;
use anyhow::{Context as _, bail};

use super::kernels::Kernel;

/// Serial lines, in the order of `ttyS0` and on.
const LINES: [&str; 4] = ["console", "stdout", "stderr", "status"];
/// What the emulator itself says.
const EMULATOR: &str = "emulator";
/// Room for maps of a million entries. The host gives only what is used.
const MEGABYTES: &str = "2048";
/// How often it is asked whether the machine has ended.
const LOOK: Duration = Duration::from_millis(50);
/// How much of the kernel's messages an error shows.
const LAST_WORDS: usize = 30;

/// Kernel parameters. Nothing is random, so that two runs are alike: addresses neither of the kernel nor of
/// programs, and no numbers from the processor. A panic ends the machine at once.
const PARAMETERS: &str = "console=ttyS0 loglevel=4 nokaslr norandmaps random.trust_cpu=off panic=-1 rdinit=/init -- vm-init";

/// What came out of the machine's serial lines.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Boots `kernel` with `image` and waits until the machine ends.
pub(super) fn boot(
    kernel: &Kernel,
    image: &Path,
    directory: &Path,
    limit: Duration,
) -> anyhow::Result<Ended> {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-nic", "none"])
        .args(["-accel", "tcg", "-cpu", "max", "-m", MEGABYTES])
        // Waiting takes no time; the clock and the processor's random numbers start alike in every run.
        .args(["-icount", "shift=0,sleep=off", "-seed", "1"])
        .args(["-rtc", "base=2026-01-01T00:00:00,clock=vm"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(image)
        .args(["-append", PARAMETERS]);
    for line in LINES {
        qemu.arg("-serial")
            .arg(format!("file:{}", directory.join(line).display()));
    }
    let ended = wait(
        Process::spawn("the emulator", qemu, &directory.join(EMULATOR))?,
        limit,
    )?;
    let read = |line: &str| -> anyhow::Result<String> {
        let path = directory.join(line);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let last_words = || -> anyhow::Result<String> {
        let texts = [read(EMULATOR)?, read(LINES[0])?, read(LINES[2])?];
        let lines: Vec<&str> = texts.iter().flat_map(|text| text.lines()).collect();
        Ok(lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n"))
    };
    match ended {
        None => bail!(
            "the machine was ended after {} seconds. Its last words:\n{}",
            limit.as_secs(),
            last_words()?
        ),
        Some(exit) => match read(LINES[3])?.trim().parse() {
            Ok(status) => Ok(Ended {
                status,
                stdout: read(LINES[1])?,
                stderr: read(LINES[2])?,
            }),
            Err(_) => bail!(
                "the machine ended ({exit}) without an exit status of the program. Its last words:\n{}",
                last_words()?
            ),
        },
    }
}

/// Waits for the end, for `limit` at most; nothing: it is ended now. Whatever happens, it does not outlive
/// this, nor this process.
fn wait(mut emulator: Process, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
    let until = Instant::now() + limit;
    loop {
        interrupt::check()?;
        if let Some(status) = emulator.ended()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            emulator.kill()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}
