//! Network namespaces without a name: the kernel removes them when the last that runs in them ends, however
//! it ends.

use std::fs;
use std::ops::Deref;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use nix::sched::{CloneFlags, unshare};

use super::{Inside, command};
use crate::process::{self, Process};
use crate::wait;

/// A namespace that a process of its own holds, until this is dropped.
#[derive(Debug)]
pub struct Unnamed {
    inside: Inside,
    holder: Process,
}

impl Deref for Unnamed {
    type Target = Inside;

    fn deref(&self) -> &Inside {
        &self.inside
    }
}

impl Unnamed {
    /// Creates it, with loopback up.
    ///
    /// # Errors
    /// Without root.
    pub fn create() -> anyhow::Result<Self> {
        let command = command("unshare", &["--net", "sleep", "infinity"]);
        let holder = Process::silent("the holder of a namespace", command)?;
        let namespace = Self {
            inside: Inside::of_process(holder.pid()),
            holder,
        };
        namespace.wait_until_entered()?;
        namespace.ip(&["link set lo up"])?;
        Ok(namespace)
    }

    /// The process that holds it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.holder.pid()
    }

    /// `unshare` needs a moment before the holder has left our namespace.
    fn wait_until_entered(&self) -> anyhow::Result<()> {
        let ours =
            fs::read_link("/proc/thread-self/ns/net").context("reading our own namespace")?;
        let what = format!("{} to be entered", self.inside.name());
        wait::until_found(&what, Duration::from_secs(60), || {
            let theirs = fs::read_link(self.inside.path()).ok()?;
            (theirs != ours).then_some(())
        })
    }
}

/// Runs a test in a thread with a network namespace of its own, where `lo` is up. A panic in it is the
/// caller's.
///
/// # Panics
/// Without the privilege to make a namespace, and when the test panics.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new()
        .name("namespace".to_owned())
        .spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("a network namespace cannot be made: run as root (CAP_SYS_ADMIN)");
            process::run("ip", &["link", "set", "lo", "up"]).expect("lo can be set up");
            test();
        })
        .expect("a thread can be started");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
