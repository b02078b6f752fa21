//! All peers of a prefix: one task that starts a peer's task when one connects, and forgets it when it
//! has gone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};

use super::event::Event;
use super::listener::{ACCEPTED_DEPTH, Arrival};
use super::peer::{COMMAND_DEPTH, Channels, Command, Handle, Peer};
use super::penalties::Penalties;
use super::settings::GroupSettings;
use super::status::GroupStatus;
use crate::rib::DesiredRoutes;

/// Ends the group: every session is closed as `Command::Shutdown` says.
#[derive(Debug)]
pub(super) struct Shutdown {
    pub(super) communication: Option<String>,
    pub(super) done: oneshot::Sender<()>,
}

/// What others see of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    pub(super) handles: Vec<Handle>,
    pub(super) refused: u64,
}

/// What a group hears, and where its members report.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) desired: watch::Receiver<Arc<DesiredRoutes>>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) arrivals: mpsc::Receiver<Arrival>,
    pub(super) shutdown: mpsc::Receiver<Shutdown>,
}

#[derive(Debug)]
struct Member {
    handle: Handle,
    accepted: mpsc::Sender<Arrival>,
}

/// The peers of one prefix.
pub(super) struct Group {
    settings: Arc<GroupSettings>,
    inputs: Inputs,
    members: BTreeMap<IpAddr, Member>,
    /// Each ends with its peer's address and how often in a row that has failed.
    tasks: JoinSet<(IpAddr, u32)>,
    penalties: Penalties,
    shown: watch::Sender<Members>,
    refused: u64,
}

impl Group {
    /// A group without members.
    pub(super) fn new(
        settings: Arc<GroupSettings>,
        inputs: Inputs,
    ) -> (Self, watch::Receiver<Members>) {
        let (shown, seen) = watch::channel(Members::default());
        let config = &settings.template.config;
        let penalties = Penalties::new(config.session_limit(), config.retry_max.0);
        let group = Self {
            settings,
            inputs,
            members: BTreeMap::new(),
            tasks: JoinSet::new(),
            penalties,
            shown,
            refused: 0,
        };
        (group, seen)
    }

    /// Runs until it is told to shut down, or until the speaker is gone.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                shutdown = self.inputs.shutdown.recv() => {
                    if let Some(shutdown) = shutdown {
                        self.shut_down(shutdown).await;
                    }
                    return;
                }
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => self.forget(&ended),
                arrival = self.inputs.arrivals.recv() => match arrival {
                    Some(arrival) => self.let_in(arrival).await,
                    None => return,
                },
            }
        }
    }

    async fn let_in(&mut self, arrival: Arrival) {
        let address = arrival.remote.ip().to_canonical();
        self.forget_the_gone().await;
        if let Some(member) = self.members.get(&address) {
            if member.accepted.try_send(arrival).is_err() {
                tracing::debug!(peer = %member.handle.name, "one BGP connection too many was closed");
            }
            return;
        }
        let limit = self.settings.template.config.session_limit();
        if self.members.len() >= limit {
            self.refused += 1;
            tracing::warn!(
                peers = %self.settings.template.name, %address, limit,
                "a BGP connection was closed: the prefix has as many sessions as it may have"
            );
            self.show();
            return;
        }
        self.start(address, arrival);
        self.show();
    }

    fn start(&mut self, address: IpAddr, first: Arrival) {
        let settings = Arc::new(self.settings.member(address));
        let name = Arc::clone(&settings.name);
        let (accepted_tx, accepted) = mpsc::channel(ACCEPTED_DEPTH);
        let (commands, inbox) = mpsc::channel(COMMAND_DEPTH);
        let channels = Channels {
            desired: self.inputs.desired.clone(),
            events: self.inputs.events.clone(),
            accepted,
            commands: inbox,
            neighbour: None,
            failures: self.penalties.came(address, Instant::now()),
        };
        let (peer, summary) = Peer::new(settings, channels);
        let handle = Handle {
            name,
            commands,
            summary,
        };
        // An empty channel has room.
        let _ = accepted_tx.try_send(first);
        self.tasks.spawn(async move { (address, peer.run().await) });
        let member = Member {
            handle,
            accepted: accepted_tx,
        };
        self.members.insert(address, member);
    }

    /// A task that no longer takes commands ends at once, and says what to remember of its peer.
    async fn forget_the_gone(&mut self) {
        let is_gone = |member: &Member| member.handle.commands.is_closed();
        while self.members.values().any(is_gone)
            && let Some(ended) = self.tasks.join_next().await
        {
            self.forget(&ended);
        }
    }

    fn forget(&mut self, ended: &Result<(IpAddr, u32), JoinError>) {
        match ended {
            Ok((address, failures)) => {
                self.members.remove(address);
                self.penalties.went(*address, *failures, Instant::now());
            }
            // One that panicked does not say which it was.
            Err(_) => self
                .members
                .retain(|_, member| !member.handle.commands.is_closed()),
        }
        self.show();
    }

    fn show(&self) {
        let handles = self.members.values().map(|member| member.handle.clone());
        self.shown.send_replace(Members {
            handles: handles.collect(),
            refused: self.refused,
        });
    }

    async fn shut_down(mut self, shutdown: Shutdown) {
        let mut answers = Vec::new();
        for member in self.members.values() {
            let (done, answer) = oneshot::channel();
            let command = Command::Shutdown {
                communication: shutdown.communication.clone(),
                done,
            };
            // A member that has just gone has nothing left to close.
            if member.handle.commands.send(command).await.is_ok() {
                answers.push(answer);
            }
        }
        for answer in answers {
            // The same.
            let _ = answer.await;
        }
        while self.tasks.join_next().await.is_some() {}
        // The speaker may have stopped waiting.
        let _ = shutdown.done.send(());
    }
}

impl GroupSettings {
    /// What an operator sees of the group.
    pub(super) fn status(&self, members: &Members) -> GroupStatus {
        GroupStatus {
            name: self.template.name.to_string(),
            prefix: self.prefix,
            remote_as: self.template.config.remote_as.clone(),
            sessions: members.handles.len(),
            limit: self.template.config.session_limit(),
            refused: members.refused,
        }
    }
}
