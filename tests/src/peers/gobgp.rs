//! GoBGP as a peer.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Daemon, Options, Router, RoutingDaemon, Scratch, Table, run, wait_until};

/// A running gobgpd in a router's namespace.
#[derive(Debug)]
pub struct GoBgp {
    scratch: Scratch,
    namespace: u32,
    /// The node's address.
    node: String,
    daemon: Option<Daemon>,
}

impl GoBgp {
    /// What `gobgp` answers.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn gobgp(&self, arguments: &[&str]) -> Result<String> {
        let namespace = self.namespace.to_string();
        let mut all = vec!["--net", "-t", &namespace, "gobgp"];
        all.extend_from_slice(arguments);
        run("nsenter", &all)
    }
}

fn configuration(link: u8, options: &Options) -> String {
    let password = options
        .password
        .map(|secret| format!("auth-password = \"{secret}\"\n"))
        .unwrap_or_default();
    let gtsm = if options.ttl_security {
        "[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255\n"
    } else {
        ""
    };
    format!(
        "[global.config]\nas = 65001\nrouter-id = \"10.0.{link}.2\"\n\
         [[neighbors]]\n\
         [neighbors.config]\nneighbor-address = \"10.0.{link}.1\"\npeer-as = 64512\n{password}\
         [neighbors.timers.config]\nconnect-retry = 1\nidle-hold-time-after-reset = 1\n\
         [neighbors.transport.config]\nlocal-address = \"10.0.{link}.2\"\n\
         {gtsm}\
         [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"ipv4-unicast\"\n\
         [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"ipv6-unicast\"\n"
    )
}

impl RoutingDaemon for GoBgp {
    fn start(router: &Router, options: &Options) -> Result<Self> {
        let scratch = Scratch::new("gobgp")?;
        let text = configuration(router.link, options);
        std::fs::write(scratch.path().join("gobgpd.conf"), text)?;
        let mut gobgp = Self {
            scratch,
            namespace: router.pid(),
            node: format!("10.0.{}.1", router.link),
            daemon: None,
        };
        gobgp.restart()?;
        Ok(gobgp)
    }

    fn table(&self) -> Result<Table> {
        let mut table = Table::new();
        for family in ["ipv4", "ipv6"] {
            let text = self.gobgp(&["global", "rib", "-a", family, "-j"])?;
            let answer: Value = serde_json::from_str(&text).unwrap_or_default();
            for (prefix, paths) in answer.as_object().into_iter().flatten() {
                table.insert(prefix.clone(), paths.to_string());
            }
        }
        Ok(table)
    }

    /// GoBGP looks at its own Adj-RIB-In again, and sends no ROUTE-REFRESH.
    fn refresh(&self) -> Result<()> {
        self.gobgp(&["neighbor", &self.node, "softresetin"])
            .map(|_| ())
    }

    fn kill(&mut self) {
        self.daemon = None;
    }

    fn restart(&mut self) -> Result<()> {
        self.kill();
        let configuration = self.scratch.path().join("gobgpd.conf");
        self.daemon = Some(Daemon::start(
            self.namespace,
            &self.scratch.path().join("gobgpd.log"),
            "gobgpd",
            &["-f", &configuration.to_string_lossy()],
        )?);
        wait_until("gobgpd answers", Duration::from_secs(60), || {
            self.gobgp(&["neighbor"]).ok()
        })
        .with_context(|| self.log())?;
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("gobgpd.log")).unwrap_or_default()
    }
}
