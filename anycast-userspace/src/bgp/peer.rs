//! One peer's task: its connections, its timers, and what it is sent.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustbgpd_fsm::NegotiatedSession;
use rustbgpd_wire::{
    Afi, Message, NotificationCode, OpenMessage, RouteRefreshMessage, RouteRefreshSubtype, Safi,
};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::backoff::{Backoff, Random};
use super::collision::{self, Origin, survivor};
use super::connection::{Connection, Ending, Happening, Incoming};
use super::event::{Event, EventKind};
use super::export::{Export, Updates};
use super::linger;
use super::notification::{Cease, Notification, cease};
use super::record::{Record, capability, families, rounded};
use super::settings::PeerSettings;
use super::socket;
use super::status::{Negotiated, PeerStatus, State, Summary};
use super::wire::Encoder;
use crate::config::Span;
use crate::config::bgp::Family;
use crate::rib::DesiredRoutes;

/// How long a connection may take to be set up before the attempt counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A session that held this long is sound: the next wait is short again.
const SOUND: Duration = Duration::from_secs(30);
/// With more than this unsent, changes wait: they are merged, and memory stays bounded.
const OUTBOX_LIMIT: usize = 64 * 1024;
/// Octets taken from the kernel at a time, and how often before others get their turn.
const READ_SIZE: usize = 16 * 1024;
const READS_PER_TURN: usize = 4;

/// What others ask of a peer task.
#[derive(Debug)]
pub(super) enum Command {
    /// Tell your state.
    Status(oneshot::Sender<PeerStatus>),
    /// Withdraw, say why, close, and end.
    Shutdown {
        communication: Option<String>,
        done: oneshot::Sender<()>,
    },
}

/// A connection with its socket.
#[derive(Debug)]
struct Link {
    connection: Connection,
    stream: TcpStream,
}

type Dial = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// Why the task woke up.
enum Wake {
    Desired(Result<(), watch::error::RecvError>),
    Command(Option<Command>),
    Ready(Origin, io::Result<Ready>),
    Accepted(Option<TcpStream>),
    Dialed(io::Result<TcpStream>),
    Timer,
}

/// One peer.
pub(super) struct Peer {
    settings: Arc<PeerSettings>,
    desired: watch::Receiver<Arc<DesiredRoutes>>,
    /// The controller is gone: what it wanted last still holds.
    desired_closed: bool,
    accepted: mpsc::Receiver<TcpStream>,
    commands: mpsc::Receiver<Command>,
    record: Record,
    ours: Option<Link>,
    theirs: Option<Link>,
    dialing: Option<Dial>,
    /// When to connect next; `None` while nothing is planned.
    retry_at: Option<Instant>,
    /// Until then, after an error of the peer's, its connections are refused.
    held_until: Option<Instant>,
    backoff: Backoff,
    /// The established session.
    session: Option<(Origin, Export)>,
    /// Desired routes have changed since they were last looked at.
    dirty: bool,
}

impl Peer {
    /// A peer that connects as soon as it runs.
    pub(super) fn new(
        settings: Arc<PeerSettings>,
        desired: watch::Receiver<Arc<DesiredRoutes>>,
        events: mpsc::Sender<Event>,
        accepted: mpsc::Receiver<TcpStream>,
        commands: mpsc::Receiver<Command>,
    ) -> (Self, watch::Receiver<Summary>) {
        let now = Instant::now();
        let (record, summary) = Record::new(Arc::clone(&settings.name), events, now);
        let config = &settings.config;
        let backoff = Backoff::new(config.retry.0, config.retry_max.0, Random::from_process());
        let peer = Self {
            retry_at: (!config.passive).then_some(now),
            settings,
            desired,
            desired_closed: false,
            accepted,
            commands,
            record,
            ours: None,
            theirs: None,
            dialing: None,
            held_until: None,
            backoff,
            session: None,
            dirty: false,
        };
        (peer, summary)
    }

