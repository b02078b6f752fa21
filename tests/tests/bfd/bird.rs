//! BIRD 2 as a BFD peer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anycast_tests::peers::{Daemon, Router, Scratch, run, wait_until};
use anyhow::{Context as _, Result};

use crate::daemon::{ADDRESSES, BfdDaemon, QUICK, View};

const HEAD: &str = "log stderr all;\nrouter id 10.0.1.2;\nprotocol device {}\n";

pub(crate) struct Bird {
    scratch: Scratch,
    namespace: u32,
    multiplier: u8,
    daemon: Option<Daemon>,
}

impl Bird {
    fn file(&self, name: &str) -> String {
        let path = self.scratch.path().join(name);
        path.to_string_lossy().into_owned()
    }

    fn write_configuration(&self, interval: Duration) -> Result<()> {
        let (millis, multiplier) = (interval.as_millis(), self.multiplier);
        let neighbors: String = ADDRESSES
            .map(|(node, router)| format!(" neighbor {node} dev \"router1\" local {router};\n"))
            .concat();
        let text = format!(
            "{HEAD}protocol bfd {{\n\
             \x20interface \"router1\" {{\n\
             \x20 min rx interval {millis} ms;\n\
             \x20 min tx interval {millis} ms;\n\
             \x20 multiplier {multiplier};\n\
             \x20}};\n\
             {neighbors}}}\n"
        );
        std::fs::write(self.file("bird.conf"), text).context("writing bird.conf")
    }

    /// Starts it with a protocol of this text instead of the sessions of [`ADDRESSES`].
    pub(crate) fn start_with(router: &Router, protocol: &str) -> Result<Self> {
        let mut bird = Self::new(router, QUICK)?;
        let text = format!("{HEAD}{protocol}");
        std::fs::write(bird.file("bird.conf"), text).context("writing bird.conf")?;
        bird.restart()?;
        Ok(bird)
    }

    /// Waits until the session with our IPv4 address is up, or down.
    pub(crate) fn wait_for_single(&self, up: bool) -> Result<()> {
        let address: IpAddr = ADDRESSES[0].0.parse()?;
        let limit = Duration::from_secs(10);
        wait_until("BIRD's view", limit, || {
            (self.views().ok()?.get(&address)?.up == up).then_some(())
        })
    }

    fn new(router: &Router, multiplier: u8) -> Result<Self> {
        Ok(Self {
            scratch: Scratch::new("bfd-bird")?,
            namespace: router.pid(),
            multiplier,
            daemon: None,
        })
    }

    fn birdc(&self, command: &str) -> Result<String> {
        let socket = self.file("bird.ctl");
        let mut arguments = vec!["-s", &socket];
        arguments.extend(command.split(' '));
        run("birdc", &arguments)
    }
}

impl BfdDaemon for Bird {
    fn start(router: &Router, multiplier: u8) -> Result<Self> {
        let mut bird = Self::new(router, multiplier)?;
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

    fn views(&self) -> Result<BTreeMap<IpAddr, View>> {
        let text = self.birdc("show bfd sessions")?;
        let mut views = BTreeMap::new();
        for line in text.lines() {
            let columns: Vec<&str> = line.split_whitespace().collect();
            // Address, interface, state, since (one column or two), interval, timeout.
            if let [node, _, state, .., interval, timeout] = columns[..]
                && let Ok(node) = node.parse()
            {
                let view = View {
                    up: state == "Up",
                    transmit: Duration::from_secs_f64(interval.parse()?),
                    detection: Duration::from_secs_f64(timeout.parse()?),
                };
                views.insert(node, view);
            }
        }
        Ok(views)
    }

    fn set_interval(&self, interval: Duration) -> Result<()> {
        self.write_configuration(interval)?;
        self.birdc("configure").map(|_| ())
    }
}
