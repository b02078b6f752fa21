//! What the host has that the choice depends on. It installs nothing.

use std::env;
use std::path::{Path, PathBuf};

use super::choice::{ASKED, Compiler, Host, LINKED, Linker, Place, RELEASE};
use crate::command::output_of;
use crate::{packages, privilege};

/// Where Debian and Ubuntu keep LLVM's releases, and how far they are looked for.
const LLVM: &str = "/usr/lib/llvm-";
const RELEASES_OF_LLVM: std::ops::RangeInclusive<u32> = 14..=30;

/// What can be told at once, which is enough where all is here.
pub(super) fn here() -> Host {
    let asked = env::var(ASKED).ok().filter(|name| !name.is_empty());
    let rustup = output_of("rustup", &["--version"]).is_some();
    let mut names = vec![RELEASE.to_owned(), LINKED.to_owned()];
    names.extend(asked.clone());
    Host {
        compilers: if rustup {
            names.iter().filter_map(|name| of_rustup(name)).collect()
        } else {
            on_path().into_iter().collect()
        },
        linkers: linkers(),
        asked,
        rustup,
        ..Host::default()
    }
}

/// All of it: apt and every toolchain are asked.
pub(super) fn all() -> Host {
    let mut host = here();
    if host.rustup {
        host.compilers.extend(usr());
        let known = |name: &str| {
            let place = Place::Rustup(name.to_owned());
            host.compilers
                .iter()
                .any(|compiler| compiler.place == place)
        };
        let others: Vec<Compiler> = toolchains()
            .iter()
            .filter(|name| !known(name))
            .filter_map(|name| of_rustup(name))
            .collect();
        host.compilers.extend(others);
    }
    host.installs = packages::is_on_path("apt-get") && privilege::is_possible();
    host.apt_rust = release_in_apt("rustc-web").filter(|release| {
        // Another release of core's source than the compiler's does not compile.
        release_in_apt("rust-web-src").as_ref() == Some(release)
    });
    let llvm = |has: fn(u32) -> bool| RELEASES_OF_LLVM.filter(|llvm| has(*llvm)).collect();
    host.llvm = llvm(|llvm| prefix(llvm).join("bin/llvm-config").exists());
    host.apt_llvm = llvm(|llvm| packages::candidate(&format!("llvm-{llvm}-dev")).is_some());
    host.published = matches!(env::consts::ARCH, "x86_64" | "aarch64");
    host
}

/// Where a release of LLVM is installed.
pub(super) fn prefix(llvm: u32) -> PathBuf {
    PathBuf::from(format!("{LLVM}{llvm}"))
}

/// The release of Rust in a package that apt can install: `1.96.0` of `1.96.0+dfsg1-1~deb12u2`.
fn release_in_apt(package: &str) -> Option<String> {
    let version = packages::candidate(package)?;
    let end = version.find(['+', '-', '~']).unwrap_or(version.len());
    Some(version[..end].to_owned())
}

/// The names of rustup's toolchains, as `rustup run` takes them.
fn toolchains() -> Vec<String> {
    let list = output_of("rustup", &["toolchain", "list"]).unwrap_or_default();
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn of_rustup(name: &str) -> Option<Compiler> {
    compiler(Place::Rustup(name.to_owned()), |args| {
        let mut words = vec!["run", name, "rustc"];
        words.extend(args);
        output_of("rustup", &words)
    })
}

fn on_path() -> Option<Compiler> {
    compiler(Place::Path, |args| output_of("rustc", args))
}

fn usr() -> Option<Compiler> {
    compiler(Place::Usr, |args| output_of("/usr/bin/rustc", args))
}

fn compiler(place: Place, rustc: impl Fn(&[&str]) -> Option<String>) -> Option<Compiler> {
    let (release, llvm) = versions(&rustc(&["--version", "--verbose"])?)?;
    let sysroot = rustc(&["--print", "sysroot"])?;
    let core = Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    Some(Compiler {
        place,
        release,
        llvm,
        core: core.exists(),
    })
}

/// The release of a compiler and the major version of its LLVM, of what `rustc --version --verbose` says.
fn versions(text: &str) -> Option<(String, u32)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    Some((field("release: ")?.to_owned(), llvm))
}

/// Ours below `target/`, then the one on PATH.
fn linkers() -> Vec<Linker> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|directory| directory.join("bpf-linker"));
    [super::own_linker()]
        .into_iter()
        .chain(on_path.filter(|file| file.is_file()).take(1))
        .filter(|file| file.is_file())
        .map(|path| Linker {
            llvm: llvm_of(&path),
            path,
        })
        .collect()
}

/// LLVM itself says its version, and ends the linker before that looks at its input.
fn llvm_of(linker: &Path) -> Option<u32> {
    let linker = linker.to_str()?;
    let asked = ["--llvm-args=--version", "-o", "/dev/null", "/dev/null"];
    let text = output_of(linker, &asked)?;
    let (_, version) = text.split_once("LLVM version ")?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_s_release_and_llvm_are_read_from_what_it_says() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.2";
        assert_eq!(versions(text), Some(("1.96.0".to_owned(), 22)));
        assert_eq!(versions("rustc 1.96.0"), None);
    }
}
