//! What `anycast status` shows.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::Controller;
use super::service::Service;
use crate::control::protocol::{
    AddressStatus, CheckStatus, Generation, InterfaceStatus, Response, ServiceStatus, Status,
    WordStatus,
};
use crate::control::server::Answer;
use crate::health::CheckState;
use crate::metrics::Scrape;
use crate::planes::{Counters, CountersRequest};

/// The most addresses shown of one service.
const SHOWN_ADDRESSES: usize = 16;

/// What the controller shows and does not own.
pub struct Facts {
    /// The node's name.
    pub node: String,
    /// Where the program is attached.
    pub interfaces: watch::Receiver<Vec<InterfaceStatus>>,
    /// Reads the state of the peers.
    pub peers: Arc<dyn ShowPeers>,
    /// Reads the counters of the Service Addresses, where those are on.
    pub addresses: Option<Arc<dyn ShowAddresses>>,
}

/// Who can show the counters of the Service Addresses.
pub trait ShowAddresses: Send + Sync {
    /// The counters, service by service; takes a while where there are many.
    ///
    /// # Errors
    /// Why they cannot be read, in words.
    fn show(&self) -> Result<Vec<AddressStatus>, String>;
}

/// Who can show the state of the peers.
pub trait ShowPeers: Send + Sync {
    /// The peers, as JSON.
    fn show(&self) -> Pin<Box<dyn Future<Output = Vec<serde_json::Value>> + Send + '_>>;
}

impl Controller {
    /// Answers once the counters have been read, without holding up the controller.
    pub(super) fn answer_status(&self, reply: oneshot::Sender<Answer>) {
        let status = self.status();
        let counters = self.channels.counters.clone();
        let peers = Arc::clone(&self.facts.peers);
        tokio::spawn(async move {
            let mut status = with_packets(status, counters).await;
            status.peers = peers.show().await;
            // The client may have gone meanwhile.
            let _gone = reply.send(Answer::One(Response::Status(Box::new(status))));
        });
    }

    /// Answers a scrape once the counters have been read; the peers are shown by whoever asks.
    pub(super) fn answer_scrape(&self, scrape: Scrape) {
        let status = self.status();
        let counters = self.channels.counters.clone();
        tokio::spawn(async move {
            // Who asked may have gone meanwhile.
            let _gone = scrape.reply.send(with_packets(status, counters).await);
        });
    }

    /// Answers with the counters of the addresses, read in a thread of their own.
    pub(super) fn answer_addresses(&self, reply: oneshot::Sender<Answer>) {
        let Some(addresses) = self.facts.addresses.clone() else {
            let message = "packets are not counted by address: set `address_counters = true` in \
                           [dataplane], and restart"
                .to_owned();
            // The client may have gone meanwhile, here and below.
            let _gone = reply.send(Answer::One(Response::Error { message }));
            return;
        };
        tokio::task::spawn_blocking(move || {
            let response = match addresses.show() {
                Ok(addresses) => Response::Addresses { addresses },
                Err(message) => Response::Error { message },
            };
            let _gone = reply.send(Answer::One(response));
        });
    }

    fn status(&self) -> Status {
        let now = Instant::now();
        Status {
            node: self.facts.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            pid: std::process::id(),
            generation: Generation {
                decided: self.generation,
                data_plane: self.data_plane_generation(),
            },
            services: self
                .services
                .iter()
                .map(|service| service.status(now))
                .collect(),
            interfaces: self.facts.interfaces.borrow().clone(),
            peers: Vec::new(),
            packets: Default::default(),
        }
    }
}

impl Controller {
    /// A generation that changes routes alone is held by maps that hold all before it.
    fn data_plane_generation(&self) -> u64 {
        if self.maps_hold >= self.maps_asked {
            self.generation
        } else {
            self.maps_hold
        }
    }
}

async fn with_packets(mut status: Status, counters: mpsc::Sender<CountersRequest>) -> Status {
    let (reply, answer) = oneshot::channel();
    let counters = match counters.send(CountersRequest { reply }).await {
        Ok(()) => answer.await.unwrap_or_default(),
        Err(_) => Counters::default(),
    };
    status.packets = counters.unowned;
    for (service, packets) in status.services.iter_mut().zip(counters.services) {
        service.packets = packets;
    }
    status
}

impl Service {
    fn status(&self, now: Instant) -> ServiceStatus {
        let addresses: Vec<IpAddr> = self
            .settings
            .addresses
            .iter()
            .take(SHOWN_ADDRESSES)
            .copied()
            .collect();
        let penalty = self.health.penalty(now);
        let suppressed_until = penalty.and_then(|(_, until)| until);
        let held = self
            .health
            .held_until(now)
            .max(suppressed_until)
            .map(|until| until.saturating_duration_since(now));
        ServiceStatus {
            name: self.settings.name.clone(),
            id: self.settings.id,
            state: self.life.state(),
            reason: self.life.reason().to_owned(),
            for_ms: millis(now.saturating_duration_since(self.life.since())),
            addresses,
            address_count: self.settings.addresses.len(),
            ports: self.settings.ports.clone(),
            checks: self.checks(),
            held_until: held.and_then(|left| Timestamp::now().checked_add(left).ok()),
            held_left_ms: held.map(millis),
            penalty: penalty.map(|(value, _)| value),
            suppressed: suppressed_until.is_some(),
            announced: self.announced(),
            last_change: self.phases.clone(),
            words: self.words(now),
            packets: Default::default(),
        }
    }

    fn words(&self, now: Instant) -> Vec<WordStatus> {
        self.orders
            .all()
            .map(|(source, order)| WordStatus {
                word: order.away,
                source,
                reason: order.reason.clone(),
                left_ms: order
                    .until
                    .map(|until| millis(until.saturating_duration_since(now))),
            })
            .collect()
    }

    fn checks(&self) -> Vec<CheckStatus> {
        self.health
            .checks()
            .zip(&self.runs)
            .map(|(view, run)| CheckStatus {
                name: view.name.to_owned(),
                verdict: match view.state {
                    CheckState::Unknown => "init",
                    CheckState::Passing => "up",
                    CheckState::Failing => "down",
                }
                .to_owned(),
                output: view
                    .last
                    .map_or(String::new(), |(outcome, _)| outcome.detail().to_owned()),
                printed: run.printed.as_deref().map(str::to_owned),
                took_us: micros(run.took),
            })
            .collect()
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
