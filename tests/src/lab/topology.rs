//! The lab's map: who is connected to whom, and every address in it.
//!
//! ```text
//!   client --- exchange ------------ router-a --- node-a     city A
//!                  |         10          |
//!               10 |                     | 15
//!                  |         10          |
//!              backbone ------------ router-b --- node-b     city B
//! ```
//!
//! The four routers speak OSPF with the costs shown, so the client's packets reach city A at 10 and city B
//! at 20. City B lies one router further: a reply with TTL 62 has come from A, one with 61 from B. The link
//! between router-a and router-b carries what is still on its way to A when A has withdrawn.

use std::os::fd::OwnedFd;

use crate::netns::{Namespace, veth};

/// What every namespace of the lab is called first.
pub const PREFIX: &str = "anycast-lab-";
/// The Service Address of both cities.
pub const SERVICE_V4: &str = "192.168.250.1";
/// The same for IPv6.
pub const SERVICE_V6: &str = "fd00:250::1";
/// The AS of the nodes.
pub const NODE_AS: u32 = 64512;
/// The name that the DNS servers serve.
pub const ZONE: &str = "city.example";

/// One of the two cities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum City {
    /// The nearer one.
    A,
    /// The one that is one router further.
    B,
}

impl City {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The name, as the zone's TXT record, the page and the node say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "city-a",
            Self::B => "city-b",
        }
    }

    /// The city of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|city| city.name() == name)
    }

    /// The city that a ping's reply has come from, told by the routers on its way.
    #[must_use]
    pub const fn from_ttl(ttl: u8) -> Option<Self> {
        match ttl {
            62 => Some(Self::A),
            61 => Some(Self::B),
            _ => None,
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// `a` or `b`, for file names.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }

    /// Its number, in addresses and AS numbers.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::A => 1,
            Self::B => 2,
        }
    }

    /// The AS of its router.
    #[must_use]
    pub const fn router_as(self) -> u32 {
        65000 + self.number()
    }

    /// The router's address on the link to the node.
    #[must_use]
    pub fn router_v4(self) -> String {
        format!("10.0.{}.1", self.number())
    }

    /// The same for IPv6.
    #[must_use]
    pub fn router_v6(self) -> String {
        format!("fd00:{}::1", self.number())
    }

    /// The node's address on the link to its router.
    #[must_use]
    pub fn node_v4(self) -> String {
        format!("10.0.{}.2", self.number())
    }

    /// The same for IPv6.
    #[must_use]
    pub fn node_v6(self) -> String {
        format!("fd00:{}::2", self.number())
    }
}

impl std::fmt::Display for City {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One of the four routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterName {
    /// The client's.
    Exchange,
    /// On the way from the client to city B.
    Backbone,
    /// A city's own.
    Of(City),
}

impl RouterName {
    /// All four.
    pub const ALL: [Self; 4] = [
        Self::Exchange,
        Self::Backbone,
        Self::Of(City::A),
        Self::Of(City::B),
    ];

    /// The name, also of its interfaces at its neighbours.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Backbone => "backbone",
            Self::Of(City::A) => "router-a",
            Self::Of(City::B) => "router-b",
        }
    }

    /// Unique among the routers, for router ids and addresses.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Exchange => 3,
            Self::Backbone => 4,
            Self::Of(city) => city.number(),
        }
    }
}

/// The links between routers, with their OSPF cost.
pub const LINKS: [(RouterName, RouterName, u32); 4] = [
    (RouterName::Exchange, RouterName::Of(City::A), 10),
    (RouterName::Exchange, RouterName::Backbone, 10),
    (RouterName::Backbone, RouterName::Of(City::B), 10),
    (RouterName::Of(City::A), RouterName::Of(City::B), 15),
];

/// The interface of a router that leads to its city's node.
pub const TO_NODE: &str = "node";
/// A packet of a city's router with this mark goes to the node, whatever BIRD says.
pub const TO_NODE_MARK: &str = "7";
/// The interface of the exchange that leads to the client.
pub const TO_CLIENT: &str = "client";
/// The only interface of the client and of each node.
pub const UPLINK: &str = "eth0";

/// The namespaces, wired.
#[derive(Debug)]
pub struct Topology {
    /// The client.
    pub client: Namespace,
    routers: [Namespace; 4],
    nodes: [Namespace; 2],
    /// Programs that let the nodes' `XDP_TX` through to their routers.
    _pass: Vec<OwnedFd>,
}

