//! Network namespaces without names: one for the test's thread, one for each router.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};

use super::process::{Daemon, run};

/// Runs a test in a thread with a network namespace of its own, where `lo` is up. A panic in it is the
/// caller's.
///
/// # Panics
/// Without the privilege to make a namespace, and when the test panics.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .name("namespace".to_owned())
        .spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("a network namespace cannot be made: run as root (CAP_SYS_ADMIN)");
            run("ip", &["link", "set", "lo", "up"]).expect("lo can be set up");
            test();
        })
        .expect("a thread can be started");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A namespace for a router, linked to the calling thread's by a veth pair.
///
/// Link `n` has 10.0.n.1/24 and fd00:n::1/64 here, 10.0.n.2 and fd00:n::2 at the router.
#[derive(Debug)]
pub struct Router {
    holder: Daemon,
    /// The number of the link.
    pub link: u8,
}

impl Router {
    /// Makes the namespace and its link.
    ///
    /// # Errors
    /// Any of the `ip` commands fails.
    pub fn new(link: u8) -> Result<Self> {
        let child = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--net",
                "sleep",
                "infinity",
            ])
            .stdin(Stdio::null())
            .spawn()
            .context("unshare cannot be started")?;
        let router = Self {
            holder: Daemon::adopt(child),
            link,
        };
        router.wait_for_namespace()?;
        let pid = router.pid().to_string();
        let (here, there) = (format!("node{link}"), format!("router{link}"));
        run(
            "ip",
            &[
                "link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &pid,
            ],
        )?;
        run(
            "ip",
            &["address", "add", &format!("10.0.{link}.1/24"), "dev", &here],
        )?;
        run(
            "ip",
            &[
                "address",
                "add",
                &format!("fd00:{link}::1/64"),
                "dev",
                &here,
                "nodad",
            ],
        )?;
        run("ip", &["link", "set", &here, "up"])?;
        router.ip(&["link", "set", "lo", "up"])?;
        router.ip(&[
            "address",
            "add",
            &format!("10.0.{link}.2/24"),
            "dev",
            &there,
        ])?;
        router.ip(&[
            "address",
            "add",
            &format!("fd00:{link}::2/64"),
            "dev",
            &there,
            "nodad",
        ])?;
        router.ip(&["link", "set", &there, "up"])?;
        Ok(router)
    }

    /// The process whose network namespace this is.
    pub fn pid(&self) -> u32 {
        self.holder.pid()
    }

    /// Runs `ip` in the router's namespace.
    ///
    /// # Errors
    /// The command fails.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        self.run("ip", arguments)
    }

    /// Runs a program in the router's namespace.
    ///
    /// # Errors
    /// The command fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let pid = self.pid().to_string();
        let mut all = vec!["--net", "-t", &pid, program];
        all.extend_from_slice(arguments);
        run("nsenter", &all)
    }

    /// `unshare` needs a moment before the holder has left our namespace.
    fn wait_for_namespace(&self) -> Result<()> {
        let ours = std::fs::read_link("/proc/thread-self/ns/net")?;
        let theirs = format!("/proc/{}/ns/net", self.pid());
        super::wait_until(
            "the router's namespace",
            std::time::Duration::from_secs(5),
            || {
                std::fs::read_link(&theirs)
                    .ok()
                    .filter(|link| *link != ours)
            },
        )
        .map(|_| ())
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // The kernel removes the link with the namespace, but only some time after it has ended.
        let _ = run("ip", &["link", "delete", &format!("node{}", self.link)]);
    }
}
