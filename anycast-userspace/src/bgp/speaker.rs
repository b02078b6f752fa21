//! The speaker: starts one task per peer and one per listening address, and answers for all of them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::event::Event;
use super::listener::{self, ACCEPTED_DEPTH, Door};
use super::peer::{Channels, Command, Peer};
use super::settings::PeerSettings;
use super::socket;
use super::status::{Listening, PeerStatus, Status, Summary};
use crate::config;
use crate::config::bgp::Password;
use crate::rib::DesiredRoutes;

/// Commands waiting for one peer task; those who ask wait when it is full.
const COMMAND_DEPTH: usize = 8;
/// A peer task answers between two system calls; later than this, it is reported as missing.
const ANSWER: Duration = Duration::from_secs(2);

/// Why the speaker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A secret cannot be read.
    #[error("peer {peer}: the password file {} cannot be read: {source}", path.display())]
    PasswordFile {
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
}

/// A running speaker. Dropping it ends all sessions without a word; `shutdown` ends them properly.
#[derive(Debug)]
pub struct Speaker {
    local_as: u32,
    router_id: std::net::Ipv4Addr,
    listening: Vec<Listening>,
    peers: Vec<Running>,
    listeners: Vec<JoinHandle<()>>,
    /// Held so that a peer task sees its door closed only when the speaker is gone.
    _doors: Arc<[Door]>,
}

#[derive(Debug)]
struct Running {
    name: Arc<str>,
    commands: mpsc::Sender<Command>,
    summary: watch::Receiver<Summary>,
    task: JoinHandle<()>,
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
        let settings = resolve(config)?;
        let (listening, sockets) = open_listeners(config, &settings);
        refuse_unreachable(config, &listening)?;

        let mut peers = Vec::new();
        let mut doors = Vec::new();
        for settings in settings {
            let settings = Arc::new(settings);
            let (accepted_tx, accepted) = mpsc::channel(ACCEPTED_DEPTH);
            let (commands, inbox) = mpsc::channel(COMMAND_DEPTH);
            doors.push(Door {
                settings: Arc::clone(&settings),
                accepted: accepted_tx,
            });
            let name = Arc::clone(&settings.name);
            let channels = Channels {
                desired: desired.clone(),
                events: events.clone(),
                accepted,
                commands: inbox,
            };
            let (peer, summary) = Peer::new(settings, channels);
            peers.push(Running {
                name,
                commands,
                summary,
                task: tokio::spawn(peer.run()),
            });
        }
        let doors: Arc<[Door]> = doors.into();
        let listeners = sockets
            .into_iter()
            .map(|socket| tokio::spawn(listener::accept(socket, Arc::clone(&doors))))
            .collect();
        Ok(Self {
            local_as: config.local_as,
            router_id: config.router_id,
            listening,
            peers,
            listeners,
            _doors: doors,
        })
    }

    /// The state of the speaker and its peers, with the routes that each has been sent.
    pub async fn status(&self) -> Status {
        let mut peers = Vec::new();
        for peer in &self.peers {
            match peer.ask().await {
                Some(status) => peers.push(status),
                None => tracing::warn!(peer = %peer.name, "the BGP peer's task does not answer"),
            }
        }
        Status {
            local_as: self.local_as,
            router_id: self.router_id,
            listening: self.listening.clone(),
            peers,
        }
    }

    /// The peers' names, each with what is always current: session state, generation applied, counters.
    pub fn summaries(&self) -> Vec<(Arc<str>, Summary)> {
        self.peers
            .iter()
            .map(|peer| (Arc::clone(&peer.name), *peer.summary.borrow()))
            .collect()
    }

    /// Waits until one peer's summary satisfies a test; `None`: there is no peer of this name.
    pub async fn summary_until(
        &self,
        peer: &str,
        test: impl Fn(&Summary) -> bool,
    ) -> Option<Summary> {
        let running = self.peers.iter().find(|running| *running.name == *peer)?;
        let mut summary = running.summary.clone();
        let found = summary.wait_for(test).await.ok()?;
        Some(*found)
    }

    /// Waits until every peer with an established session has been sent all of `generation`.
    pub async fn applied(&self, generation: u64) {
        for peer in &self.peers {
            let mut summary = peer.summary.clone();
            // A peer whose task has ended announces nothing.
            let _ = summary
                .wait_for(|summary| summary.has_applied(generation))
                .await;
        }
    }

    /// BFD has found that a peer cannot be reached: its session ends at once with Cease/10 (RFC 9384).
    /// `reason` goes to the log. Nothing happens to a peer without a session, or when there is none of
    /// this name. A peer whose BFD is taken down on purpose must not be reported (RFC 5882 §4.2).
    pub async fn bfd_down(&self, peer: &str, reason: &str) {
        if let Some(running) = self.peers.iter().find(|running| *running.name == *peer) {
            let command = Command::BfdDown(reason.to_owned());
            // A task that has ended has no session.
            let _ = running.commands.send(command).await;
        }
    }

    /// Withdraws every route, ends every session with a Cease that says why (RFC 9003; a Hard Reset where
    /// the peer would otherwise keep the routes, RFC 8538), and returns when that has been sent.
    ///
    /// `communication`: at most 128 octets reach the peer.
    pub async fn shutdown(mut self, communication: Option<&str>) {
        for listener in std::mem::take(&mut self.listeners) {
            listener.abort();
            // Aborted is how it ends; what matters is that the port is free afterwards.
            let _ = listener.await;
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
        for (name, answer) in answers {
            if timeout(ANSWER, answer).await.is_err() {
                tracing::warn!(peer = %name, "the BGP session could not be closed in time");
            }
        }
        self.peers.clear();
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
        for peer in &self.peers {
            peer.task.abort();
        }
    }
}

impl Running {
    async fn ask(&self) -> Option<PeerStatus> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Status(reply)).await.ok()?;
        timeout(ANSWER, answer).await.ok()?.ok()
    }
}

fn resolve(config: &config::Bgp) -> Result<Vec<PeerSettings>, Error> {
    config
        .peers
        .iter()
        .map(|peer| {
            Ok(PeerSettings {
                name: peer.name.as_str().into(),
                local_as: config.local_as,
                router_id: config.router_id,
                password: password(peer)?,
                config: peer.clone(),
            })
        })
        .collect()
}

/// The password itself, or the first line of its file.
fn password(peer: &config::bgp::Peer) -> Result<Option<Password>, Error> {
    let Some(path) = &peer.password_file else {
        return Ok(peer.password.clone());
    };
    let text = std::fs::read_to_string(path).map_err(|source| Error::PasswordFile {
        peer: peer.name.clone(),
        path: path.clone(),
        source,
    })?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Some(Password::new(line)))
}

fn open_listeners(
    config: &config::Bgp,
    settings: &[PeerSettings],
) -> (Vec<Listening>, Vec<tokio::net::TcpListener>) {
    let mut listening = Vec::new();
    let mut sockets = Vec::new();
    for &address in &config.listen {
        let error = match socket::listen(address, settings) {
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

/// A passive peer needs a listener of its family.
fn refuse_unreachable(config: &config::Bgp, listening: &[Listening]) -> Result<(), Error> {
    for peer in config.peers.iter().filter(|peer| peer.passive) {
        let of_family: Vec<&Listening> = listening
            .iter()
            .filter(|listening| listening.address.is_ipv4() == peer.address.is_ipv4())
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
            peer: peer.name.clone(),
            reason,
        });
    }
    Ok(())
}
