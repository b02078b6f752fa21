//! A router: BIRD with OSPF to its neighbours and, in a city, eBGP from the node.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::topology::{
    City, LINKS, NODE_AS, RouterName, SERVICE_V4, SERVICE_V6, TO_CLIENT, TO_NODE,
};
use crate::netns::Namespace;
use crate::process::{self, Process};
use crate::wait;

/// A running BIRD.
#[derive(Debug)]
pub struct Router {
    name: RouterName,
    control: std::path::PathBuf,
    _bird: Process,
}

impl Router {
    /// Starts it, its files under `directory`.
    ///
    /// # Errors
    /// When BIRD is missing or does not come up.
    pub fn start(
        name: RouterName,
        namespace: &Namespace,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let file = |suffix: &str| directory.join(format!("{}.{suffix}", name.name()));
        let (config, control) = (file("conf"), file("ctl"));
        fs::write(&config, configuration(name))
            .with_context(|| format!("writing {}", config.display()))?;
        let mut command = namespace.command("bird")?;
        command
            .arg("-f")
            .arg("-c")
            .arg(&config)
            .arg("-s")
            .arg(&control)
            .arg("-P")
            .arg(file("pid"));
        let mut bird = Process::spawn(&format!("BIRD in {}", name.name()), command, &file("log"))?;
        wait::until(
            &format!("BIRD's socket {}", control.display()),
            Duration::from_secs(5),
            || {
                bird.still_runs()?;
                Ok(control.exists().then_some(()))
            },
        )?;
        Ok(Self {
            name,
            control,
            _bird: bird,
        })
    }

    /// Which router it is.
    #[must_use]
    pub fn name(&self) -> RouterName {
        self.name
    }

    /// What `birdc COMMAND` prints.
    ///
    /// # Errors
    /// When BIRD does not answer.
    pub fn ask(&self, command: &str) -> anyhow::Result<String> {
        let mut birdc = process::command("birdc");
        birdc
            .arg("-r")
            .arg("-s")
            .arg(&self.control)
            .args(command.split(' '));
        process::output(birdc)
    }
}

/// Both families; a `format!` per family would hide how alike they are.
const FAMILIES: [(&str, &str); 2] = [("ipv4", "ospf v2 ospf4"), ("ipv6", "ospf v3 ospf6")];

fn configuration(name: RouterName) -> String {
    let mut text = format!(
        "log stderr {{ info, remote, warning, error, auth, fatal, bug }};\n\
         router id 10.255.0.{};\n\
         protocol device {{ }}\n\
         {COMMON}",
        name.number()
    );
    for (family, ospf) in FAMILIES {
        text += &format!(
            "protocol kernel kernel_{family} {{\n  {family} {{ export where source != RTS_DEVICE; }};\n}}\n\
             protocol {ospf} {{\n  tick 1;\n  {family} {{ import all; export filter redistribute; }};\n  area 0 {{\n"
        );
        for (neighbour, cost) in neighbours(name) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "    interface \"{}\" {{ type ptp; cost {cost}; hello 1; dead 4; }};",
                neighbour.name()
            );
        }
        if let Some(edge) = edge_interface(name) {
            let _ = writeln!(text, "    interface \"{edge}\" {{ stub; cost 1; }};");
        }
        text += "  };\n}\n";
    }
    if let RouterName::Of(city) = name {
        text += &bgp(city);
    }
    text
}

/// What a city's router takes from its node, and how the others learn of it: the metric that they see is
/// 100 and the node's MED, or a bad one while the node asks to be drained (RFC 8326).
const COMMON: &str = "filter redistribute {
  if source != RTS_BGP then reject;
  ospf_metric1 = 100;
  if defined(bgp_med) then ospf_metric1 = 100 + bgp_med;
  if (65535, 0) ~ bgp_community then ospf_metric1 = 20000;
  accept;
}
";

/// The city's own node goes before what OSPF says of the other city (150).
fn bgp(city: City) -> String {
    let mut text = String::new();
    for (name, family, service, router, node) in [
        (
            "node4",
            "ipv4",
            format!("{SERVICE_V4}/32"),
            city.router_v4(),
            city.node_v4(),
        ),
        (
            "node6",
            "ipv6",
            format!("{SERVICE_V6}/128"),
            city.router_v6(),
            city.node_v6(),
        ),
    ] {
        text += &format!(
            "protocol bgp {name} {{
  local {router} as {};
  neighbor {node} as {NODE_AS};
  error wait time 1, 2;
  connect delay time 1;
  connect retry time 2;
  {family} {{ preference 200; import where net = {service}; export none; }};
}}
",
            city.router_as()
        );
    }
    text
}

fn neighbours(name: RouterName) -> impl Iterator<Item = (RouterName, u32)> {
    LINKS.into_iter().filter_map(move |(left, right, cost)| {
        if left == name {
            Some((right, cost))
        } else if right == name {
            Some((left, cost))
        } else {
            None
        }
    })
}

fn edge_interface(name: RouterName) -> Option<&'static str> {
    match name {
        RouterName::Exchange => Some(TO_CLIENT),
        RouterName::Backbone => None,
        RouterName::Of(_) => Some(TO_NODE),
    }
}
