//! Network namespaces that are removed, with all that runs in them, when their owner is dropped.

use std::fs::{self, File};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

use crate::{process, sys};

mod home;
#[cfg(test)]
mod tests;
mod unnamed;

pub use home::Home;
pub use unnamed::{Unnamed, in_namespace};

/// Where iproute2 keeps named network namespaces.
const DIRECTORY: &str = "/run/netns";

/// A named network namespace, removed on drop.
#[derive(Debug)]
pub struct Namespace {
    inside: Inside,
}

/// The way into a namespace that somebody else owns.
#[derive(Clone, Debug)]
pub struct Inside {
    name: String,
    path: PathBuf,
}

impl Deref for Namespace {
    type Target = Inside;

    fn deref(&self) -> &Inside {
        &self.inside
    }
}

impl Namespace {
    /// Creates it, with loopback up and no duplicate address detection.
    ///
    /// # Errors
    /// Without root, or when a namespace of this name exists.
    pub fn create(name: &str) -> anyhow::Result<Self> {
        process::output(command("ip", &["netns", "add", name]))?;
        let namespace = Self {
            inside: Inside::named(name),
        };
        namespace.sysctl(&[
            ("net.ipv6.conf.all.accept_dad", "0"),
            ("net.ipv6.conf.default.accept_dad", "0"),
            ("net.ipv6.conf.all.disable_ipv6", "0"),
            ("net.ipv6.conf.default.disable_ipv6", "0"),
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.default.rp_filter", "0"),
        ])?;
        namespace.ip(&["link set lo up"])?;
        Ok(namespace)
    }

    /// Removes the namespaces whose names begin with `prefix`, which a killed run has left behind, and
    /// what runs in them. Returns their names.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove_leftovers(prefix: &str) -> anyhow::Result<Vec<String>> {
        let Ok(entries) = fs::read_dir(DIRECTORY) else {
            return Ok(Vec::new());
        };
        let mut removed = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(prefix) {
                Inside::named(&name).remove()?;
                removed.push(name);
            }
        }
        removed.sort();
        Ok(removed)
    }
}

impl Inside {
    fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            path: PathBuf::from(DIRECTORY).join(name),
        }
    }

    /// The namespace that a process is in.
    #[must_use]
    pub fn of_process(process: u32) -> Self {
        Self {
            name: format!("of process {process}"),
            path: format!("/proc/{process}/ns/net").into(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file, for `nsenter --net=`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command that will run inside. Only the network changes: the mounts, bpffs among them, stay.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn command(&self, program: &str) -> anyhow::Result<Command> {
        let mut command = process::command(program);
        sys::confine(&mut command, Some(self.open()?));
        Ok(command)
    }

    /// Runs `work` in a thread inside. Processes belong to the threads that start them: start none here.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or `work` fails.
    ///
    /// # Panics
    /// When `work` does.
    pub fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let file = self.open()?;
        thread::scope(|scope| {
            scope
                .spawn(move || {
                    setns(&file, CloneFlags::CLONE_NEWNET)
                        .with_context(|| format!("entering the namespace {}", self.name))?;
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs lines of ip(8) in order: `["addr add 10.0.0.1/24 dev eth0", …]`.
    ///
    /// # Errors
    /// The first line that fails, with what ip says.
    pub fn ip(&self, lines: &[&str]) -> anyhow::Result<()> {
        for line in lines {
            let mut ip = self.command("ip")?;
            ip.args(line.split(' '));
            process::output(ip)?;
        }
        Ok(())
    }

    /// Sets kernel parameters, dotted as sysctl(8) writes them.
    ///
    /// # Errors
    /// When one is missing or refuses the value.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        self.enter(|| {
            for (key, value) in settings {
                let path = format!("/proc/sys/{}", key.replace('.', "/"));
                fs::write(&path, value)
                    .with_context(|| format!("setting {key}={value} in {}", self.name))?;
            }
            Ok(())
        })
    }

    /// Attaches an XDP program that passes everything, in native mode, until the returned link is closed:
    /// what the other end of a veth pair sends by `XDP_TX` arrives only then.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn attach_xdp_pass(&self, interface: &str) -> anyhow::Result<OwnedFd> {
        self.enter(|| {
            let index = nix::net::if_::if_nametoindex(interface)
                .with_context(|| format!("no interface {interface} in {}", self.name))?;
            sys::attach_xdp_pass(index).with_context(|| {
                format!("attaching an XDP program to {interface} in {}", self.name)
            })
        })
    }

    /// The processes that run inside.
    ///
    /// # Errors
    /// When ip(8) fails.
    pub fn processes(&self) -> anyhow::Result<Vec<Pid>> {
        process::output(command("ip", &["netns", "pids", &self.name]))?
            .lines()
            .map(|line| Ok(Pid::from_raw(line.trim().parse()?)))
            .collect()
    }

    fn open(&self) -> anyhow::Result<File> {
        File::open(&self.path).with_context(|| format!("there is no namespace {}", self.name))
    }

    /// Removes it and what runs in it, but never this process: what a thread of ours has not left yet
    /// ends when it does.
    fn remove(&self) -> anyhow::Result<()> {
        let ourselves = getpid();
        let what = format!("the processes in {} to end", self.name);
        wait_even_if_interrupted(&what, || {
            // A run that was killed halfway through creating it has left a name without a namespace.
            let mut processes = self.processes().unwrap_or_default();
            // If we are inside, so was the `ip` that has told, which has ended by now.
            processes.retain(|process| *process != ourselves && kill(*process, None).is_ok());
            for process in &processes {
                // It may have ended by itself.
                let _ = kill(*process, Signal::SIGKILL);
            }
            Ok(processes.is_empty())
        })?;
        process::output(command("ip", &["netns", "delete", &self.name]))?;
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("removing the namespace {}: {error:#}", self.name);
        }
    }
}

/// Joins two namespaces by a veth pair; both ends are up, and every checksum is in the packet, as on a wire.
///
/// # Errors
/// When an interface of that name exists, or ethtool is missing.
pub fn veth(left: (&Namespace, &str), right: (&Namespace, &str)) -> anyhow::Result<()> {
    // Native XDP asks for as many queues at one end as at the other.
    let line = format!(
        "link add {} netns {} numtxqueues 1 numrxqueues 1 type veth \
         peer name {} netns {} numtxqueues 1 numrxqueues 1",
        left.1, left.0.name, right.1, right.0.name
    );
    process::output(command("ip", &line.split_whitespace().collect::<Vec<_>>()))?;
    for (namespace, interface) in [left, right] {
        let mut ethtool = namespace.command("ethtool")?;
        ethtool.args(["-K", interface, "tx", "off"]);
        process::output(ethtool)?;
        namespace.ip(&[&format!("link set {interface} up")])?;
    }
    Ok(())
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = process::command(program);
    command.args(arguments);
    command
}

/// Cleaning up is what an interrupted run does last, so this wait does not end early.
fn wait_even_if_interrupted(
    what: &str,
    mut done: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let tries = 200;
    for _ in 0..tries {
        if done()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(anyhow!("waited in vain for {what}"))
}