    /// Runs until it is told to shut down, or until the speaker is gone.
    pub(super) async fn run(mut self) {
        self.settle();
        loop {
            match self.wake().await {
                Wake::Desired(Ok(())) => self.dirty = true,
                Wake::Desired(Err(_)) => self.desired_closed = true,
                Wake::Command(Some(Command::Status(reply))) => {
                    // The one who asked may have given up waiting.
                    let _ = reply.send(self.status());
                }
                Wake::Command(Some(Command::Shutdown {
                    communication,
                    done,
                })) => {
                    self.shut_down(communication.as_deref()).await;
                    let _ = done.send(());
                    return;
                }
                Wake::Command(None) => return,
                Wake::Ready(origin, ready) => self.transfer(origin, ready),
                Wake::Accepted(Some(stream)) => self.accept(stream),
                Wake::Accepted(None) => return,
                Wake::Dialed(result) => self.dialed(result),
                Wake::Timer => self.tick(),
            }
            self.settle();
        }
    }

    async fn wake(&mut self) -> Wake {
        let deadline = self.deadline();
        let watching = self.session.is_some() && !self.desired_closed;
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        // The desired routes come first: a withdrawal must not wait behind what a peer sends.
        tokio::select! {
            biased;
            changed = self.desired.changed(), if watching => Wake::Desired(changed),
            command = self.commands.recv() => Wake::Command(command),
            ready = readiness(self.ours.as_ref()) => Wake::Ready(Origin::Ours, ready),
            ready = readiness(self.theirs.as_ref()) => Wake::Ready(Origin::Theirs, ready),
            stream = self.accepted.recv() => Wake::Accepted(stream),
            dialed = attempt(self.dialing.as_mut()) => Wake::Dialed(dialed),
            () = timer => Wake::Timer,
        }
    }

    /// Brings everything up to date after a wake-up: happenings, routes, the socket, what others see.
    fn settle(&mut self) {
        let now = Instant::now();
        self.act_on_happenings(now);
        self.export(now);
        for origin in [Origin::Ours, Origin::Theirs] {
            self.flush(origin, now);
        }
        self.act_on_happenings(now);
        self.connect_if_due(now);
        self.record.enter(self.state(now), now);
        self.publish();
    }

    fn link(&mut self, origin: Origin) -> &mut Option<Link> {
        match origin {
            Origin::Ours => &mut self.ours,
            Origin::Theirs => &mut self.theirs,
        }
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        self.ours.iter().chain(&self.theirs)
    }

    /// The state of the session: that of the connection that has come furthest.
    fn state(&self, now: Instant) -> State {
        let furthest = self.links().map(|link| link.connection.state()).max();
        match furthest {
            Some(state) => state,
            None if self.dialing.is_some() => State::Connect,
            None if self.held_until.is_some_and(|until| until > now) => State::Idle,
            None => State::Active,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let connections = self.links().filter_map(|link| link.connection.deadline());
        let retry = self.retry_at.filter(|_| self.may_connect());
        connections.chain(retry).chain(self.held_until).min()
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
        }
        for link in self.ours.iter_mut().chain(&mut self.theirs) {
            link.connection.tick(now);
        }
    }

    /// Whether a connection of ours could be of use.
    fn may_connect(&self) -> bool {
        let enough = self
            .links()
            .any(|link| link.connection.state() >= State::OpenConfirm);
        !self.settings.config.passive && !enough && self.ours.is_none() && self.dialing.is_none()
    }

