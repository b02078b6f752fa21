//! Accepting connections, and giving each to the task of the peer that it comes from.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::settings::PeerSettings;

/// Connections waiting for one peer task; when full, another one is closed: a peer needs at most two.
pub(super) const ACCEPTED_DEPTH: usize = 2;
/// Wait after the kernel has refused to accept (out of descriptors), instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the connections of one peer go.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) settings: Arc<PeerSettings>,
    pub(super) accepted: mpsc::Sender<TcpStream>,
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
        let address = remote.ip();
        match doors.iter().find(|door| door.settings.is_from(address)) {
            None => tracing::debug!(%address, "a BGP connection from no peer was closed"),
            Some(door) => {
                if door.accepted.try_send(stream).is_err() {
                    tracing::debug!(peer = %door.settings.name, "one BGP connection too many was closed");
                }
            }
        }
    }
}
