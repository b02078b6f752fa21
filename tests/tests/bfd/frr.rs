//! FRR as a BFD peer: zebra, which knows the interfaces, and bfdd.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anycast_tests::peers::{Daemon, Router, Scratch, run, vty, wait_until};
use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::daemon::{ADDRESSES, BfdDaemon, View};

/// Where Debian's package has the daemons.
const LIBRARY: &str = "/usr/lib/frr";

pub(crate) struct Frr {
    scratch: Scratch,
    namespace: u32,
    zebra: Option<Daemon>,
    bfdd: Option<Daemon>,
}

impl Frr {
    fn directory(&self) -> String {
        self.scratch.path().to_string_lossy().into_owned()
    }

    fn daemon(&self, name: &str, more: &[&str]) -> Result<Daemon> {
        let directory = self.directory();
        let configuration = format!("{directory}/{name}.conf");
        let pid = format!("{directory}/{name}.pid");
        let zserv = format!("{directory}/zserv.api");
        let mut arguments = vec!["-f", &configuration, "-i", &pid, "-z", &zserv];
        arguments.extend(["--vty_socket", &directory]);
        arguments.extend(more);
        let log = self.scratch.path().join(format!("{name}.log"));
        Daemon::start(
            self.namespace,
            &log,
            &format!("{LIBRARY}/{name}"),
            &arguments,
        )
    }

    fn vtysh(&self, commands: &[&str]) -> Result<String> {
        let directory = self.directory();
        let mut arguments = vec!["--vty_socket", &directory];
        arguments.extend(commands.iter().flat_map(|command| ["-c", command]));
        run("vtysh", &arguments)
    }

    /// Asks bfdd as vtysh does, without the tenths of a second that vtysh takes to start.
    fn ask(&self, command: &str) -> Result<String> {
        vty::ask(&self.scratch.path().join("bfdd.vty"), command)
    }

    fn sessions(&self) -> Result<Vec<Value>> {
        let text = self.ask("show bfd peers json")?;
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
            self.vtysh(&["configure terminal", "bfd", &peer, command])?;
        }
        Ok(())
    }
}

fn peer(node: &str, router: &str) -> String {
    format!("peer {node} local-address {router} interface router1")
}

impl BfdDaemon for Frr {
    fn start(router: &Router) -> Result<Self> {
        let scratch = Scratch::new("bfd-frr")?;
        let mut frr = Self {
            scratch,
            namespace: router.pid(),
            zebra: None,
            bfdd: None,
        };
        run("chown", &["frr:frr", &frr.directory()])?;
        let mut text = "log stdout\nbfd\n".to_owned();
        for (node, router) in ADDRESSES {
            write!(
                text,
                " {}\n  receive-interval 50\n  transmit-interval 50\n  detect-multiplier 3\n !\n",
                peer(node, router)
            )?;
        }
        std::fs::write(frr.scratch.path().join("bfdd.conf"), text)?;
        std::fs::write(frr.scratch.path().join("zebra.conf"), "log stdout\n")?;
        frr.zebra = Some(frr.daemon("zebra", &[])?);
        let zserv = frr.scratch.path().join("zserv.api");
        wait_until("zebra listens", Duration::from_secs(10), || {
            zserv.exists().then_some(())
        })?;
        frr.restart()?;
        Ok(frr)
    }

    fn kill(&mut self) {
        self.bfdd = None;
    }

    fn restart(&mut self) -> Result<()> {
        self.kill();
        let control = format!("{}/bfdd.sock", self.directory());
        self.bfdd = Some(self.daemon("bfdd", &["--bfdctl", &control])?);
        wait_until("bfdd answers", Duration::from_secs(10), || {
            self.sessions().ok()
        })?;
        Ok(())
    }

    fn pid(&self) -> Result<u32> {
        Ok(self.bfdd.as_ref().context("bfdd was killed")?.pid())
    }

    fn views(&self) -> Result<BTreeMap<IpAddr, View>> {
        let view = |session: &Value| {
            let interval = |key: &str| session[key].as_u64().unwrap_or_default();
            let transmit = interval("transmit-interval").max(interval("remote-receive-interval"));
            let view = View {
                up: session["status"] == "up",
                transmit: Duration::from_millis(transmit),
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
