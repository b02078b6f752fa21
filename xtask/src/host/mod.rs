//! Whether this host can do what is asked, looked at before anything is built: all that is missing is told at once,
//! each with what mends it. `missing` judges what `look` saw, and looks at nothing itself.

mod look;

use std::fmt;

use anyhow::bail;

use crate::command::say;
use crate::{packages, privilege};

/// What is going to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To build, and nothing else.
    Build,
    /// To load the programs into this host's kernel: the daemon.
    Daemon,
    /// To make network namespaces as well: the lab, the privileged tests, measuring.
    Namespaces,
}

/// The oldest kernel that the programs are tried on.
const KERNEL: (u32, u32) = (6, 1);
/// What a first build and its tests take below `target/`, in GB.
const FIRST_BUILD: u64 = 6;
/// What a build takes where one is already.
const NEXT_BUILD: u64 = 1;

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Privileges that root has on a host, and not in most containers, by their numbers (capability.h).
const CAPABILITIES: [(u32, &str); 4] = [
    (12, "CAP_NET_ADMIN"),
    (21, "CAP_SYS_ADMIN"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];

/// What this host is like.
#[derive(Clone, Debug)]
struct Facts {
    architecture: String,
    /// As `uname -r` says it.
    kernel: String,
    btf: bool,
    /// The kernel has the bpf file system.
    bpffs: bool,
    /// A hierarchy of cgroup v2 is mounted.
    cgroup2: bool,
    /// Network namespaces can be made, as far as is to be seen without root.
    namespaces: bool,
    /// The capabilities that root has here, as a bit mask.
    capabilities: u64,
    c_linker: bool,
    /// GB that are free below `target/`, rounded.
    free: u64,
    /// The daemon has been built before.
    built: bool,
    /// Packages that are missing and that nothing here can install.
    packages: Vec<&'static str>,
}

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Missing {
    what: String,
    mend: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, mend } = self;
        write!(f, "{what}\n      {mend}")
    }
}

/// Looks at the host, says what root is needed for, and asks for sudo's password.
///
/// # Errors
/// All that is missing.
pub(crate) fn check(
    purpose: Purpose,
    tools: &[&[(&'static str, &'static str)]],
) -> anyhow::Result<()> {
    let absent: Vec<&str> = tools.iter().copied().flat_map(packages::missing).collect();
    let uninstallable = if packages::can_install() {
        Vec::new()
    } else {
        absent.clone()
    };
    let missing = missing(purpose, &look::facts(uninstallable));
    if !missing.is_empty() {
        let list: Vec<String> = missing
            .iter()
            .map(|missing| format!("  - {missing}"))
            .collect();
        bail!("this host lacks:\n{}", list.join("\n"));
    }
    say("this host has what is needed");
    let uses = uses(purpose, &absent);
    if uses.is_empty() {
        return Ok(());
    }
    privilege::announce(&uses.join(" and "))
}

fn uses(purpose: Purpose, packages: &[&str]) -> Vec<String> {
    let mut uses = Vec::new();
    if !packages.is_empty() {
        uses.push(format!("installing {}", packages.join(", ")));
    }
    match purpose {
        Purpose::Build => {}
        Purpose::Daemon => uses.push("the daemon".to_owned()),
        Purpose::Namespaces => uses.push("network namespaces and XDP programs".to_owned()),
    }
    uses
}

fn missing(purpose: Purpose, facts: &Facts) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut lack = |what: String, mend: &str| {
        missing.push(Missing {
            what,
            mend: mend.to_owned(),
        });
    };
    if facts.architecture != "x86_64" {
        lack(
            format!(
                "a processor that this is written for: here is {}",
                facts.architecture
            ),
            "use a machine with x86-64",
        );
    }
    if !facts.c_linker {
        lack(
            "a C compiler and linker (`cc`)".to_owned(),
            "apt-get install gcc libc6-dev",
        );
    }
    let needed = if facts.built { NEXT_BUILD } else { FIRST_BUILD };
    if facts.free < needed {
        lack(
            format!("{needed} GB of disk for `target/`: {} are free", facts.free),
            "make room, or set CARGO_TARGET_DIR to a directory elsewhere",
        );
    }
    if !facts.packages.is_empty() {
        let mut words = vec!["apt-get", "install", "-y", "--no-install-recommends"];
        words.extend(&facts.packages);
        lack(
            format!("packages: {}", facts.packages.join(", ")),
            &format!("run as root: {}", privilege::line(&words)),
        );
    }
    let loads = match purpose {
        Purpose::Build => false,
        Purpose::Daemon | Purpose::Namespaces => true,
    };
    if loads {
        lacks_of_the_kernel(facts, &mut lack);
    }
    // Without the privilege none can be made, and that is told already.
    let may_make = facts.capabilities & CAP_SYS_ADMIN != 0;
    if purpose == Purpose::Namespaces && !facts.namespaces && may_make {
        lack(
            "network namespaces".to_owned(),
            "a kernel with CONFIG_NET_NS, and more than 0 in /proc/sys/user/max_net_namespaces",
        );
    }
    missing
}

