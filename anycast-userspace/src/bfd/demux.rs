//! Which session a packet belongs to (RFC 5880 §6.3, RFC 5881 §3 and §5, RFC 5883 §4).
//!
//! It only looks sessions up: no state of theirs, no socket.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;

use super::iana::TTL;
use super::packet::Control;
use super::socket::{Arrival, Domain, Hops};

/// What a session's packets have in common before the peer knows our discriminator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) domain: Domain,
    pub(super) address: IpAddr,
    pub(super) source: Option<IpAddr>,
    /// Index of the interface that first packets must arrive on; `None`: any.
    pub(super) interface: Option<u32>,
    /// Least TTL on arrival, for multihop sessions.
    pub(super) minimum_ttl: u8,
}

/// Why a packet that parses reaches no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stray {
    /// It was forwarded by more routers than allowed.
    Ttl,
    /// No session has the discriminator, or expects the sender.
    Unknown,
}

/// The sessions by discriminator.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<NonZeroU32, Key>);

impl Table {
    /// Whether the discriminator is taken.
    pub(super) fn contains(&self, discriminator: NonZeroU32) -> bool {
        self.0.contains_key(&discriminator)
    }

    /// Adds a session, or replaces its key.
    pub(super) fn insert(&mut self, discriminator: NonZeroU32, key: Key) {
        self.0.insert(discriminator, key);
    }

    pub(super) fn remove(&mut self, discriminator: NonZeroU32) {
        self.0.remove(&discriminator);
    }

    /// Whether a session of this domain is left.
    pub(super) fn serves(&self, domain: &Domain) -> bool {
        self.0.values().any(|key| key.domain == *domain)
    }

    /// The session of a packet that arrived in `domain`. Once the peer knows our discriminator, only that
    /// counts (RFC 5880 §6.3); but never across domains, since a single-hop session is guarded by the TTL and
    /// a multihop one is not.
    pub(super) fn select(
        &self,
        domain: &Domain,
        packet: &Control,
        arrival: &Arrival<'_>,
    ) -> Result<NonZeroU32, Stray> {
        // RFC 5881 §5: what a router has forwarded is not looked at. An unknown TTL is no proof.
        if domain.hops == Hops::Single && arrival.ttl != Some(TTL) {
            return Err(Stray::Ttl);
        }
        // A socket that is bound to an interface also gets what is meant for the sessions without a device.
        let unbound = arrival.intercepted.then(|| domain.unbound());
        let mut domains = std::iter::once(domain).chain(&unbound);
        let found = match packet.your_discriminator {
            Some(discriminator) => self
                .0
                .get_key_value(&discriminator)
                .filter(|(_, key)| domains.any(|domain| key.domain == *domain)),
            None => domains
                .find_map(|domain| self.0.iter().find(|(_, key)| key.matches(domain, arrival))),
        };
        let (discriminator, key) = found.ok_or(Stray::Unknown)?;
        if domain.hops == Hops::Multi && arrival.ttl.is_none_or(|ttl| ttl < key.minimum_ttl) {
            return Err(Stray::Ttl);
        }
        Ok(*discriminator)
    }

    /// A session that first packets could not be told from those of `key`.
    pub(super) fn conflict(&self, key: &Key) -> Option<NonZeroU32> {
        let overlaps =
            |one: Option<u32>, other: Option<u32>| one.is_none() || other.is_none() || one == other;
        self.0
            .iter()
            .find(|(_, other)| {
                other.domain == key.domain
                    && other.address == key.address
                    && (key.domain.hops == Hops::Single || other.source == key.source)
                    && overlaps(other.interface, key.interface)
            })
            .map(|(discriminator, _)| *discriminator)
    }
}

impl Key {
    fn matches(&self, domain: &Domain, arrival: &Arrival<'_>) -> bool {
        // RFC 5883 §4: a multihop session is told by both addresses, a single-hop one by its link.
        let ours = match domain.hops {
            Hops::Single => true,
            Hops::Multi => self.source.is_none() || self.source == arrival.destination,
        };
        ours && self.domain == *domain
            && self.address == arrival.source
            && (self.interface.is_none() || self.interface == arrival.interface)
    }
}

#[cfg(test)]
mod tests;
