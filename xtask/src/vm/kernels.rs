//! Debian's kernels, and those of its kin: found by apt, unpacked under target/, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::scratch::Scratch;
use crate::command::{output_of, run, say, target};
use crate::packages;

/// The series that the program is tried on, besides the host's kernel.
pub(super) const SERIES: [&str; 2] = ["6.1", "6.12"];

/// The flavour for virtual machines, which is taken where a series has it.
const CLOUD: &str = "-cloud-amd64";

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// What `uname -r` says there.
    pub(crate) release: String,
    /// The bootable image.
    pub(super) image: PathBuf,
    /// Its directory of modules.
    pub(super) modules: PathBuf,
}

impl Kernel {
    fn unpacked(release: &str) -> Option<Self> {
        let directory = directory().join(release);
        let modules = modules_below(&directory, release)?;
        // From Linux 7 on Debian has the image beside the modules.
        let image = [
            directory.join(format!("boot/vmlinuz-{release}")),
            modules.join("vmlinuz"),
        ]
        .into_iter()
        .find(|image| image.is_file())?;
        Some(Self {
            release: release.to_owned(),
            image,
            modules,
        })
    }

    /// The file of a module, as the package has it: compressed in some releases. None if it is part of the image.
    pub(super) fn module(&self, path: &str) -> anyhow::Result<Option<PathBuf>> {
        let file = ["ko", "ko.xz", "ko.zst"]
            .iter()
            .map(|ending| self.modules.join(format!("kernel/{path}.{ending}")))
            .find(|file| file.is_file());
        let builtin = || {
            let list = fs::read_to_string(self.modules.join("modules.builtin")).unwrap_or_default();
            let line = format!("kernel/{path}.ko");
            list.lines().any(|module| module == line)
        };
        if file.is_none() && !builtin() {
            bail!("kernel {} has no module {path}", self.release);
        }
        Ok(file)
    }
}

/// Where kernels are kept.
pub(super) fn directory() -> PathBuf {
    target().join("vm")
}

/// Debian has moved modules from /lib to /usr/lib.
fn modules_below(directory: &Path, release: &str) -> Option<PathBuf> {
    ["lib/modules", "usr/lib/modules"]
        .iter()
        .map(|place| directory.join(place).join(release))
        .find(|place| place.is_dir())
}

/// A kernel: `wanted` is its release, or a series, of which it is the release `preferred` if that is offered, or
/// else the newest.
pub(super) fn fetch(wanted: &str, preferred: Option<&str>) -> anyhow::Result<Kernel> {
    if let Some(kernel) = preferred.and_then(Kernel::unpacked) {
        return Ok(kernel);
    }
    if let Some(kernel) = Kernel::unpacked(wanted) {
        return Ok(kernel);
    }
    let mut names = known();
    if releases(&names, wanted).is_empty() {
        packages::refresh_once();
        names = known();
    }
    let mut offered = releases(&names, wanted);
    if let Some(at) = offered.iter().rposition(|r| Some(r.as_str()) == preferred) {
        let preferred = offered.remove(at);
        offered.push(preferred);
    }
    let mut why = "apt has no such package".to_owned();
    while let Some(release) = offered.pop() {
        if let Some(kernel) = Kernel::unpacked(&release) {
            return Ok(kernel);
        }
        match download(&release, &packages_of(&release, &names)) {
            Ok(()) => {
                return Kernel::unpacked(&release)
                    .with_context(|| format!("the packages of kernel {release} hold no kernel"));
            }
            // Old package lists name what the archive has removed.
            Err(error) => {
                why = format!("{error:#}");
                say(&why);
            }
        }
    }
    bail!(
        "kernel {wanted} cannot be had here: {why}. Debian 12 has 6.1, and with its security updates 6.12; Debian 13 \
         has 6.12. Add such a source to apt (for download only; nothing is installed), or unpack the package into {}",
        directory().join("RELEASE").display()
    )
}

/// The names of kernel packages that apt knows, and of what is unpacked as if it were one.
fn known() -> Vec<String> {
    let packages = output_of("apt-cache", &["pkgnames", "linux-"]).unwrap_or_default();
    let unpacked = fs::read_dir(directory()).into_iter().flatten().flatten();
    packages
        .lines()
        .map(str::to_owned)
        .chain(unpacked.map(|entry| format!("linux-image-{}", entry.file_name().display())))
        .collect()
}

/// The releases among package names that are `wanted` or of the series `wanted`, oldest first; those for clouds alone
/// where there are any.
fn releases(names: &[String], wanted: &str) -> Vec<String> {
    let mut found: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let release = name.strip_prefix("linux-image-unsigned-");
            let release = release.or_else(|| name.strip_prefix("linux-image-"));
            let release = release.or_else(|| name.strip_prefix("linux-binary-"))?;
            let release = release.strip_suffix("-unsigned").unwrap_or(release);
            let rest = release.strip_prefix(wanted)?;
            let ours = rest.is_empty() || rest.starts_with('.');
            (ours
                && release.starts_with(|c: char| c.is_ascii_digit())
                && !release.ends_with("-dbg"))
            .then(|| release.to_owned())
        })
        .collect();
    if found.iter().any(|release| release.ends_with(CLOUD)) {
        found.retain(|release| release.ends_with(CLOUD));
    }
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

