//! The thread that reads the log of verdicts: with a low N there are more lines than the controller
//! should ever wait for.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::dataplane::VerdictLog;

/// How long the end of the thread may be waited for.
const AWAKE_MS: u8 = 100;

/// The running thread; it ends with this value, after the lines that are there.
pub(super) struct VerdictReader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl VerdictReader {
    pub(super) fn start(mut log: VerdictLog) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("verdicts".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    if !wait(&log) {
                        return;
                    }
                    log.flush();
                }
                log.flush();
            })
            .context("starting the thread that reads the log of verdicts")?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

/// Until there are lines, or for a moment; false: there will be none.
fn wait(log: &VerdictLog) -> bool {
    let mut log = [PollFd::new(log.as_fd(), PollFlags::POLLIN)];
    match poll(&mut log, PollTimeout::from(AWAKE_MS)) {
        Ok(_) | Err(Errno::EINTR) => true,
        Err(error) => {
            tracing::error!(%error, "the log of verdicts ends");
            false
        }
    }
}

impl Drop for VerdictReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that read the log of verdicts has panicked");
        }
    }
}
