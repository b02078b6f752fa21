//! What a peer task needs of the configuration, resolved once at the start.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};
use rustbgpd_fsm::{PeerConfig, default_send_hold_time};
use rustbgpd_wire::{Afi, BgpRole, Safi};

use super::listener::Device;
use super::start::Error;
use crate::config;
use crate::config::bgp::{AoKey, Family, Password, Role};

/// Where the router at the other end of an interface is (RFC 4291 §2.5.6).
const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);

/// How segments are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    None,
    Md5,
    Ao,
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// At an address; a link-local one is on `config.interface`.
    Address(IpAddr),
    /// One of a prefix, at the address that it has connected from.
    Member(IpAddr),
    /// At the other end of an interface, at an address that is still to be learnt.
    Interface(Arc<str>),
}

/// One peer with everything that is the same for all of its sessions.
#[derive(Debug, Clone)]
pub(super) struct PeerSettings {
    /// What the peer is called: unique among all sessions.
    pub(super) name: Arc<str>,
    pub(super) place: Place,
    pub(super) local_as: u32,
    pub(super) router_id: Ipv4Addr,
    pub(super) role: Option<Role>,
    pub(super) password: Option<Password>,
    /// TCP-AO keys with their secrets.
    pub(super) ao_keys: Vec<(AoKey, Password)>,
    pub(super) config: config::bgp::Peer,
}

/// All peers of a prefix: the settings are those of each, but for name and place.
#[derive(Debug, Clone)]
pub(super) struct GroupSettings {
    pub(super) prefix: IpNet,
    pub(super) template: PeerSettings,
}

/// What one entry of the configuration stands for.
#[derive(Debug)]
pub(super) enum Entry {
    Peer(PeerSettings),
    Group(GroupSettings),
}

impl Entry {
    /// The settings; of a group, those that all of its peers share.
    pub(super) fn settings(&self) -> &PeerSettings {
        match self {
            Self::Peer(settings) => settings,
            Self::Group(group) => &group.template,
        }
    }

    /// Whether we only wait to be connected to.
    pub(super) fn is_passive(&self) -> bool {
        self.settings().is_passive()
    }

    /// Where its connections come from.
    pub(super) fn addresses(&self) -> IpNet {
        match self {
            Self::Peer(settings) => match settings.place {
                Place::Address(address) | Place::Member(address) => address.into(),
                Place::Interface(_) => LINK_LOCAL.into(),
            },
            Self::Group(group) => group.prefix,
        }
    }

    /// Whether sessions are over IPv4.
    pub(super) fn is_over_ipv4(&self) -> bool {
        match self {
            Self::Peer(settings) => settings.is_over_ipv4(),
            Self::Group(group) => group.prefix.addr().is_ipv4(),
        }
    }
}

/// Reads the secrets, and sorts the entries into peers and groups.
pub(super) fn resolve(bgp: &config::Bgp) -> Result<Vec<Entry>, Error> {
    bgp.peers.iter().map(|peer| entry(bgp, peer)).collect()
}

fn entry(bgp: &config::Bgp, peer: &config::bgp::Peer) -> Result<Entry, Error> {
    let place = match (peer.address, &peer.interface) {
        (Some(address), _) => Place::Address(address),
        (None, Some(interface)) => Place::Interface(interface.as_str().into()),
        // A group's template has no place of its own; validation has refused a peer that is nowhere.
        (None, None) => Place::Member(Ipv4Addr::UNSPECIFIED.into()),
    };
    let ao_keys = peer.ao_keys.iter().map(|key| {
        let secret = secret(peer, key.secret.as_ref(), key.secret_file.as_deref())?;
        Ok((key.clone(), secret.unwrap_or_else(|| Password::new(""))))
    });
    let settings = PeerSettings {
        name: peer.name.as_str().into(),
        place,
        local_as: bgp.local_as,
        router_id: bgp.router_id,
        role: bgp.role_towards(peer),
        password: secret(peer, peer.password.as_ref(), peer.password_file.as_deref())?,
        ao_keys: ao_keys.collect::<Result<_, Error>>()?,
        config: peer.clone(),
    };
    Ok(match peer.prefix {
        Some(prefix) => Entry::Group(GroupSettings {
            prefix,
            template: settings,
        }),
        None => Entry::Peer(settings),
    })
}

/// TCP_MD5SIG_MAXKEYLEN and TCP_AO_MAXKEYLEN of the kernel.
const LONGEST_SECRET: usize = 80;

