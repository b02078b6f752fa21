//! `cargo xtask verify --fresh SUITE`: README's two commands as a newcomer types them, in a bare root of a release of
//! Debian with nothing but a C compiler, git, sudo, rustup and an ordinary user.
//!
//! The root is a directory with the host's kernel, entered by chroot in a mount namespace of its own, so that nothing
//! is ever mounted where the host sees it. What this host is set to for the network (name servers, certificates) and
//! its Rust toolchain are copied into it: how those come to a machine is not tried here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::command::{output_of, root, run, say, target};
use crate::{packages, privilege};

/// A release of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Suite {
    /// Debian 12
    Bookworm,
    /// Debian 13
    Trixie,
}

impl Suite {
    const fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// What runs as root.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    suite: Suite,
    /// The commit to try, as a bundle of git
    #[arg(long)]
    bundle: PathBuf,
    /// The program `rustup`
    #[arg(long)]
    rustup: PathBuf,
    /// The directory of a toolchain of rustup's
    #[arg(long)]
    toolchain: PathBuf,
}

/// What README asks for besides rustup, and sudo for its ordinary user.
const INCLUDED: &str = "ca-certificates,gcc,git,libc6-dev,passwd,sudo";
const USER: &str = "newcomer";
const COMMANDS: [&str; 2] = ["cargo xtask build-and-run --once", "cargo xtask test"];
/// The packages whose versions the tests may depend on.
const PEERS: [&str; 14] = [
    "bind9-dnsutils",
    "bird2",
    "bpftool",
    "curl",
    "exabgp",
    "frr",
    "gobgpd",
    "iproute2",
    "nginx-light",
    "nsd",
    "prometheus",
    "rustc-web",
    "tshark",
    "xdp-tools",
];

/// Runs a command in the root `$0` as its user, with the host's processes, devices and file systems of the kernel. The
/// root is a mount: programs there that change how mounts spread would fail otherwise. Its pins are its own, so that
/// it does not meet those of the host's.
const ENTER: &str = r#"
mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && mount --rbind /dev "$0/dev" &&
    mount -t bpf bpf "$0/sys/fs/bpf" || exit 1
exec chroot "$0" su - "$1" -c "$2"
"#;

/// Takes the commit and the toolchain of this user, and does the rest as root.
pub(crate) fn run_suite(suite: Suite) -> anyhow::Result<()> {
    say(
        "a bare root is made and used as a newcomer would: this takes about an hour, and 10 GB in /var/tmp",
    );
    privilege::announce("making the root and entering it")?;
    packages::ensure_tools(&[("debootstrap", "debootstrap"), ("unshare", "util-linux")])?;
    if !output_of("git", &["status", "--porcelain"]).is_some_and(|changes| changes.is_empty()) {
        say("what is not committed is not tried");
    }
    let bundle = target().join("fresh.bundle");
    run(Command::new("git")
        .args(["bundle", "create", "--quiet"])
        .arg(&bundle)
        .arg("HEAD")
        .current_dir(root()))?;
    let rustup = output_of("sh", &["-c", "command -v rustup"]).context("there is no rustup")?;
    let toolchain = output_of("rustc", &["--print", "sysroot"]).context("there is no rustc")?;
    let bundle = bundle.to_string_lossy();
    let args = [
        "as-root",
        "fresh",
        suite.name(),
        "--bundle",
        &bundle,
        "--rustup",
        &rustup,
        "--toolchain",
        &toolchain,
    ];
    run(&mut privilege::itself(&args)?)
}

/// The same as root. The root goes when all went well, and stays to be looked at otherwise.
pub(crate) fn run_as_root(args: &Args) -> anyhow::Result<()> {
    let place =
        Root(PathBuf::from("/var/tmp").join(format!("anycast-fresh-{}", args.suite.name())));
    place.remove()?;
    let started = Instant::now();
    place.make(args)?;
    let mut steps = vec![("the bare root".to_owned(), started.elapsed())];
    for command in COMMANDS {
        let started = Instant::now();
        place
            .as_newcomer(&format!("cd anycast && {command}"))
            .with_context(|| format!("in {}", place.0.display()))?;
        steps.push((format!("`{command}`"), started.elapsed()));
    }
    place.nothing_is_root_s()?;
    println!("{}", report(args.suite, &steps, &place.versions()));
    place.remove()
}

fn report(suite: Suite, steps: &[(String, Duration)], versions: &str) -> String {
    let steps: Vec<String> = steps
        .iter()
        .map(|(what, took)| format!("{what}: {:.1} minutes", took.as_secs_f64() / 60.0))
        .collect();
    format!("{}: {}\n{versions}", suite.name(), steps.join(", "))
}

/// The directory of a bare root.
struct Root(PathBuf);

