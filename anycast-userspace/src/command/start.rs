//! Starts commands off the runtime's thread: looking up a user asks whatever name services the host has, and
//! execve(2) reads the program from a file system that may hang.

use std::io;
use std::process::Stdio;

use nix::unistd::User;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::Invocation;
use super::group::Group;
use super::slot::Taken;
use crate::descriptors::restore_limit_of;

/// How many commands of the process are being started at once. Each takes a thread; more would come only of file
/// systems or name services that hang.
const STARTS: usize = 16;

static STARTING: Semaphore = Semaphore::const_new(STARTS);

/// A command that runs, and what it prints.
pub(super) struct Started {
    pub(super) group: Group,
    pub(super) output: pipe::Receiver,
}

/// Starts a command. If this is dropped before, the command is killed once it has started.
pub(super) async fn start(invocation: &Invocation<'_>, slot: Taken) -> io::Result<Started> {
    let mut command = Command::new(&invocation.command[0]);
    command
        .args(&invocation.command[1..])
        .envs(invocation.environment.iter().copied())
        .current_dir(invocation.directory)
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let user = invocation.user.map(str::to_owned);
    let starting = STARTING.acquire().await.map_err(io::Error::other)?;
    let started = tokio::task::spawn_blocking(move || {
        let started = spawn(command, user.as_deref(), slot);
        drop(starting);
        started
    });
    started.await.unwrap_or_else(|ended| Err(ended.into()))
}

fn spawn(mut command: Command, user: Option<&str>, slot: Taken) -> io::Result<Started> {
    // One pipe for both streams keeps their order.
    let (reader, writer) = io::pipe()?;
    let errors = writer.try_clone()?;
    let output = pipe::Receiver::from_owned_fd(reader.into())?;
    command.stdout(writer).stderr(errors);
    if let Some(name) = user {
        let user = User::from_name(name)?
            .ok_or_else(|| io::Error::other(format!("there is no user `{name}`")))?;
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let child = command.spawn()?;
    if let Some(Err(error)) = child.id().map(restore_limit_of) {
        tracing::debug!(%error, "a command keeps the daemon's limit of open files");
    }
    let group = Group::of(child, slot);
    Ok(Started { group, output })
}
