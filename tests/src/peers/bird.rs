//! BIRD 2 as a peer.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Daemon, Options, Router, RoutingDaemon, Scratch, Table, run, wait_until};

/// A running BIRD in a router's namespace.
#[derive(Debug)]
pub struct Bird {
    scratch: Scratch,
    namespace: u32,
    daemon: Option<Daemon>,
}

impl Bird {
    /// Starts BIRD with a configuration file of this content, and waits until it answers.
    ///
    /// # Errors
    /// BIRD is not installed, does not start, or refuses the configuration.
    pub fn start_with(router: &Router, configuration: &str) -> Result<Self> {
        let scratch = Scratch::new("bird")?;
        std::fs::write(scratch.path().join("bird.conf"), configuration)?;
        let mut bird = Self {
            scratch,
            namespace: router.pid(),
            daemon: None,
        };
        bird.restart()?;
        Ok(bird)
    }

    /// A session with the node at the other end of a link, as AS 65001 with AS `remote_as`.
    /// `options` go into the BGP protocol, after the defaults that keep tests short.
    pub fn session(link: u8, remote_as: u32, options: &str) -> String {
        format!(
            "log stderr all;\n\
             router id 10.0.{link}.2;\n\
             protocol device {{}}\n\
             protocol bgp node {{\n\
             local 10.0.{link}.2 as 65001;\n\
             neighbor 10.0.{link}.1 as {remote_as};\n\
             connect delay time 1;\n connect retry time 1;\n error wait time 1, 2;\n\
             ipv4 {{ import all; export none; }};\n\
             ipv6 {{ import all; export none; }};\n\
             {options}\n}}\n"
        )
    }

    /// The process.
    ///
    /// # Panics
    /// After `kill`.
    pub fn process(&self) -> &Daemon {
        self.daemon.as_ref().expect("BIRD runs")
    }

    /// What `birdc` answers.
    ///
    /// # Errors
    /// BIRD does not answer.
    pub fn birdc(&self, command: &str) -> Result<String> {
        let socket = self.file("bird.ctl").to_string_lossy().into_owned();
        let mut arguments = vec!["-s", &socket];
        arguments.extend(command.split_whitespace());
        run("birdc", &arguments)
    }

    /// Waits until the answer to a command satisfies a test, and returns it.
    ///
    /// # Errors
    /// It does not within 30 seconds; the error has the last answer and BIRD's log.
    pub fn wait_for(&self, command: &str, test: impl Fn(&str) -> bool) -> Result<String> {
        let mut last = String::new();
        let limit = Duration::from_secs(30);
        let found = wait_until(&format!("BIRD's answer to `{command}`"), limit, || {
            last = self
                .birdc(command)
                .unwrap_or_else(|error| error.to_string());
            test(&last).then(|| last.clone())
        });
        found.with_context(|| format!("last answer:\n{last}\nlog:\n{}", self.log()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

impl RoutingDaemon for Bird {
    fn start(router: &Router, options: &Options) -> Result<Self> {
        let password = options
            .password
            .map(|secret| format!("password \"{secret}\";\n"))
            .unwrap_or_default();
        let gtsm = if options.ttl_security {
            "ttl security on;"
        } else {
            ""
        };
        let session = Self::session(router.link, 64512, &(password + gtsm));
        Self::start_with(router, &session)
    }

    fn table(&self) -> Result<Table> {
        let mut table = Table::new();
        let mut last = String::new();
        for line in self.birdc("show route all")?.lines() {
            let first = line.split_whitespace().next().unwrap_or_default();
            if !line.starts_with([' ', '\t']) && first.contains('/') {
                first.clone_into(&mut last);
            }
            if !last.is_empty() {
                table.entry(last.clone()).or_default().push_str(line);
            }
        }
        Ok(table)
    }

    fn refresh(&self) -> Result<()> {
        self.birdc("reload in node").map(|_| ())
    }

    fn kill(&mut self) {
        self.daemon = None;
    }

    fn restart(&mut self) -> Result<()> {
        self.daemon = None;
        let file = |name: &str| self.file(name).to_string_lossy().into_owned();
        let (configuration, socket) = (file("bird.conf"), file("bird.ctl"));
        let daemon = Daemon::start(
            self.namespace,
            &self.file("bird.log"),
            "bird",
            &["-f", "-c", &configuration, "-s", &socket],
        )?;
        self.daemon = Some(daemon);
        wait_until("BIRD answers", Duration::from_secs(60), || {
            self.birdc("show status").ok()
        })
        .with_context(|| self.log())?;
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.file("bird.log")).unwrap_or_default()
    }
}
