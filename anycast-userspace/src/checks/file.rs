//! The `file` check.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::config::check::{FileCheck, FilePresence};
use crate::health::{FailureKind, Outcome};

pub(super) struct FileProbe {
    path: Arc<Path>,
    expect: FilePresence,
    /// Given back once a look has ended: on a file system that hangs, there is one thread that waits.
    looks: Arc<Semaphore>,
}

impl FileProbe {
    pub(super) fn new(check: &FileCheck) -> Self {
        Self {
            path: check.path.as_path().into(),
            expect: check.expect,
            looks: Arc::new(Semaphore::new(1)),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        let path = self.path.display();
        let Ok(look) = Arc::clone(&self.looks).try_acquire_owned() else {
            return Outcome::fail(
                FailureKind::Timeout,
                format!("{path}: the file system has not answered the last look"),
            );
        };
        let target = Arc::clone(&self.path);
        let seen = tokio::task::spawn_blocking(move || {
            let seen = std::fs::symlink_metadata(&target);
            drop(look);
            seen
        });
        let present = match seen.await.unwrap_or_else(|ended| Err(ended.into())) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Outcome::fail(FailureKind::Resource, format!("{path}: {error}")),
        };
        match (self.expect, present) {
            (FilePresence::Absent, false) => Outcome::pass("the file is absent"),
            (FilePresence::Present, true) => Outcome::pass("the file is present"),
            (FilePresence::Absent, true) => {
                Outcome::fail(FailureKind::Mismatch, format!("{path} is there"))
            }
            (FilePresence::Present, false) => {
                Outcome::fail(FailureKind::Mismatch, format!("{path} is not there"))
            }
        }
    }
}
