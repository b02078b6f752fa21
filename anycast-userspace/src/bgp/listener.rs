//! Accepting connections, and giving each to the task of the peer or group that it comes from.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::settings::PeerSettings;

/// Connections waiting for one peer task; when full, another one is closed: a peer needs at most two.
pub(super) const ACCEPTED_DEPTH: usize = 2;
/// Connections waiting for one group's task; when full, another one is closed.
pub(super) const ARRIVALS_DEPTH: usize = 64;
/// Wait after the kernel has refused to accept (out of descriptors), instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection and where it comes from.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) remote: SocketAddr,
}

/// Where the connections of one peer, or of the peers of a prefix, go.
#[derive(Debug, Clone)]
pub(super) enum Door {
    Peer {
        settings: Arc<PeerSettings>,
        accepted: mpsc::Sender<Arrival>,
    },
    Group {
        name: Arc<str>,
        prefix: IpNet,
        arrivals: mpsc::Sender<Arrival>,
    },
}

impl Door {
    /// How well a connection fits: the longest prefix wins, and a peer of its own before all of them.
    fn fits(&self, remote: SocketAddr) -> Option<u16> {
        match self {
            Self::Peer { settings, .. } => settings.is_from(remote).then_some(u16::MAX),
            Self::Group { prefix, .. } => prefix
                .contains(&remote.ip().to_canonical())
                .then(|| prefix.prefix_len().into()),
        }
    }

    fn let_in(&self, arrival: Arrival) {
        let (name, sender) = match self {
            Self::Peer { settings, accepted } => (&settings.name, accepted),
            Self::Group { name, arrivals, .. } => (name, arrivals),
        };
        if sender.try_send(arrival).is_err() {
            tracing::debug!(peer = %name, "one BGP connection too many was closed");
        }
    }
}

/// Accepts until the task is aborted. A connection from an address of no peer is closed at once.
pub(super) async fn accept(listener: TcpListener, doors: Arc<[Door]>) {
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a BGP connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let fitting = doors
            .iter()
            .filter_map(|door| Some((door.fits(remote)?, door)));
        match fitting.max_by_key(|(fit, _)| *fit) {
            None => tracing::debug!(%remote, "a BGP connection from no peer was closed"),
            Some((_, door)) => door.let_in(Arrival { stream, remote }),
        }
    }
}
