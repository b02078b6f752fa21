//! The speaker: starts one task per peer, group of peers, listening address and interface to look at, and
//! answers for all of them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::discovery::{self, Discovered};
use super::event::Event;
use super::group::{self, Group, Inputs, Members};
use super::listener::{self, ACCEPTED_DEPTH, ARRIVALS_DEPTH, Door};
use super::peer::{COMMAND_DEPTH, Channels, Command, Handle, Peer};
use super::settings::{Entry, GroupSettings, PeerSettings, Place, resolve};
use super::socket;
use super::status::{Listening, PeerStatus, Status, Summary};
use crate::config;
use crate::rib::DesiredRoutes;

/// A peer task answers between two system calls; later than this, it is reported as missing.
const ANSWER: Duration = Duration::from_secs(2);

/// Why the speaker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A secret cannot be read.
    #[error("peer {peer}: the secret in {} cannot be read: {source}", path.display())]
    SecretFile {
        /// The peer's name.
        peer: String,
        /// The configured file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A peer only waits to be connected to, and there is nowhere to connect to.
    #[error("peer {peer} is passive, but {reason}")]
    NothingToConnectTo {
        /// The peer's name.
        peer: String,
        /// Why not.
        reason: String,
    },
    /// A peer has TCP-AO keys, and the kernel cannot sign with them.
    #[error(
        "peer {peer} has `ao_keys`, but this kernel is built without TCP-AO (CONFIG_TCP_AO, Linux 6.7): \
         use `password`, or another kernel"
    )]
    NoTcpAo {
        /// The peer's name.
        peer: String,
    },
    /// The kernel does not say whether it has TCP-AO.
    #[error(
        "peer {peer} has `ao_keys`, but whether this kernel has TCP-AO cannot be found out: {source}"
    )]
    TcpAoUnknown {
        /// The peer's name.
        peer: String,
        /// What the system says.
        source: io::Error,
    },
}

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

#[derive(Debug)]
struct RunningGroup {
    settings: Arc<GroupSettings>,
    members: watch::Receiver<Members>,
    shutdown: mpsc::Sender<group::Shutdown>,
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
        let entries = resolve(config)?;
        refuse_unsigned(&entries)?;
        let (listening, sockets) = open_listeners(config, &entries);
        refuse_unreachable(&entries, &listening)?;

