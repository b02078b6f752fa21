//! Debian and Ubuntu packages: which are missing, and installing them without starting daemons.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command::{output_of, run, say};

/// Programs that the tests and the lab use, and the package of each.
pub(crate) const TOOLS: &[(&str, &str)] = &[
    ("bird", "bird2"),
    ("bpftool", "bpftool"),
    ("curl", "curl"),
    ("dig", "bind9-dnsutils"),
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("nginx", "nginx-light"),
    ("nsd", "nsd"),
    ("nsenter", "util-linux"),
    ("ping", "iputils-ping"),
];

/// Programs that only the tests use.
pub(crate) const TEST_TOOLS: &[(&str, &str)] = &[
    ("exabgp", "exabgp"),
    ("gobgp", "gobgpd"),
    ("setpriv", "util-linux"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("vtysh", "frr"),
];

/// Installs the packages of those programs that are missing.
pub(crate) fn ensure_tools(tools: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<&str> = tools
        .iter()
        .filter(|(program, _)| !is_on_path(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// Whether apt knows a version of the package that it could install.
pub(crate) fn is_available(package: &str) -> bool {
    refresh_once();
    output_of("apt-cache", &["policy", package]).is_some_and(|policy| {
        policy.contains("Candidate:") && !policy.contains("Candidate: (none)")
    })
}

/// Installs packages. Daemons among them are not started.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    if !is_on_path("apt-get") {
        bail!(
            "missing: {}; there is no apt-get here, so install them by hand",
            packages.join(", ")
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "missing: {}; run `sudo apt-get install {}`, or this command as root",
            packages.join(", "),
            packages.join(" ")
        );
    }
    say(&format!("installing {}", packages.join(", ")));
    refresh_once();
    let _no_daemon_starts = PolicyRcD::deny()?;
    run(Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Whether a program is found on PATH or where Debian keeps system programs.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(program).is_file())
}

/// Fetches the package lists, once per run and as root only.
pub(crate) fn refresh_once() {
    static REFRESHED: std::sync::Once = std::sync::Once::new();
    REFRESHED.call_once(|| {
        if nix::unistd::geteuid().is_root() && is_on_path("apt-get") {
            // Old lists may do; if they do not, the install says so.
            let _lists = run(Command::new("apt-get").args(["update", "-qq"]));
        }
    });
}

/// While it lives, packages that bring a daemon are installed without starting it
/// (Debian policy-rc.d: exit status 101 forbids the action).
struct PolicyRcD {
    ours: bool,
}

impl PolicyRcD {
    const PATH: &'static str = "/usr/sbin/policy-rc.d";

    fn deny() -> anyhow::Result<Self> {
        if Path::new(Self::PATH).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(Self::PATH, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(Self::PATH, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", Self::PATH))?;
        Ok(Self { ours: true })
    }
}

impl Drop for PolicyRcD {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(Self::PATH)
        {
            say(&format!("remove {} by hand: {error}", Self::PATH));
        }
    }
}
