//! The eBPF toolchain: a rustc with the source of core, and bpf-linker. `choice` says which, `look` what there is;
//! this gets what is missing, and keeps the choice where the build script of anycast-userspace reads it.

mod choice;
mod look;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anycast_tests::interrupt;
use anyhow::{Context as _, anyhow, bail, ensure};

use self::choice::{Choice, Compiler, Failed, Host, Linker, Step, Way};
pub(crate) use self::choice::{LINKED, LINKER_RELEASE, Place};
use crate::command::{output_of, run, say, target};
use crate::packages;
use crate::pinned::BPF_LINKER;

/// What the object is built with.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    compiler: Compiler,
    linker: Linker,
}

impl Toolchain {
    /// Where the compiler is.
    pub(crate) const fn place(&self) -> &Place {
        &self.compiler.place
    }

    /// What the compiler says of itself.
    pub(crate) fn compiler_version(&self) -> String {
        let version = match &self.compiler.place {
            Place::Rustup(name) => output_of("rustup", &["run", name, "rustc", "--version"]),
            Place::Path | Place::Usr => output_of("rustc", &["--version"]),
        };
        version.unwrap_or_else(|| "an unknown rustc".to_owned())
    }

    /// What the linker says of itself and of its LLVM.
    pub(crate) fn linker_version(&self) -> String {
        let program = self.linker.path.to_string_lossy();
        let version = output_of(&program, &["--version"]);
        let version = version.unwrap_or_else(|| "an unknown bpf-linker".to_owned());
        match self.linker.llvm {
            Some(llvm) => format!("{version} (LLVM {llvm})"),
            None => version,
        }
    }
}

/// Makes the toolchain usable, installing what is missing, and tells the build script of it.
pub(crate) fn ensure() -> anyhow::Result<&'static Toolchain> {
    static TOOLCHAIN: OnceLock<Toolchain> = OnceLock::new();
    if let Some(toolchain) = TOOLCHAIN.get() {
        return Ok(toolchain);
    }
    let compiler = obtain("compiler", choice::compiler)?;
    let linker = obtain("linker", |host, failed| {
        choice::linker(host, &compiler, failed)
    })?;
    let toolchain = Toolchain { compiler, linker };
    record(&toolchain)?;
    Ok(TOOLCHAIN.get_or_init(|| toolchain))
}

/// Does one step after the other until something can be used, and says what it does and why.
fn obtain<T: fmt::Display>(
    what: &str,
    choose: impl Fn(&Host, &[Failed]) -> Choice<T>,
) -> anyhow::Result<T> {
    if let Step::Use(found) = choose(&look::here(), &[]).step {
        say(&format!("eBPF {what}: {found}"));
        return Ok(found);
    }
    let (mut failed, mut last, mut said) = (Vec::new(), None, BTreeSet::new());
    loop {
        let Choice { step, left } = choose(&look::all(), &failed);
        for reason in &left {
            if said.insert(reason.clone()) {
                say(&format!("eBPF {what}: not {reason}"));
            }
        }
        let way = match step {
            Step::Use(found) => {
                say(&format!("eBPF {what}: {found}"));
                return Ok(found);
            }
            Step::GiveUp(advice) => {
                bail!(
                    "there is no {what} for the eBPF object, and no way to one:\n  {}\n{advice}",
                    left.join("\n  ")
                );
            }
            Step::Get(way) => way,
        };
        let got = if last.as_ref() == Some(&way) {
            Err(anyhow!("it is there now, and does not do"))
        } else {
            say(&format!("eBPF {what}: getting {way}"));
            get(&way)
        };
        if let Err(error) = got {
            interrupt::check()?;
            failed.push(Failed {
                way: way.clone(),
                why: format!("{error:#}"),
            });
        }
        last = Some(way);
    }
}

