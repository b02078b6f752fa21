//! Counts, as they are kept and as they are printed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::toolchain::Toolchain;

/// Instructions per packet by case.
pub(super) type Counts = BTreeMap<String, u64>;

/// What the object was built with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Build {
    /// `rustc --version`.
    pub(super) compiler: String,
    /// `bpf-linker --version`, and the release of its LLVM.
    pub(super) linker: String,
}

impl Build {
    /// What a toolchain says of itself.
    pub(super) fn of(toolchain: &Toolchain) -> Self {
        Self {
            compiler: toolchain.compiler_version(),
            linker: toolchain.linker_version(),
        }
    }
}

/// The counts that are kept, with all that they depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    #[serde(flatten)]
    pub(super) build: Build,
    /// By kernel, as `uname -r` names it.
    pub(super) kernels: BTreeMap<String, Counts>,
}

impl Kept {
    /// Reads the file; without it nothing is kept yet.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is not as this command writes it", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The kernel of a series that counts are kept of.
    pub(super) fn release(&self, series: &str) -> Option<String> {
        self.kernels
            .keys()
            .find(|release| is_of(release, series))
            .cloned()
    }
}

/// Whether a release is of a series: `6.12.9` is of `6.12`, and not of `6.1`.
pub(super) fn is_of(release: &str, series: &str) -> bool {
    release
        .strip_prefix(series)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// The series of a release: `6.12.9-cloud` is of `6.12`.
pub(super) fn series(release: &str) -> &str {
    let end = release
        .match_indices('.')
        .nth(1)
        .map_or(release.len(), |(at, _)| at);
    &release[..end]
}

/// Reads what the measuring program prints: an object a line, with the names `case` and `ns`.
pub(super) fn lines(text: &str) -> anyhow::Result<Counts> {
    #[derive(Deserialize)]
    struct Line {
        case: String,
        ns: f64,
    }
    let mut counts = Counts::new();
    for text in text.lines() {
        let line: Line = serde_json::from_str(text)
            .with_context(|| format!("the measuring program printed `{text}`"))?;
        if line.ns.fract() != 0.0 || line.ns < 0.0 {
            bail!(
                "case {}: {} is no number of instructions",
                line.case,
                line.ns
            );
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number that is not negative, far below 2^53"
        )]
        let instructions = line.ns as u64;
        counts.insert(line.case, instructions);
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_the_measuring_program_prints_them() {
        let text =
            "{\"case\":\"drop\",\"median\":91.0,\"ns\":91.0}\n{\"case\":\"floor\",\"ns\":256.0}\n";
        let want = Counts::from([("drop".to_owned(), 91), ("floor".to_owned(), 256)]);
        assert_eq!(lines(text).unwrap(), want);
        let error = lines("{\"case\":\"drop\",\"ns\":91.5}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "case drop: 91.5 is no number of instructions"
        );
        assert!(lines("drop 91").is_err());
    }

    #[test]
    fn a_release_is_of_one_series() {
        for (release, of) in [("6.1.0-56-cloud-amd64", "6.1"), ("6.12.117+deb12", "6.12")] {
            assert_eq!(series(release), of);
            assert!(is_of(release, of));
        }
        assert!(!is_of("6.12.117", "6.1"));
    }
}
