//! Opening connections, accepting the peer's, and what follows when one ends.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustbgpd_wire::NotificationCode;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Link, Peer};
use crate::bgp::backoff::Random;
use crate::bgp::collision::Origin;
use crate::bgp::connection::{Connection, Ending};
use crate::bgp::listener::Arrival;
use crate::bgp::notification::{Cease, Notification, cease};
use crate::bgp::status::State;
use crate::bgp::{linger, socket};

/// How long a connection may take to be set up before the attempt counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A session that held this long is sound: the next wait is short again.
const SOUND: Duration = Duration::from_secs(30);

impl Peer {
    /// Whether a connection of ours could be of use.
    pub(super) fn may_connect(&self) -> bool {
        let enough = self
            .links()
            .any(|link| link.connection.state() >= State::OpenConfirm);
        let free = self.ours.is_none() && self.dialing.is_none();
        !self.settings.is_passive() && !enough && free && self.remote().is_some()
    }

    pub(super) fn connect_if_due(&mut self, now: Instant) {
        if self.may_connect()
            && self.retry_at.is_some_and(|at| at <= now)
            && let Some(address) = self.remote()
        {
            self.retry_at = None;
            let settings = Arc::clone(&self.settings);
            self.dialing = Some(Box::pin(async move {
                timeout(CONNECT_TIMEOUT, socket::dial(settings, address))
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }));
        }
    }

    pub(super) fn dialed(&mut self, result: io::Result<TcpStream>) {
        self.dialing = None;
        let now = Instant::now();
        match result {
            Ok(stream) if self.session.is_none() => self.start(stream, Origin::Ours, now),
            Ok(_) => {}
            Err(error) => {
                self.record.reason = format!("cannot connect: {error}");
                self.retry_at = Some(now + self.backoff.next());
            }
        }
    }

    pub(super) fn accept(&mut self, arrival: Arrival) {
        let Arrival { stream, remote } = arrival;
        let now = Instant::now();
        let held = self.held_until.is_some_and(|until| until > now);
        if held || self.theirs.is_some() || self.session.is_some() {
            tracing::debug!(peer = %self.settings.name, %remote, held, "a second BGP connection was closed");
            return;
        }
        match socket::adopt(&stream, &self.settings) {
            Ok(()) => self.start(stream, Origin::Theirs, now),
            Err(error) => {
                tracing::warn!(peer = %self.settings.name, %error, "a BGP connection could not be set up");
            }
        }
    }

    pub(super) fn start(&mut self, stream: TcpStream, origin: Origin, now: Instant) {
        let random = Random::from_process();
        let connection = Connection::new(self.settings.machine(), origin, random, now);
        self.record.reason = match origin {
            Origin::Ours => "we connected to the peer".to_owned(),
            Origin::Theirs => "the peer connected to us".to_owned(),
        };
        *self.link(origin) = Some(Link { connection, stream });
    }

