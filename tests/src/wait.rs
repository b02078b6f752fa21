//! Waiting for what announces itself by no event: a socket file, a daemon's first answer.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::interrupt;

const POLL: Duration = Duration::from_millis(10);

/// Asks `probe` again and again until it finds something.
///
/// # Errors
/// When `timeout` has passed (`what` names what was waited for), `probe` fails, or the run is interrupted.
pub fn until<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        interrupt::check()?;
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {timeout:?} in vain for {what}");
        }
        thread::sleep(POLL);
    }
}

/// As [`until`], for a probe that cannot fail.
///
/// # Errors
/// When `timeout` has passed (`what` names what was waited for), or the run is interrupted.
pub fn until_found<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    until(what, timeout, || Ok(probe()))
}
