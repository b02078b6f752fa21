//! The kernel's monotonic time as an [`Instant`].

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// The instant of `nanoseconds` of `CLOCK_MONOTONIC`, which is what `bpf_ktime_get_ns` reads. A time in
/// the future, or one that cannot be told, is now.
pub(super) fn instant(nanoseconds: u64) -> Instant {
    let now = Instant::now();
    let Ok(read) = clock_gettime(ClockId::CLOCK_MONOTONIC) else {
        return now;
    };
    let ago = Duration::from(read).saturating_sub(Duration::from_nanos(nanoseconds));
    now.checked_sub(ago).unwrap_or(now)
}
