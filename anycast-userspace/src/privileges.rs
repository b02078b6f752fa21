//! Whether this process may do what the daemon does. Looks only; acquires nothing.

use std::fs;

/// The capabilities that the daemon needs, with their bits (capability.h).
const NEEDED: [(&str, u32); 3] = [("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];

/// Stands for CAP_PERFMON and CAP_BPF as well.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_NET_ADMIN: u32 = 12;

/// Some capability is missing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "missing {}: run as root, or grant CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON (systemd: AmbientCapabilities=)",
    .0.join(", ")
)]
pub struct MissingPrivileges(Vec<&'static str>);

/// Checks the effective capabilities of this process.
pub fn check() -> Result<(), MissingPrivileges> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    check_effective(effective(&status).unwrap_or_default())
}

fn effective(status: &str) -> Option<u64> {
    let hex = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

fn check_effective(effective: u64) -> Result<(), MissingPrivileges> {
    let has = |bit: u32| effective >> bit & 1 == 1;
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|&(_, bit)| !has(bit) && (bit == CAP_NET_ADMIN || !has(CAP_SYS_ADMIN)))
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(MissingPrivileges(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_is_read_from_the_status_file() {
        assert_eq!(
            effective("Name:\tx\nCapEff:\t000001ffffffffff\n"),
            Some(0x1ff_ffff_ffff)
        );
        assert_eq!(effective("Name:\tx\n"), None);
    }

    #[test]
    fn each_missing_capability_is_named_and_sys_admin_stands_for_two() {
        let bit = |bits: &[u32]| bits.iter().fold(0u64, |set, bit| set | 1 << bit);
        let cases: [(u64, &[&str]); 4] = [
            (0, &["CAP_NET_ADMIN", "CAP_PERFMON", "CAP_BPF"]),
            (bit(&[12, 38, 39]), &[]),
            (bit(&[12, 21]), &[]),
            (bit(&[21]), &["CAP_NET_ADMIN"]),
        ];
        for (set, missing) in cases {
            let found = check_effective(set)
                .err()
                .map_or(Vec::new(), |error| error.0);
            assert_eq!(found, missing, "{set:x}");
        }
    }
}
