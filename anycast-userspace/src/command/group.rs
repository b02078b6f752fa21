//! A running command and its process group, which goes with it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::slot::Taken;

/// How long a run waits for its killed command. SIGKILL cannot be refused; only a process stuck in the kernel
/// outlasts this, and it is waited for in the background.
const REAP_LIMIT: Duration = Duration::from_secs(1);
/// How often it is looked for what a killed command left behind: at first, and in the end.
const REAP_PACES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// When this is dropped, the group is killed, and the command is reaped in the background.
pub(super) struct Group {
    /// None once it is reaped.
    running: Option<Running>,
    id: Option<Pid>,
    killed: bool,
}

struct Running {
    child: Child,
    slot: Taken,
}

impl Group {
    pub(super) fn of(child: Child, slot: Taken) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            running: Some(Running { child, slot }),
            id: id.map(Pid::from_raw),
            killed: false,
        }
    }

    /// Waits until the command has ended, then kills what is left of its group.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some(running) = &mut self.running else {
            return Err(io::Error::other("the command is reaped"));
        };
        let status = running.child.wait().await?;
        self.running = None;
        self.kill();
        if let Some(id) = self.id.filter(|id| !none_left(*id)) {
            tokio::spawn(reap_rest(id));
        }
        Ok(status)
    }

    /// Kills the group and waits for the command, but not for one that is stuck in the kernel.
    pub(super) async fn end(mut self) {
        self.kill();
        let _ = timeout(REAP_LIMIT, self.wait()).await;
    }

    fn kill(&mut self) {
        if let Some(id) = self.id.filter(|_| !self.killed) {
            // ESRCH: nobody is left in the group.
            let _ = killpg(id, Signal::SIGKILL);
        }
        self.killed = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let Some(running) = self.running.take() else {
            return;
        };
        // Without a runtime the process is about to end.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(running.reap(self.id));
        }
    }
}

impl Running {
    async fn reap(mut self, group: Option<Pid>) {
        let _ = self.child.wait().await;
        drop(self.slot);
        if let Some(group) = group {
            reap_rest(group).await;
        }
    }
}

/// Where this process is the init of its PID namespace, or a subreaper, what a command leaves behind becomes its child.
/// To be called only once the command itself is reaped: its status is the runtime's.
async fn reap_rest(group: Pid) {
    let (mut pace, slowest) = REAP_PACES;
    while !none_left(group) {
        sleep(pace).await;
        pace = (pace * 2).min(slowest);
    }
}

/// Reaps those of the group that are ours and dead; true when none of it is ours any more, as is usual.
fn none_left(group: Pid) -> bool {
    loop {
        match waitpid(Pid::from_raw(-group.as_raw()), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return false,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return true,
        }
    }
}
