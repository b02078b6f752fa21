//! A running command and its process group, which goes with it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::slot::Taken;

/// How long a run waits for its killed command. SIGKILL cannot be refused; only a process stuck in the kernel
/// outlasts this, and it is waited for in the background.
const REAP_LIMIT: Duration = Duration::from_secs(1);

/// When this is dropped, the group is killed, and the command is reaped in the background.
pub(super) struct Group {
    /// None once it is reaped.
    running: Option<Running>,
    id: Option<Pid>,
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
        Ok(status)
    }

    /// Kills the group and waits for the command, but not for one that is stuck in the kernel.
    pub(super) async fn end(mut self) {
        self.kill();
        let _ = timeout(REAP_LIMIT, self.wait()).await;
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
        let Some(running) = self.running.take() else {
            return;
        };
        // Without a runtime the process is about to end.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(running.reap());
        }
    }
}

impl Running {
    async fn reap(mut self) {
        let _ = self.child.wait().await;
        drop(self.slot);
    }
}
