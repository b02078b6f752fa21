//! Child processes that cannot outlive their owner.
//!
//! Each has a process group of its own, is killed with the whole group on drop, and dies with the thread
//! that started it (`PR_SET_PDEATHSIG`): so start daemons from a thread that lives as long as they should.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::netns::Inside;
use crate::{sys, wait};

/// A running child and the process group it leads.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
}

impl Process {
    /// Starts `command`, its output appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening the log {}", log.display()))?;
        command.stdout(log.try_clone()?).stderr(log);
        Self::launch(name, command)
    }

    /// Starts a program in the network namespace of a process, with its output alone in `log`.
    ///
    /// # Errors
    /// When the log cannot be written, the process is gone, or the program cannot be started.
    pub fn start(
        namespace: u32,
        log: &Path,
        program: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        // What an earlier daemon has logged there would be taken for the new one's.
        File::create(log).with_context(|| format!("creating the log {}", log.display()))?;
        let mut command = Inside::of_process(namespace).command(program)?;
        command.args(arguments);
        Self::spawn(program, command, log)
    }

    /// Starts `command`, with whose output nothing is done.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn silent(name: &str, mut command: Command) -> anyhow::Result<Self> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self::launch(name, command)
    }

    /// Starts `command` and hands each line of its standard output to `on_line`, in a thread that ends
    /// with the output.
    ///
    /// # Errors
    /// When the program or the thread cannot be started.
    pub fn follow(
        name: &str,
        mut command: Command,
        mut on_line: impl FnMut(&str) + Send + 'static,
    ) -> anyhow::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Self::launch(name, command)?;
        let output = process
            .child
            .stdout
            .take()
            .context("its output is a pipe")?;
        thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    on_line(&line);
                }
            })
            .with_context(|| format!("starting the thread that reads from {name}"))?;
        Ok(process)
    }

    fn launch(name: &str, mut command: Command) -> anyhow::Result<Self> {
        sys::confine(&mut command, None);
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name} ({})", command.get_program().display()))?;
        let group = Pid::from_raw(child.id().try_into().context("a process id fits")?);
        Ok(Self {
            name: name.into(),
            child,
            group,
        })
    }

    /// The leader's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal` to the leader and all that it started in its group.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        killpg(self.group, signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Stops the group where it stands, as a hang would.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a stopped group go on.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Sends `signal` to the leader alone.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal_leader(&self, signal: Signal) -> anyhow::Result<()> {
        nix::sys::signal::kill(self.group, signal)
            .with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("waiting for {}", self.name))
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        matches!(self.ended(), Ok(None))
    }

    /// # Errors
    /// When it has ended although it should run.
    pub fn still_runs(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended early: {status}", self.name),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> anyhow::Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait::until(&what, timeout, || self.ended())
    }

    /// Kills the group and reaps the leader.
    ///
    /// # Errors
    /// When the leader cannot be reaped.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        match killpg(self.group, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => bail!("killing {}: {error}", self.name),
        }
        self.child
            .wait()
            .with_context(|| format!("reaping {}", self.name))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{error:#}");
        }
    }
}

/// The state of any process, a letter (`proc_pid_stat(5)`); none when nothing is left of it.
#[must_use]
pub fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.chars().next()
}

/// Whether a process has ended. What becomes of an orphan then is up to the first process, and a container's may leave it
/// a zombie for ever.
#[must_use]
pub fn has_ended(pid: u32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// Where `program` is: on PATH, or where Debian keeps daemons, which a plain `su` leaves out of PATH.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// A command for `program`, wherever [`find`] finds it.
#[must_use]
pub fn command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| program.into()))
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// When it cannot be started, or fails: with what it wrote to standard error.
pub fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = command(program);
    command.args(arguments);
    output(command)
}

/// Runs `command` to its end and returns its standard output.
///
/// # Errors
/// When it cannot be started, or fails: with what it wrote to standard error.
pub fn output(mut command: Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let arguments: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        bail!(
            "`{program} {}`: {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
