//! Debian's kernels for clouds: found by apt, unpacked under target/, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::scratch::Scratch;
use crate::command::{output_of, root, run, say};
use crate::packages;

/// The series that the program is tried on, besides the host's kernel.
pub(crate) const SERIES: [&str; 2] = ["6.1", "6.12"];

const PREFIX: &str = "linux-image-";
const FLAVOUR: &str = "-cloud-amd64";
/// The same kernel as the signed one, where Debian has not signed it yet.
const UNSIGNED: &str = "-unsigned";

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// Such as `6.12`.
    pub(crate) series: &'static str,
    /// What `uname -r` says there.
    pub(crate) release: String,
    /// The bootable image.
    pub(super) image: PathBuf,
    /// Its directory of modules.
    pub(super) modules: PathBuf,
}

impl Kernel {
    fn unpacked(series: &'static str, release: &str) -> Option<Self> {
        let directory = directory().join(release);
        let kernel = Self {
            series,
            release: release.to_owned(),
            image: directory.join(format!("boot/vmlinuz-{release}")),
            modules: modules_below(&directory, release)?,
        };
        kernel.image.is_file().then_some(kernel)
    }

    /// The file of a module, as the package has it: compressed in some releases.
    pub(super) fn module(&self, path: &str) -> anyhow::Result<PathBuf> {
        ["ko", "ko.xz", "ko.zst"]
            .iter()
            .map(|ending| self.modules.join(format!("kernel/{path}.{ending}")))
            .find(|file| file.is_file())
            .with_context(|| format!("kernel {} has no module {path}", self.release))
    }
}

/// Where kernels are kept.
pub(super) fn directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), PathBuf::from)
        .join("vm")
}

/// Debian has moved modules from /lib to /usr/lib.
fn modules_below(directory: &Path, release: &str) -> Option<PathBuf> {
    ["lib/modules", "usr/lib/modules"]
        .iter()
        .map(|place| directory.join(place).join(release))
        .find(|place| place.is_dir())
}

/// The kernel `preferred` of a series if it is offered, or else the newest.
pub(super) fn fetch(series: &'static str, preferred: Option<&str>) -> anyhow::Result<Kernel> {
    if let Some(kernel) = preferred.and_then(|release| Kernel::unpacked(series, release)) {
        return Ok(kernel);
    }
    let mut offered = offered(series);
    if let Some(at) = offered.iter().rposition(|r| Some(r.as_str()) == preferred) {
        let preferred = offered.remove(at);
        offered.push(preferred);
    }
    while let Some(release) = offered.pop() {
        if let Some(kernel) = Kernel::unpacked(series, &release) {
            return Ok(kernel);
        }
        match download(&release) {
            Ok(()) => {
                return Kernel::unpacked(series, &release)
                    .with_context(|| format!("the package of kernel {release} holds no kernel"));
            }
            // Old package lists name what the archive has removed.
            Err(error) => say(&format!("{error:#}: trying an older release")),
        }
    }
    bail!(
        "no package {PREFIX}{series}.*{FLAVOUR} can be had here. It comes from Debian: for 6.1 from \
         Debian 12, for 6.12 from Debian 13 or from Debian 12 with its security updates. Add such a source \
         to apt (for download only; nothing is installed), or unpack the package into {}",
        directory().join("RELEASE").display()
    )
}

/// Releases of a series that apt knows or that are unpacked, oldest first.
fn offered(series: &str) -> Vec<String> {
    let packages = || output_of("apt-cache", &["pkgnames", &format!("{PREFIX}{series}.")]);
    let mut names = packages().unwrap_or_default();
    if names.is_empty() {
        packages::refresh_once();
        names = packages().unwrap_or_default();
    }
    let unpacked = fs::read_dir(directory())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| format!("{PREFIX}{}", entry.file_name().to_string_lossy()));
    let unpacked: Vec<String> = unpacked.collect();
    let names: Vec<&str> = names
        .lines()
        .chain(unpacked.iter().map(String::as_str))
        .collect();
    releases(&names, series)
}

/// The releases among package names, oldest first.
fn releases(names: &[&str], series: &str) -> Vec<String> {
    let mut found: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let release = name.strip_prefix(PREFIX)?;
            let release = release.strip_suffix(UNSIGNED).unwrap_or(release);
            let ours = release.strip_prefix(series)?.starts_with('.');
            (ours && release.ends_with(FLAVOUR)).then(|| release.to_owned())
        })
        .collect();
    found.sort_by_key(|release| numbers(release));
    found.dedup();
    found
}

fn numbers(release: &str) -> Vec<u64> {
    release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// Fetches and unpacks a kernel. Where [`Kernel::unpacked`] looks it appears as a whole or not at all.
fn download(release: &str) -> anyhow::Result<()> {
    let unfinished = directory().join("unfinished");
    let scratch = Scratch::new(&unfinished, release)?;
    let (packages, unpacked) = (scratch.path().join("packages"), scratch.path().join("root"));
    for path in [&packages, &unpacked] {
        fs::create_dir(path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    let fetched = ["", UNSIGNED].iter().any(|ending| {
        let package = format!("{PREFIX}{release}{ending}");
        run(Command::new("apt-get")
            .args(["download", "-qq", &package])
            .current_dir(&packages))
        .is_ok()
    });
    if !fetched {
        bail!("the package of kernel {release} cannot be downloaded");
    }
    for package in fs::read_dir(&packages)? {
        run(Command::new("dpkg-deb")
            .arg("-x")
            .arg(package?.path())
            .arg(&unpacked))?;
    }
    let target = directory().join(release);
    // What is there holds no kernel, or it would have been taken.
    let _incomplete = fs::remove_dir_all(&target);
    fs::rename(&unpacked, &target)
        .with_context(|| format!("cannot move the kernel to {}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_a_series_are_told_from_others_and_put_in_order() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64-unsigned",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64-dbg",
            "linux-image-6.1.0-57-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.57+deb13-cloud-amd64",
            "linux-image-6.12-cloud-amd64",
            "linux-image-cloud-amd64",
        ];
        let found = |series| releases(&names, series);
        assert_eq!(
            found("6.1"),
            ["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64"]
        );
        assert_eq!(
            found("6.12"),
            ["6.12.57+deb13-cloud-amd64", "6.12.117+deb12-cloud-amd64"]
        );
    }
}
