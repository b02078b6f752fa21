//! The pin directory: on a bpf file system, locked by one process, cleared of what a dead one left.
//!
//! Only maps are pinned. The links that hold the program to its interfaces are not, so the kernel
//! detaches it the moment this process ends, however it ends: a dead controller answers for nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::error::DataPlaneError;

/// Where Linux systems have their bpf file system.
const BPFFS: &str = "/sys/fs/bpf";

/// A locked pin directory. The pins in it are removed by [`PinDirectory::clear`], not on drop.
#[derive(Debug)]
pub(super) struct PinDirectory {
    path: PathBuf,
    /// Locks the directory for as long as it is open; the kernel lets go when the process ends.
    _lock: Flock<File>,
}

impl PinDirectory {
    /// Creates and locks `path`, mounting the bpf file system at its usual place if it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, DataPlaneError> {
        if path.starts_with(BPFFS) && !on_bpffs(Path::new(BPFFS)) {
            mount(
                Some("bpf"),
                BPFFS,
                Some("bpf"),
                MsFlags::empty(),
                None::<&str>,
            )
            .map_err(|errno| {
                DataPlaneError::pin("mount a bpf file system at", BPFFS)(errno.into())
            })?;
        }
        fs::create_dir_all(path).map_err(DataPlaneError::pin("create", path))?;
        if !on_bpffs(path) {
            return Err(DataPlaneError::NotBpffs {
                pin: path.to_owned(),
            });
        }
        let directory = File::open(path).map_err(DataPlaneError::pin("open", path))?;
        let lock =
            Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
                match errno {
                    Errno::EWOULDBLOCK => DataPlaneError::InUse {
                        pin: path.to_owned(),
                    },
                    errno => DataPlaneError::pin("lock", path)(errno.into()),
                }
            })?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Where a map of this name is pinned.
    pub(super) fn of(&self, map: &str) -> PathBuf {
        self.path.join(map)
    }

    /// Removes the pins of `maps`, and nothing else.
    pub(super) fn clear(&self, maps: &[&str]) -> Result<(), DataPlaneError> {
        for map in maps {
            let pin = self.of(map);
            match fs::remove_file(&pin) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(DataPlaneError::pin("remove", pin)(error)),
            }
        }
        Ok(())
    }

    /// Removes the directory, if nothing else is in it.
    pub(super) fn remove(self) -> Result<(), DataPlaneError> {
        match fs::remove_dir(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(error) => Err(DataPlaneError::pin("remove", &self.path)(error)),
        }
    }
}

fn on_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}
