//! Test programs as cargo builds them: where each is, so that it can be run apart from cargo: as root, or on another
//! kernel.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::command::{cargo, say, shown};

/// A test program that is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestProgram {
    /// The crate and, for all but its library, the target.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// The directory of its crate, in which cargo would run it.
    pub(crate) directory: PathBuf,
}

/// Builds what `cargo test` with these arguments would run.
pub(crate) fn build(args: &[&str]) -> anyhow::Result<Vec<TestProgram>> {
    let mut command = cargo(&["test", "--no-run"]);
    command
        .args(args)
        .arg("--message-format=json-render-diagnostics");
    say(&shown(&command));
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start `cargo`")?;
    if !output.status.success() {
        bail!("`{}` failed: {}", shown(&command), output.status);
    }
    Ok(targets(&String::from_utf8_lossy(&output.stdout)))
}

/// Builds a target of the crate `tests`, a `test` or a `bench`; returns its file.
pub(crate) fn built(kind: &str, name: &str) -> anyhow::Result<PathBuf> {
    let target = format!("--{kind}={name}");
    let built = build(&["--package=anycast-tests", &target])?;
    let program = built.into_iter().next().map(|target| target.program);
    program.with_context(|| format!("cargo does not say where {name} is"))
}

/// The programs that cargo's messages name.
fn targets(messages: &str) -> Vec<TestProgram> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter_map(|message| target(&message))
        .collect()
}

fn target(message: &Value) -> Option<TestProgram> {
    // A binary that is built for a test to call is no test.
    if message["profile"]["test"] != true {
        return None;
    }
    let directory = PathBuf::from(message["manifest_path"].as_str()?);
    let directory = directory.parent()?.to_owned();
    let of = directory.file_name()?.to_string_lossy().into_owned();
    let target = message["target"]["name"].as_str()?;
    let library = message["target"]["kind"]
        .as_array()?
        .iter()
        .any(|kind| kind == "lib");
    Some(TestProgram {
        name: if library {
            of
        } else {
            format!("{of} {target}")
        },
        program: PathBuf::from(message["executable"].as_str()?),
        directory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_the_messages_of_cargo() {
        let message = |kind: &str, name: &str, test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/a/tests/Cargo.toml","target":{{"kind":["{kind}"],"name":"{name}"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let text = [
            message("lib", "anycast_tests", true, r#""/t/anycast_tests-1""#),
            message("lib", "anycast_tests", false, "null"),
            message("bin", "anycast", false, r#""/t/anycast""#),
            "not a message".to_owned(),
            message("test", "bgp", true, r#""/t/bgp-2""#),
            message("bench", "cost", true, r#""/t/cost-3""#),
        ];
        let found: Vec<(String, PathBuf)> = targets(&text.join("\n"))
            .into_iter()
            .map(|target| (target.name, target.program))
            .collect();
        let want = [
            ("tests", "/t/anycast_tests-1"),
            ("tests bgp", "/t/bgp-2"),
            ("tests cost", "/t/cost-3"),
        ];
        assert_eq!(
            found,
            want.map(|(name, file)| (name.to_owned(), file.into()))
        );
    }
}
