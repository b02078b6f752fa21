//! What the lab leaves on the host while it runs, besides namespaces: a directory, pins, a lock.

use std::fs;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::topology::{City, PREFIX};
use crate::netns::Namespace;

const DIRECTORY: &str = "/run/anycast-lab";
const BPFFS: &str = "/sys/fs/bpf";

/// Held while a lab runs; the kernel lets go of it when the process ends, in whatever way.
#[derive(Debug)]
pub(super) struct Lock {
    _name: UnixListener,
}

impl Lock {
    /// # Errors
    /// When another lab runs on this host.
    pub(super) fn take() -> anyhow::Result<Self> {
        let name = SocketAddr::from_abstract_name("anycast-lab")?;
        match UnixListener::bind_addr(&name) {
            Ok(name) => Ok(Self { _name: name }),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                bail!(
                    "another lab runs on this host: end it first (its namespaces are called {PREFIX}…)"
                )
            }
            Err(error) => Err(error).context("taking the lab's lock"),
        }
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
