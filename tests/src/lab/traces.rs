//! What the lab leaves on the host while it runs, besides namespaces: a directory, pins, a lock.

use std::fs;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::topology::{City, PREFIX};
use crate::netns::Namespace;
use crate::wait;

const DIRECTORY: &str = "/run/anycast-lab";
const BPFFS: &str = "/sys/fs/bpf";

const LOCK: &str = "anycast-lab";
/// What a killed lab was about to execute holds its lock until it is executed.
const RELEASE: Duration = Duration::from_secs(5);

/// Held while a lab runs; the kernel lets go of it when the process ends, in whatever way.
#[derive(Debug)]
pub(super) struct Lock {
    _name: UnixListener,
}

impl Lock {
    /// # Errors
    /// When another lab runs on this host.
    pub(super) fn take() -> anyhow::Result<Self> {
        Self::take_within(LOCK, RELEASE)
    }

    fn take_within(name: &str, patience: Duration) -> anyhow::Result<Self> {
        let name = SocketAddr::from_abstract_name(name)?;
        wait::until("the end of another lab on this host", patience, || {
            match UnixListener::bind_addr(&name) {
                Ok(name) => Ok(Some(Self { _name: name })),
                Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
                Err(error) => Err(error).context("taking the lab's lock"),
            }
        })
        .with_context(|| format!("there can be one lab (namespaces called {PREFIX}…)"))
    }
}

/// The directory and the pins, removed on drop.
#[derive(Debug)]
pub(super) struct Traces {
    directory: PathBuf,
}

impl Traces {
    /// Removes what an earlier run has left, and makes the directory.
    ///
    /// # Errors
    /// When something cannot be removed or made.
    pub(super) fn prepare() -> anyhow::Result<Self> {
        Namespace::remove_leftovers(PREFIX).context("removing the namespaces of an earlier run")?;
        remove().context("removing the files of an earlier run")?;
        mount_bpffs()?;
        let directory = PathBuf::from(DIRECTORY);
        fs::create_dir_all(&directory).with_context(|| format!("creating {DIRECTORY}"))?;
        Ok(Self { directory })
    }

    /// Where configs, sockets and logs go.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a city's node pins its maps.
    #[expect(
        clippy::unused_self,
        reason = "the pins are there only while the traces are"
    )]
    pub(super) fn pin(&self, city: City) -> PathBuf {
        pin(city)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = remove() {
            eprintln!("cleaning up: {error:#}");
        }
    }
}

/// The directories that exist now.
pub(super) fn existing() -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for path in all() {
        if path.try_exists()? {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

fn remove() -> anyhow::Result<()> {
    for path in all() {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn all() -> [PathBuf; 3] {
    [DIRECTORY.into(), pin(City::A), pin(City::B)]
}

fn pin(city: City) -> PathBuf {
    Path::new(BPFFS).join(format!("{PREFIX}{}", city.letter()))
}

/// As systemd does at boot; where there is no systemd, nobody has.
fn mount_bpffs() -> anyhow::Result<()> {
    let there = statfs(BPFFS)
        .with_context(|| format!("there is no {BPFFS}"))?
        .filesystem_type();
    if there == BPF_FS_MAGIC {
        return Ok(());
    }
    mount(
        Some("bpf"),
        BPFFS,
        Some("bpf"),
        MsFlags::empty(),
        None::<&str>,
    )
    .with_context(|| format!("mounting bpffs on {BPFFS}"))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Between fork and exec a child has every descriptor of its parent, closed on exec or not.
    #[test]
    fn a_lock_that_outlives_its_lab_for_a_moment_is_waited_for() {
        let name = format!("anycast-lab-moment-{}", std::process::id());
        let lock = Lock::take_within(&name, Duration::ZERO).expect("nobody has it");
        let copy = lock._name.try_clone().expect("a descriptor is free");
        drop(lock);
        let error = Lock::take_within(&name, Duration::ZERO).expect_err("the copy holds it");
        assert!(
            format!("{error:#}").contains("another lab on this host"),
            "{error:#}"
        );
        let holder = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            drop(copy);
        });
        Lock::take_within(&name, RELEASE).expect("the copy is closed");
        holder.join().expect("it only sleeps");
    }
}
