//! A file that cannot be opened, nor executed, for as long as a test wants: the calls block, as they would on a file
//! system that hangs.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::sys;

/// A write lease (fcntl(2), F_SETLEASE) on a file; given up when dropped. The kernel takes it away 45 seconds after
/// somebody has asked for the file.
#[derive(Debug)]
pub struct Lease {
    file: File,
}

impl Lease {
    /// Takes the lease. The file must be ours, and nobody may have it open.
    ///
    /// # Errors
    /// What open(2) and fcntl(2) say.
    pub fn take(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        sys::set_lease(&file, libc::F_WRLCK)?;
        Ok(Self { file })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that hangs before its execve has it open as well.
        let _ = sys::set_lease(&self.file, libc::F_UNLCK);
    }
}
