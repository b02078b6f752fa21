//! An established session: what it is sent, and that it has been sent.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use rustbgpd_fsm::NegotiatedSession;
use rustbgpd_wire::{Afi, Capability, EncodeError, RouteRefreshMessage, RouteRefreshSubtype, Safi};

use super::Peer;
use crate::bgp::collision::Origin;
use crate::bgp::connection::takes_ipv6_next_hops;
use crate::bgp::event::EventKind;
use crate::bgp::export::{Export, Updates};
use crate::bgp::notification::{Cease, cease};
use crate::bgp::record::families;
use crate::bgp::refresh::Refreshes;
use crate::bgp::socket;
use crate::bgp::wire::Encoder;
use crate::config::bgp::{Family, Role};

/// With more than this unsent, changes and refreshes wait: they are merged, and memory stays bounded.
const OUTBOX_LIMIT: usize = 64 * 1024;

/// The established session of a peer.
#[derive(Debug)]
pub(super) struct Session {
    /// The connection that carries it.
    pub(super) origin: Origin,
    pub(super) export: Export,
    /// Desired routes have changed since they were last looked at.
    pub(super) stale: bool,
    /// Families that the peer wants to be sent again.
    refreshes: Refreshes,
    /// The peer waits for End-of-RIB markers (RFC 4724), and knows those of RFC 7313.
    wants_end_of_rib: bool,
    enhanced_refresh: bool,
}

impl Session {
    /// Whether there is something to put into the outbox.
    fn is_wanting(&self, now: Instant) -> bool {
        self.stale || self.refreshes.is_due(now)
    }
}

impl Peer {
    pub(super) fn established(&mut self, origin: Origin, negotiated: &NegotiatedSession) {
        let other = match origin {
            Origin::Ours => &mut self.theirs,
            Origin::Theirs => &mut self.ours,
        };
        if let Some(other) = other {
            other
                .connection
                .cease(cease(Cease::CollisionResolution, None, false));
        }
        self.dialing = None;
        self.retry_at = None;
        self.record.established_count += 1;
        self.record.reason = "both sides agreed".to_owned();
        match self.encoder(origin, negotiated) {
            Ok(encoder) => {
                self.session = Some(Session {
                    origin,
                    export: Export::new(encoder),
                    stale: true,
                    refreshes: Refreshes::default(),
                    wants_end_of_rib: negotiated
                        .peer_capabilities
                        .iter()
                        .any(|capability| matches!(capability, Capability::GracefulRestart { .. })),
                    enhanced_refresh: negotiated.peer_enhanced_route_refresh,
                });
            }
            Err(error) => {
                if let Some(link) = self.link(origin) {
                    link.connection.lost(error.to_string());
                }
            }
        }
    }

    fn encoder(&mut self, origin: Origin, negotiated: &NegotiatedSession) -> io::Result<Encoder> {
        let Some(link) = self.link(origin) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let local_address = link.stream.local_addr()?.ip().to_canonical();
        let desired = self.desired.borrow();
        let of_a_service = |address: std::net::IpAddr| desired.is_service_address(address);
        let config = &self.settings.config;
        let on = config.interface.as_deref();
        let (interface, link_local) = socket::interface_addresses(local_address, on, of_a_service)?;
        let shares_link = self.settings.is_external() && config.multihop.is_none();
        Ok(Encoder {
            local_as: self.settings.local_as,
            external: self.settings.is_external(),
            four_octet_as: negotiated.four_octet_as,
            families: families(negotiated),
            extended_next_hop: takes_ipv6_next_hops(negotiated),
            configured: config.next_hop,
            local_address,
            interface,
            link_local: link_local.filter(|_| shares_link && local_address.is_ipv6()),
            communities: config.communities.clone(),
            only_to_customer: self.settings.role.is_some_and(Role::marks_only_to_customer),
        })
    }

    /// The peer asks for a family again (RFC 2918 §4). Served when it takes what it is sent, and not too often.
    pub(super) fn refresh_asked(&mut self, refresh: &RouteRefreshMessage) {
        let family = match (refresh.afi(), refresh.safi(), refresh.subtype()) {
            (Some(Afi::Ipv4), Some(Safi::Unicast), RouteRefreshSubtype::Normal) => Family::Ipv4,
            (Some(Afi::Ipv6), Some(Safi::Unicast), RouteRefreshSubtype::Normal) => Family::Ipv6,
            // Families that were not agreed on, and the peer's own markers, ask for nothing.
            _ => return,
        };
        if let Some(session) = &mut self.session
            && session.export.carries(family)
        {
            session.refreshes.ask(family);
        }
    }

    /// Puts into the outbox what the peer must be sent, unless much waits there already.
    pub(super) fn supply(&mut self, now: Instant) {
        if let Some(session) = &self.session
            && self.has_room(session)
        {
            let origin = session.origin;
            self.export(origin, now);
            self.refresh(origin, now);
        }
    }