    /// A connection is over: keep what is worth knowing, and plan the next one.
    pub(super) fn closed(&mut self, origin: Origin, ending: Ending, now: Instant) {
        let Some(link) = self.link(origin).take() else {
            return;
        };
        self.record.retire(link.connection.counts);
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.origin == origin)
        {
            self.session = None;
            if now.duration_since(self.record.since) >= SOUND {
                self.backoff.reset();
            }
        }
        let mut at_fault = false;
        match ending {
            Ending::Sent(message) => {
                at_fault = message.code != NotificationCode::Cease;
                self.record.error_sent(Notification::of(&message), now);
                drop(linger::close(link.stream, link.connection.outbox));
            }
            Ending::Received(message) => {
                self.record.error_received(Notification::of(&message), now);
            }
            Ending::SendHoldExpired => {
                self.record.reason = "the peer took nothing for the send hold time".to_owned();
            }
            Ending::Lost(why) => self.record.reason = why,
        }
        if self.session.is_some() {
            return;
        }
        let alone = self.ours.is_none() && self.theirs.is_none();
        // While another connection may still become the session, this was no failure of the peer's.
        let wait = if alone {
            self.backoff.next()
        } else {
            self.settings.config.retry.0
        };
        self.retry_at = (!self.settings.is_passive()).then_some(now + wait);
        self.held_until = (alone && at_fault).then_some(now + wait);
    }

    /// The router at the other end of the interface has been found, is another one, or cannot be found.
    pub(super) fn neighbour_changed(&mut self) {
        let Some(neighbour) = &mut self.neighbour else {
            return;
        };
        let found = neighbour.borrow_and_update().clone();
        match (found.address, found.trouble) {
            (Some(_), _) => {
                if self.links().next().is_none() && self.dialing.is_none() {
                    let now = Instant::now();
                    // After an error of the peer's, where it is changes nothing about when it is tried again.
                    let at = self.held_until.map_or(now, |until| until.max(now));
                    self.retry_at = (!self.settings.is_passive()).then_some(at);
                }
            }
            (None, Some(trouble)) if self.session.is_none() => self.record.reason = trouble,
            (None, _) => {}
        }
    }

    /// BFD says that the peer cannot be reached (RFC 5882 §4.3).
    pub(super) fn bfd_down(&mut self, reason: &str) {
        tracing::warn!(peer = %self.settings.name, reason, "BFD ends the BGP session");
        for link in self.ours.iter_mut().chain(&mut self.theirs) {
            let hard_reset = link
                .connection
                .negotiated()
                .is_some_and(|negotiated| negotiated.peer_notification_gr);
            link.connection
                .cease(cease(Cease::BfdDown, None, hard_reset));
        }
    }

    pub(super) async fn shut_down(&mut self, communication: Option<&str>) {
        let now = Instant::now();
        if let Some(mut session) = self.session.take() {
            let updates = session.export.withdraw_all();
            self.send(session.origin, updates);
        }
        self.dialing = None;
        let mut closing = Vec::new();
        for link in [self.ours.take(), self.theirs.take()].into_iter().flatten() {
            let Link {
                mut connection,
                stream,
            } = link;
            let hard_reset = connection
                .negotiated()
                .is_some_and(|n| n.peer_notification_gr);
            let message = cease(Cease::AdministrativeShutdown, communication, hard_reset);
            self.record.error_sent(Notification::of(&message), now);
            connection.cease(message);
            self.record.retire(connection.counts);
            closing.push(linger::close(stream, connection.outbox));
        }
        for task in closing {
            // A task that panicked has closed its socket.
            let _ = task.await;
        }
        self.record.enter(State::Idle, Instant::now());
        self.publish();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, watch};

    use super::super::Channels;
    use super::*;
    use crate::bgp::discovery::Discovered;
    use crate::bgp::settings::{Entry, resolve};
    use crate::rib::DesiredRoutes;

    /// A peer at the other end of an interface, as far as this test can see it.
    fn unnumbered(neighbour: watch::Receiver<Discovered>) -> Peer {
        let text = "local_as = 64512\nrouter_id = \"10.0.0.1\"\n\
                    [[peers]]\nname = \"leaf\"\ninterface = \"eth0\"\nremote_as = 65001\n";
        let config: crate::config::Bgp = toml::from_str(text).unwrap();
        let Some(Entry::Peer(settings)) = resolve(&config).unwrap().pop() else {
            panic!("one peer is configured");
        };
        let channels = Channels {
            desired: watch::channel(Arc::new(DesiredRoutes::new(0))).1,
            events: mpsc::channel(1).0,
            accepted: mpsc::channel(1).1,
            commands: mpsc::channel(1).1,
            neighbour: Some(neighbour),
            failures: 0,
        };
        Peer::new(Arc::new(settings), channels).0
    }

    #[test]
    fn a_router_that_is_found_is_dialled_at_once_but_not_before_its_idle_hold_is_over() {
        let found = Discovered {
            address: Some("fe80::2".parse().unwrap()),
            ..Discovered::default()
        };
        let (_sender, seen) = watch::channel(found);
        let mut peer = unnumbered(seen);
        let start = Instant::now();
        peer.retry_at = None;
        peer.neighbour_changed();
        let at = peer.retry_at.unwrap();
        assert!(at >= start && at <= Instant::now());

        let until = start + Duration::from_secs(10);
        peer.held_until = Some(until);
        peer.retry_at = Some(until);
        peer.neighbour_changed();
        assert_eq!(peer.retry_at, Some(until));
    }
}
