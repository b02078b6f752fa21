//! ExaBGP as a peer: it has no table, so the table is built from what it says it has received.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Daemon, Options, Router, RoutingDaemon, Scratch, Table, wait_until};

/// A running ExaBGP in a router's namespace.
#[derive(Debug)]
pub struct ExaBgp {
    scratch: Scratch,
    namespace: u32,
    daemon: Option<Daemon>,
}

fn configuration(link: u8, options: &Options, script: &str) -> String {
    let password = options
        .password
        .map(|secret| format!("md5-password \"{secret}\";\n"))
        .unwrap_or_default();
    let gtsm = if options.ttl_security {
        "outgoing-ttl 255;\nincoming-ttl 255;\n"
    } else {
        ""
    };
    format!(
        "process events {{ run {script}; encoder json; }}\n\
         neighbor 10.0.{link}.1 {{\n\
         router-id 10.0.{link}.2;\nlocal-address 10.0.{link}.2;\nlocal-as 65001;\npeer-as 64512;\n\
         {password}{gtsm}\
         family {{ ipv4 unicast; ipv6 unicast; }}\n\
         api {{ processes [ events ]; neighbor-changes; receive {{ parsed; update; notification; }} }}\n\
         }}\n"
    )
}

impl RoutingDaemon for ExaBgp {
    fn start(router: &Router, options: &Options) -> Result<Self> {
        let scratch = Scratch::new("exabgp")?;
        let script = scratch.path().join("events.sh");
        let events = scratch.path().join("events.json");
        // ExaBGP takes a helper for dead when its standard output is closed: only the lines go elsewhere.
        let copy = format!(
            "#!/bin/sh\nwhile read -r line; do printf '%s\\n' \"$line\" >> {}; done\n",
            events.display()
        );
        std::fs::write(&script, copy)?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        let text = configuration(router.link, options, &script.to_string_lossy());
        std::fs::write(scratch.path().join("exabgp.conf"), text)?;
        let mut exabgp = Self {
            scratch,
            namespace: router.pid(),
            daemon: None,
        };
        exabgp.restart()?;
        Ok(exabgp)
    }

    fn table(&self) -> Result<Table> {
        let events = std::fs::read_to_string(self.scratch.path().join("events.json"))?;
        let mut table = Table::new();
        for line in events.lines() {
            // The last line may still be being written.
            let Ok(event) = serde_json::from_str::<Value>(line) else {
                break;
            };
            apply(&mut table, &event);
        }
        Ok(table)
    }

    fn refresh(&self) -> Result<()> {
        bail!("ExaBGP keeps no routes, and so never asks for them again")
    }

    fn kill(&mut self) {
        self.daemon = None;
    }

    fn restart(&mut self) -> Result<()> {
        self.kill();
        let events = self.scratch.path().join("events.json");
        std::fs::write(&events, "")?;
        let configuration = self.scratch.path().join("exabgp.conf");
        let daemon = Daemon::start(
            self.namespace,
            &self.scratch.path().join("exabgp.log"),
            "env",
            &[
                "exabgp_daemon_user=root",
                "exabgp_daemon_drop=false",
                "exabgp_tcp_once=false",
                "exabgp_api_cli=false",
                "exabgp",
                &configuration.to_string_lossy(),
            ],
        )?;
        self.daemon = Some(daemon);
        let log = self.scratch.path().join("exabgp.log");
        wait_until("ExaBGP starts", Duration::from_secs(60), || {
            let text = std::fs::read_to_string(&log).ok()?;
            text.contains("configuration").then_some(())
        })
        .with_context(|| self.log())?;
        Ok(())
    }

    fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.scratch.path().join(name));
        read("exabgp.log").unwrap_or_default() + &read("events.json").unwrap_or_default()
    }
}

/// What one event makes of the table.
fn apply(table: &mut Table, event: &Value) {
    if event["neighbor"]["state"] == "down" {
        table.clear();
    }
    let update = &event["neighbor"]["message"]["update"];
    for routes in update["withdraw"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, routes)| routes)
    {
        for route in routes.as_array().into_iter().flatten() {
            table.remove(route["nlri"].as_str().unwrap_or_default());
        }
    }
    for (_, by_next_hop) in update["announce"].as_object().into_iter().flatten() {
        for (next_hop, routes) in by_next_hop.as_object().into_iter().flatten() {
            for route in routes.as_array().into_iter().flatten() {
                let prefix = route["nlri"].as_str().unwrap_or_default().to_owned();
                table.insert(prefix, format!("{next_hop} {}", update["attribute"]));
            }
        }
    }
}
