//! Runs a command in a process group of its own, for checks and hooks.
//!
//! However a run ends, the whole group is killed with SIGKILL and the command is reaped. A process
//! that leaves the group (`setsid`) is no longer ours to find; it cannot delay the result, because
//! nothing waits for it to close its output.

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{timeout, timeout_at};

/// How much of the output is kept: its last bytes.
pub const OUTPUT_LIMIT: usize = 4096;
/// How much of the output's last line is told.
const LINE_LIMIT: usize = 200;
/// How long a killed command may take to go before the runtime reaps it in the background.
const REAP_LIMIT: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The program, then its arguments; not empty.
    pub command: &'a [String],
    /// Variables to set besides those of the daemon.
    pub environment: &'a [(&'a str, &'a str)],
    /// Working directory.
    pub directory: &'a Path,
    /// User to run as, with that user's group alone.
    pub user: Option<&'a str>,
}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// At its deadline.
    TimedOut,
    /// It could not be started or waited for.
    Failed(String),
}

/// A run that is over.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub ended: Ended,
    /// The last bytes that it printed.
    pub output: Option<Box<str>>,
}

impl Finished {
    /// How the command ended and the last line that it printed, for a person.
    pub fn describe(&self) -> String {
        let what = match &self.ended {
            Ended::Exited(status) => describe_status(*status),
            Ended::TimedOut => "did not end in time".to_owned(),
            Ended::Failed(why) => return why.clone(),
        };
        match self.last_line() {
            Some(line) => format!("{what}: {line}"),
            None => what,
        }
    }

    fn last_line(&self) -> Option<String> {
        let lines = self.output.as_deref()?.lines();
        let line = lines.map(str::trim).rfind(|line| !line.is_empty())?;
        Some(line.chars().take(LINE_LIMIT).collect())
    }
}

/// Runs the command until it ends or the deadline is there. Dropping the future kills it.
pub async fn run(invocation: &Invocation<'_>, deadline: Instant) -> Finished {
    let (mut group, mut output) = match start(invocation) {
        Ok(started) => started,
        Err(error) => {
            let why = format!("cannot start `{}`: {error}", invocation.command[0]);
            return Finished {
                ended: Ended::Failed(why),
                output: None,
            };
        }
    };
    let mut tail = Tail::default();
    let result = timeout_at(
        deadline.into(),
        finish(&mut group.child, &mut output, &mut tail),
    )
    .await;
    group.kill();
    let ended = match result {
        Ok(Ok(status)) => {
            tail.take_what_is_there(&output);
            Ended::Exited(status)
        }
        Ok(Err(error)) => Ended::Failed(format!("cannot wait for the command: {error}")),
        Err(_) => {
            // SIGKILL cannot be refused; only a process stuck in the kernel outlasts this.
            let _ = timeout(REAP_LIMIT, group.child.wait()).await;
            Ended::TimedOut
        }
    };
    Finished {
        ended,
        output: tail.into_text(),
    }
}

fn start(invocation: &Invocation<'_>) -> io::Result<(Group, pipe::Receiver)> {
    // One pipe for both streams keeps their order.
    let (reader, writer) = io::pipe()?;
    let errors = writer.try_clone()?;
    let output = pipe::Receiver::from_owned_fd(reader.into())?;
    let mut command = Command::new(&invocation.command[0]);
    command
        .args(&invocation.command[1..])
        .envs(invocation.environment.iter().copied())
        .current_dir(invocation.directory)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .process_group(0)
        .kill_on_drop(true);
    if let Some(name) = invocation.user {
        let user = User::from_name(name)?
            .ok_or_else(|| io::Error::other(format!("there is no user `{name}`")))?;
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    Ok((Group::of(command.spawn()?), output))
}

fn describe_status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("ended by {signal}"),
            Err(_) => format!("ended by signal {signal}"),
        },
        (None, None) => status.to_string(),
    }
}

/// A running command and its process group, which is killed when this is dropped.
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            child,
            id: id.map(Pid::from_raw),
        }
    }

    fn kill(&mut self) {
        if let Some(id) = self.id.take() {
            // ESRCH: nobody is left in the group.
            let _ = killpg(id, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads the output until the command has ended.
async fn finish(
    child: &mut Child,
    output: &mut pipe::Receiver,
    tail: &mut Tail,
) -> io::Result<ExitStatus> {
    let mut buffer = vec![0; 16 * 1024];
    let mut open = true;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            read = output.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(count) => tail.push(&buffer[..count]),
            },
        }
    }
}

/// The last bytes of an output of any length.
#[derive(Default)]
struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    fn push(&mut self, read: &[u8]) {
        let read = &read[read.len().saturating_sub(OUTPUT_LIMIT)..];
        let excess = (self.bytes.len() + read.len()).saturating_sub(OUTPUT_LIMIT);
        self.bytes.drain(..excess);
        self.bytes.extend(read);
    }

    /// What an ended command left in the pipe: at most what a pipe holds, however fast a process that
    /// escaped the group may still write.
    fn take_what_is_there(&mut self, output: &pipe::Receiver) {
        let mut buffer = vec![0; 64 * 1024];
        if let Ok(count) = output.try_read(&mut buffer) {
            self.push(&buffer[..count]);
        }
    }

    fn into_text(self) -> Option<Box<str>> {
        let bytes = Vec::from(self.bytes);
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use super::{OUTPUT_LIMIT, Tail};

    #[test]
    fn the_tail_is_the_last_bytes_of_whatever_was_pushed() {
        let alphabet = (b'a'..=b'z').cycle();
        let all: Vec<u8> = alphabet.take(20_000).collect();
        let want = String::from_utf8_lossy(&all[all.len() - OUTPUT_LIMIT..]);
        for size in [1, 7, 4095, 4096, 4097, 20_000] {
            let mut tail = Tail::default();
            for chunk in all.chunks(size) {
                tail.push(chunk);
            }
            assert_eq!(
                tail.into_text().as_deref(),
                Some(want.as_ref()),
                "pushed {size} bytes at a time"
            );
        }
    }
}