fn get(way: &Way) -> anyhow::Result<()> {
    match way {
        Way::DistributionRust => packages::install(&["rustc-web", "rust-web-src"]),
        Way::LinkToolchain => {
            run(Command::new("rustup").args(["toolchain", "link", LINKED, "/usr"]))
        }
        Way::RustupToolchain(name) => run(Command::new("rustup").args([
            "toolchain",
            "install",
            name,
            "--profile=minimal",
            "--component=rust-src",
            "--no-self-update",
        ])),
        Way::PublishedLinker => download_linker(),
        Way::LinkerFromSource(llvm) => build_linker(*llvm),
    }
}

/// Where what belongs to the toolchain is kept.
fn directory() -> PathBuf {
    target().join("bpf")
}

/// Our own linker: below `target/`, so that it goes with the checkout and changes nothing of the user's.
fn own_linker() -> PathBuf {
    directory().join("bin/bpf-linker")
}

/// The linker that its project publishes: static, with an LLVM of its own.
fn download_linker() -> anyhow::Result<()> {
    let name = format!(
        "bpf-linker-{}-unknown-linux-musl.tar.zst",
        std::env::consts::ARCH
    );
    let url =
        format!("https://github.com/aya-rs/bpf-linker/releases/download/v{LINKER_RELEASE}/{name}");
    let unpacked = directory().join("published");
    let _from_before = fs::remove_dir_all(&unpacked);
    fs::create_dir_all(&unpacked)
        .with_context(|| format!("cannot create {}", unpacked.display()))?;
    packages::ensure_tools(&[("curl", "curl"), ("zstd", "zstd")])?;
    let archive = unpacked.join(&name);
    say(&format!("downloading {url}"));
    let curl = Command::new("curl")
        .args(["--fail", "--silent", "--show-error", "--location"])
        .args([
            "--proto",
            "=https",
            "--connect-timeout",
            "20",
            "--retry",
            "2",
        ])
        .arg("--output")
        .args([archive.as_os_str(), url.as_ref()])
        .output()
        .context("cannot start `curl`")?;
    if !curl.status.success() {
        let said = String::from_utf8_lossy(&curl.stderr);
        bail!("{}", said.lines().last().unwrap_or("curl failed"));
    }
    run(Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(&unpacked))?;
    let linker = unpacked.join("bpf-linker");
    ensure!(linker.is_file(), "{name} holds no bpf-linker");
    place(&linker)
}

fn place(linker: &Path) -> anyhow::Result<()> {
    let own = own_linker();
    let bin = own.parent().context("it is in a directory")?;
    fs::create_dir_all(bin)
        .and_then(|()| fs::rename(linker, &own))
        .with_context(|| format!("cannot move {} to {}", linker.display(), own.display()))
}

fn build_linker(llvm: u32) -> anyhow::Result<()> {
    let prefix = look::prefix(llvm);
    if !prefix.join("bin/llvm-config").exists() {
        packages::install(&[
            &format!("llvm-{llvm}-dev"),
            &format!("libpolly-{llvm}-dev"),
            "zlib1g-dev",
            "libzstd-dev",
        ])?;
    }
    run(BPF_LINKER
        .install()
        .arg("--force")
        .arg("--root")
        .arg(directory())
        .arg("--no-default-features")
        .arg(format!("--features=llvm-{llvm}"))
        .env("LLVM_PREFIX", prefix))
}

/// Keeps the choice for the build script. The file changes only with the choice, since the object is built anew then.
fn record(toolchain: &Toolchain) -> anyhow::Result<()> {
    let compiler = match &toolchain.compiler.place {
        Place::Rustup(name) => name,
        Place::Path | Place::Usr => "",
    };
    let text = format!(
        "toolchain={compiler}\nlinker={}\n",
        toolchain.linker.path.display()
    );
    let path = directory().join("toolchain");
    if fs::read_to_string(&path).is_ok_and(|kept| kept == text) {
        return Ok(());
    }
    fs::create_dir_all(directory())
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}