    fn connect_if_due(&mut self, now: Instant) {
        if self.may_connect() && self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            let settings = (*self.settings).clone();
            self.dialing = Some(Box::pin(async move {
                timeout(CONNECT_TIMEOUT, socket::dial(settings))
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }));
        }
    }

    fn dialed(&mut self, result: io::Result<TcpStream>) {
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

    fn accept(&mut self, stream: TcpStream) {
        let now = Instant::now();
        let held = self.held_until.is_some_and(|until| until > now);
        if held || self.theirs.is_some() || self.session.is_some() {
            tracing::debug!(peer = %self.settings.name, held, "a second BGP connection was closed");
            return;
        }
        match socket::adopt(&stream, &self.settings) {
            Ok(()) => self.start(stream, Origin::Theirs, now),
            Err(error) => {
                tracing::warn!(peer = %self.settings.name, %error, "a BGP connection could not be set up");
            }
        }
    }

    fn start(&mut self, stream: TcpStream, origin: Origin, now: Instant) {
        let random = Random::from_process();
        let connection = Connection::new(self.settings.machine(), origin, random, now);
        self.record.reason = match origin {
            Origin::Ours => "we connected to the peer".to_owned(),
            Origin::Theirs => "the peer connected to us".to_owned(),
        };
        *self.link(origin) = Some(Link { connection, stream });
    }

    /// Reads what has come, message by message.
    fn transfer(&mut self, origin: Origin, ready: io::Result<Ready>) {
        let now = Instant::now();
        let Some(link) = self.link(origin) else {
            return;
        };
        let readable = match ready {
            Ok(ready) => ready.is_readable() || ready.is_read_closed() || ready.is_error(),
            Err(error) => {
                link.connection.lost(error.to_string());
                return;
            }
        };
        if !readable {
            return;
        }
        let mut buffer = [0; READ_SIZE];
        for _ in 0..READS_PER_TURN {
            let Some(link) = self.link(origin) else {
                return;
            };
            match link.stream.try_read(&mut buffer) {
                Ok(0) => link
                    .connection
                    .lost("the peer closed the connection".to_owned()),
                Ok(count) => {
                    link.connection.receive(&buffer[..count]);
                    self.handle_messages(origin, now);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => link.connection.lost(error.to_string()),
            }
            return;
        }
    }

    fn handle_messages(&mut self, origin: Origin, now: Instant) {
        while let Some(incoming) = self
            .link(origin)
            .as_mut()
            .and_then(|link| link.connection.next_incoming())
        {
            if let Incoming::Message(Message::Open(open)) = &incoming
                && self.loses_collision(origin, open)
            {
                let notification = cease(Cease::CollisionResolution, None, false);
                if let Some(link) = self.link(origin) {
                    link.connection.cease(notification);
                }
            } else if let Some(link) = self.link(origin) {
                link.connection.handle(incoming, now);
            }
            self.act_on_happenings(now);
        }
    }

    /// RFC 4271 §6.8: an OPEN has come on one connection while there is another. Says whether the one
    /// of the OPEN is to be closed; if it is the other one, closes that.
    fn loses_collision(&mut self, origin: Origin, open: &OpenMessage) -> bool {
        let (other, other_origin) = match origin {
            Origin::Ours => (&mut self.theirs, Origin::Theirs),
            Origin::Theirs => (&mut self.ours, Origin::Ours),
        };
        let Some(other) = other else { return false };
        match other.connection.state() {
            State::Established => true,
            State::OpenConfirm => {
                let local = collision::Speaker {
                    identifier: self.settings.router_id,
                    asn: self.settings.local_as,
                };
                let remote = collision::Speaker {
                    identifier: open.bgp_identifier,
                    asn: open.four_byte_as(),
                };
                if survivor(local, remote) == other_origin {
                    return true;
                }
                other
                    .connection
                    .cease(cease(Cease::CollisionResolution, None, false));
                false
            }
            State::Idle | State::Connect | State::Active | State::OpenSent => false,
        }
    }

    fn act_on_happenings(&mut self, now: Instant) {
        for origin in [Origin::Ours, Origin::Theirs] {
            while let Some(happening) = self
                .link(origin)
                .as_mut()
                .and_then(|link| link.connection.next_happening())
            {
                match happening {
                    Happening::Established(negotiated) => self.established(origin, &negotiated),
                    Happening::Refresh(refresh) => self.refresh(&refresh),
                    Happening::Closed(ending) => self.closed(origin, ending, now),
                }
            }
        }
    }

    fn established(&mut self, origin: Origin, negotiated: &NegotiatedSession) {
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
        let encoder = match self.encoder(origin, negotiated) {
            Ok(encoder) => encoder,
            Err(error) => {
                if let Some(link) = self.link(origin) {
                    link.connection.lost(error.to_string());
                }
                return;
            }
        };
        self.session = Some((origin, Export::new(encoder)));
        self.dirty = true;
        self.export(Instant::now());
        let wants_marker = negotiated.peer_capabilities.iter().any(|capability| {
            matches!(
                capability,
                rustbgpd_wire::Capability::GracefulRestart { .. }
            )
        });
        if wants_marker && let Some((_, export)) = &self.session {
            let updates = export.end_of_rib();
            self.send(origin, updates);
        }
    }

    fn encoder(&mut self, origin: Origin, negotiated: &NegotiatedSession) -> io::Result<Encoder> {
        let Some(link) = self.link(origin) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let local_address = link.stream.local_addr()?.ip().to_canonical();
        let desired = self.desired.borrow();
        let announced = |address: std::net::IpAddr| desired.contains(&address.into());
        let (interface, link_local) = socket::interface_addresses(local_address, announced)?;
        let config = &self.settings.config;
        let shares_link = self.settings.is_external() && config.multihop.is_none();
        Ok(Encoder {
            local_as: self.settings.local_as,
            external: self.settings.is_external(),
            four_octet_as: negotiated.four_octet_as,
            families: families(negotiated),
            extended_next_hop: negotiated
                .extended_nexthop_families
                .contains_key(&(Afi::Ipv4, Safi::Unicast)),
            configured: config.next_hop,
            local_address,
            interface,
            link_local: link_local.filter(|_| shares_link && local_address.is_ipv6()),
            communities: config.communities.clone(),
        })
    }

    /// RFC 2918 §4: sends a family again; RFC 7313 §4: between markers, where the peer knows them.
    fn refresh(&mut self, refresh: &RouteRefreshMessage) {
        let family = match (refresh.afi(), refresh.safi()) {
            (Some(Afi::Ipv4), Some(Safi::Unicast)) => Family::Ipv4,
            (Some(Afi::Ipv6), Some(Safi::Unicast)) => Family::Ipv6,
            _ => return,
        };
        let Some((origin, export)) = &self.session else {
            return;
        };
        if refresh.subtype() != RouteRefreshSubtype::Normal {
            return;
        }
        let (origin, updates) = (*origin, export.resend(family));
        let marker = |subtype| {
            let afi = refresh.afi().unwrap_or(Afi::Ipv4);
            RouteRefreshMessage::new_with_subtype(afi, Safi::Unicast, subtype)
        };
        let enhanced = self.link(origin).as_ref().is_some_and(|link| {
            let negotiated = link.connection.negotiated();
            negotiated.is_some_and(|negotiated| negotiated.peer_enhanced_route_refresh)
        });
        if enhanced && let Some(link) = self.link(origin) {
            link.connection
                .send_refresh(marker(RouteRefreshSubtype::BoRR));
        }
        self.send(origin, updates);
        if enhanced && let Some(link) = self.link(origin) {
            link.connection
                .send_refresh(marker(RouteRefreshSubtype::EoRR));
        }
    }

    /// Looks at the desired routes if they have changed and the peer takes what it is sent.
    fn export(&mut self, now: Instant) {
        let Some((origin, _)) = &self.session else {
            return;
        };
        let origin = *origin;
        let waiting = self
            .link(origin)
            .as_ref()
            .map_or(0, |link| link.connection.outbox.len());
        if !self.dirty || waiting > OUTBOX_LIMIT {
            return;
        }
        self.dirty = false;
        let desired = Arc::clone(&self.desired.borrow_and_update());
        let Some((_, export)) = &mut self.session else {
            return;
        };
        let held_before = export.held().to_vec();
        let updates = export.bring_to(&desired, &self.settings);
        if export.held() != held_before
            && let [first, ..] = export.held()
        {
            let reason = first.clone();
            tracing::warn!(peer = %self.settings.name, %reason, "routes are held back");
            self.record.report(EventKind::Held { reason }, now);
        }
        self.send(origin, updates);
    }

    fn send(&mut self, origin: Origin, updates: Result<Updates, rustbgpd_wire::EncodeError>) {
        match updates {
            Ok(updates) => {
                if let Some(link) = self.link(origin) {
                    link.connection.send_updates(&updates.octets, updates.count);
                }
            }
            Err(error) => {
                tracing::error!(peer = %self.settings.name, %error, "routes cannot be encoded");
            }
        }
    }

    /// Hands as much of the outbox to the kernel as it takes.
    fn flush(&mut self, origin: Origin, now: Instant) {
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
        if let Some((session, export)) = &mut self.session
            && *session == origin
            && !self.dirty
            && let Some(progress) = export.flushed(Instant::now())
        {
            let (generation, changes) = (progress.generation, progress.changes);
            self.record.report(
                EventKind::Applied {
                    generation,
                    changes,
                },
                now,
            );
        }
    }

    /// A connection is over: keep what is worth knowing, and plan the next one.
    fn closed(&mut self, origin: Origin, ending: Ending, now: Instant) {
        let Some(link) = self.link(origin).take() else {
            return;
        };
        self.record.retire(link.connection.counts);
        let was_session = self
            .session
            .as_ref()
            .is_some_and(|(session, _)| *session == origin);
        if was_session {
            self.session = None;
            if now.duration_since(self.record.since) >= SOUND {
                self.backoff.reset();
            }
        }
        let mut at_fault = false;
        match ending {
            Ending::Sent(message) => {
                at_fault = message.code != NotificationCode::Cease;
                self.record.error_sent(Notification::from(&message), now);
                drop(linger::close(link.stream, link.connection.outbox));
            }
            Ending::Received(message) => {
                self.record
                    .error_received(Notification::from(&message), now);
            }
            Ending::SendHoldExpired => {
                self.record.reason = "the peer took nothing for the send hold time".to_owned();
            }
            Ending::Lost(why) => self.record.reason = why,
        }
        if self.ours.is_none() && self.theirs.is_none() {
            let next = now + self.backoff.next();
            self.retry_at = (!self.settings.config.passive).then_some(next);
            self.held_until = at_fault.then_some(next);
        }
    }

    async fn shut_down(&mut self, communication: Option<&str>) {
        let now = Instant::now();
        if let Some((origin, export)) = &mut self.session {
            let (origin, updates) = (*origin, export.withdraw_all());
            self.send(origin, updates);
        }
        self.session = None;
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
            self.record.error_sent(Notification::from(&message), now);
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

    fn publish(&self) {
        let export = self.session.as_ref().map(|(_, export)| export);
        self.record.publish(Summary {
            state: self.record.state,
            applied: export.and_then(|export| export.applied),
            prefixes: export.map_or(0, Export::prefixes),
            messages: self
                .record
                .messages(self.links().map(|link| link.connection.counts)),
            established_count: self.record.established_count,
        });
    }

    fn status(&self) -> PeerStatus {
        let now = Instant::now();
        let export = self.session.as_ref().map(|(_, export)| export);
        let (last_error_sent, last_error_received) = self.record.last_errors(now);
        let retry = self.retry_at.filter(|_| self.may_connect());
        PeerStatus {
            name: self.settings.name.to_string(),
            address: self.settings.config.address,
            remote_as: self.settings.config.remote_as,
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

    fn negotiated(&self) -> Option<Negotiated> {
        let (origin, _) = self.session.as_ref()?;
        let link = match origin {
            Origin::Ours => self.ours.as_ref()?,
            Origin::Theirs => self.theirs.as_ref()?,
        };
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
            hard_reset_needed: negotiated.peer_notification_gr,
        })
    }
}

/// Waits until a connection can be read, or written if something is to be sent.
async fn readiness(link: Option<&Link>) -> io::Result<Ready> {
    match link {
        None => std::future::pending().await,
        Some(link) if link.connection.outbox.is_empty() => {
            link.stream.ready(Interest::READABLE).await
        }
        Some(link) => {
            let interest = Interest::READABLE | Interest::WRITABLE;
            link.stream.ready(interest).await
        }
    }
}

/// Waits for the attempt to connect, if there is one.
async fn attempt(dial: Option<&mut Dial>) -> io::Result<TcpStream> {
    match dial {
        None => std::future::pending().await,
        Some(dial) => dial.await,
    }
}
