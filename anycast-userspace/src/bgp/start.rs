//! Putting the speaker together: what cannot work is refused, then each peer, group, interface to look at
//! and listening address gets its task.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::discovery::{self, Discovered};
use super::event::Event;
use super::group::{self, Group, Inputs, Members};
use super::listener::{self, ACCEPTED_DEPTH, ARRIVALS_DEPTH, Door};
use super::peer::{COMMAND_DEPTH, Channels, Handle, Peer};
use super::settings::{Entry, GroupSettings, PeerSettings, Place, resolve};
use super::socket;
use super::status::Listening;
use crate::config;
use crate::rib::DesiredRoutes;

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

/// Checks what can be checked, and starts everything.
pub(super) fn start(
    config: &config::Bgp,
    desired: &watch::Receiver<Arc<DesiredRoutes>>,
    events: &mpsc::Sender<Event>,
) -> Result<Parts, Error> {
    let entries = resolve(config)?;
    refuse_unsigned(&entries)?;
    let (listening, sockets) = open_listeners(config, &entries);
    refuse_unreachable(&entries, &listening)?;

    let mut parts = Parts {
        listening,
        desired: desired.clone(),
        events: events.clone(),
        peers: Vec::new(),
        groups: Vec::new(),
        tasks: Vec::new(),
        helpers: Vec::new(),
        doors: Vec::new(),
    };
    for entry in &entries {
        match entry {
            Entry::Peer(settings) => parts.start_peer(settings.clone()),
            Entry::Group(settings) => parts.start_group(settings.clone()),
        }
    }
    let doors: Arc<[Door]> = parts.doors.as_slice().into();
    let accepting = sockets
        .into_iter()
        .map(|socket| tokio::spawn(listener::accept(socket, Arc::clone(&doors))));
    parts.helpers.extend(accepting);
    parts.listen_by_device(&config.listen, &entries.into(), &doors);
    Ok(parts)
}

/// A group and how it is reached.
#[derive(Debug)]
pub(super) struct RunningGroup {
    pub(super) settings: Arc<GroupSettings>,
    pub(super) members: watch::Receiver<Members>,
    pub(super) shutdown: mpsc::Sender<group::Shutdown>,
}

/// The speaker as it is being put together.
pub(super) struct Parts {
    pub(super) listening: Vec<Listening>,
    desired: watch::Receiver<Arc<DesiredRoutes>>,
    events: mpsc::Sender<Event>,
    pub(super) peers: Vec<Handle>,
    pub(super) groups: Vec<RunningGroup>,
    pub(super) tasks: Vec<JoinHandle<()>>,
    pub(super) helpers: Vec<JoinHandle<()>>,
    pub(super) doors: Vec<Door>,
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
            failures: 0,
        };
        let (peer, summary) = Peer::new(settings, channels);
        self.peers.push(Handle {
            name,
            commands,
            summary,
        });
        self.tasks.push(tokio::spawn(async move {
            // A configured peer's task ends only with the speaker: nobody counts its failures on.
            peer.run().await;
        }));
    }

    /// A device has a listener of its own for each address: only there the kernel tells its connections from
    /// others, and answers by it.
    fn listen_by_device(
        &mut self,
        addresses: &[SocketAddr],
        entries: &Arc<[Entry]>,
        doors: &Arc<[Door]>,
    ) {
        let devices: BTreeSet<Arc<str>> = entries
            .iter()
            .filter_map(|entry| entry.settings().config.device.as_deref().map(Arc::from))
            .collect();
        for device in &devices {
            for &address in addresses {
                let (device, doors) = (Arc::clone(device), Arc::clone(doors));
                let accepting = listener::accept_by(device, address, Arc::clone(entries), doors);
                self.helpers.push(tokio::spawn(accepting));
            }
        }
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
            settings: Arc::clone(&settings),
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
