//! Ctrl-C and its kin, as a flag that every wait looks at, so that cleaning up is always `Drop`'s work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, bail};
use nix::sys::signal::{SigSet, Signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Turns SIGINT, SIGTERM and SIGHUP into the flag. Call it from `main`, before any thread is started:
/// threads inherit the blocked signals.
///
/// # Errors
/// When the signals cannot be blocked, or no thread can be started.
pub fn install() -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals
        .thread_block()
        .context("blocking SIGINT, SIGTERM and SIGHUP")?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            while signals.wait().is_ok() {
                INTERRUPTED.store(true, Ordering::SeqCst);
            }
        })
        .context("starting the thread that waits for signals")?;
    Ok(())
}

/// Whether a signal has asked for the end.
#[must_use]
pub fn requested() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Asks for the end as a signal would.
pub fn request() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// # Errors
/// When a signal has asked for the end.
pub fn check() -> anyhow::Result<()> {
    if requested() {
        bail!("interrupted");
    }
    Ok(())
}
