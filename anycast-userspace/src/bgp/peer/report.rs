//! What the task tells of itself.

use std::net::IpAddr;
use std::time::Instant;

use super::{Link, Peer};
use crate::bgp::collision::Origin;
use crate::bgp::export::Export;
use crate::bgp::record::{capability, families, roles, rounded};
use crate::bgp::status::{Negotiated, PeerStatus, Summary};
use crate::config::Span;
use crate::config::bgp::RemoteAs;

impl Peer {
    pub(super) fn publish(&self) {
        let export = self.session.as_ref().map(|session| &session.export);
        self.record.publish(Summary {
            state: self.record.state,
            since: self.record.since,
            applied: export.and_then(|export| export.applied),
            prefixes: export.map_or(0, Export::prefixes),
            messages: self
                .record
                .messages(self.links().map(|link| link.connection.counts)),
            established_count: self.record.established_count,
        });
    }

    pub(super) fn status(&self) -> PeerStatus {
        let now = Instant::now();
        let export = self.session.as_ref().map(|session| &session.export);
        let (last_error_sent, last_error_received) = self.record.last_errors(now);
        let retry = self.retry_at.filter(|_| self.may_connect());
        PeerStatus {
            name: self.settings.name.to_string(),
            address: self.address(),
            interface: self.settings.config.interface.clone(),
            remote_as: self.remote_as(),
            state: self.record.state,
            since: rounded(now.duration_since(self.record.since)),
            reason: self.record.reason.clone(),
            next_attempt_in: retry.map(|at| rounded(at.saturating_duration_since(now))),
            established_count: self.record.established_count,
            negotiated: self.negotiated(),
            messages: self
                .record
                .messages(self.links().map(|link| link.connection.counts)),
            generation: export
                .and_then(|export| export.applied)
                .map(|(generation, _)| generation),
            routes: export.map(Export::routes).unwrap_or_default(),
            held: export
                .map(|export| export.held().to_vec())
                .unwrap_or_default(),
            last_error_sent,
            last_error_received,
        }
    }

    /// The peer's address: that of the session, or the one that is known or has been found.
    fn address(&self) -> Option<IpAddr> {
        let connected = self
            .session_link()
            .and_then(|link| link.stream.peer_addr().ok());
        match connected {
            Some(remote) => Some(remote.ip().to_canonical()),
            None => self.remote(),
        }
    }

    /// The AS number that the peer has said, or those that it may have.
    fn remote_as(&self) -> RemoteAs {
        let agreed = self
            .session_link()
            .and_then(|link| link.connection.negotiated());
        match agreed {
            Some(negotiated) => RemoteAs::number(negotiated.peer_asn),
            None => self.settings.config.remote_as.clone(),
        }
    }

    /// The connection that carries the session.
    fn session_link(&self) -> Option<&Link> {
        match self.session.as_ref()?.origin {
            Origin::Ours => self.ours.as_ref(),
            Origin::Theirs => self.theirs.as_ref(),
        }
    }

    fn negotiated(&self) -> Option<Negotiated> {
        let link = self.session_link()?;
        let negotiated = link.connection.negotiated()?;
        Some(Negotiated {
            remote_router_id: negotiated.peer_router_id,
            local_address: link.stream.local_addr().ok()?,
            remote_address: link.stream.peer_addr().ok()?,
            hold_time: Span::from_secs(negotiated.hold_time.into()),
            keepalive_interval: Span::from_secs(negotiated.keepalive_interval.into()),
            families: families(negotiated),
            peer_capabilities: negotiated
                .peer_capabilities
                .iter()
                .map(capability)
                .collect(),
            roles: roles(negotiated),
            hard_reset_needed: negotiated.peer_notification_gr,
        })
    }
}
