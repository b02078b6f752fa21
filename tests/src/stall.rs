//! A machine that stands still: a virtual one whose host is busy, or one with more to do than processors. What must
//! happen every few milliseconds does not happen then, and the code under test is not to blame.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// How often the watching thread wants to run.
const TICK: Duration = Duration::from_millis(5);
/// How often a test is tried at most.
const ATTEMPTS: usize = 5;

/// Runs a test, and once more whenever it fails while the machine stood still for `time` or longer. A failure on a
/// machine that goes on is one.
///
/// # Errors
/// Those of the test.
pub fn again_after(time: Duration, mut test: impl FnMut() -> Result<()>) -> Result<()> {
    for _ in 1..ATTEMPTS {
        let watch = Watch::start()?;
        let result = test();
        let longest = watch.longest();
        match result {
            Err(error) if longest >= time => {
                println!("again: the machine stood still for {longest:?}: {error:#}");
            }
            Ok(()) | Err(_) => return result,
        }
    }
    test()
}

/// A thread that wants to run every [`TICK`].
struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Watch {
    fn start() -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let watching = move || {
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let before = Instant::now();
                thread::sleep(TICK);
                longest = longest.max(before.elapsed().saturating_sub(TICK));
            }
            longest
        };
        let thread = thread::Builder::new()
            .name("stall".into())
            .spawn(watching)
            .context("starting the thread that watches for stalls")?;
        Ok(Self { over, thread })
    }

    /// For how long it was kept waiting at most.
    fn longest(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_failure_counts_unless_the_machine_stood_still() {
        for (stood_still, want) in [(Duration::MAX, 1), (Duration::ZERO, ATTEMPTS)] {
            let mut attempts = 0;
            let result = again_after(stood_still, || {
                attempts += 1;
                bail!("it fails")
            });
            assert!(result.is_err());
            assert_eq!(attempts, want, "{stood_still:?}");
        }
    }
}