impl Topology {
    /// Creates and wires all of it.
    ///
    /// # Errors
    /// Without root, or when a part of it exists already.
    pub fn create() -> anyhow::Result<Self> {
        let client = namespace("client")?;
        let routers = [
            router(RouterName::Of(City::A))?,
            router(RouterName::Of(City::B))?,
            router(RouterName::Exchange)?,
            router(RouterName::Backbone)?,
        ];
        let nodes = [namespace("node-a")?, namespace("node-b")?];
        let mut topology = Self {
            client,
            routers,
            nodes,
            _pass: Vec::new(),
        };
        topology.connect_client()?;
        for (left, right, _) in LINKS {
            topology.connect_routers(left, right)?;
        }
        for city in City::ALL {
            topology.connect_node(city)?;
        }
        Ok(topology)
    }

    /// A router's namespace.
    #[must_use]
    pub fn router(&self, name: RouterName) -> &Namespace {
        match name {
            RouterName::Of(City::A) => &self.routers[0],
            RouterName::Of(City::B) => &self.routers[1],
            RouterName::Exchange => &self.routers[2],
            RouterName::Backbone => &self.routers[3],
        }
    }

    /// A node's namespace.
    #[must_use]
    pub fn node(&self, city: City) -> &Namespace {
        match city {
            City::A => &self.nodes[0],
            City::B => &self.nodes[1],
        }
    }

    fn connect_client(&self) -> anyhow::Result<()> {
        let exchange = self.router(RouterName::Exchange);
        veth((&self.client, UPLINK), (exchange, TO_CLIENT))?;
        exchange.ip(&[
            "addr add 10.9.0.1/24 dev client",
            "addr add fd00:9::1/64 dev client",
        ])?;
        self.client.ip(&[
            "addr add 10.9.0.2/24 dev eth0",
            "addr add fd00:9::2/64 dev eth0",
            "route add default via 10.9.0.1",
            "route add default via fd00:9::1",
        ])
    }

    fn connect_routers(&self, left: RouterName, right: RouterName) -> anyhow::Result<()> {
        veth(
            (self.router(left), right.name()),
            (self.router(right), left.name()),
        )?;
        let network = left.number() * 10 + right.number();
        for (name, other) in [(left, right), (right, left)] {
            let host = name.number();
            self.router(name).ip(&[
                &format!("addr add 10.1.{network}.{host}/24 dev {}", other.name()),
                &format!("addr add fd00:1:{network}::{host}/64 dev {}", other.name()),
            ])?;
        }
        Ok(())
    }

    fn connect_node(&mut self, city: City) -> anyhow::Result<()> {
        let (router, node) = (self.router(RouterName::Of(city)), self.node(city));
        veth((node, UPLINK), (router, TO_NODE))?;
        node.ip(&[
            &format!("addr add {}/24 dev eth0", city.node_v4()),
            &format!("addr add {}/64 dev eth0", city.node_v6()),
            &format!("route add default via {}", city.router_v4()),
            &format!("route add default via {}", city.router_v6()),
        ])?;
        router.ip(&[
            &format!("rule add fwmark {TO_NODE_MARK} lookup 100"),
            &format!("-6 rule add fwmark {TO_NODE_MARK} lookup 100"),
        ])?;
        let pass = router.attach_xdp_pass(TO_NODE)?;
        self._pass.push(pass);
        self.restore_node(city)
    }

    /// Cuts the link between a city's router and its node, at the router.
    ///
    /// # Errors
    /// When ip(8) fails.
    pub fn cut_node(&self, city: City) -> anyhow::Result<()> {
        self.router(RouterName::Of(city))
            .ip(&["link set node down"])
    }

    /// Mends it, with the addresses and routes that the kernel removes from an interface that goes down.
    ///
    /// # Errors
    /// When ip(8) fails.
    pub fn restore_node(&self, city: City) -> anyhow::Result<()> {
        self.router(RouterName::Of(city)).ip(&[
            "link set node up",
            &format!("addr replace {}/24 dev node", city.router_v4()),
            &format!("addr replace {}/64 dev node", city.router_v6()),
            &format!(
                "route replace default via {} dev node table 100",
                city.node_v4()
            ),
            &format!(
                "-6 route replace default via {} dev node table 100",
                city.node_v6()
            ),
        ])
    }
}

fn namespace(name: &str) -> anyhow::Result<Namespace> {
    Namespace::create(&format!("{PREFIX}{name}"))
}

fn router(name: RouterName) -> anyhow::Result<Namespace> {
    let namespace = namespace(name.name())?;
    namespace.sysctl(&[
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv6.conf.all.forwarding", "1"),
    ])?;
    Ok(namespace)
}
