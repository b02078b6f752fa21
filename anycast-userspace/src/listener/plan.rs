//! Which sockets serve what, and so which must be followed together. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anycast_common::iana::protocol;
use anycast_common::listener::PortKey;

use super::Watched;
use crate::config;

/// A transport protocol whose sockets can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// The IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of a transport protocol. It reads `udp/53`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The protocol.
    pub transport: Transport,
    /// The port.
    pub number: u16,
}

impl Port {
    /// A TCP port.
    pub const fn tcp(number: u16) -> Self {
        Self {
            transport: Transport::Tcp,
            number,
        }
    }

    /// A UDP port.
    pub const fn udp(number: u16) -> Self {
        Self {
            transport: Transport::Udp,
            number,
        }
    }

    /// The first port of a configured range, if its protocol's sockets can be watched.
    pub(super) fn from_config(range: config::Port) -> Option<Self> {
        match range.transport {
            config::dataplane::Transport::Tcp => Some(Self::tcp(range.first)),
            config::dataplane::Transport::Udp => Some(Self::udp(range.first)),
            config::dataplane::Transport::Sctp => None,
        }
    }

    /// The port as the program names it.
    pub(super) fn key(self) -> PortKey {
        PortKey {
            protocol: self.transport.number().into(),
            port: self.number,
        }
    }

    /// The port that the program named, if it can be watched.
    pub(super) fn from_key(key: PortKey) -> Option<Self> {
        [Transport::Tcp, Transport::Udp]
            .into_iter()
            .find(|transport| u16::from(transport.number()) == key.protocol)
            .map(|transport| Self {
                transport,
                number: key.port,
            })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.transport, self.number)
    }
}

/// A socket that serves: a listening TCP socket, or a bound UDP socket that is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its cookie.
    pub cookie: u64,
    /// The port that it is bound to.
    pub port: Port,
    /// The address that it is bound to; an IPv4-mapped one as IPv4.
    pub local: IpAddr,
    /// Whether an IPv6 socket leaves IPv4 alone.
    pub v6_only: bool,
    /// Id of the cgroup that it belongs to, where the kernel tells (5.9).
    pub cgroup: Option<u64>,
}

/// What a check asks for, held against the sockets that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Each set of sockets of which one at least must stay.
    pub(super) sets: BTreeSet<Set>,
    /// What no socket serves.
    pub(super) unserved: Vec<(Port, IpAddr)>,
}

/// Sockets on a port, any of which serves the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Set {
    pub(super) port: Port,
    pub(super) cookies: BTreeSet<u64>,
}

/// Holds what a check asks for against the sockets of each port.
pub(super) fn plan(watched: &Watched, sockets: &HashMap<Port, Vec<Socket>>) -> Plan {
    let mut plan = Plan::default();
    for port in &watched.ports {
        let here = sockets.get(port).map(Vec::as_slice).unwrap_or_default();
        let by_local = by_local(here);
        for address in &watched.addresses {
            let cookies = serving(&by_local, *address);
            if cookies.is_empty() {
                plan.unserved.push((*port, *address));
            } else {
                plan.sets.insert(Set {
                    port: *port,
                    cookies,
                });
            }
        }
    }
    plan
}

type ByLocal<'a> = BTreeMap<IpAddr, Vec<&'a Socket>>;

fn by_local(sockets: &[Socket]) -> ByLocal<'_> {
    let mut by_local = ByLocal::new();
    for socket in sockets {
        by_local.entry(socket.local).or_default().push(socket);
    }
    by_local
}

fn serving(by_local: &ByLocal<'_>, address: IpAddr) -> BTreeSet<u64> {
    const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let at = |local: IpAddr| by_local.get(&local).into_iter().flatten();
    let own = at(address);
    match address {
        IpAddr::V4(_) => own
            .chain(at(ANY_V4))
            .chain(at(ANY_V6).filter(|socket| !socket.v6_only))
            .map(|socket| socket.cookie)
            .collect(),
        IpAddr::V6(_) => own.chain(at(ANY_V6)).map(|socket| socket.cookie).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "192.0.2.1";
    const V6: &str = "2001:db8::1";

    fn watched(addresses: &[&str], ports: &[Port]) -> Watched {
        Watched {
            service: 0,
            check: 0,
            dataplane: None,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            ports: ports.to_vec(),
        }
    }

    fn socket(cookie: u64, port: Port, local: &str, v6_only: bool) -> Socket {
        Socket {
            cookie,
            port,
            local: local.parse().unwrap(),
            v6_only,
            cgroup: None,
        }
    }

    fn table(sockets: &[Socket]) -> HashMap<Port, Vec<Socket>> {
        let mut table: HashMap<Port, Vec<Socket>> = HashMap::new();
        for socket in sockets {
            table.entry(socket.port).or_default().push(*socket);
        }
        table
    }

    #[test]
    fn a_socket_serves_its_address_or_as_a_wildcard_all_of_its_family() {
        let (port, other) = (Port::udp(53), Port::tcp(53));
        for (name, address, socket, want) in [
            ("own address", V4, socket(1, port, V4, false), true),
            ("own IPv6 address", V6, socket(1, port, V6, true), true),
            (
                "another address",
                V4,
                socket(1, port, "192.0.2.2", false),
                false,
            ),
            ("IPv4 wildcard", V4, socket(1, port, "0.0.0.0", false), true),
            (
                "IPv4 wildcard, IPv6 address",
                V6,
                socket(1, port, "0.0.0.0", false),
                false,
            ),
            ("IPv6 wildcard", V6, socket(1, port, "::", true), true),
            (
                "dual-stack wildcard, IPv4 address",
                V4,
                socket(1, port, "::", false),
                true,
            ),
            (
                "IPv6-only wildcard, IPv4 address",
                V4,
                socket(1, port, "::", true),
                false,
            ),
            (
                "the same number of another protocol",
                V4,
                socket(1, other, V4, false),
                false,
            ),
            (
                "another port",
                V4,
                socket(1, Port::udp(54), V4, false),
                false,
            ),
        ] {
            let plan = plan(&watched(&[address], &[port]), &table(&[socket]));
            assert_eq!(plan.unserved.is_empty(), want, "{name}");
            assert_eq!(plan.sets.len(), usize::from(want), "{name}");
        }
    }

    #[test]
    fn addresses_that_the_same_sockets_serve_are_followed_as_one() {
        let port = Port::tcp(80);
        let plan = plan(
            &watched(&[V4, "192.0.2.2", V6], &[port]),
            &table(&[socket(1, port, "::", false), socket(2, port, V4, false)]),
        );
        let sets: Vec<_> = plan.sets.iter().map(|set| set.cookies.clone()).collect();
        assert_eq!(sets, [BTreeSet::from([1]), BTreeSet::from([1, 2])]);
        assert_eq!(plan.unserved, []);
    }

    #[test]
    fn every_port_must_be_served_on_every_address() {
        let plan = plan(
            &watched(&[V4, V6], &[Port::tcp(53), Port::udp(53)]),
            &table(&[
                socket(1, Port::tcp(53), "0.0.0.0", false),
                socket(2, Port::udp(53), "::", false),
            ]),
        );
        assert_eq!(plan.unserved, [(Port::tcp(53), V6.parse().unwrap())]);
    }
}