        let mut parts = Parts {
            desired: desired.clone(),
            events: events.clone(),
            peers: Vec::new(),
            groups: Vec::new(),
            tasks: Vec::new(),
            helpers: Vec::new(),
            doors: Vec::new(),
        };
        for entry in entries {
            match entry {
                Entry::Peer(settings) => parts.start_peer(settings),
                Entry::Group(settings) => parts.start_group(settings),
            }
        }
        let doors: Arc<[Door]> = parts.doors.into();
        let accepting = sockets
            .into_iter()
            .map(|socket| tokio::spawn(listener::accept(socket, Arc::clone(&doors))));
        parts.helpers.extend(accepting);
        Ok(Self {
            local_as: config.local_as,
            router_id: config.router_id,
            listening,
            peers: parts.peers,
            groups: parts.groups,
            tasks: parts.tasks,
            helpers: parts.helpers,
            _doors: doors,
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

/// The speaker as it is being put together.
struct Parts {
    desired: watch::Receiver<Arc<DesiredRoutes>>,
    events: mpsc::Sender<Event>,
    peers: Vec<Handle>,
    groups: Vec<RunningGroup>,
    tasks: Vec<JoinHandle<()>>,
    helpers: Vec<JoinHandle<()>>,
    doors: Vec<Door>,
}

impl Parts {
    fn start_peer(&mut self, settings: PeerSettings) {
        let settings = Arc::new(settings);
        let (accepted_tx, accepted) = mpsc::channel(ACCEPTED_DEPTH);
        let (commands, inbox) = mpsc::channel(COMMAND_DEPTH);
        self.doors.push(Door::Peer {
            settings: Arc::clone(&settings),
            accepted: accepted_tx,
        });
        let neighbour = match &settings.place {
            Place::Interface(interface) => Some(self.look_at(interface)),
            Place::Address(_) | Place::Member(_) => None,
        };
        let name = Arc::clone(&settings.name);
        let channels = Channels {
            desired: self.desired.clone(),
            events: self.events.clone(),
            accepted,
            commands: inbox,
            neighbour,
        };
        let (peer, summary) = Peer::new(settings, channels);
        self.peers.push(Handle {
            name,
            commands,
            summary,
        });
        self.tasks.push(tokio::spawn(peer.run()));
    }

    fn look_at(&mut self, interface: &Arc<str>) -> watch::Receiver<Discovered> {
        let (found, seen) = watch::channel(Discovered::default());
        let looking = discovery::discover(Arc::clone(interface), found);
        self.helpers.push(tokio::spawn(looking));
        seen
    }

    fn start_group(&mut self, settings: GroupSettings) {
        let settings = Arc::new(settings);
        let (arrivals_tx, arrivals) = mpsc::channel(ARRIVALS_DEPTH);
        let (shutdown, inbox) = mpsc::channel(1);
        self.doors.push(Door::Group {
            name: Arc::clone(&settings.template.name),
            prefix: settings.prefix,
            arrivals: arrivals_tx,
        });
        let inputs = Inputs {
            desired: self.desired.clone(),
            events: self.events.clone(),
            arrivals,
            shutdown: inbox,
        };
        let (group, members) = Group::new(Arc::clone(&settings), inputs);
        self.groups.push(RunningGroup {
            settings,
            members,
            shutdown,
        });
        self.tasks.push(tokio::spawn(group.run()));
    }
}

impl Handle {
    async fn ask(&self) -> Option<PeerStatus> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Status(reply)).await.ok()?;
        timeout(ANSWER, answer).await.ok()?.ok()
    }
}

fn open_listeners(
    config: &config::Bgp,
    entries: &[Entry],
) -> (Vec<Listening>, Vec<tokio::net::TcpListener>) {
    let mut listening = Vec::new();
    let mut sockets = Vec::new();
    for &address in &config.listen {
        let error = match socket::listen(address, entries) {
            Ok(socket) => {
                sockets.push(socket);
                None
            }
            Err(error) => {
                tracing::warn!(%address, %error, "no BGP connections are accepted here");
                Some(error.to_string())
            }
        };
        listening.push(Listening { address, error });
    }
    (listening, sockets)
}

/// Keys that the kernel cannot use protect nothing.
fn refuse_unsigned(entries: &[Entry]) -> Result<(), Error> {
    for entry in entries {
        let settings = entry.settings();
        if settings.ao_keys.is_empty() {
            continue;
        }
        let peer = settings.name.to_string();
        match socket::has_tcp_ao() {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(Error::NoTcpAo { peer }),
            Err(source) => return Err(Error::TcpAoUnknown { peer, source }),
        }
    }
    Ok(())
}

/// A passive peer needs a listener of its family.
fn refuse_unreachable(entries: &[Entry], listening: &[Listening]) -> Result<(), Error> {
    for entry in entries.iter().filter(|entry| entry.is_passive()) {
        let of_family: Vec<&Listening> = listening
            .iter()
            .filter(|listening| listening.address.is_ipv4() == entry.is_over_ipv4())
            .collect();
        if of_family.iter().any(|listening| listening.error.is_none()) {
            continue;
        }
        let errors: Vec<String> = of_family
            .iter()
            .filter_map(|listening| {
                Some(format!(
                    "{}: {}",
                    listening.address,
                    listening.error.as_ref()?
                ))
            })
            .collect();
        let reason = if errors.is_empty() {
            "`listen` has no address of its family".to_owned()
        } else {
            errors.join(", ")
        };
        return Err(Error::NothingToConnectTo {
            peer: entry.settings().name.to_string(),
            reason,
        });
    }
    Ok(())
}
