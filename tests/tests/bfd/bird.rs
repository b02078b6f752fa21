//! BIRD 2 as a BFD peer.

use std::net::IpAddr;
use std::time::Duration;

use anycast_tests::peers::{Daemon, Router, Scratch, run, wait_until};
use anyhow::{Context as _, Result};

use crate::daemon::{ADDRESSES, BfdDaemon, View};

pub(crate) struct Bird {
    scratch: Scratch,
    namespace: u32,
    daemon: Option<Daemon>,
}

impl Bird {
    fn file(&self, name: &str) -> String {
        let path = self.scratch.path().join(name);
        path.to_string_lossy().into_owned()
    }

    fn write_configuration(&self, interval: Duration) -> Result<()> {
        let millis = interval.as_millis();
        let neighbors: String = ADDRESSES
            .map(|(node, router)| format!(" neighbor {node} dev \"router1\" local {router};\n"))
            .concat();
        let text = format!(
            "log stderr all;\n\
             router id 10.0.1.2;\n\
             protocol device {{}}\n\
             protocol bfd {{\n\
             \x20interface \"router1\" {{\n\
             \x20 min rx interval {millis} ms;\n\
             \x20 min tx interval {millis} ms;\n\
             \x20 multiplier 3;\n\
             \x20}};\n\
             {neighbors}}}\n"
        );
        std::fs::write(self.file("bird.conf"), text).context("writing bird.conf")
    }

    fn birdc(&self, command: &str) -> Result<String> {
        let socket = self.file("bird.ctl");
        let mut arguments = vec!["-s", &socket];
        arguments.extend(command.split(' '));
        run("birdc", &arguments)
    }
}

impl BfdDaemon for Bird {
    fn start(router: &Router) -> Result<Self> {
        let mut bird = Self {
            scratch: Scratch::new("bfd-bird")?,
            namespace: router.pid(),
            daemon: None,
        };
        bird.write_configuration(Duration::from_millis(50))?;
        bird.restart()?;
        Ok(bird)
    }

    fn kill(&mut self) {
        self.daemon = None;
    }

    fn restart(&mut self) -> Result<()> {
        self.kill();
        let (configuration, socket) = (self.file("bird.conf"), self.file("bird.ctl"));
        let log = self.scratch.path().join("bird.log");
        let arguments = ["-f", "-c", &configuration, "-s", &socket];
        self.daemon = Some(Daemon::start(self.namespace, &log, "bird", &arguments)?);
        wait_until("BIRD answers", Duration::from_secs(10), || {
            self.birdc("show status").ok()
        })
        .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        Ok(())
    }

    fn pid(&self) -> Result<u32> {
        Ok(self.daemon.as_ref().context("BIRD was killed")?.pid())
    }

    fn view(&self, node: IpAddr) -> Result<View> {
        let text = self.birdc("show bfd sessions")?;
        let columns: Vec<&str> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|columns| columns.first().and_then(|first| first.parse().ok()) == Some(node))
            .with_context(|| format!("no session with {node} in:\n{text}"))?;
        // Address, interface, state, since (one column or two), interval, timeout.
        let interval: f64 = columns[columns.len() - 2].parse()?;
        Ok(View {
            up: columns[2] == "Up",
            transmit: Duration::from_secs_f64(interval),
        })
    }

    fn set_interval(&self, interval: Duration) -> Result<()> {
        self.write_configuration(interval)?;
        self.birdc("configure").map(|_| ())
    }
}
