//! Debian and Ubuntu packages: which are missing, and installing them without starting daemons.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anycast_tests::interrupt;
use anyhow::{Context as _, bail};

use crate::command::{output_of, run, say};
use crate::privilege;

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
    ("faketime", "faketime"),
    ("gobgp", "gobgpd"),
    ("promtool", "prometheus"),
    ("setpriv", "util-linux"),
    ("sysctl", "procps"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("vtysh", "frr"),
    ("xdp-loader", "xdp-tools"),
];

/// The packages of those programs that are missing.
pub(crate) fn missing(tools: &[(&'static str, &'static str)]) -> Vec<&'static str> {
    tools
        .iter()
        .filter(|(program, _)| !is_on_path(program))
        .map(|(_, package)| *package)
        .collect()
}

/// Installs the packages of those programs that are missing.
pub(crate) fn ensure_tools(tools: &[(&'static str, &'static str)]) -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        remove_leftover(Path::new(POLICY));
    }
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// Whether packages can be installed here.
pub(crate) fn can_install() -> bool {
    is_on_path("apt-get") && privilege::is_possible()
}

/// The version of a package that apt would install, if it knows one.
pub(crate) fn candidate(package: &str) -> Option<String> {
    refresh_once();
    let policy = output_of("apt-cache", &["policy", package])?;
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// Installs packages, through sudo where the user is not root. Daemons among them are not started.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    if !is_on_path("apt-get") {
        bail!(
            "missing: {}; there is no apt-get here, so install them by hand",
            packages.join(", ")
        );
    }
    say(&format!("installing {}", packages.join(", ")));
    if nix::unistd::geteuid().is_root() {
        return install_as_root(packages);
    }
    let mut args = vec!["as-root", "install"];
    args.extend(packages);
    run(&mut privilege::itself(&args)?)
}

/// The same where this process is root already. Ctrl-C ends it once apt is done.
pub(crate) fn install_as_root(packages: &[impl AsRef<OsStr>]) -> anyhow::Result<()> {
    refresh_once();
    remove_leftover(Path::new(POLICY));
    let deferred = interrupt::defer()?;
    let installed = without_daemons(packages);
    drop(deferred);
    installed?;
    interrupt::check()
}

fn without_daemons(packages: &[impl AsRef<OsStr>]) -> anyhow::Result<()> {
    let _no_daemon_starts = PolicyRcD::deny(Path::new(POLICY))?;
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

/// Fetches the package lists, once per run, where that can be done.
pub(crate) fn refresh_once() {
    static REFRESHED: std::sync::Once = std::sync::Once::new();
    REFRESHED.call_once(|| {
        if can_install()
            && let Ok(mut update) = privilege::command(&[], "apt-get", &["update", "-qq"])
        {
            // Old lists may do; if they do not, the install says so.
            let _lists = run(&mut update);
        }
    });
}

/// While it lives, packages that bring a daemon are installed without starting it
/// (Debian policy-rc.d: exit status 101 forbids the action).
struct PolicyRcD {
    path: PathBuf,
    /// Held as long as the owner lives, however it ends. None if the script is another's.
    lock: Option<File>,
}

/// Where the script of a whole host is.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// The line by which a script of ours is known again, if nothing could remove it.
const MARK: &str = "# cargo xtask of anycast: no daemon is started while packages are installed";

impl PolicyRcD {
    fn deny(path: &Path) -> anyhow::Result<Self> {
        let path = path.to_owned();
        if path.exists() && !is_leftover(&path) {
            return Ok(Self { path, lock: None });
        }
        fs::write(&path, format!("#!/bin/sh\n{MARK}\nexit 101\n"))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .and_then(|()| locked(&path))
            .map(|lock| Self {
                path: path.clone(),
                lock: Some(lock),
            })
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for PolicyRcD {
    fn drop(&mut self) {
        if self.lock.is_some() {
            remove(&self.path);
        }
    }
}

/// Open for reading alone: what is open for writing cannot be run.
fn locked(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    file.try_lock()?;
    Ok(file)
}

/// Whether the script is one of ours, whose owner was killed.
fn is_leftover(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|script| script.lines().any(|line| line == MARK))
        && locked(path).is_ok()
}

/// With it, no package on this host could start a daemon any more.
fn remove_leftover(path: &Path) {
    if is_leftover(path) {
        say(&format!("removing {}, left behind", path.display()));
        remove(path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        say(&format!("remove {} by hand: {error}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script's path in a directory of its own, which goes with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str, script: Option<&str>) -> Self {
            let name = format!("xtask-policy-{}-{name}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            fs::create_dir_all(&directory).expect("a directory");
            let path = directory.join("policy-rc.d");
            if let Some(script) = script {
                fs::write(&path, script).expect("written");
            }
            Self(path)
        }

        fn script(&self) -> Option<String> {
            fs::read_to_string(&self.0).ok()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _removed = self.0.parent().map(fs::remove_dir_all);
        }
    }

    #[test]
    fn a_script_left_behind_is_known_again_and_those_of_others_are_let_be() {
        let ours = format!("#!/bin/sh\n{MARK}\nexit 101\n");
        let cases = [
            ("none", None, true),
            ("ours", Some(ours.as_str()), true),
            ("plain", Some("#!/bin/sh\nexit 101\n"), false),
            ("empty", Some(""), false),
        ];
        for (name, before, taken) in cases {
            let place = Place::new(name, before);
            let denied = PolicyRcD::deny(&place.0).expect(name);
            let script = place.script().expect("a script");
            assert!(!is_leftover(&place.0), "{name}: its owner lives");
            assert_eq!(
                script,
                if taken {
                    &ours
                } else {
                    before.expect("a script")
                },
                "{name}"
            );
            drop(denied);
            let theirs = before.filter(|_| !taken).map(str::to_owned);
            assert_eq!(place.script(), theirs, "{name}");

            let place = Place::new(name, before);
            remove_leftover(&place.0);
            assert_eq!(place.script(), theirs, "{name}");
        }
    }
}
