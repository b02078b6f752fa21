//! One run at a time. A run holds the slot until its command is gone, and not only until its result is known: a
//! command that the kernel cannot start or cannot kill does not get company.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where the runs of one check or one hook take place.
#[derive(Debug, Clone)]
pub struct Slot(Arc<Semaphore>);

impl Default for Slot {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// The slot is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// None while the last run has not ended.
    pub(super) fn take(&self) -> Option<Taken> {
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Taken { _permit: permit })
    }
}
