//! The BGP peers and the BFD sessions that watch them: started, joined, shown and closed together.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Mutex, mpsc, watch};

use crate::bfd;
use crate::bgp::{self, Speaker};
use crate::config::{self, Config};
use crate::controller::ShowPeers;
use crate::metrics::{MeasurePeers, PeerSample};
use crate::planes::{self, PeerNews, PeerReport};
use crate::rib::DesiredRoutes;

/// The most time that closing the sessions may take before the daemon exits all the same.
const CLOSING: Duration = Duration::from_secs(5);

/// The most time that peers get to hear that BFD ends on purpose.
const BFD_CLOSING: Duration = Duration::from_secs(2);

/// How long packets are still served after the sessions have been closed, while the withdrawal spreads.
const SPREADING: Duration = Duration::from_millis(500);

/// The sessions, shared with those who show their state; empty before the start and once closed.
#[derive(Default)]
pub(super) struct Peers {
    speaker: Mutex<Option<Speaker>>,
    bfd: Mutex<Option<bfd::Manager>>,
}

impl Peers {
    /// Starts the speaker, and BFD for the peers that ask for it.
    pub(super) async fn start(
        self: &Arc<Self>,
        config: &Config,
        routes: &watch::Receiver<Arc<DesiredRoutes>>,
        reports: mpsc::Sender<PeerReport>,
    ) -> anyhow::Result<()> {
        let Some(bgp) = &config.bgp else {
            return Ok(());
        };
        // One generation can make every session report before any report is taken: the speaker does not wait.
        let sessions: usize = bgp.peers.iter().map(config::bgp::Peer::session_limit).sum();
        let (events, received) = mpsc::channel(planes::REPORTS.max(4 * sessions));
        *self.speaker.lock().await = Some(Speaker::spawn(bgp, routes, &events)?);
        tokio::spawn(carry(received, reports));
        self.watch_liveness(bgp).await
    }

    async fn watch_liveness(self: &Arc<Self>, bgp: &config::Bgp) -> anyhow::Result<()> {
        let watched = || {
            bgp.peers
                .iter()
                .filter_map(|peer| Some((peer, peer.address?, peer.bfd.as_ref()?)))
        };
        if watched().next().is_none() {
            return Ok(());
        }
        let (manager, events) = bfd::Manager::spawn().context("cannot start BFD")?;
        for (peer, address, settings) in watched() {
            let session = bfd::Peer {
                name: peer.name.clone(),
                address,
                source: peer.source,
                interface: peer.interface.clone(),
                vrf: peer.device.clone(),
                settings: settings.clone(),
                key: bfd_key(settings).with_context(|| format!("BFD with peer {}", peer.name))?,
            };
            manager
                .add(session)
                .await
                .with_context(|| format!("BFD with peer {}", peer.name))?;
        }
        *self.bfd.lock().await = Some(manager);
        tokio::spawn(Arc::clone(self).follow_liveness(events));
        Ok(())
    }

    /// Ends the BGP session of a peer that BFD finds unreachable. A peer that takes BFD down on purpose
    /// keeps it (RFC 5882 §4.2).
    async fn follow_liveness(self: Arc<Self>, mut events: mpsc::Receiver<bfd::Event>) {
        while let Some(event) = events.recv().await {
            match event.kind {
                bfd::EventKind::Down(reason) => {
                    if let Some(speaker) = self.speaker.lock().await.as_ref() {
                        speaker.bfd_down(&event.peer, &reason.to_string()).await;
                    }
                }
                bfd::EventKind::Up | bfd::EventKind::PeerAdminDown => {
                    tracing::info!(peer = %event.peer, event = ?event.kind, "BFD");
                }
            }
        }
    }

    /// Withdraws, says goodbye to the peers, and waits while the withdrawal spreads.
    pub(super) async fn close(&self) {
        let Some(speaker) = self.speaker.lock().await.take() else {
            return;
        };
        let closing = speaker.shutdown(Some("anycast is stopping"));
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::warn!("a BGP session could not be closed in time");
        }
        if let Some(bfd) = self.bfd.lock().await.take() {
            bfd.shutdown(BFD_CLOSING).await;
        }
        tokio::time::sleep(SPREADING).await;
    }
}

impl ShowPeers for Peers {
    fn show(&self) -> Pin<Box<dyn Future<Output = Vec<serde_json::Value>> + Send + '_>> {
        Box::pin(async move {
            let Some(speaker) = &*self.speaker.lock().await else {
                return Vec::new();
            };
            let bfd = match &*self.bfd.lock().await {
                Some(manager) => manager.status().await.sessions,
                None => Vec::new(),
            };
            let status = speaker.status().await;
            let groups = status.groups.iter().map(serde_json::to_value);
            let peers = status.peers.iter().filter_map(|peer| {
                let mut shown = serde_json::to_value(peer).ok()?;
                if let Some(session) = bfd.iter().find(|session| session.peer == *peer.name) {
                    shown["bfd"] = serde_json::to_value(session).ok()?;
                }
                Some(shown)
            });
            peers.chain(groups.filter_map(Result::ok)).collect()
        })
    }
}

impl MeasurePeers for Peers {
    fn measure(&self) -> Pin<Box<dyn Future<Output = Vec<PeerSample>> + Send + '_>> {
        Box::pin(async move {
            let bfd = match &*self.bfd.lock().await {
                Some(manager) => manager.status().await.sessions,
                None => Vec::new(),
            };
            let speaker = self.speaker.lock().await;
            let summaries = speaker.as_ref().map(Speaker::summaries).unwrap_or_default();
            summaries
                .into_iter()
                .map(|(name, bgp)| PeerSample {
                    bfd: bfd.iter().find(|session| session.peer == *name).cloned(),
                    name,
                    bgp,
                })
                .collect()
        })
    }
}

/// The secret of a session, from the configuration or the first line of its file.
fn bfd_key(settings: &config::bfd::Bfd) -> anyhow::Result<Option<bfd::auth::Key>> {
    let Some(auth) = &settings.auth else {
        return Ok(None);
    };
    let secret = match (&auth.secret, &auth.secret_file) {
        (Some(secret), _) => secret.reveal().to_owned(),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("the secret file {} cannot be read", path.display()))?;
            text.lines().next().unwrap_or_default().to_owned()
        }
        (None, None) => String::new(),
    };
    Ok(Some(bfd::auth::Key::new(
        auth.kind,
        auth.key_id,
        secret.as_bytes(),
    )?))
}

/// Translates the speaker's events for the controller.
async fn carry(mut events: mpsc::Receiver<bgp::Event>, reports: mpsc::Sender<PeerReport>) {
    while let Some(event) = events.recv().await {
        let news = match event.kind {
            bgp::EventKind::State {
                to: bgp::State::Established,
                ..
            } => PeerNews::Up,
            bgp::EventKind::State {
                from: bgp::State::Established,
                reason,
                ..
            } => PeerNews::Down { reason },
            bgp::EventKind::Applied {
                generation,
                announced,
                withdrawn,
            } => PeerNews::Applied {
                generation,
                announced: announced as u64,
                withdrawn: withdrawn as u64,
                at: event.at,
            },
            bgp::EventKind::State { .. }
            | bgp::EventKind::NotificationSent(_)
            | bgp::EventKind::NotificationReceived(_)
            | bgp::EventKind::Held { .. } => {
                tracing::debug!(peer = %event.peer, event = ?event.kind);
                continue;
            }
        };
        let peer = event.peer.to_string();
        if reports.send(PeerReport { peer, news }).await.is_err() {
            return;
        }
    }
}
