//! The machine's root file system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::cpio::Archive;
use super::init;
use super::kernels::Kernel;
use crate::command::output_of;

/// Tools of this machine that programs there may call.
const TOOLS: &[&str] = &["ip", "nsenter"];
/// Modules that programs there may need, in the order in which they are loaded.
const MODULES: &[&str] = &[
    "drivers/net/veth",
    "net/ipv4/inet_diag",
    "net/ipv4/tcp_diag",
    "net/ipv4/udp_diag",
];
/// Where something is mounted, or files are expected.
const DIRECTORIES: &[&str] = &[
    "/dev",
    "/etc",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/var",
    init::MODULES,
];

/// Writes the archive to `image`.
pub(super) fn write(
    kernel: &Kernel,
    program: &Path,
    args: &[&str],
    image: &Path,
) -> anyhow::Result<()> {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    // The kernel opens it before init has mounted anything.
    archive.device("/dev/console", (5, 1));
    let itself = std::env::current_exe().context("this program's file is not known")?;
    let mut libraries = Vec::new();
    let mut add = |file: &Path, name: &Path| -> anyhow::Result<()> {
        archive.file(name, &stripped(file)?);
        libraries.extend(linked(file)?);
        Ok(())
    };
    add(&itself, Path::new("/init"))?;
    add(program, Path::new(init::PROGRAM))?;
    for tool in TOOLS {
        let file = find(tool)?;
        add(&file, &Path::new("/bin").join(tool))?;
    }
    libraries.sort();
    libraries.dedup();
    for library in libraries {
        let content = fs::read(&library)
            .with_context(|| format!("cannot read the library {}", library.display()))?;
        archive.file(&library, &content);
    }
    for (place, module) in MODULES.iter().enumerate() {
        let Some(file) = kernel.module(module)? else {
            continue;
        };
        let name = file.file_name().context("a module's file has a name")?;
        let target = format!("{}/{place}-{}", init::MODULES, name.to_string_lossy());
        archive.file(Path::new(&target), &fs::read(&file)?);
    }
    archive.file(
        Path::new(init::ARGUMENTS),
        serde_json::to_string(args)?.as_bytes(),
    );
    fs::write(image, archive.finish()).with_context(|| format!("cannot write {}", image.display()))
}

/// A program without its debug information, which would only take time to unpack.
fn stripped(file: &Path) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("strip")
        .args(["--strip-debug", "-o", "/dev/stdout"])
        .arg(file)
        .output();
    match output {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => Ok(output.stdout),
        _ => fs::read(file).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// The shared libraries that a program needs, its loader among them.
fn linked(file: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(file)
        .output()
        .context("cannot start `ldd`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("not found") {
        bail!("libraries of {} are missing: {text}", file.display());
    }
    // A static program has none, which `ldd` says by its exit status.
    Ok(text.lines().filter_map(library).collect())
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn library(line: &str) -> Option<PathBuf> {
    let path = line.split("=>").last()?.trim();
    let path = path.split(" (").next()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

fn find(tool: &str) -> anyhow::Result<PathBuf> {
    let found = output_of(
        "sh",
        &[
            "-c",
            &format!("PATH=$PATH:/usr/sbin:/sbin command -v {tool}"),
        ],
    );
    found
        .map(PathBuf::from)
        .with_context(|| format!("`{tool}` is not on PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        for (line, want) in [
            ("\tlinux-vdso.so.1 (0x00007ffd)", None),
            (
                "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)",
                Some("/lib/x86_64-linux-gnu/libc.so.6"),
            ),
            (
                "\t/lib64/ld-linux-x86-64.so.2 (0x00007f)",
                Some("/lib64/ld-linux-x86-64.so.2"),
            ),
            ("\tstatically linked", None),
            ("\tnot a dynamic executable", None),
        ] {
            assert_eq!(library(line), want.map(PathBuf::from), "{line}");
        }
    }
}
