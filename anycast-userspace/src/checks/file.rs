//! The `file` check.

use std::io;
use std::path::PathBuf;

use crate::config::check::{FileCheck, FilePresence};
use crate::health::{FailureKind, Outcome};

pub(super) struct FileProbe {
    path: PathBuf,
    expect: FilePresence,
}

impl FileProbe {
    pub(super) fn new(check: &FileCheck) -> Self {
        Self {
            path: check.path.clone(),
            expect: check.expect,
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        let path = self.path.display();
        let present = match tokio::fs::symlink_metadata(&self.path).await {
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
