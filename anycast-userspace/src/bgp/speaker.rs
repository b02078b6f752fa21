//! The speaker as others hold it: it answers for all peers, and ends their sessions.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::event::Event;
use super::group;
use super::listener::Door;
use super::peer::{Command, Handle};
use super::start::{self, Error, RunningGroup};
use super::status::{Listening, PeerStatus, Status, Summary};
use crate::config;
use crate::rib::DesiredRoutes;

/// A peer task answers between two system calls; later than this, it is reported as missing.
const ANSWER: Duration = Duration::from_secs(2);

/// A running speaker. Dropping it ends all sessions without a word; `shutdown` ends them properly.
#[derive(Debug)]
pub struct Speaker {
    local_as: u32,
    router_id: std::net::Ipv4Addr,
    listening: Vec<Listening>,
    peers: Vec<Handle>,
    groups: Vec<RunningGroup>,
    /// The tasks of peers and groups.
    tasks: Vec<JoinHandle<()>>,
    /// The tasks that accept connections, and that look for routers.
    helpers: Vec<JoinHandle<()>>,
    /// Held so that a task sees its door closed only when the speaker is gone.
    _doors: Arc<[Door]>,
}

impl Speaker {
    /// Starts the speaker; must be called inside a tokio runtime.
    ///
    /// Each change of `desired` is sent to the peers at once; what changes while a peer is busy is
    /// seen as one change. When `events` is full, an event is dropped and the peer's log says so: the
    /// state itself is in `status` and `summaries`.
    ///
    /// # Errors
    /// A password file that cannot be read; a passive peer without an address to listen on.
    pub fn spawn(
        config: &config::Bgp,
        desired: &watch::Receiver<Arc<DesiredRoutes>>,
        events: &mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        let parts = start::start(config, desired, events)?;
        Ok(Self {
            local_as: config.local_as,
            router_id: config.router_id,
            listening: parts.listening,
            peers: parts.peers,
            groups: parts.groups,
            tasks: parts.tasks,
            helpers: parts.helpers,
            _doors: parts.doors.into(),
        })
    }

    /// All peers: the configured ones, then those of prefixes that are connected.
    fn handles(&self) -> Vec<Handle> {
        let members = self
            .groups
            .iter()
            .flat_map(|group| group.members.borrow().handles.clone());
        self.peers.iter().cloned().chain(members).collect()
    }

    fn handle(&self, peer: &str) -> Option<Handle> {
        self.handles()
            .into_iter()
            .find(|handle| *handle.name == *peer)
    }

    /// The state of the speaker and its peers, with the routes that each has been sent.
    pub async fn status(&self) -> Status {
        let mut peers = Vec::new();
        for peer in self.handles() {
            match peer.ask().await {
                Some(status) => peers.push(status),
                // It may have gone since it was listed.
                None if peer.commands.is_closed() => {}
                None => tracing::warn!(peer = %peer.name, "the BGP peer's task does not answer"),
            }
        }
        Status {
            local_as: self.local_as,
            router_id: self.router_id,
            listening: self.listening.clone(),
            peers,
            groups: self
                .groups
                .iter()
                .map(|group| group.settings.status(&group.members.borrow()))
                .collect(),
        }
    }

    /// The peers' names, each with what is always current: session state, generation applied, counters.
    pub fn summaries(&self) -> Vec<(Arc<str>, Summary)> {
        self.handles()
            .into_iter()
            .map(|peer| (peer.name, *peer.summary.borrow()))
            .collect()
    }

    /// Waits until one peer's summary satisfies a test; `None`: there is no peer of this name.
    pub async fn summary_until(
        &self,
        peer: &str,
        test: impl Fn(&Summary) -> bool,
    ) -> Option<Summary> {
        let mut summary = self.handle(peer)?.summary;
        let found = summary.wait_for(test).await.ok()?;
        Some(*found)
    }

    /// Waits until every peer with an established session has been sent all of `generation`.
    pub async fn applied(&self, generation: u64) {
        for mut peer in self.handles() {
            // A peer whose task has ended announces nothing.
            let _ = peer
                .summary
                .wait_for(|summary| summary.has_applied(generation))
                .await;
        }
    }

    /// BFD has found that a peer cannot be reached: its session ends at once with Cease/10 (RFC 9384).
    /// `reason` goes to the log. Nothing happens to a peer without a session, or when there is none of
    /// this name. A peer whose BFD is taken down on purpose must not be reported (RFC 5882 §4.2).
    pub async fn bfd_down(&self, peer: &str, reason: &str) {
        if let Some(handle) = self.handle(peer) {
            let command = Command::BfdDown(reason.to_owned());
            // A task that has ended has no session.
            let _ = handle.commands.send(command).await;
        }
    }

    /// Withdraws every route, ends every session with a Cease that says why (RFC 9003; a Hard Reset where
    /// the peer would otherwise keep the routes, RFC 8538), and returns when that has been sent.
    ///
    /// `communication`: at most 128 octets reach the peer.
    pub async fn shutdown(mut self, communication: Option<&str>) {
        for helper in std::mem::take(&mut self.helpers) {
            helper.abort();
            // Aborted is how it ends; what matters is that the port is free afterwards.
            let _ = helper.await;
        }
        let mut answers = Vec::new();
        for peer in &self.peers {
            let (done, answer) = oneshot::channel();
            let communication = communication.map(str::to_owned);
            let command = Command::Shutdown {
                communication,
                done,
            };
            if peer.commands.send(command).await.is_ok() {
                answers.push((Arc::clone(&peer.name), answer));
            }
        }
        for group in &self.groups {
            let (done, answer) = oneshot::channel();
            let shutdown = group::Shutdown {
                communication: communication.map(str::to_owned),
                done,
            };
            if group.shutdown.send(shutdown).await.is_ok() {
                answers.push((Arc::clone(&group.settings.template.name), answer));
            }
        }
        for (name, answer) in answers {
            if timeout(ANSWER, answer).await.is_err() {
                tracing::warn!(peer = %name, "the BGP session could not be closed in time");
            }
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        for task in self.helpers.iter().chain(&self.tasks) {
            task.abort();
        }
    }
}

impl Handle {
    async fn ask(&self) -> Option<PeerStatus> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Status(reply)).await.ok()?;
        timeout(ANSWER, answer).await.ok()?.ok()
    }
}