/// The packages that hold the image and the modules of a release, in each form that apt has; a later form serves where
/// an earlier one cannot be downloaded.
fn packages_of(release: &str, names: &[String]) -> Vec<Vec<String>> {
    let image = format!("linux-image-{release}");
    let modules = format!("linux-modules-{release}");
    let forms = [
        // Debian from Linux 7 on: linux-image-* only depends on these.
        vec![format!("linux-binary-{release}"), modules.clone()],
        // Ubuntu, signed and unsigned.
        vec![image.clone(), modules.clone()],
        vec![format!("linux-image-unsigned-{release}"), modules],
        // Debian before, signed and not signed yet.
        vec![image.clone()],
        vec![format!("{image}-unsigned")],
    ];
    let known = |form: &Vec<String>| form.iter().all(|package| names.contains(package));
    forms.into_iter().filter(known).collect()
}

/// Fetches and unpacks a kernel. Where [`Kernel::unpacked`] looks it appears as a whole or not at all.
fn download(release: &str, forms: &[Vec<String>]) -> anyhow::Result<()> {
    let unfinished = directory().join("unfinished");
    let scratch = Scratch::new(&unfinished, release)?;
    let (packages, unpacked) = (scratch.path().join("packages"), scratch.path().join("root"));
    for path in [&packages, &unpacked] {
        fs::create_dir(path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    let fetched = forms.iter().any(|form| {
        run(Command::new("apt-get")
            .args(["download", "-qq"])
            .args(form)
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

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn releases_of_a_series_are_told_from_others_and_put_in_order() {
        let names = owned(&[
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64-unsigned",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64-dbg",
            "linux-image-6.1.0-57-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.57+deb13-cloud-amd64",
            "linux-image-6.12-cloud-amd64",
            "linux-image-cloud-amd64",
            "linux-image-7.2.13+deb14-cloud-amd64",
            "linux-binary-7.2.13+deb14-cloud-amd64",
            "linux-binary-7.2.13+deb14-amd64",
            "linux-modules-7.2.14+deb14-cloud-amd64",
            "linux-image-unsigned-6.8.0-31-generic",
            "linux-image-6.8.0-31-generic",
        ]);
        for (wanted, want) in [
            ("6.1", &["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64"][..]),
            (
                "6.12",
                &["6.12.57+deb13-cloud-amd64", "6.12.117+deb12-cloud-amd64"],
            ),
            ("6.1.0-57-amd64", &["6.1.0-57-amd64"]),
            ("7.2", &["7.2.13+deb14-cloud-amd64"]),
            ("7.2.13+deb14-amd64", &["7.2.13+deb14-amd64"]),
            ("6.8", &["6.8.0-31-generic"]),
            ("6.9", &[]),
            ("cloud", &[]),
        ] {
            assert_eq!(releases(&names, wanted), want, "{wanted}");
        }
    }

    #[test]
    fn a_kernel_is_in_one_package_or_in_two() {
        let names = owned(&[
            "linux-image-6.12.1-cloud-amd64",
            "linux-image-6.12.1-cloud-amd64-unsigned",
            "linux-image-6.1.0-9-cloud-amd64-unsigned",
            "linux-image-7.2.13-amd64",
            "linux-binary-7.2.13-amd64",
            "linux-modules-7.2.13-amd64",
            "linux-image-6.8.0-31-generic",
            "linux-image-unsigned-6.8.0-31-generic",
            "linux-modules-6.8.0-31-generic",
        ]);
        for (release, want) in [
            (
                "6.12.1-cloud-amd64",
                &[
                    &["linux-image-6.12.1-cloud-amd64"][..],
                    &["linux-image-6.12.1-cloud-amd64-unsigned"],
                ][..],
            ),
            (
                "6.1.0-9-cloud-amd64",
                &[&["linux-image-6.1.0-9-cloud-amd64-unsigned"]],
            ),
            (
                "7.2.13-amd64",
                &[
                    &["linux-binary-7.2.13-amd64", "linux-modules-7.2.13-amd64"],
                    &["linux-image-7.2.13-amd64", "linux-modules-7.2.13-amd64"],
                    &["linux-image-7.2.13-amd64"],
                ],
            ),
            (
                "6.8.0-31-generic",
                &[
                    &[
                        "linux-image-6.8.0-31-generic",
                        "linux-modules-6.8.0-31-generic",
                    ],
                    &[
                        "linux-image-unsigned-6.8.0-31-generic",
                        "linux-modules-6.8.0-31-generic",
                    ],
                    &["linux-image-6.8.0-31-generic"],
                ],
            ),
            ("6.9.1-amd64", &[]),
        ] {
            assert_eq!(packages_of(release, &names), want, "{release}");
        }
    }
}
