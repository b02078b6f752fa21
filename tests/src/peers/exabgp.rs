//! ExaBGP as a peer: it has no table, so the table is built from what it says it has received.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
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
         capability {{ route-refresh enable; }}\n\
         api {{ processes [ events ]; neighbor-changes; receive {{ parsed; update; notification; }} }}\n\
         }}\n"
    )
}

impl RoutingDaemon for ExaBgp {
    fn start(router: &Router, options: &Options) -> Result<Self> {
        let scratch = Scratch::new("exabgp")?;
        let script = scratch.path().join("events.sh");
        let events = scratch.path().join("events.json");
        let commands = scratch.path().join("commands");
        // What is written to the pipe is a command for ExaBGP; what ExaBGP says is kept. The pipe is opened
        // for both directions, so that it never ends while the helper runs.
        let copy = format!(
            "#!/bin/sh\nmkfifo {commands}\nexec 3<>{commands}\ncat <&3 &\n\
             while read -r line; do printf '%s\\n' \"$line\" >> {events}; done\nkill $!\n",
            commands = commands.display(),
            events = events.display()
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
        let pipe = self.scratch.path().join("commands");
        let commands = "announce route-refresh ipv4 unicast\nannounce route-refresh ipv6 unicast\n";
        std::fs::OpenOptions::new()
            .write(true)
            .open(&pipe)?
            .write_all(commands.as_bytes())
            .context("the helper of ExaBGP does not read")
    }

    fn kill(&mut self) {
        self.daemon = None;
    }

    fn restart(&mut self) -> Result<()> {
        self.kill();
        let events = self.scratch.path().join("events.json");
        std::fs::write(&events, "")?;
        // The helper makes it anew.
        let _ = std::fs::remove_file(self.scratch.path().join("commands"));
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
        // It starts the helper once it has read its configuration.
        let pipe = self.scratch.path().join("commands");
        wait_until("ExaBGP starts", Duration::from_secs(60), || {
            pipe.exists().then_some(())
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
