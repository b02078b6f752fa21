//! Our side of the link: the BFD of the daemon, in the namespace of the calling thread.

use std::time::Duration;

use anycast_userspace::bfd::auth::Key;
use anycast_userspace::bfd::{
    Event, EventKind, Manager, Peer, Session, SessionStatus, State, Status,
};
use anycast_userspace::config::bfd::Bfd;
use anyhow::{Context as _, Result, bail};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::daemon::ADDRESSES;

/// More than a session needs to come up: a packet a second from each side, three times.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a failure may take to be noticed. The Detection Time is much less, and an event says which one it was that
/// expired; but the machine may stall in between.
pub(crate) const NOTICED: Duration = Duration::from_secs(15);

/// A running BFD with a session to each of the router's addresses.
pub(crate) struct Node {
    runtime: Runtime,
    pub(crate) manager: Manager,
    events: mpsc::Receiver<Event>,
    pub(crate) sessions: Vec<Session>,
}

impl Node {
    /// Starts it and watches the first `count` of the router's addresses with `settings`.
    pub(crate) fn start(count: usize, settings: &Bfd) -> Result<Self> {
        Self::start_with_key(count, settings, None)
    }

    /// The same, with a secret.
    pub(crate) fn start_with_key(count: usize, settings: &Bfd, key: Option<&Key>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (manager, events) = Manager::spawn()?;
        let mut sessions = Vec::new();
        for (ours, theirs) in ADDRESSES.into_iter().take(count) {
            let peer = Peer {
                name: theirs.to_owned(),
                address: theirs.parse()?,
                source: Some(ours.parse()?),
                interface: Some("node1".to_owned()),
                vrf: None,
                settings: settings.clone(),
                key: key.cloned(),
            };
            sessions.push(runtime.block_on(manager.add(peer))?);
        }
        Ok(Self {
            runtime,
            manager,
            events,
            sessions,
        })
    }

    /// Waits until every session is up.
    pub(crate) fn wait_until_up(&mut self) -> Result<()> {
        self.wait_for_each(|kind| kind == EventKind::Up, PATIENCE)
            .map(|_| ())
    }

    /// Waits for one event of each session, and returns them; another event than wanted is an error.
    pub(crate) fn wait_for_each(
        &mut self,
        wanted: impl Fn(EventKind) -> bool,
        limit: Duration,
    ) -> Result<Vec<Event>> {
        let mut seen: Vec<Event> = Vec::new();
        while seen.len() < self.sessions.len() {
            let waited = self
                .runtime
                .block_on(async { timeout(limit, self.events.recv()).await });
            let Ok(event) = waited else {
                bail!(
                    "seen within {limit:?}: {seen:?}; status: {:#?}",
                    self.status()
                );
            };
            let event = event.context("BFD has ended")?;
            if !wanted(event.kind) || seen.iter().any(|other| other.peer == event.peer) {
                bail!("unexpected: {event:?}");
            }
            seen.push(event);
        }
        Ok(seen)
    }

    /// Fails if an event comes within `time`.
    pub(crate) fn nothing_happens_for(&mut self, time: Duration) -> Result<()> {
        match self
            .runtime
            .block_on(async { timeout(time, self.events.recv()).await })
        {
            Ok(event) => bail!("unexpected: {event:?}"),
            Err(_) => Ok(()),
        }
    }

    /// Waits until every session's status is as wanted.
    pub(crate) fn wait_for_status(&self, wanted: impl Fn(&SessionStatus) -> bool) -> Result<()> {
        let seen = anycast_tests::peers::wait_until("a status", PATIENCE, || {
            self.status().sessions.iter().all(&wanted).then_some(())
        });
        seen.with_context(|| format!("{:#?}", self.status()))
    }

    pub(crate) fn status(&self) -> Status {
        self.block_on(self.manager.status())
    }

    pub(crate) fn set_admin_down(&self, held: bool) {
        for session in &self.sessions {
            self.block_on(session.set_admin_down(held));
        }
    }

    pub(crate) fn configure(&self, settings: &Bfd) {
        for session in &self.sessions {
            self.block_on(session.configure(settings.clone()));
        }
    }

    /// The sessions' own state, as their handles know it.
    pub(crate) fn states(&self) -> Vec<State> {
        self.sessions
            .iter()
            .map(|session| *session.state().borrow())
            .collect()
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}
