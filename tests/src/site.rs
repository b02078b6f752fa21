//! What tests of the whole daemon share: the binary under test, and BIRD as its router.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::netns::Namespace;
use crate::process::Process;
use crate::wait;

const SOON: Duration = Duration::from_secs(30);

/// The binary under test.
///
/// # Panics
/// When nothing names it.
#[must_use]
pub fn binary() -> PathBuf {
    std::env::var_os("ANYCAST_BIN").map(PathBuf::from).expect(
        "ANYCAST_BIN names no binary to test: run `cargo xtask test`, or \
         `cargo build && ANYCAST_BIN=$PWD/target/debug/anycast cargo test -p anycast-tests`",
    )
}

/// BIRD in a namespace, with a configuration, its files in `directory`: `bird.conf`, `bird.log` and the control
/// socket `bird.ctl`, which is there on return.
///
/// # Errors
/// When it cannot be started, or its socket does not come up.
pub fn start_bird(
    namespace: &Namespace,
    directory: &Path,
    configuration: &str,
) -> anyhow::Result<Process> {
    let config = directory.join("bird.conf");
    fs::write(&config, configuration)?;
    let socket = directory.join("bird.ctl");
    let mut command = namespace.command("bird")?;
    command.arg("-f").arg("-c").arg(&config);
    command.arg("-s").arg(&socket);
    command.arg("-P").arg(directory.join("bird.pid"));
    let bird = Process::spawn("BIRD", command, &directory.join("bird.log"))?;
    wait::until("BIRD's socket", SOON, || Ok(socket.exists().then_some(())))?;
    Ok(bird)
}
