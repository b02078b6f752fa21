//! One peer's task: its connections, its timers, and what it is sent.
//!
//! The task waits for one thing at a time here, and brings everything up to date after each. The other
//! files are its parts: `connect` opens and ends connections, `receive` acts on what comes, `session`
//! keeps an established session supplied, `report` tells others.

mod connect;
mod receive;
mod report;
mod session;

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::backoff::{Backoff, Random};
use super::collision::Origin;
use super::connection::Connection;
use super::discovery::Discovered;
use super::event::Event;
use super::listener::Arrival;
use super::record::Record;
use super::settings::{PeerSettings, Place};
use super::status::{PeerStatus, State, Summary};
use crate::rib::DesiredRoutes;
use session::Session;

/// Commands waiting for one peer task; those who ask wait when it is full.
pub(super) const COMMAND_DEPTH: usize = 8;

/// What others ask of a peer task.
#[derive(Debug)]
pub(super) enum Command {
    /// Tell your state.
    Status(oneshot::Sender<PeerStatus>),
    /// End the session: BFD says that the peer cannot be reached, and why.
    BfdDown(String),
    /// Withdraw, say why, close, and end.
    Shutdown {
        communication: Option<String>,
        done: oneshot::Sender<()>,
    },
}

/// What a peer task hears, and where it reports.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) desired: watch::Receiver<Arc<DesiredRoutes>>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) accepted: mpsc::Receiver<Arrival>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Where the router at the other end of an interface is.
    pub(super) neighbour: Option<watch::Receiver<Discovered>>,
    /// How often in a row the peer had failed before this task was there.
    pub(super) failures: u32,
}

/// How others reach a peer task.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub(super) name: Arc<str>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) summary: watch::Receiver<Summary>,
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
    Accepted(Option<Arrival>),
    Neighbour(Result<(), watch::error::RecvError>),
    Dialed(io::Result<TcpStream>),
    Timer,
}

/// One peer.
pub(super) struct Peer {
    settings: Arc<PeerSettings>,
    desired: watch::Receiver<Arc<DesiredRoutes>>,
    /// The controller is gone: what it wanted last still holds.
    desired_closed: bool,
    accepted: mpsc::Receiver<Arrival>,
    commands: mpsc::Receiver<Command>,
    neighbour: Option<watch::Receiver<Discovered>>,
    record: Record,
    ours: Option<Link>,
    theirs: Option<Link>,
    dialing: Option<Dial>,
    /// When to connect next; `None` while nothing is planned.
    retry_at: Option<Instant>,
    /// Until then, after an error of the peer's, its connections are refused.
    held_until: Option<Instant>,
    backoff: Backoff,
    session: Option<Session>,
}

impl Peer {
    /// A peer that connects as soon as it runs.
    pub(super) fn new(
        settings: Arc<PeerSettings>,
        channels: Channels,
    ) -> (Self, watch::Receiver<Summary>) {
        let now = Instant::now();
        let Channels {
            desired,
            events,
            accepted,
            commands,
            neighbour,
            failures,
        } = channels;
        let (mut record, summary) = Record::new(Arc::clone(&settings.name), events, now);
        if let Place::Interface(interface) = &settings.place {
            record.reason = format!("waiting for a router advertisement on {interface}");
        }
        let config = &settings.config;
        let random = Random::from_process();
        let backoff = Backoff::new(config.retry.0, config.retry_max.0, random).after(failures);
        let peer = Self {
            retry_at: (!settings.is_passive()).then_some(now),
            settings,
            desired,
            desired_closed: false,
            accepted,
            commands,
            neighbour,
            record,
            ours: None,
            theirs: None,
            dialing: None,
            held_until: None,
            backoff,
            session: None,
        };
        (peer, summary)
    }

    /// Runs until it is told to shut down, until the speaker is gone, or until a peer that is there only
    /// while it is connected is not. Returns how often in a row the peer has failed.
    pub(super) async fn run(mut self) -> u32 {
        self.serve().await;
        self.backoff.failures()
    }

    async fn serve(&mut self) {
        self.settle();
        loop {
            match self.wake().await {
                Wake::Desired(Ok(())) => {
                    if let Some(session) = &mut self.session {
                        session.stale = true;
                    }
                }
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
                Wake::Command(Some(Command::BfdDown(reason))) => self.bfd_down(&reason),
                Wake::Ready(origin, ready) => {
                    if self.transfer(origin, ready) {
                        // More is there. The runtime has one thread: without this it would be this peer's
                        // for as long as the peer sends fast enough.
                        tokio::task::yield_now().await;
                    }
                }
                Wake::Accepted(Some(arrival)) => self.accept(arrival),
                Wake::Accepted(None) => return,
                Wake::Neighbour(Ok(())) => self.neighbour_changed(),
                // The task that looks for the router ends only with the speaker.
                Wake::Neighbour(Err(_)) => self.neighbour = None,
                Wake::Dialed(result) => self.dialed(result),
                Wake::Timer => self.tick(),
            }
            self.settle();
            if self.is_spent() {
                return;
            }
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
        // The desired routes come first: a withdrawal must not wait behind what a peer sends, and neither must
        // the timers.
        tokio::select! {
            biased;
            changed = self.desired.changed(), if watching => Wake::Desired(changed),
            command = self.commands.recv() => Wake::Command(command),
            () = timer => Wake::Timer,
            ready = readiness(self.ours.as_ref()) => Wake::Ready(Origin::Ours, ready),
            ready = readiness(self.theirs.as_ref()) => Wake::Ready(Origin::Theirs, ready),
            arrival = self.accepted.recv() => Wake::Accepted(arrival),
            changed = change(self.neighbour.as_mut()) => Wake::Neighbour(changed),
            dialed = attempt(self.dialing.as_mut()) => Wake::Dialed(dialed),
        }
    }

    /// Brings everything up to date after a wake-up: happenings, routes, the socket, what others see.
    fn settle(&mut self) {
        let now = Instant::now();
        self.act_on_happenings(now);
        loop {
            self.supply(now);
            for origin in [Origin::Ours, Origin::Theirs] {
                self.flush(origin, now);
            }
            if !self.can_supply_more(now) {
                break;
            }
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
            None if self.settings.is_passing() => State::Idle,
            None => State::Active,
        }
    }

    /// The peer's address, if it is known.
    fn remote(&self) -> Option<IpAddr> {
        match &self.settings.place {
            Place::Address(address) | Place::Member(address) => Some(*address),
            Place::Interface(_) => {
                let found = self.neighbour.as_ref()?.borrow();
                found.address.map(IpAddr::V6)
            }
        }
    }

    /// Whether nothing is left of a peer that is there only while it is connected. After an error of
    /// its own it stays for as long as its connections are refused.
    fn is_spent(&self) -> bool {
        self.settings.is_passing()
            && self.links().next().is_none()
            && self.held_until.is_none()
            && self.accepted.is_empty()
    }

    fn deadline(&self) -> Option<Instant> {
        let connections = self.links().filter_map(|link| link.connection.deadline());
        let retry = self.retry_at.filter(|_| self.may_connect());
        let refresh = self.refresh_deadline(Instant::now());
        connections
            .chain(retry)
            .chain(self.held_until)
            .chain(refresh)
            .min()
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

/// Waits until more is known of the router at the other end of an interface.
async fn change(
    neighbour: Option<&mut watch::Receiver<Discovered>>,
) -> Result<(), watch::error::RecvError> {
    match neighbour {
        None => std::future::pending().await,
        Some(neighbour) => neighbour.changed().await,
    }
}
