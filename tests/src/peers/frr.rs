//! FRR as a peer: zebra and bgpd, and bfdd where it is wanted.

use anyhow::Result;
use serde_json::Value;

use super::{Daemon, FrrDaemons, Options, Router, RoutingDaemon, Table};

/// A running FRR in a router's namespace.
#[derive(Debug)]
pub struct Frr {
    daemons: FrrDaemons,
    /// Whether a neighbour has `bfd`.
    watches: bool,
    zebra: Option<Daemon>,
    bgpd: Option<Daemon>,
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
        let daemons = FrrDaemons::new(router)?;
        daemons.configure("zebra", "")?;
        daemons.configure("bfdd", "")?;
        daemons.configure("bgpd", bgpd)?;
        let mut frr = Self {
            daemons,
            watches: bgpd.contains(" bfd"),
            zebra: None,
            bgpd: None,
            bfdd: None,
        };
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
            "router bgp 65001\n\
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
        self.daemons.vtysh(&[command])
    }

    /// Enters configuration commands, one after the other.
    ///
    /// # Errors
    /// A daemon does not answer.
    pub fn configure(&self, commands: &[&str]) -> Result<String> {
        self.daemons
            .vtysh(&[&["configure terminal"], commands].concat())
    }

    /// What one daemon answers, at once.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ask(&self, daemon: &str, command: &str) -> Result<String> {
        self.daemons.ask(daemon, command)
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
        "router bgp 65001\n\
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
        self.zebra = Some(self.daemons.start("zebra")?);
        if self.watches {
            self.bfdd = Some(self.daemons.start("bfdd")?);
        }
        self.bgpd = Some(self.daemons.start("bgpd")?);
        self.daemons
            .wait_for("bgpd", || self.vtysh("show bgp summary").ok())
            .map(|_| ())
    }

    fn log(&self) -> String {
        self.daemons.log("bgpd") + &self.daemons.log("zebra")
    }
}
