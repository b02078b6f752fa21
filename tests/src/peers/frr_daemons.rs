//! FRR's daemons, whichever of them a test needs: how they are started and asked.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Daemon, Router, Scratch, run, vty, wait_until};

/// Where Debian's package has the daemons.
const LIBRARY: &str = "/usr/lib/frr";
/// Which file bfdd makes its control socket of.
const CONTROL_SOCKET: &str = "--bfdctl";
/// Longer than any of them takes to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory for the files of FRR's daemons in a router's namespace.
#[derive(Debug)]
pub struct FrrDaemons {
    scratch: Scratch,
    namespace: u32,
}

impl FrrDaemons {
    /// Makes the directory.
    ///
    /// # Errors
    /// FRR is not installed: it has no user.
    pub fn new(router: &Router) -> Result<Self> {
        let scratch = Scratch::new("frr")?;
        run("chown", &["frr:frr", &scratch.path().to_string_lossy()])?;
        let namespace = router.pid();
        Ok(Self { scratch, namespace })
    }

    /// Writes the configuration of a daemon, which logs.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self, name: &str, text: &str) -> Result<()> {
        let path = self.file(name, "conf");
        std::fs::write(&path, format!("log stdout\n{text}")).context(path)
    }

    /// Starts a daemon. Zebra is the first, and listens once this returns.
    ///
    /// # Errors
    /// It is not installed, or zebra does not listen.
    pub fn start(&self, name: &str) -> Result<Daemon> {
        let program = format!("{LIBRARY}/{name}");
        let directory = self.directory();
        let zserv = format!("{directory}/zserv.api");
        let (conf, pid, control) = (
            self.file(name, "conf"),
            self.file(name, "pid"),
            self.file(name, "sock"),
        );
        let mut arguments = vec!["-f", &conf, "-i", &pid, "-z", &zserv];
        arguments.extend(["--vty_socket", &directory]);
        // Without it, bfdd would take the socket of this machine's own FRR. From 10 on it has neither.
        if name == "bfdd" && run(&program, &["--help"])?.contains(CONTROL_SOCKET) {
            arguments.extend([CONTROL_SOCKET, &control]);
        }
        let log = self.file(name, "log");
        let daemon = Daemon::start(self.namespace, Path::new(&log), &program, &arguments)?;
        if name == "zebra" {
            wait_until("zebra listens", PATIENCE, || {
                Path::new(&zserv).exists().then_some(())
            })?;
        }
        Ok(daemon)
    }

    /// Waits until a daemon answers.
    ///
    /// # Errors
    /// It does not; the error has its log.
    pub fn wait_for<T>(&self, name: &str, answer: impl FnMut() -> Option<T>) -> Result<T> {
        wait_until(&format!("{name} answers"), PATIENCE, answer).with_context(|| self.log(name))
    }

    /// What `vtysh` answers to commands, one after the other.
    ///
    /// # Errors
    /// No daemon answers.
    pub fn vtysh(&self, commands: &[&str]) -> Result<String> {
        let directory = self.directory();
        let mut arguments = vec!["--vty_socket", &directory];
        arguments.extend(commands.iter().flat_map(|command| ["-c", command]));
        run("vtysh", &arguments)
    }

    /// What one daemon answers, without the tenths of a second that vtysh takes to start.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ask(&self, name: &str, command: &str) -> Result<String> {
        vty::ask(Path::new(&self.file(name, "vty")), command)
    }

    /// What a daemon has logged.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name, "log")).unwrap_or_default()
    }

    fn directory(&self) -> String {
        self.scratch.path().to_string_lossy().into_owned()
    }

    fn file(&self, name: &str, suffix: &str) -> String {
        format!("{}/{name}.{suffix}", self.directory())
    }
}
