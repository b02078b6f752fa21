//! Virtual machines that run one program on a Debian kernel and tell its output and exit status.
//!
//! A machine has one processor, no disk and no network. Its root file system holds the program, the libraries
//! that it is linked with, a few tools, and this very xtask as `/init`. The processor is emulated, so
//! that it works where nested virtualization does not, and each instruction takes one nanosecond of the machine's
//! time: whatever the kernel measures in nanoseconds is a number of instructions, equal on every machine. How busy
//! this machine is, the other one cannot tell.

mod cpio;
pub(crate) mod init;
mod kernels;
mod qemu;
mod root;
mod scratch;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anycast_tests::interrupt;
use anyhow::{Context as _, anyhow, bail};

pub(crate) use kernels::Kernel;
use kernels::SERIES;

use crate::command::say;
use crate::packages;
use scratch::Scratch;

/// Programs that virtual machines need, and the package of each.
pub(crate) const TOOLS: &[(&str, &str)] = &[
    ("dpkg-deb", "dpkg"),
    ("ip", "iproute2"),
    ("ldd", "libc-bin"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("strip", "binutils"),
];

/// What a program did in a virtual machine.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit status; 128 and the signal's number if a signal ended it.
    pub(crate) status: i32,
    /// What it wrote to standard output.
    pub(crate) stdout: String,
    /// What it wrote to standard error.
    pub(crate) stderr: String,
    /// Time on this machine, from power on to power off.
    pub(crate) took: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only on this kernel: a release or a series that apt has, or that is unpacked [default: 6.1 and 6.12]
    #[arg(long, value_name = "RELEASE")]
    kernel: Option<String>,
    /// Seconds of this machine that the program may take
    #[arg(long, default_value_t = 300)]
    limit: u64,
    /// The program, a file here, and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<String>,
}

/// `cargo xtask vm`: runs any program, and ends as it did.
pub(crate) fn run_program(args: &Args) -> anyhow::Result<()> {
    let (program, rest) = args.program.split_first().context("no program is named")?;
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let kernels = ensure(args.kernel.as_deref(), |_| None)?.strictly()?;
    let _cleaned_up = interrupt::defer()?;
    for kernel in kernels {
        let limit = Duration::from_secs(args.limit);
        let output = run(&kernel, Path::new(program), &rest, limit)?;
        print!("{}", output.stdout);
        eprint!("{}", output.stderr);
        say(&format!(
            "{}: exit status {}, after {:.1} s",
            kernel.release,
            output.status,
            output.took.as_secs_f64()
        ));
        if output.status != 0 {
            bail!("{program} failed on {}", kernel.release);
        }
    }
    Ok(())
}

/// The kernels that can be had, and why others cannot.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) kernels: Vec<Kernel>,
    /// Such as `6.1`, and why.
    pub(crate) unavailable: Vec<(String, String)>,
}

impl Fetched {
    /// All of them, or an error.
    pub(crate) fn strictly(self) -> anyhow::Result<Vec<Kernel>> {
        if let Some((_, why)) = self.unavailable.into_iter().next() {
            bail!("{why}");
        }
        Ok(self.kernels)
    }
}

/// Installs what is missing here, and fetches the kernel `only`, or one of each series: the release that
/// `preferred` names, or the newest.
pub(crate) fn ensure(
    only: Option<&str>,
    preferred: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Fetched> {
    packages::ensure_tools(TOOLS).context("virtual machines need QEMU")?;
    let wanted = only.map_or_else(|| SERIES.to_vec(), |only| vec![only]);
    let mut fetched = Fetched::default();
    for wanted in wanted {
        match kernels::fetch(wanted, preferred(wanted).as_deref()) {
            Ok(kernel) => fetched.kernels.push(kernel),
            Err(error) => {
                interrupt::check()?;
                let why = format!("{error:#}");
                fetched.unavailable.push((wanted.to_owned(), why));
            }
        }
    }
    Ok(fetched)
}

/// Does `work` with each kernel, all at a time: each machine uses one processor. Ctrl-C ends it once the
/// machines are gone.
pub(crate) fn on_each<T: Send>(
    kernels: &[Kernel],
    work: impl Fn(&Kernel) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let _cleaned_up = interrupt::defer()?;
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = kernels
            .iter()
            .map(|kernel| (kernel, scope.spawn(move || work(kernel))))
            .collect();
        running
            .into_iter()
            .map(|(kernel, thread)| {
                thread
                    .join()
                    .map_err(|_| anyhow!("the work with kernel {} panicked", kernel.release))?
            })
            .collect()
    })
}

/// Runs `program` with `args` as root on `kernel`.
///
/// # Errors
/// When the machine cannot be made, does not end within `limit`, or ends without having run the program;
/// the kernel's last words are part of the error. An exit status of the program is none.
pub(crate) fn run(
    kernel: &Kernel,
    program: &Path,
    args: &[&str],
    limit: Duration,
) -> anyhow::Result<Output> {
    let started = Instant::now();
    let directory = Scratch::new(&kernels::directory().join("runs"), &kernel.release)?;
    let image = directory.path().join("initramfs.cpio");
    let ended = root::write(kernel, program, args, &image)
        .and_then(|()| qemu::boot(kernel, &image, directory.path(), limit));
    let ended = ended.with_context(|| {
        format!(
            "{} did not run on kernel {}",
            program.display(),
            kernel.release
        )
    })?;
    Ok(Output {
        status: ended.status,
        stdout: ended.stdout,
        stderr: ended.stderr,
        took: started.elapsed(),
    })
}
