//! Accepting connections, and giving each to the task of the peer or group that it comes from.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::settings::{Entry, GroupSettings, PeerSettings};
use super::socket;

/// Connections waiting for one peer task; when full, another one is closed: a peer needs at most two.
pub(super) const ACCEPTED_DEPTH: usize = 2;
/// Connections waiting for one group's task; when full, another one is closed.
pub(super) const ARRIVALS_DEPTH: usize = 64;
/// How often it is looked whether a device has come, or is another one.
const DEVICE_LOOK: Duration = Duration::from_secs(1);
/// Wait after the kernel has refused to accept (out of descriptors), instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection and where it comes from.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) remote: SocketAddr,
}

/// The device that a listener is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) name: Arc<str>,
    /// It keeps its connections to itself: they would not have come to a listener without a device.
    pub(super) is_vrf: bool,
}

/// Where the connections of one peer, or of the peers of a prefix, go.
#[derive(Debug, Clone)]
pub(super) enum Door {
    Peer {
        settings: Arc<PeerSettings>,
        accepted: mpsc::Sender<Arrival>,
    },
    Group {
        settings: Arc<GroupSettings>,
        arrivals: mpsc::Sender<Arrival>,
    },
}

impl Door {
    /// How well a connection fits: the longest prefix wins, and a peer of its own before all of them; of two
    /// that are equal, the one that has the device. A peer with a device has no connections by another way.
    fn fits(&self, remote: SocketAddr, by: Option<&Device>) -> Option<(u16, bool)> {
        let (settings, specific) = match self {
            Self::Peer { settings, .. } => {
                (&**settings, settings.is_from(remote).then_some(u16::MAX)?)
            }
            Self::Group { settings, .. } => {
                let prefix = settings.prefix;
                let inside = prefix.contains(&remote.ip().to_canonical());
                (
                    &settings.template,
                    inside.then(|| prefix.prefix_len().into())?,
                )
            }
        };
        let bound = settings.is_heard_by(by)?;
        Some((specific, bound))
    }

    fn let_in(&self, arrival: Arrival) {
        let (name, sender) = match self {
            Self::Peer { settings, accepted } => (&settings.name, accepted),
            Self::Group { settings, arrivals } => (&settings.template.name, arrivals),
        };
        if sender.try_send(arrival).is_err() {
            tracing::debug!(peer = %name, "one BGP connection too many was closed");
        }
    }
}

/// Accepts until the task is aborted. A connection from an address of no peer is closed at once.
pub(super) async fn accept(listener: TcpListener, doors: Arc<[Door]>) {
    loop {
        welcome(&listener, None, &doors).await;
    }
}

/// Accepts what comes by one device, whenever that is there, until the task is aborted. If it is there now, it
/// is listened to before the future is polled.
pub(super) fn accept_by(
    name: Arc<str>,
    address: SocketAddr,
    entries: Arc<[Entry]>,
    doors: Arc<[Door]>,
) -> impl Future<Output = ()> + Send {
    let mut opened = socket::listen_on(address, &name, &entries);
    async move {
        let mut last = String::new();
        loop {
            match opened {
                Ok((listener, device, index)) => {
                    last.clear();
                    while socket::index_of(&name) == Some(index) {
                        let next = welcome(&listener, Some(&device), &doors);
                        // No connection, and no error, says that the device is another one now.
                        let _ = tokio::time::timeout(DEVICE_LOOK, next).await;
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != last {
                        tracing::warn!(%address, device = %name, %error, "no BGP connections are accepted by this device");
                    }
                    last = error;
                    tokio::time::sleep(DEVICE_LOOK).await;
                }
            }
            opened = socket::listen_on(address, &name, &entries);
        }
    }
}

/// Takes the next connection to the one that it is for.
async fn welcome(listener: &TcpListener, by: Option<&Device>, doors: &[Door]) {
    let (stream, remote) = match listener.accept().await {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::warn!(%error, "a BGP connection could not be accepted");
            return tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    };
    let fitting = doors
        .iter()
        .filter_map(|door| Some((door.fits(remote, by)?, door)));
    match fitting.max_by_key(|(fit, _)| *fit) {
        None => tracing::debug!(%remote, ?by, "a BGP connection from no peer was closed"),
        Some(((_, bound), door)) => {
            if by.is_some() && !bound {
                socket::unbind(&stream, remote);
            }
            door.let_in(Arrival { stream, remote });
        }
    }
}
