//! FRR as a BFD peer: zebra, which knows the interfaces, and bfdd.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anycast_tests::peers::{Daemon, FrrDaemons, Router};
use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::daemon::{ADDRESSES, BfdDaemon, View};

pub(crate) struct Frr {
    daemons: FrrDaemons,
    _zebra: Daemon,
    bfdd: Option<Daemon>,
}

impl Frr {
    fn sessions(&self) -> Result<Vec<Value>> {
        let text = self.daemons.ask("bfdd", "show bfd peers json")?;
        serde_json::from_str(&text).with_context(|| format!("FRR's sessions:\n{text}"))
    }

    /// What FRR says of the reasons that the node last gave.
    pub(crate) fn remote_diagnostics(&self) -> Result<Vec<Value>> {
        let sessions = self.sessions()?.into_iter();
        Ok(sessions
            .map(|session| session["remote-diagnostic"].clone())
            .collect())
    }

    /// Applies a command to every session: `"shutdown"`.
    pub(crate) fn configure_peers(&self, command: &str) -> Result<()> {
        for (node, router) in ADDRESSES {
            let peer = peer(node, router);
            self.daemons
                .vtysh(&["configure terminal", "bfd", &peer, command])?;
        }
        Ok(())
    }
}

fn peer(node: &str, router: &str) -> String {
    format!("peer {node} local-address {router} interface router1")
}

impl BfdDaemon for Frr {
    fn start(router: &Router, multiplier: u8) -> Result<Self> {
        let daemons = FrrDaemons::new(router)?;
        let mut text = "bfd\n".to_owned();
        for (node, router) in ADDRESSES {
            write!(
                text,
                " {}\n  receive-interval 50\n  transmit-interval 50\n  detect-multiplier {multiplier}\n !\n",
                peer(node, router)
            )?;
        }
        daemons.configure("bfdd", &text)?;
        daemons.configure("zebra", "")?;
        let zebra = daemons.start("zebra")?;
        let mut frr = Self {
            daemons,
            _zebra: zebra,
            bfdd: None,
        };
        frr.restart()?;
        Ok(frr)
    }

    fn kill(&mut self) {
        self.bfdd = None;
    }

    fn restart(&mut self) -> Result<()> {
        self.kill();
        self.bfdd = Some(self.daemons.start("bfdd")?);
        self.daemons
            .wait_for("bfdd", || self.sessions().ok())
            .map(|_| ())
    }

    fn pid(&self) -> Result<u32> {
        Ok(self.bfdd.as_ref().context("bfdd was killed")?.pid())
    }

    fn views(&self) -> Result<BTreeMap<IpAddr, View>> {
        let view = |session: &Value| {
            let interval = |key: &str| session[key].as_u64().unwrap_or_default();
            let transmit = interval("transmit-interval").max(interval("remote-receive-interval"));
            let receive = interval("receive-interval").max(interval("remote-transmit-interval"));
            let detection = receive * interval("remote-detect-multiplier");
            let view = View {
                up: session["status"] == "up",
                transmit: Duration::from_millis(transmit),
                detection: Duration::from_millis(detection),
            };
            Some((session["peer"].as_str()?.parse().ok()?, view))
        };
        Ok(self.sessions()?.iter().filter_map(view).collect())
    }

    fn set_interval(&self, interval: Duration) -> Result<()> {
        let millis = interval.as_millis();
        for direction in ["receive", "transmit"] {
            self.configure_peers(&format!("{direction}-interval {millis}"))?;
        }
        Ok(())
    }
}
