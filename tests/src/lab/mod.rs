//! The lab: two cities that own one address, their routers, real servers, and a client.
//!
//! It drives the built `anycast` binary from outside, as an operator would. Whatever way it ends, its
//! owner's `Drop` leaves no namespace, process, pin or file; what a `kill -9` leaves, the next start removes.

pub mod control;
pub mod inspect;
pub mod load;
pub mod node;
pub mod probe;
pub mod router;
pub mod routes;
pub mod scenario;
mod services;
pub mod spread;
mod sudden;
pub mod timeline;
pub mod topology;
mod traces;

use std::path::Path;

use anyhow::{Context as _, bail};

use self::node::Node;
use self::router::Router;
use self::routes::RouteWatch;
use self::topology::{City, PREFIX, RouterName, Topology};
use self::traces::{Lock, Traces};
use crate::netns::Namespace;
use crate::process::find;

/// What has to be on the host: each program and the Debian package that brings it.
pub const PROGRAMS: [(&str, &str); 10] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("ping", "iputils-ping"),
    ("dig", "bind9-dnsutils"),
    ("curl", "curl"),
    ("bird", "bird2"),
    ("birdc", "bird2"),
    ("nsd", "nsd"),
    ("nginx", "nginx-light"),
    ("bpftool", "bpftool"),
];

/// A running lab.
///
/// The order of the fields is the order of taking down: daemons, namespaces, files, and the lock last.
#[derive(Debug)]
pub struct Lab {
    nodes: [Node; 2],
    routers: Vec<Router>,
    watches: Vec<(RouterName, RouteWatch)>,
    topology: Topology,
    _traces: Traces,
    _lock: Lock,
}

impl Lab {
    /// Removes what an earlier run has left, and starts everything. Sessions and routes come up by themselves
    /// after that.
    ///
    /// # Errors
    /// Without root, without one of the [`PROGRAMS`], while another lab runs, or when a daemon does not come up.
    pub fn start(binary: &Path) -> anyhow::Result<Self> {
        check_host(binary)?;
        let lock = Lock::take()?;
        let traces = Traces::prepare()?;
        let topology = Topology::create().context("wiring the lab")?;
        let mut watches = Vec::new();
        let mut routers = Vec::new();
        for name in RouterName::ALL {
            let namespace = topology.router(name);
            watches.push((name, RouteWatch::start(name.name(), namespace)?));
            routers.push(Router::start(name, namespace, traces.directory())?);
        }
        let node = |city: City| {
            let directory = traces.directory().join(city.name());
            Node::start(
                city,
                topology.node(city),
                binary,
                &directory,
                &traces.pin(city),
            )
        };
        let nodes = [node(City::A)?, node(City::B)?];
        Ok(Self {
            nodes,
            routers,
            watches,
            topology,
            _traces: traces,
            _lock: lock,
        })
    }

    /// A city's node.
    #[must_use]
    pub fn node(&self, city: City) -> &Node {
        match city {
            City::A => &self.nodes[0],
            City::B => &self.nodes[1],
        }
    }

    /// A city's node, to break it, and its namespace.
    pub fn node_mut(&mut self, city: City) -> (&mut Node, &Namespace) {
        let node = match city {
            City::A => &mut self.nodes[0],
            City::B => &mut self.nodes[1],
        };
        (node, self.topology.node(city))
    }

    /// The namespaces.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Where the kernel of a router sends a Service Address now: an interface, or nowhere.
    #[must_use]
    pub fn leads_to(&self, name: RouterName, service: &str) -> Option<String> {
        self.watch(name).leads_to(service)
    }

    /// A router's BIRD.
    ///
    /// # Panics
    /// Never: all routers run.
    #[must_use]
    pub fn router(&self, name: RouterName) -> &Router {
        self.routers
            .iter()
            .find(|router| router.name() == name)
            .expect("all routers run")
    }

    /// What a router's kernel table does.
    ///
    /// # Panics
    /// Never: all routers are watched.
    #[must_use]
    pub fn watch(&self, name: RouterName) -> &RouteWatch {
        let found = self.watches.iter().find(|(watched, _)| *watched == name);
        &found.expect("all routers are watched").1
    }
}

fn check_host(binary: &Path) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the lab makes network namespaces and loads eBPF programs: run it as root");
    }
    if !binary.is_file() {
        bail!(
            "there is no `anycast` binary at {}: build it first",
            binary.display()
        );
    }
    for (program, package) in PROGRAMS {
        if find(program).is_none() {
            bail!("the lab needs `{program}`, and it is not here: apt-get install {package}");
        }
    }
    Ok(())
}

/// The names of what an earlier run has left behind; empty after a clean end.
///
/// # Errors
/// When the host cannot be looked at.
pub fn leftovers() -> anyhow::Result<Vec<String>> {
    let mut found = traces::existing()?;
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) {
            found.push(format!("network namespace {name}"));
        }
    }
    Ok(found)
}
