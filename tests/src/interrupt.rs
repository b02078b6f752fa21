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
    let signals = signals();
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

/// As [`install`], until the returned guard is dropped: then the signals end the process again.
///
/// # Errors
/// As [`install`].
pub fn defer() -> anyhow::Result<Deferred> {
    install()?;
    Ok(Deferred(()))
}

/// While it lives, signals are the flag.
#[derive(Debug)]
pub struct Deferred(());

impl Drop for Deferred {
    fn drop(&mut self) {
        if let Err(error) = signals().thread_unblock() {
            eprintln!("unblocking SIGINT, SIGTERM and SIGHUP: {error}");
        }
    }
}

fn signals() -> SigSet {
    SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])
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
