//! This process, as the kernel counts it.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike as _;

/// Memory, descriptors and processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_descriptors: Option<u64>,
    pub(super) most_descriptors: Option<u64>,
    pub(super) cpu: Option<Duration>,
}

impl Process {
    /// What cannot be read is left out.
    pub(super) fn read() -> Self {
        Self {
            resident_bytes: resident_bytes(),
            open_descriptors: fs::read_dir("/proc/self/fd")
                .ok()
                // Less the one that reads the directory.
                .map(|entries| (entries.count() as u64).saturating_sub(1)),
            most_descriptors: getrlimit(Resource::RLIMIT_NOFILE)
                .ok()
                .map(|(soft, _)| soft),
            cpu: getrusage(UsageWho::RUSAGE_SELF).ok().map(|usage| {
                let microseconds =
                    usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
                Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
            }),
        }
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}
