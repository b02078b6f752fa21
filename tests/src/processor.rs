//! Staying on one processor: what is counted on each, and measurements.

use anyhow::Context as _;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Keeps the calling thread on the first processor that it may run on, which need not be number 0.
///
/// # Errors
/// When the kernel refuses.
pub fn stay_on_one() -> anyhow::Result<()> {
    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread).context("asking where this thread may run")?;
    let first = (0..CpuSet::count())
        .find(|processor| allowed.is_set(*processor).unwrap_or(false))
        .context("this thread may run nowhere")?;
    let mut one = CpuSet::new();
    one.set(first)?;
    sched_setaffinity(this_thread, &one).with_context(|| format!("staying on processor {first}"))
}
