//! What a peer task needs of the configuration, resolved once at the start.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustbgpd_fsm::{PeerConfig, default_send_hold_time};
use rustbgpd_wire::{Afi, BgpRole, Safi};

use crate::config;
use crate::config::bgp::{Family, Password, Role};

/// One peer with everything that is the same for all of its sessions.
#[derive(Debug, Clone)]
pub(super) struct PeerSettings {
    pub(super) name: Arc<str>,
    pub(super) local_as: u32,
    pub(super) router_id: Ipv4Addr,
    pub(super) password: Option<Password>,
    pub(super) config: config::bgp::Peer,
}

impl PeerSettings {
    /// Whether the peer is in another AS.
    pub(super) fn is_external(&self) -> bool {
        self.local_as != self.config.remote_as
    }

    /// The Hold Time in whole seconds; validation has bounded it.
    pub(super) fn hold_time(&self) -> u16 {
        u16::try_from(self.config.hold_time.0.as_secs()).unwrap_or(u16::MAX)
    }

    /// Whether an accepted connection from this address is this peer's.
    pub(super) fn is_from(&self, address: IpAddr) -> bool {
        self.config.address == address.to_canonical()
    }

    /// The configuration of the state machine.
    pub(super) fn machine(&self) -> PeerConfig {
        let mut machine = PeerConfig::new(self.local_as, self.config.remote_as, self.router_id);
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
        // RFC 9234 §4: roles are for external sessions.
        machine.local_role = self
            .config
            .role
            .filter(|_| self.is_external())
            .map(wire_role);
        machine.strict_role = self.config.strict_role && machine.local_role.is_some();
        machine
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
