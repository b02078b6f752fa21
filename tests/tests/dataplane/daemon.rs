//! The daemon itself, in the calling thread's namespace, with a service that is up.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anycast_tests::process::Process;
use anycast_tests::site::binary;
use anycast_tests::wait;
use nix::sys::signal::Signal;

use crate::support::pin;

/// A running daemon, killed when dropped.
pub(crate) struct Daemon {
    process: Process,
    directory: tempfile::TempDir,
    pin: PathBuf,
}

/// The binary under test.
impl Daemon {
    /// Starts it on the interface `left`, with further lines for `[dataplane]` and further arguments, and
    /// waits until its service is up.
    pub(crate) fn start(dataplane: &str, arguments: &[&str]) -> Self {
        Self::start_with(dataplane, "", arguments)
    }

    /// As [`Daemon::start`], with further lines for the service.
    pub(crate) fn start_with(dataplane: &str, service: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pin = pin();
        let config = directory.path().join("anycast.toml");
        let text = format!(
            r#"
[node]
name = "city-a"

[control]
socket = "{socket}"

[dataplane]
interfaces = ["left"]
pin = "{pin}"
{dataplane}

[[services]]
name = "dns"
addresses = ["192.168.250.1", "192.168.251.1", "fd00:250::1", "fd00:251::1"]
ports = ["udp/53"]
announce = []
{service}

[[services.checks]]
name = "always"
type = "exec"
command = ["true"]
interval = "100ms"
"#,
            socket = directory.path().join("socket").display(),
            pin = pin.display(),
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(binary());
        command.arg("run").arg("-c").arg(&config).args(arguments);
        let log = directory.path().join("log");
        let daemon = Self {
            process: Process::spawn("anycast", command, &log).unwrap(),
            directory,
            pin,
        };
        wait::until("the service to be up", Duration::from_secs(30), || {
            let (done, status) = daemon.ask(&["status", "--json"]);
            let up = serde_json::from_str::<serde_json::Value>(&status)
                .is_ok_and(|status| status["services"][0]["state"] == "up");
            Ok((done && up).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}: {}", daemon.log()));
        daemon
    }

    /// What the command line says to a command, and whether it succeeds.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(binary())
            .args(arguments)
            .env("ANYCAST_SOCKET", self.directory.path().join("socket"))
            .output()
            .unwrap();
        let said = if output.status.success() {
            output.stdout
        } else {
            output.stderr
        };
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    /// As [`Daemon::ask`], with the answer in JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let (done, said) = self.ask(arguments);
        assert!(done, "{arguments:?}: {said}");
        serde_json::from_str(&said).unwrap()
    }

    /// Asks it to end, as systemd does.
    pub(crate) fn terminate(&self) {
        self.process.signal_leader(Signal::SIGTERM).unwrap();
    }

    /// Whether it has pinned a map of this name.
    pub(crate) fn has_map(&self, name: &str) -> bool {
        self.pin.join(name).exists()
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}