fn lacks_of_the_kernel(facts: &Facts, lack: &mut impl FnMut(String, &str)) {
    if release(&facts.kernel).is_none_or(|release| release < KERNEL) {
        lack(
            format!(
                "Linux {}.{} or newer: here is {}",
                KERNEL.0, KERNEL.1, facts.kernel
            ),
            "boot a newer kernel (on Ubuntu 22.04 the package linux-generic-hwe-22.04)",
        );
    }
    if !facts.btf {
        lack(
            "the kernel's types (/sys/kernel/btf/vmlinux)".to_owned(),
            "a kernel with CONFIG_DEBUG_INFO_BTF, as distributions build it, and sysfs mounted on /sys",
        );
    }
    if !facts.bpffs {
        lack(
            "the bpf file system".to_owned(),
            "a kernel with CONFIG_BPF_SYSCALL",
        );
    }
    if !facts.cgroup2 {
        lack(
            "cgroup v2".to_owned(),
            "mount it: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
        );
    }
    let absent: Vec<&str> = CAPABILITIES
        .iter()
        .filter(|(number, _)| facts.capabilities & (1 << number) == 0)
        .map(|(_, name)| *name)
        .collect();
    if !absent.is_empty() {
        lack(
            format!(
                "privileges that even root has not here: {}",
                absent.join(", ")
            ),
            "leave the container, or start it with them (`--privileged`)",
        );
    }
}

/// The first two numbers of a kernel's release.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            architecture: "x86_64".to_owned(),
            kernel: "6.1.0-56-amd64".to_owned(),
            btf: true,
            bpffs: true,
            cgroup2: true,
            namespaces: true,
            capabilities: 0x1ff_ffff_ffff,
            c_linker: true,
            free: 100,
            built: false,
            packages: Vec::new(),
        }
    }

    #[test]
    fn each_thing_that_a_host_lacks_is_told_for_what_it_is_needed_for() {
        use Purpose::{Build, Daemon, Namespaces};
        type Change = fn(&mut Facts);
        let all = &[Build, Daemon, Namespaces][..];
        let loading = &[Daemon, Namespaces][..];
        let cases: [(&str, Change, &[Purpose], &str); 16] = [
            ("nothing", |_| {}, &[], ""),
            (
                "another processor",
                |f| f.architecture = "aarch64".into(),
                all,
                "here is aarch64",
            ),
            (
                "an old kernel",
                |f| f.kernel = "5.15.0-91-generic".into(),
                loading,
                "here is 5.15.0",
            ),
            (
                "an older kernel",
                |f| f.kernel = "6.0.9".into(),
                loading,
                "Linux 6.1 or newer",
            ),
            (
                "a new kernel",
                |f| f.kernel = "7.2.13+deb14-amd64".into(),
                &[],
                "",
            ),
            (
                "no BTF",
                |f| f.btf = false,
                loading,
                "/sys/kernel/btf/vmlinux",
            ),
            ("no bpffs", |f| f.bpffs = false, loading, "bpf file system"),
            ("no cgroup v2", |f| f.cgroup2 = false, loading, "cgroup v2"),
            (
                "no namespaces",
                |f| f.namespaces = false,
                &[Namespaces],
                "max_net_namespaces",
            ),
            (
                "no privileges",
                |f| f.capabilities = 0xa804_25fb,
                loading,
                "CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF",
            ),
            (
                "some privileges",
                |f| f.capabilities &= !(1 << 39),
                loading,
                "root has not here: CAP_BPF\n",
            ),
            (
                "no C linker",
                |f| f.c_linker = false,
                all,
                "apt-get install gcc",
            ),
            (
                "a full disk",
                |f| f.free = 5,
                all,
                "6 GB of disk for `target/`: 5 are free",
            ),
            (
                "a full disk, built before",
                |f| (f.free, f.built) = (5, true),
                &[],
                "",
            ),
            (
                "a fuller disk, built before",
                |f| (f.free, f.built) = (0, true),
                all,
                "1 GB",
            ),
            (
                "packages that nobody can install",
                |f| f.packages = vec!["bird2", "nsd"],
                all,
                "su -c 'apt-get install -y --no-install-recommends bird2 nsd'",
            ),
        ];
        for (name, change, purposes, want) in cases {
            let mut facts = good();
            change(&mut facts);
            for purpose in [Build, Daemon, Namespaces] {
                let told: Vec<String> = missing(purpose, &facts)
                    .iter()
                    .map(|missing| format!("{missing}\n"))
                    .collect();
                if purposes.contains(&purpose) {
                    assert!(
                        told.len() == 1 && told[0].contains(want),
                        "{name}, {purpose:?}: {told:?}"
                    );
                } else {
                    assert!(told.is_empty(), "{name}, {purpose:?}: {told:?}");
                }
            }
        }
    }

    #[test]
    fn all_that_is_missing_is_told_at_once() {
        let facts = Facts {
            architecture: "riscv64".to_owned(),
            kernel: "4.19.0".to_owned(),
            btf: false,
            bpffs: false,
            cgroup2: false,
            namespaces: false,
            capabilities: 0,
            c_linker: false,
            free: 0,
            built: false,
            packages: vec!["nsd"],
        };
        assert_eq!(missing(Purpose::Namespaces, &facts).len(), 9);
    }
}
