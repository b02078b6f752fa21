//! What one established session has been sent, and the octets for what comes next. No I/O.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use ipnet::IpNet;
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
    /// The routes that `rib` was last brought to: only what differs from them is looked at.
    seen: Arc<DesiredRoutes>,
    /// What the peer would get of them.
    tally: Tally,
    /// That is more than it may get, so not all of it was sent.
    over_limit: bool,
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
    NoNextHop(Family),
    NotForThisPeer,
}

/// How many routes each choice was made for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    announce: usize,
    no_ipv4_next_hop: usize,
    no_ipv6_next_hop: usize,
    not_for_this_peer: usize,
}

impl Tally {
    fn count(&mut self, choice: Choice) -> &mut usize {
        match choice {
            Choice::Announce => &mut self.announce,
            Choice::NoNextHop(Family::Ipv4) => &mut self.no_ipv4_next_hop,
            Choice::NoNextHop(Family::Ipv6) => &mut self.no_ipv6_next_hop,
            Choice::NotForThisPeer => &mut self.not_for_this_peer,
        }
    }
}

/// Decides for one session which routes go to its peer.
struct Chooser<'a> {
    encoder: &'a Encoder,
    services: Option<&'a [String]>,
    peer: &'a str,
    /// Neighbouring prefixes mostly share a route: what has just been decided for it holds again.
    last: Option<(&'a Route, Family, Choice)>,
}

impl<'a> Chooser<'a> {
    fn new(encoder: &'a Encoder, settings: &'a PeerSettings) -> Self {
        Self {
            encoder,
            services: settings.config.services.as_deref(),
            peer: settings.policy_name(),
            last: None,
        }
    }

    fn choose(&mut self, prefix: &IpNet, route: &'a Route) -> Choice {
        let family = family_of(prefix);
        if let Some((known, of, choice)) = self.last
            && of == family
            && known.is_same(route)
        {
            return choice;
        }
        let choice = self.judge(prefix, route);
        self.last = Some((route, family, choice));
        choice
    }

    fn judge(&self, prefix: &IpNet, route: &Route) -> Choice {
        let services = self.services;
        let chosen = services.is_none_or(|names| names.iter().any(|name| **name == *route.service))
            && route.is_for(self.peer)
            && self.encoder.carries(prefix);
        if !chosen {
            Choice::NotForThisPeer
        } else if self
            .encoder
            .next_hop(prefix, route.attributes_for(self.peer))
            .is_none()
        {
            Choice::NoNextHop(family_of(prefix))
        } else {
            Choice::Announce
        }
    }

    /// The attributes that a route has for the peer, if it goes there.
    fn attributes(&mut self, prefix: &IpNet, route: &'a Route) -> Option<&'a Arc<Attributes>> {
        match self.choose(prefix, route) {
            Choice::Announce => Some(route.attributes_for(self.peer)),
            Choice::NoNextHop(_) | Choice::NotForThisPeer => None,
        }
    }
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
            seen: Arc::default(),
            tally: Tally::default(),
            over_limit: false,
            held: Vec::new(),
            unacknowledged: None,
            applied: None,
        }
    }

    /// The UPDATEs that make the peer's view the wanted one.
    ///
    /// After an error, what is kept here is no longer what the peer has: only the end of the session, with
    /// which the peer forgets all routes, makes it right.
    pub(super) fn bring_to(
        &mut self,
        desired: &Arc<DesiredRoutes>,
        settings: &PeerSettings,
    ) -> Result<Updates, EncodeError> {
        let delta = self.difference(desired, settings);
        self.seen = Arc::clone(desired);
        self.held = self.reasons(settings);
        let announced: usize = delta.announce.iter().map(|(_, list)| list.len()).sum();
        // What an earlier generation has put into the outbox belongs to this one as well.
        let before = self.unacknowledged.take();
        let updates = self.encode(&delta)?;
        self.unacknowledged = Some(Progress {
            generation: desired.generation,
            announced: announced + before.map_or(0, |progress| progress.announced),
            withdrawn: delta.withdraw.len() + before.map_or(0, |progress| progress.withdrawn),
        });
        Ok(updates)
    }

    /// What has to be sent, found in what has changed since the last time.
    fn difference(&mut self, desired: &DesiredRoutes, settings: &PeerSettings) -> Delta {
        let mut chooser = Chooser::new(&self.encoder, settings);
        let mut changed = Vec::new();
        for change in desired.changes_since(&self.seen) {
            if let Some(before) = change.before {
                *self.tally.count(chooser.choose(change.prefix, before)) -= 1;
            }
            let mut wanted = None;
            if let Some(after) = change.after {
                *self.tally.count(chooser.choose(change.prefix, after)) += 1;
                wanted = chooser.attributes(change.prefix, after);
            }
            changed.push((change.prefix, wanted));
        }
        let was_over =
            std::mem::replace(&mut self.over_limit, self.tally.announce > limit(settings));
        if !self.over_limit && !was_over {
            return self.rib.update(changed);
        }
        // Over the limit, nothing new is announced; what is announced can still change or go.
        let wanted: Vec<_> = desired
            .iter()
            .filter(|(prefix, _)| !self.over_limit || self.rib.contains(prefix))
            .filter_map(|(prefix, route)| Some((prefix, chooser.attributes(prefix, route)?)))
            .collect();
        self.rib.replace(wanted)
    }

    /// Why not everything is announced.
    fn reasons(&self, settings: &PeerSettings) -> Vec<String> {
        let mut reasons = Vec::new();
        for (count, family, key) in [
            (self.tally.no_ipv4_next_hop, Family::Ipv4, "ipv4"),
            (self.tally.no_ipv6_next_hop, Family::Ipv6, "ipv6"),
        ] {
            if count > 0 {
                reasons.push(format!(
                    "{count} {family} prefixes have no next hop: set `next_hop.{key}` of the peer or the service"
                ));
            }
        }
        if self.over_limit {
            reasons.push(format!(
                "{} prefixes are wanted, but `max_prefixes` is {}: nothing new is announced",
                self.tally.announce,
                limit(settings)
            ));
        }
        reasons
    }

    /// The UPDATEs that take back everything.
    pub(super) fn withdraw_all(&mut self) -> Result<Updates, EncodeError> {
        let delta = self.rib.replace(std::iter::empty());
        self.encode(&delta)
    }

    /// Whether the session carries a family.
    pub(super) fn carries(&self, family: Family) -> bool {
        self.encoder.families.contains(&family)
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
}

fn limit(settings: &PeerSettings) -> usize {
    usize::try_from(settings.config.max_prefixes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
