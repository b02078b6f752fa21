//! Our side as a process of its own, for the tests that kill it.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::daemon::patient;
use crate::node::Node;

/// Set in the process that is to be killed: the number of its sessions.
const SESSIONS: &str = "ANYCAST_TEST_BFD_SESSIONS";

/// A node in its own process and in the namespace of the calling thread. It dies with that thread.
pub(crate) struct NodeProcess(Child);

impl NodeProcess {
    pub(crate) fn start(sessions: usize) -> Result<Self> {
        let program = std::env::current_exe()?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(["--exact", "child::the_node_runs_until_it_is_killed"])
            .env(SESSIONS, sessions.to_string())
            .stdout(Stdio::null())
            .spawn()
            .context("setpriv cannot be started")?;
        Ok(Self(child))
    }

    /// SIGKILL: the process has no chance to say anything.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.kill();
    }
}

/// The process that [`NodeProcess`] starts; without it, there is no node to run.
#[test]
fn the_node_runs_until_it_is_killed() {
    let Ok(sessions) = std::env::var(SESSIONS) else {
        return;
    };
    let sessions = sessions.parse().expect("a number of sessions");
    let _node = Node::start(sessions, &patient()).expect("BFD starts");
    loop {
        std::thread::park();
    }
}