/// The secret itself, or the first line of its file.
fn secret(
    peer: &config::bgp::Peer,
    given: Option<&Password>,
    file: Option<&Path>,
) -> Result<Option<Password>, Error> {
    let Some(path) = file else {
        return Ok(given.cloned());
    };
    let unreadable = |source| Error::SecretFile {
        peer: peer.name.clone(),
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    match text.lines().next() {
        Some(line) if (1..=LONGEST_SECRET).contains(&line.len()) => Ok(Some(Password::new(line))),
        Some(line) if !line.is_empty() => Err(unreadable(io::Error::other(format!(
            "its first line has {} octets, where the kernel takes {LONGEST_SECRET}",
            line.len()
        )))),
        Some(_) | None => Err(unreadable(io::Error::other("its first line is empty"))),
    }
}

impl GroupSettings {
    /// The settings of the peer that has connected from an address.
    pub(super) fn member(&self, address: IpAddr) -> PeerSettings {
        PeerSettings {
            name: format!("{}@{address}", self.template.name).into(),
            place: Place::Member(address),
            ..self.template.clone()
        }
    }
}

impl PeerSettings {
    /// The name that services know the peer by: for a member of a prefix, the prefix's.
    pub(super) fn policy_name(&self) -> &str {
        &self.config.name
    }

    pub(super) fn signature(&self) -> Signature {
        if !self.ao_keys.is_empty() {
            Signature::Ao
        } else if self.password.is_some() {
            Signature::Md5
        } else {
            Signature::None
        }
    }

    /// Whether the peer is in another AS.
    pub(super) fn is_external(&self) -> bool {
        self.config.remote_as.is_external(self.local_as)
    }

    /// Whether we never connect: we cannot know which members there are.
    pub(super) fn is_passive(&self) -> bool {
        match self.place {
            Place::Member(_) => true,
            Place::Address(_) | Place::Interface(_) => self.config.passive,
        }
    }

    /// Whether the peer is there only while it is connected.
    pub(super) fn is_passing(&self) -> bool {
        match self.place {
            Place::Member(_) => true,
            Place::Address(_) | Place::Interface(_) => false,
        }
    }

    /// The Hold Time in whole seconds; validation has bounded it.
    pub(super) fn hold_time(&self) -> u16 {
        u16::try_from(self.config.hold_time.0.as_secs()).unwrap_or(u16::MAX)
    }

    /// Whether sessions with the peer are over IPv4.
    pub(super) fn is_over_ipv4(&self) -> bool {
        match self.place {
            Place::Address(address) | Place::Member(address) => address.is_ipv4(),
            Place::Interface(_) => false,
        }
    }

    /// Whether an accepted connection from this address is this peer's.
    pub(super) fn is_from(&self, remote: SocketAddr) -> bool {
        match &self.place {
            Place::Address(address) => {
                let scope = self.config.interface.as_deref();
                *address == remote.ip().to_canonical() && scope.is_none_or(|on| is_on(on, remote))
            }
            Place::Member(address) => *address == remote.ip().to_canonical(),
            Place::Interface(interface) => scope_of(remote).is_some() && is_on(interface, remote),
        }
    }

    /// Whether the peer's connections may come to a listener that is bound to `by`, or to no device; and
    /// whether that is the peer's own device.
    pub(super) fn is_heard_by(&self, by: Option<&Device>) -> Option<bool> {
        match (&self.config.device, by) {
            (Some(own), Some(by)) => (**own == *by.name).then_some(true),
            (Some(_), None) => None,
            (None, Some(by)) => (!by.is_vrf).then_some(false),
            (None, None) => Some(false),
        }
    }

    /// The configuration of the state machine.
    pub(super) fn machine(&self) -> PeerConfig {
        // 0 stands for more than one number; `accepts_as` then has the last word.
        let expected = self.config.remote_as.single(self.local_as).unwrap_or(0);
        let mut machine = PeerConfig::new(self.local_as, expected, self.router_id);
        machine.remote_asn_external = expected == 0;
        machine.hold_time = self.hold_time();
        machine.send_hold_time = match self.config.send_hold_time {
            Some(time) => u32::try_from(time.0.as_secs()).unwrap_or(u32::MAX),
            None => default_send_hold_time(machine.hold_time),
        };
        machine.families = self
            .config
            .families
            .iter()
            .map(|family| match family {
                Family::Ipv4 => (Afi::Ipv4, Safi::Unicast),
                Family::Ipv6 => (Afi::Ipv6, Safi::Unicast),
            })
            .collect();
        machine.disable_ipv4_unicast = !self.config.families.contains(&Family::Ipv4);
        machine.graceful_restart = self.config.graceful_restart;
        machine.local_role = self.role.map(wire_role);
        machine.strict_role = self.config.strict_role && machine.local_role.is_some();
        machine
    }

    /// Whether a peer with this AS number may have the session.
    pub(super) fn accepts_as(&self, asn: u32) -> bool {
        self.config.remote_as.accepts(asn, self.local_as)
    }
}

/// The scope of a link-local address.
pub(super) fn scope_of(remote: SocketAddr) -> Option<u32> {
    match remote {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => Some(v6.scope_id()),
        SocketAddr::V6(_) | SocketAddr::V4(_) => None,
    }
}

/// Whether a link-local address is on this interface; other addresses are everywhere.
fn is_on(interface: &str, remote: SocketAddr) -> bool {
    match scope_of(remote) {
        None => true,
        Some(scope) => nix::net::if_::if_nametoindex(interface) == Ok(scope),
    }
}

fn wire_role(role: Role) -> BgpRole {
    match role {
        Role::Provider => BgpRole::Provider,
        Role::Customer => BgpRole::Customer,
        Role::Peer => BgpRole::Peer,
        Role::RouteServer => BgpRole::RouteServer,
        Role::RouteServerClient => BgpRole::RouteServerClient,
    }
}