impl Root {
    fn make(&self, args: &Args) -> anyhow::Result<()> {
        let suite = args.suite.name();
        run(Command::new("debootstrap")
            .args(["--variant=minbase", "--include", INCLUDED, suite])
            .arg(&self.0))?;
        let mut sources = String::new();
        for (archive, release) in [
            ("debian", suite.to_owned()),
            ("debian", format!("{suite}-updates")),
            ("debian-security", format!("{suite}-security")),
        ] {
            sources += &format!("deb http://deb.debian.org/{archive} {release} main\n");
        }
        self.write("etc/apt/sources.list", &sources)?;
        for file in [
            "etc/resolv.conf",
            "etc/hosts",
            "etc/ssl/certs/ca-certificates.crt",
        ] {
            let content = fs::read(Path::new("/").join(file))
                .with_context(|| format!("cannot read /{file}"))?;
            self.write(file, content)?;
        }
        self.make_newcomer(args)
    }

    fn make_newcomer(&self, args: &Args) -> anyhow::Result<()> {
        self.chroot(&["useradd", "--create-home", "--shell", "/bin/bash", USER])?;
        self.write(
            &format!("etc/sudoers.d/{USER}"),
            format!("{USER} ALL=(ALL) NOPASSWD: ALL\n"),
        )?;
        let home = format!("home/{USER}");
        let (bin, toolchains) = (
            format!("{home}/.cargo/bin"),
            format!("{home}/.rustup/toolchains"),
        );
        for directory in [&bin, &toolchains] {
            let directory = self.0.join(directory);
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let copy = |from: &Path, to: &str| {
            run(Command::new("cp")
                .args(["-a", "--dereference"])
                .arg(from)
                .arg(self.0.join(to)))
        };
        copy(&args.rustup, &format!("{bin}/rustup"))?;
        for proxy in ["cargo", "rustc", "rustdoc"] {
            copy(&args.rustup, &format!("{bin}/{proxy}"))?;
        }
        let name = args
            .toolchain
            .file_name()
            .context("a toolchain has a name")?;
        let name = name.to_str().context("a toolchain's name is UTF-8")?;
        run(Command::new("cp")
            .arg("-a")
            .arg(&args.toolchain)
            .arg(self.0.join(&toolchains)))?;
        copy(&args.bundle, &format!("{home}/anycast.bundle"))?;
        self.write(
            &format!("{home}/.profile"),
            "PATH=$HOME/.cargo/bin:$PATH\nexport CARGO_TERM_COLOR=never\n",
        )?;
        self.chroot(&[
            "chown",
            "-R",
            &format!("{USER}:{USER}"),
            &format!("/{home}"),
        ])?;
        self.as_newcomer(&format!(
            "rustup set auto-self-update disable; rustup default {name}"
        ))?;
        self.as_newcomer("git clone --quiet anycast.bundle anycast")
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let path = self.0.join(file);
        // A link in the root would lead out of it.
        let _old = fs::remove_file(&path);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    fn chroot(&self, words: &[&str]) -> anyhow::Result<()> {
        run(Command::new("chroot").arg(&self.0).args(words))
    }

    fn as_newcomer(&self, command: &str) -> anyhow::Result<()> {
        run(Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", ENTER])
            .arg(&self.0)
            .args([USER, command])
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ))
    }

    /// What was built belongs to the user, although parts ran through sudo.
    fn nothing_is_root_s(&self) -> anyhow::Result<()> {
        let home = self.0.join(format!("home/{USER}"));
        let home = home.to_str().context("the path is UTF-8")?;
        let found = output_of("find", &[home, "-user", "root"]).context("`find` failed")?;
        ensure!(found.is_empty(), "root owns files of the user's:\n{found}");
        Ok(())
    }

    fn versions(&self) -> String {
        let root = self.0.to_string_lossy();
        let mut words = vec![
            &*root,
            "dpkg-query",
            "--show",
            "--showformat=${Package} ${Version}\\n",
        ];
        words.extend(PEERS);
        // It exits 1 where one of them is not installed, and shows the others.
        let output = Command::new("chroot").args(words).output();
        output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }

    fn remove(&self) -> anyhow::Result<()> {
        if !self.0.exists() {
            return Ok(());
        }
        let below = format!(" {}/", self.0.display());
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
        if mounts.contains(&below) {
            bail!(
                "something is mounted below {}: unmount it first",
                self.0.display()
            );
        }
        run(Command::new("rm")
            .args(["-rf", "--one-file-system"])
            .arg(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_tells_the_time_of_each_step_and_the_versions() {
        let steps = [
            ("`a`".to_owned(), Duration::from_secs(90)),
            ("`b`".to_owned(), Duration::from_secs(600)),
        ];
        let want = "trixie: `a`: 1.5 minutes, `b`: 10.0 minutes\nbird2 2.17\n";
        assert_eq!(report(Suite::Trixie, &steps, "bird2 2.17\n"), want);
    }
}
