//! Programs that cargo installs, each of the version that the project is tried with.

use std::process::Command;

use crate::command::{cargo, output_of, say};
use crate::toolchain::LINKER_RELEASE;

/// One of them.
pub(crate) struct Pinned {
    /// Its crate.
    name: &'static str,
    version: &'static str,
    /// What prints its version.
    asked: (&'static str, &'static [&'static str]),
}

/// The linker that the object is built and tested with.
pub(crate) const BPF_LINKER: Pinned = Pinned {
    name: "bpf-linker",
    version: LINKER_RELEASE,
    asked: ("bpf-linker", &["--version"]),
};

pub(crate) const CARGO_DENY: Pinned = Pinned {
    name: "cargo-deny",
    version: "0.20.2",
    asked: ("cargo", &["deny", "--version"]),
};

pub(crate) const CARGO_FUZZ: Pinned = Pinned {
    name: "cargo-fuzz",
    version: "0.13.2",
    asked: ("cargo", &["fuzz", "--version"]),
};

impl Pinned {
    /// Whether it is here, in whatever version; says which.
    pub(crate) fn is_here(&self) -> bool {
        let (program, args) = self.asked;
        let Some(answer) = output_of(program, args) else {
            return false;
        };
        say(&self.words(&answer));
        true
    }

    /// What builds and installs it; says so.
    pub(crate) fn install(&self) -> Command {
        let Self { name, version, .. } = self;
        say(&format!(
            "building {name} {version}, which takes a few minutes"
        ));
        cargo(&["install", name, "--version", version, "--locked"])
    }

    fn words(&self, answer: &str) -> String {
        let Self { name, version, .. } = self;
        let found = answer.split_whitespace().nth(1).unwrap_or("of no version");
        if found == *version {
            return format!("{name} {found}");
        }
        format!("{name} {found} is installed; this is tried with {version}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_than_the_pinned_one_is_said() {
        assert_eq!(CARGO_DENY.words("cargo-deny 0.20.2"), "cargo-deny 0.20.2");
        assert_eq!(
            CARGO_DENY.words("cargo-deny 0.19.0"),
            "cargo-deny 0.19.0 is installed; this is tried with 0.20.2"
        );
    }
}
