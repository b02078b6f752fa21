//! A growing log of events with readers that wait: route changes, controller events.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::interrupt;

/// How often a waiting reader looks whether the run was interrupted.
const INTERRUPT_POLL: Duration = Duration::from_millis(100);

/// A place in a feed: what came before it is not looked at.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

impl Mark {
    /// The beginning.
    pub const START: Self = Self(0);
}

/// An append-only log, shared between one writer thread and its readers.
#[derive(Debug)]
pub struct Feed<T> {
    shared: Arc<(Mutex<Vec<T>>, Condvar)>,
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Default for Feed<T> {
    fn default() -> Self {
        Self {
            shared: Arc::default(),
        }
    }
}

impl<T: Clone> Feed<T> {
    /// Appends and wakes every reader.
    pub fn push(&self, item: T) {
        self.items().push(item);
        self.shared.1.notify_all();
    }

    /// The present end of the feed.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.items().len())
    }

    /// Everything after `mark`.
    #[must_use]
    pub fn after(&self, mark: Mark) -> Vec<T> {
        self.items().get(mark.0..).unwrap_or_default().to_vec()
    }

    /// The last `count` items, oldest first.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<T> {
        let items = self.items();
        items[items.len().saturating_sub(count)..].to_vec()
    }

    /// Waits for the first item after `mark` for which `wanted` holds.
    ///
    /// # Errors
    /// When `timeout` has passed (`what` names what was waited for), or the run is interrupted.
    pub fn wait(
        &self,
        mark: Mark,
        what: &str,
        timeout: Duration,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + timeout;
        let mut next = mark.0;
        let mut items = self.items();
        loop {
            if let Some(found) = items[next.min(items.len())..]
                .iter()
                .find(|item| wanted(item))
            {
                return Ok(found.clone());
            }
            next = items.len();
            interrupt::check()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("waited {timeout:?} in vain for {what}");
            }
            items = self
                .shared
                .1
                .wait_timeout(items, left.min(INTERRUPT_POLL))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn items(&self) -> MutexGuard<'_, Vec<T>> {
        // A reader that panicked has not broken the log: it is only ever appended to.
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
