//! Directories for what a test or a daemon writes, removed with their owner.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

/// A directory that is removed when the test ends.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// A new directory for whatever `purpose` names, which every user may read.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new(purpose: &str) -> io::Result<Self> {
        tempfile::Builder::new()
            .prefix(&format!("anycast-{purpose}-"))
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .map(Self)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
