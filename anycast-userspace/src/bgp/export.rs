//! What one established session has been sent, and the octets for what comes next. No I/O.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rustbgpd_wire::EncodeError;

use super::settings::PeerSettings;
use super::status::AnnouncedRoute;
use super::wire::{Encoder, family_of};
use crate::config::bgp::Family;
use crate::rib::{AdjRibOut, Attributes, Delta, DesiredRoutes, Route};

/// The Adj-RIB-Out of a session with the means to bring it up to date.
#[derive(Debug)]
pub(super) struct Export {
    encoder: Encoder,
    rib: AdjRibOut,
    /// Why routes are not announced, in words.
    held: Vec<String>,
    /// In the outbox, but not yet wholly taken by the kernel.
    unacknowledged: Option<Progress>,
    /// Taken by the kernel as a whole.
    pub(super) applied: Option<(u64, Instant)>,
}

/// A generation on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) generation: u64,
    pub(super) announced: usize,
    pub(super) withdrawn: usize,
}

/// Whether a route goes to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Announce,
    NoNextHop,
    NotForThisPeer,
}

/// Encoded UPDATEs.
#[derive(Debug, Default)]
pub(super) struct Updates {
    pub(super) octets: BytesMut,
    pub(super) count: u64,
}

impl Export {
    pub(super) fn new(encoder: Encoder) -> Self {
        Self {
            encoder,
            rib: AdjRibOut::default(),
            held: Vec::new(),
            unacknowledged: None,
            applied: None,
        }
    }

    /// The UPDATEs that make the peer's view the wanted one.
    pub(super) fn bring_to(
        &mut self,
        desired: &DesiredRoutes,
        settings: &PeerSettings,
    ) -> Result<Updates, EncodeError> {
        let wanted = self.select(desired, settings);
        let delta = self.rib.replace(wanted);
        let announced: usize = delta.announce.iter().map(|(_, list)| list.len()).sum();
        // What an earlier generation has put into the outbox belongs to this one as well.
        let before = self.unacknowledged.take();
        self.unacknowledged = Some(Progress {
            generation: desired.generation,
            announced: announced + before.map_or(0, |progress| progress.announced),
            withdrawn: delta.withdraw.len() + before.map_or(0, |progress| progress.withdrawn),
        });
        self.encode(&delta)
    }

    /// The UPDATEs that take back everything.
    pub(super) fn withdraw_all(&mut self) -> Result<Updates, EncodeError> {
        let delta = self.rib.replace(std::iter::empty());
        self.encode(&delta)
    }

    /// The UPDATEs of one family once more (RFC 2918 §4).
    pub(super) fn resend(&self, family: Family) -> Result<Updates, EncodeError> {
        self.encode(&self.rib.resend(|prefix| family_of(prefix) == family))
    }

    /// The End-of-RIB markers of all families (RFC 4724 §2).
    pub(super) fn end_of_rib(&self) -> Result<Updates, EncodeError> {
        let mut updates = Updates::default();
        for &family in &self.encoder.families {
            self.encoder.end_of_rib(family, &mut updates.octets)?;
            updates.count += 1;
        }
        Ok(updates)
    }

    /// The outbox is empty: what was on its way has been handed to the kernel.
    pub(super) fn flushed(&mut self, now: Instant) -> Option<Progress> {
        let progress = self.unacknowledged.take()?;
        self.applied = Some((progress.generation, now));
        Some(progress)
    }

    pub(super) fn held(&self) -> &[String] {
        &self.held
    }

    pub(super) fn prefixes(&self) -> usize {
        self.rib.len()
    }

    /// What the peer has been sent.
    pub(super) fn routes(&self) -> Vec<AnnouncedRoute> {
        self.rib
            .iter()
            .filter_map(|(prefix, attributes)| {
                Some(AnnouncedRoute {
                    prefix: *prefix,
                    next_hop: self.encoder.next_hop(prefix, attributes)?,
                    attributes: (**attributes).clone(),
                })
            })
            .collect()
    }

    fn encode(&self, delta: &Delta) -> Result<Updates, EncodeError> {
        let mut updates = Updates::default();
        updates.count = self.encoder.encode(delta, &mut updates.octets)?;
        Ok(updates)
    }

    /// The routes that this peer gets, and why others are held back.
    fn select<'a>(
        &mut self,
        desired: &'a DesiredRoutes,
        settings: &PeerSettings,
    ) -> Vec<(&'a ipnet::IpNet, &'a Arc<Attributes>)> {
        let services = settings.config.services.as_deref();
        let mut no_next_hop = [0usize; 2];
        let mut wanted = Vec::with_capacity(desired.len());
        // Neighbouring prefixes mostly share a route: what has just been decided for it holds again.
        let mut last: Option<(&Route, Family, Choice)> = None;
        for (prefix, route) in desired.iter() {
            let family = family_of(prefix);
            let choice = match last {
                Some((known, of, choice)) if of == family && known.is_same(route) => choice,
                _ => self.choose(prefix, route, services, settings.policy_name()),
            };
            last = Some((route, family, choice));
            match choice {
                Choice::Announce => {
                    wanted.push((prefix, route.attributes_for(settings.policy_name())));
                }
                Choice::NoNextHop => no_next_hop[usize::from(family == Family::Ipv6)] += 1,
                Choice::NotForThisPeer => {}
            }
        }
        self.held.clear();
        for (count, family, key) in [
            (no_next_hop[0], Family::Ipv4, "ipv4"),
            (no_next_hop[1], Family::Ipv6, "ipv6"),
        ] {
            if count > 0 {
                self.held.push(format!(
                    "{count} {family} prefixes have no next hop: set `next_hop.{key}` of the peer or the service"
                ));
            }
        }
        self.enforce_limit(&mut wanted, settings);
        wanted
    }

    fn choose(
        &self,
        prefix: &ipnet::IpNet,
        route: &Route,
        services: Option<&[String]>,
        peer: &str,
    ) -> Choice {
        let chosen = services.is_none_or(|names| names.iter().any(|name| **name == *route.service))
            && route.is_for(peer)
            && self.encoder.carries(prefix);
        if !chosen {
            Choice::NotForThisPeer
        } else if self
            .encoder
            .next_hop(prefix, route.attributes_for(peer))
            .is_none()
        {
            Choice::NoNextHop
        } else {
            Choice::Announce
        }
    }

    /// Over the limit, nothing new is announced; what is announced can still change or go.
    fn enforce_limit(
        &mut self,
        wanted: &mut Vec<(&ipnet::IpNet, &Arc<Attributes>)>,
        settings: &PeerSettings,
    ) {
        let limit = usize::try_from(settings.config.max_prefixes).unwrap_or(usize::MAX);
        if wanted.len() <= limit {
            return;
        }
        let count = wanted.len();
        let known: std::collections::HashSet<_> =
            self.rib.iter().map(|(prefix, _)| *prefix).collect();
        wanted.retain(|(prefix, _)| known.contains(*prefix));
        self.held.push(format!(
            "{count} prefixes are wanted, but `max_prefixes` is {limit}: nothing new is announced"
        ));
    }
}
