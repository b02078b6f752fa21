//! Runs a command in a process group of its own, for checks and hooks.
//!
//! However a run ends, the whole group is killed with SIGKILL and the command is reaped. A process
//! that leaves the group (`setsid`) is no longer ours to find; it cannot delay the result, because
//! nothing waits for it to close its output.
//!
//! Neither the start nor the end of a command keeps the runtime's thread, or a run longer than its deadline. A
//! command that has not started by then is killed when it has; one that the kernel does not let go is waited for.
//! Until it is gone its [`Slot`] is taken.

mod group;
mod slot;
mod start;
mod tail;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Instant;

use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::timeout_at;

use group::Group;
pub use slot::Slot;
use start::Started;
pub use tail::OUTPUT_LIMIT;
use tail::Tail;

/// How much of the output's last line is told.
const LINE_LIMIT: usize = 200;

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
    /// It had not started at its deadline.
    NotStarted,
    /// It was not started, because the last one in its slot is still there.
    SlotTaken,
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

impl From<Ended> for Finished {
    fn from(ended: Ended) -> Self {
        Self {
            ended,
            output: None,
        }
    }
}

impl Finished {
    /// How the command ended and the last line that it printed, for a person.
    pub fn describe(&self) -> String {
        let what = match &self.ended {
            Ended::Exited(status) => describe_status(*status),
            Ended::TimedOut => "did not end in time".to_owned(),
            Ended::NotStarted => return "could not be started in time".to_owned(),
            Ended::SlotTaken => return "the last run has not ended".to_owned(),
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
pub async fn run(slot: &Slot, invocation: &Invocation<'_>, deadline: Instant) -> Finished {
    let Some(slot) = slot.take() else {
        return Ended::SlotTaken.into();
    };
    match timeout_at(deadline.into(), start::start(invocation, slot)).await {
        Err(_) => Ended::NotStarted.into(),
        Ok(Err(error)) => {
            let program = &invocation.command[0];
            Ended::Failed(format!("cannot start `{program}`: {error}")).into()
        }
        Ok(Ok(started)) => finish(started, deadline).await,
    }
}

async fn finish(started: Started, deadline: Instant) -> Finished {
    let Started {
        mut group,
        mut output,
    } = started;
    let mut tail = Tail::default();
    let result = timeout_at(deadline.into(), follow(&mut group, &mut output, &mut tail)).await;
    let ended = match result {
        Ok(Ok(status)) => {
            tail.take_what_is_there(&output);
            Ended::Exited(status)
        }
        Ok(Err(error)) => Ended::Failed(format!("cannot wait for the command: {error}")),
        Err(_) => {
            group.end().await;
            Ended::TimedOut
        }
    };
    Finished {
        ended,
        output: tail.into_text(),
    }
}

/// Reads the output until the command has ended.
async fn follow(
    group: &mut Group,
    output: &mut pipe::Receiver,
    tail: &mut Tail,
) -> io::Result<ExitStatus> {
    let mut buffer = vec![0; 16 * 1024];
    let mut open = true;
    loop {
        tokio::select! {
            status = group.wait() => return status,
            read = output.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(count) => tail.push(&buffer[..count]),
            },
        }
    }
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

/// Waits for the end of a process that a command has started; in tests.
#[cfg(test)]
pub(crate) async fn end_of(pid: u32) {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
    const POLL: std::time::Duration = std::time::Duration::from_millis(5);
    let ended = async {
        while !anycast_tests::process::has_ended(pid) {
            tokio::time::sleep(POLL).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, ended).await;
    assert!(ended.is_ok(), "process {pid} still runs");
}
