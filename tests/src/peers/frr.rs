//! FRR 8 as a peer: zebra and bgpd, asked through vtysh.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Daemon, Options, Router, RoutingDaemon, Scratch, Table, run, wait_until};

/// Where Debian's package has the daemons.
const LIBRARY: &str = "/usr/lib/frr";

/// A running FRR in a router's namespace.
#[derive(Debug)]
pub struct Frr {
    scratch: Scratch,
    namespace: u32,
    zebra: Option<Daemon>,
    bgpd: Option<Daemon>,
    /// Only where a neighbour has `bfd`.
    bfdd: Option<Daemon>,
}

impl Frr {
    /// Starts FRR as AS 65001 with a session to the node, and more lines for the neighbour (`{}` stands
    /// for it) and for the router.
    ///
    /// # Errors
    /// FRR is not installed, or does not start.
    pub fn start_with(router: &Router, options: &Options, more: &str) -> Result<Self> {
        let text = configuration(router.link, options, more);
        Self::start_configured(router, &text)
    }

    fn start_configured(router: &Router, bgpd: &str) -> Result<Self> {
        let scratch = Scratch::new("frr")?;
        let path = scratch.path().to_string_lossy().into_owned();
        run("chown", &["frr:frr", &path])?;
        let mut frr = Self {
            scratch,
            namespace: router.pid(),
            zebra: None,
            bgpd: None,
            bfdd: None,
        };
        std::fs::write(frr.scratch.path().join("zebra.conf"), "log stdout\n")?;
        if bgpd.contains(" bfd") {
            std::fs::write(frr.scratch.path().join("bfdd.conf"), "log stdout\n")?;
        }
        std::fs::write(frr.scratch.path().join("bgpd.conf"), bgpd)?;
        frr.restart()?;
        Ok(frr)
    }

    /// Starts FRR as AS 65001 with a session over the link's interface, whoever is there (`external` or
    /// `internal`).
    ///
    /// # Errors
    /// FRR is not installed, or does not start.
    pub fn start_unnumbered(router: &Router, remote_as: &str) -> Result<Self> {
        let link = router.link;
        let interface = format!("router{link}");
        let neighbour = format!(
            "log stdout\n\
             router bgp 65001\n\
             \x20bgp router-id 10.0.{link}.2\n\
             \x20no bgp ebgp-requires-policy\n\
             \x20neighbor {interface} interface remote-as {remote_as}\n\
             \x20neighbor {interface} timers connect 1\n\
             \x20address-family ipv6 unicast\n\
             \x20 neighbor {interface} activate\n\
             \x20exit-address-family\n"
        );
        Self::start_configured(router, &neighbour)
    }

    /// The process that runs BFD.
    ///
    /// # Panics
    /// Where no neighbour has `bfd`, and after `kill`.
    #[must_use]
    pub fn bfdd(&self) -> &Daemon {
        self.bfdd.as_ref().expect("bfdd runs")
    }

    /// What `vtysh` answers.
    ///
    /// # Errors
    /// No daemon answers.
    pub fn vtysh(&self, command: &str) -> Result<String> {
        let directory = self.scratch.path().to_string_lossy().into_owned();
        run("vtysh", &["--vty_socket", &directory, "-c", command])
    }

    /// Enters configuration commands, one after the other.
    ///
    /// # Errors
    /// A daemon does not answer.
    pub fn configure(&self, commands: &[&str]) -> Result<String> {
        let directory = self.scratch.path().to_string_lossy().into_owned();
        let mut arguments = vec!["--vty_socket", &directory, "-c", "configure terminal"];
        for command in commands {
            arguments.extend(["-c", command]);
        }
        run("vtysh", &arguments)
    }

    /// What one daemon answers, at once.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ask(&self, daemon: &str, command: &str) -> Result<String> {
        let socket = self.scratch.path().join(format!("{daemon}.vty"));
        super::vty::ask(&socket, command)
    }

    fn daemon(&self, name: &str) -> Result<Daemon> {
        let directory = self.scratch.path();
        let file = |suffix: &str| {
            let path = directory.join(format!("{name}.{suffix}"));
            path.to_string_lossy().into_owned()
        };
        let program = format!("{LIBRARY}/{name}");
        let zserv = directory.join("zserv.api").to_string_lossy().into_owned();
        let log = directory.join(format!("{name}.log"));
        let (conf, pid) = (file("conf"), file("pid"));
        let vty = directory.to_string_lossy().into_owned();
        let control = file("sock");
        let mut arguments = vec!["-f", &conf, "-z", &zserv, "-i", &pid, "--vty_socket", &vty];
        if name == "bfdd" {
            arguments.extend(["--bfdctl", &control]);
        }
        Daemon::start(self.namespace, &log, &program, &arguments)
    }
}

fn configuration(link: u8, options: &Options, more: &str) -> String {
    let node = format!("10.0.{link}.1");
    let password = options
        .password
        .map(|secret| format!(" neighbor {node} password {secret}\n"))
        .unwrap_or_default();
    let gtsm = if options.ttl_security {
        format!(" neighbor {node} ttl-security hops 1\n")
    } else {
        String::new()
    };
    let more = more.replace("{}", &node);
    format!(
        "log stdout\n\
         router bgp 65001\n\
         \x20bgp router-id 10.0.{link}.2\n\
         \x20no bgp ebgp-requires-policy\n\
         \x20no bgp suppress-duplicates\n\
         \x20neighbor {node} remote-as 64512\n\
         \x20neighbor {node} timers connect 1\n\
         {password}{gtsm}{more}\
         \x20address-family ipv4 unicast\n\
         \x20 neighbor {node} soft-reconfiguration inbound\n\
         \x20exit-address-family\n\
         \x20address-family ipv6 unicast\n\
         \x20 neighbor {node} activate\n\
         \x20exit-address-family\n"
    )
}

impl RoutingDaemon for Frr {
    fn start(router: &Router, options: &Options) -> Result<Self> {
        Self::start_with(router, options, "")
    }

    fn table(&self) -> Result<Table> {
        let mut table = Table::new();
        for family in ["ipv4", "ipv6"] {
            let text = self.vtysh(&format!("show bgp {family} unicast json detail"))?;
            let answer: Value = serde_json::from_str(&text).unwrap_or_default();
            for (prefix, paths) in answer["routes"].as_object().into_iter().flatten() {
                table.insert(prefix.clone(), paths.to_string());
            }
        }
        Ok(table)
    }

    fn refresh(&self) -> Result<()> {
        self.vtysh("clear bgp * in").map(|_| ())
    }

    fn kill(&mut self) {
        self.bgpd = None;
        self.bfdd = None;
        self.zebra = None;
    }

    fn restart(&mut self) -> Result<()> {
        self.kill();
        self.zebra = Some(self.daemon("zebra")?);
        let zserv = self.scratch.path().join("zserv.api");
        let limit = Duration::from_secs(60);
        wait_until("zebra listens", limit, || zserv.exists().then_some(()))?;
        if self.scratch.path().join("bfdd.conf").exists() {
            self.bfdd = Some(self.daemon("bfdd")?);
        }
        self.bgpd = Some(self.daemon("bgpd")?);
        wait_until("bgpd answers", limit, || {
            self.vtysh("show bgp summary").ok()
        })
        .with_context(|| self.log())?;
        Ok(())
    }

    fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.scratch.path().join(name));
        read("bgpd.log").unwrap_or_default() + &read("zebra.log").unwrap_or_default()
    }
}
