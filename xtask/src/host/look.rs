//! What this host is like. It changes nothing that outlives it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;

use super::Facts;
use crate::command::{daemon, output_of, target};
use crate::packages;

pub(super) fn facts(packages: Vec<&'static str>) -> Facts {
    Facts {
        architecture: std::env::consts::ARCH.to_owned(),
        kernel: output_of("uname", &["-r"]).unwrap_or_default(),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        bpffs: lists("/proc/filesystems", "bpf"),
        cgroup2: lists("/proc/mounts", "cgroup2"),
        namespaces: namespaces(),
        capabilities: capabilities(),
        c_linker: packages::is_on_path("cc"),
        free: free(),
        built: daemon().exists(),
        packages,
    }
}

/// Whether a line of the file has the word.
fn lists(file: &str, word: &str) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().any(|found| found == word)
}

/// Whether a network namespace can be made; without root only whether the kernel knows them and allows any.
fn namespaces() -> bool {
    let allowed = fs::read_to_string("/proc/sys/user/max_net_namespaces")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    if allowed == Some(0) || !Path::new("/proc/self/ns/net").exists() {
        return false;
    }
    // A thread of its own takes the namespace with it when it ends.
    let made = || unshare(CloneFlags::CLONE_NEWNET).is_ok();
    !geteuid().is_root() || thread::spawn(made).join().unwrap_or(false)
}

/// What root has here: what this process has if it is root, else what nothing that it starts can exceed.
fn capabilities() -> u64 {
    let field = if geteuid().is_root() {
        "CapEff:"
    } else {
        "CapBnd:"
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(field));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

/// GB that this user may still write below `target/`; what cannot be told is no hindrance.
fn free() -> u64 {
    let target = target();
    let there = target
        .ancestors()
        .find(|path| path.exists())
        .map(PathBuf::from);
    there
        .and_then(|path| statvfs(&path).ok())
        .map_or(u64::MAX, |disk| {
            disk.blocks_available() * disk.fragment_size() / 1_000_000_000
        })
}
