//! What is remembered about a peer across its sessions, and how it is told.

use std::sync::Arc;
use std::time::Instant;

use rustbgpd_fsm::NegotiatedSession;
use rustbgpd_wire::{Afi, BgpRole, Capability, Safi};
use tokio::sync::{mpsc, watch};

use super::event::{Event, EventKind};
use super::notification::Notification;
use super::status::{LastError, MessageCounts, Messages, State, Summary};
use crate::config::Span;
use crate::config::bgp::Family;

/// State, errors and counters of one peer.
#[derive(Debug)]
pub(super) struct Record {
    name: Arc<str>,
    events: mpsc::Sender<Event>,
    summary: watch::Sender<Summary>,
    pub(super) state: State,
    pub(super) since: Instant,
    pub(super) reason: String,
    pub(super) established_count: u64,
    /// Messages of the connections that are over.
    past: MessageCounts,
    error_sent: Option<(Instant, Notification)>,
    error_received: Option<(Instant, Notification)>,
}

impl Record {
    pub(super) fn new(
        name: Arc<str>,
        events: mpsc::Sender<Event>,
        now: Instant,
    ) -> (Self, watch::Receiver<Summary>) {
        let (summary, receiver) = watch::channel(Summary {
            state: State::Idle,
            since: now,
            applied: None,
            prefixes: 0,
            messages: MessageCounts::default(),
            established_count: 0,
        });
        let record = Self {
            name,
            events,
            summary,
            state: State::Idle,
            since: now,
            reason: "starting".to_owned(),
            established_count: 0,
            past: MessageCounts::default(),
            error_sent: None,
            error_received: None,
        };
        (record, receiver)
    }

    /// Reports an event; a full channel loses it, and the log says so.
    pub(super) fn report(&self, kind: EventKind, now: Instant) {
        let event = Event {
            peer: Arc::clone(&self.name),
            at: now,
            kind,
        };
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            tracing::warn!(peer = %self.name, kind = ?event.kind, "a BGP event was lost: the receiver is slow");
        }
    }

    /// Notes the state; a change is reported with the last reason given.
    pub(super) fn enter(&mut self, state: State, now: Instant) {
        if state == self.state {
            return;
        }
        let from = std::mem::replace(&mut self.state, state);
        self.since = now;
        tracing::info!(peer = %self.name, %from, to = %state, reason = %self.reason, "BGP session");
        let reason = self.reason.clone();
        self.report(
            EventKind::State {
                from,
                to: state,
                reason,
            },
            now,
        );
    }

    pub(super) fn error_sent(&mut self, notification: Notification, now: Instant) {
        self.reason = format!("we sent: {notification}");
        self.report(EventKind::NotificationSent(notification.clone()), now);
        self.error_sent = Some((now, notification));
    }

    pub(super) fn error_received(&mut self, notification: Notification, now: Instant) {
        self.reason = format!("the peer sent: {notification}");
        self.report(EventKind::NotificationReceived(notification.clone()), now);
        self.error_received = Some((now, notification));
    }

    /// A connection is over: its counters join the past ones.
    pub(super) fn retire(&mut self, counts: MessageCounts) {
        self.past = sum(self.past, counts);
    }

    /// Messages of past connections and of those that live.
    pub(super) fn messages(&self, live: impl Iterator<Item = MessageCounts>) -> MessageCounts {
        live.fold(self.past, sum)
    }

    /// Publishes the summary if it has changed.
    pub(super) fn publish(&self, summary: Summary) {
        self.summary.send_if_modified(|current| {
            let changed = *current != summary;
            *current = summary;
            changed
        });
    }

    pub(super) fn last_errors(&self, now: Instant) -> (Option<LastError>, Option<LastError>) {
        let tell = |error: &Option<(Instant, Notification)>| {
            error.as_ref().map(|(at, notification)| LastError {
                ago: rounded(now.duration_since(*at)),
                notification: notification.clone(),
            })
        };
        (tell(&self.error_sent), tell(&self.error_received))
    }
}

fn sum(a: MessageCounts, b: MessageCounts) -> MessageCounts {
    let add = |a: Messages, b: Messages| Messages {
        open: a.open + b.open,
        update: a.update + b.update,
        notification: a.notification + b.notification,
        keepalive: a.keepalive + b.keepalive,
        route_refresh: a.route_refresh + b.route_refresh,
    };
    MessageCounts {
        sent: add(a.sent, b.sent),
        received: add(a.received, b.received),
    }
}

/// A duration as people read it: whole milliseconds.
pub(super) fn rounded(duration: std::time::Duration) -> Span {
    Span::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// The unicast families that both sides speak.
pub(super) fn families(negotiated: &NegotiatedSession) -> Vec<Family> {
    let pairs = [(Family::Ipv4, Afi::Ipv4), (Family::Ipv6, Afi::Ipv6)];
    pairs
        .into_iter()
        .filter(|(_, afi)| {
            negotiated
                .negotiated_families
                .contains(&(*afi, Safi::Unicast))
        })
        .map(|(family, _)| family)
        .collect()
}

/// Our role and the peer's in words (RFC 9234 §4.2); `None`: neither was said.
pub(super) fn roles(negotiated: &NegotiatedSession) -> Option<String> {
    match (negotiated.local_role, negotiated.remote_role) {
        (Some(ours), Some(theirs)) => Some(format!("{} of a {}", role(ours), role(theirs))),
        (Some(ours), None) => Some(format!("{}; the peer says none", role(ours))),
        (None, Some(theirs)) => Some(format!("none; the peer is a {}", role(theirs))),
        (None, None) => None,
    }
}

fn role(role: BgpRole) -> &'static str {
    match role {
        BgpRole::Provider => "provider",
        BgpRole::RouteServer => "route server",
        BgpRole::RouteServerClient => "route server client",
        BgpRole::Customer => "customer",
        BgpRole::Peer => "peer",
        // The codec's enum is open.
        _ => "role of another kind",
    }
}

/// A capability in words, with its RFC where a number says more.
pub(super) fn capability(capability: &Capability) -> String {
    match capability {
        Capability::MultiProtocol { afi, safi } => match rustbgpd_wire::family_label(*afi, *safi) {
            Some(label) => format!("multiprotocol {label}"),
            None => format!("multiprotocol {afi:?} {safi:?}"),
        },
        Capability::ExtendedNextHop(_) => "IPv6 next hops for IPv4".to_owned(),
        Capability::GracefulRestart {
            restart_time,
            notification,
            ..
        } => {
            let wrapped = if *notification {
                ", also after a NOTIFICATION"
            } else {
                ""
            };
            format!("graceful restart ({restart_time} s{wrapped})")
        }
        Capability::RouteRefresh => "route refresh".to_owned(),
        Capability::EnhancedRouteRefresh => "enhanced route refresh".to_owned(),
        Capability::ExtendedMessage => "extended messages".to_owned(),
        Capability::LinkLocalNextHop => "link-local next hop".to_owned(),
        Capability::LongLivedGracefulRestart(_) => "long-lived graceful restart".to_owned(),
        Capability::AddPath(_) => "additional paths".to_owned(),
        Capability::PathsLimit(_) => "paths limit".to_owned(),
        Capability::OutboundRouteFilter(_) => "outbound route filters".to_owned(),
        Capability::FourOctetAs { asn } => format!("four-octet AS ({asn})"),
        Capability::Role { role: said } => format!("role {}", role(*said)),
        Capability::Unknown { code, .. } => format!("capability {code}"),
        // The codec's enum is open.
        other => format!("capability {}", other.code()),
    }
}