    /// Whether something waits only for the room that there is now.
    pub(super) fn can_supply_more(&self, now: Instant) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.is_wanting(now) && self.has_room(session))
    }

    /// When a refresh is due that waits for nothing but time.
    pub(super) fn refresh_deadline(&self, now: Instant) -> Option<Instant> {
        let session = self.session.as_ref()?;
        let at = session.refreshes.deadline(now)?;
        self.has_room(session).then_some(at)
    }

    fn has_room(&self, session: &Session) -> bool {
        let link = match session.origin {
            Origin::Ours => &self.ours,
            Origin::Theirs => &self.theirs,
        };
        link.as_ref()
            .is_some_and(|link| link.connection.outbox.len() <= OUTBOX_LIMIT)
    }

    /// Looks at the desired routes if they have changed.
    fn export(&mut self, origin: Origin, now: Instant) {
        let Some(session) = &mut self.session else {
            return;
        };
        if !std::mem::take(&mut session.stale) {
            return;
        }
        let desired = Arc::clone(&self.desired.borrow_and_update());
        let held_before = session.export.held().to_vec();
        let updates = session.export.bring_to(&desired, &self.settings);
        let marker =
            std::mem::take(&mut session.wants_end_of_rib).then(|| session.export.end_of_rib());
        if session.export.held() != held_before
            && let [reason, ..] = session.export.held()
        {
            tracing::warn!(peer = %self.settings.name, %reason, "routes are held back");
            let reason = reason.clone();
            self.record.report(EventKind::Held { reason }, now);
        }
        self.send(origin, updates);
        if let Some(marker) = marker {
            self.send(origin, marker);
        }
    }

    /// Sends again what was asked for; between markers where the peer knows them (RFC 7313 §4).
    fn refresh(&mut self, origin: Origin, now: Instant) {
        let Some(session) = &mut self.session else {
            return;
        };
        let enhanced = session.enhanced_refresh;
        while let Some(session) = &mut self.session
            && let Some(family) = session.refreshes.start_due(now)
        {
            let updates = session.export.resend(family);
            self.mark(origin, family, RouteRefreshSubtype::BoRR, enhanced);
            self.send(origin, updates);
            self.mark(origin, family, RouteRefreshSubtype::EoRR, enhanced);
        }
    }

    fn mark(
        &mut self,
        origin: Origin,
        family: Family,
        subtype: RouteRefreshSubtype,
        enhanced: bool,
    ) {
        let afi = match family {
            Family::Ipv4 => Afi::Ipv4,
            Family::Ipv6 => Afi::Ipv6,
        };
        if enhanced && let Some(link) = self.link(origin) {
            let marker = RouteRefreshMessage::new_with_subtype(afi, Safi::Unicast, subtype);
            link.connection.send_refresh(marker);
        }
    }

    /// Puts UPDATEs into the outbox. Where there are none, because of an error, the session ends: a peer that
    /// keeps it would keep routes that are withdrawn, or attributes that hold no more.
    pub(super) fn send(&mut self, origin: Origin, updates: Result<Updates, EncodeError>) {
        if let Err(error) = &updates {
            tracing::error!(peer = %self.settings.name, %error, "routes cannot be encoded: the session ends");
        }
        let Some(link) = self.link(origin) else {
            return;
        };
        match updates {
            Ok(updates) => link.connection.send_updates(&updates.octets, updates.count),
            Err(error) => {
                let hard_reset = link
                    .connection
                    .negotiated()
                    .is_some_and(|negotiated| negotiated.peer_notification_gr);
                let why = format!("routes cannot be encoded: {error}");
                link.connection
                    .cease(cease(Cease::AdministrativeReset, Some(&why), hard_reset));
            }
        }
    }

    /// Hands as much of the outbox to the kernel as it takes.
    pub(super) fn flush(&mut self, origin: Origin, now: Instant) {
        let Some(link) = self.link(origin) else {
            return;
        };
        while !link.connection.outbox.is_empty() {
            match link.stream.try_write(&link.connection.outbox) {
                Ok(count) => link.connection.sent(count, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    link.connection.arm_send_hold(now);
                    return;
                }
                Err(error) => {
                    link.connection.outbox.clear();
                    link.connection.lost(error.to_string());
                    return;
                }
            }
        }
        let written = Instant::now();
        if let Some(session) = &mut self.session
            && session.origin == origin
            && !session.stale
            && let Some(progress) = session.export.flushed(written)
        {
            let applied = EventKind::Applied {
                generation: progress.generation,
                announced: progress.announced,
                withdrawn: progress.withdrawn,
            };
            self.record.report(applied, written);
        }
    }
}
