//! The `exec` check: a command in a process group of its own.
//!
//! At the end of a run, however it ends, the whole group is killed with SIGKILL and the command is
//! reaped. A process that leaves the group (`setsid`) is no longer ours to find; it cannot delay a
//! verdict, because nothing waits for it to close its output.

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{timeout, timeout_at};

use super::Subject;
use super::probe::{Failure, Run, timed_out};
use crate::config::check::ExecCheck;
use crate::health::{FailureKind, Outcome};

/// How much of the output is kept: its last bytes.
const OUTPUT_LIMIT: usize = 4096;
/// How much of the output's last line goes into the detail.
const LINE_LIMIT: usize = 200;
/// How long a killed command may take to go before the runtime reaps it in the background.
const REAP_LIMIT: Duration = Duration::from_secs(1);

pub(super) struct ExecProbe {
    check: ExecCheck,
    /// What tells the command on whose behalf it runs.
    variables: [(&'static str, String); 3],
}

impl ExecProbe {
    pub(super) fn new(check: &ExecCheck, subject: &Subject<'_>) -> Self {
        let addresses: Vec<_> = subject.addresses.iter().map(ToString::to_string).collect();
        Self {
            check: check.clone(),
            variables: [
                ("ANYCAST_SERVICE", subject.name.to_owned()),
                ("ANYCAST_CHECK", check.name.clone()),
                ("ANYCAST_ADDRESSES", addresses.join(" ")),
            ],
        }
    }

    pub(super) async fn run(&self, deadline: Instant, limit: Duration) -> Run {
        let (mut group, mut output) = match self.start() {
            Ok(started) => started,
            Err(failure) => return Outcome::fail(failure.kind, failure.detail).into(),
        };
        let mut tail = Tail::default();
        let ended = timeout_at(
            deadline.into(),
            finish(&mut group.child, &mut output, &mut tail),
        )
        .await;
        group.kill();
        let outcome = match ended {
            Ok(Ok(status)) => {
                tail.take_what_is_there(&output);
                self.judge(status, &tail)
            }
            Ok(Err(error)) => Outcome::fail(
                FailureKind::Resource,
                format!("cannot wait for the command: {error}"),
            ),
            Err(_) => {
                // SIGKILL cannot be refused; only a process stuck in the kernel outlasts this.
                let _ = timeout(REAP_LIMIT, group.child.wait()).await;
                timed_out(limit)
            }
        };
        Run {
            outcome,
            output: tail.into_text(),
        }
    }

    fn start(&self) -> Result<(Group, pipe::Receiver), Failure> {
        let program = &self.check.command[0];
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::new(
                FailureKind::Resource,
                format!("cannot start `{program}`: {error}"),
            )
        };
        // One pipe for both streams keeps their order.
        let (reader, writer) = io::pipe().map_err(|error| cannot(&error))?;
        let errors = writer.try_clone().map_err(|error| cannot(&error))?;
        let output =
            pipe::Receiver::from_owned_fd(reader.into()).map_err(|error| cannot(&error))?;
        let mut command = Command::new(program);
        command
            .args(&self.check.command[1..])
            .envs(&self.check.environment)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.check.directory)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true);
        if let Some(name) = &self.check.user {
            let user = User::from_name(name)
                .map_err(|error| cannot(&error))?
                .ok_or_else(|| cannot(&format_args!("there is no user `{name}`")))?;
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let child = command.spawn().map_err(|error| cannot(&error))?;
        Ok((Group::of(child), output))
    }

    fn judge(&self, status: ExitStatus, tail: &Tail) -> Outcome {
        let what = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => match Signal::try_from(signal) {
                Ok(signal) => format!("ended by {signal}"),
                Err(_) => format!("ended by signal {signal}"),
            },
            (None, None) => status.to_string(),
        };
        let detail = match tail.last_line() {
            Some(line) => format!("{what}: {line}"),
            None => what,
        };
        let passes = status.code().is_some_and(|code| {
            self.check
                .pass_codes
                .iter()
                .any(|pass| i32::from(*pass) == code)
        });
        if passes {
            Outcome::pass(detail)
        } else {
            Outcome::fail(FailureKind::Exit, detail)
        }
    }
}

/// A running command and its process group, which is killed when this is dropped.
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Self {
        let id = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        Self { child, id }
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

    fn text(&self) -> String {
        let (front, back) = self.bytes.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }

    fn last_line(&self) -> Option<String> {
        let text = self.text();
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        Some(line.chars().take(LINE_LIMIT).collect())
    }

    fn into_text(self) -> Option<Box<str>> {
        (!self.bytes.is_empty()).then(|| self.text().into_boxed_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{OUTPUT_LIMIT, Tail};

    #[test]
    fn the_tail_is_the_last_bytes_of_whatever_was_pushed() {
        let all: Vec<u8> = (0..20_000u32)
            .map(|index| b'a' + (index % 26) as u8)
            .collect();
        for size in [1, 7, 4095, 4096, 4097, 20_000] {
            let mut tail = Tail::default();
            for chunk in all.chunks(size) {
                tail.push(chunk);
            }
            let want = String::from_utf8_lossy(&all[all.len() - OUTPUT_LIMIT..]).into_owned();
            assert_eq!(tail.text(), want, "pushed {size} bytes at a time");
        }
    }
}
