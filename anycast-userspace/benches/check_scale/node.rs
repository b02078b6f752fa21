//! The daemon without a kernel and without peers: controller, writer and metrics.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use anycast_userspace::checks::{REPORT_DEPTH, Report};
use anycast_userspace::config::{Config, Service};
use anycast_userspace::control::protocol::Count;
use anycast_userspace::controller::{Channels, Controller, Facts, ServiceSettings, ShowPeers};
use anycast_userspace::decision::{DataPlaneMode, Orders, Pace};
use anycast_userspace::health;
use anycast_userspace::hooks::Transitions;
use anycast_userspace::links::{Link, Links};
use anycast_userspace::metrics::server::{Listener, Source, serve};
use anycast_userspace::metrics::{MeasurePeers, Metrics, PeerSample, SCRAPES};
use anycast_userspace::planes::{COUNTER_REQUESTS, Counters, Modes, REPORTS};
use anycast_userspace::rib::DesiredRoutes;
use anycast_userspace::words::{Saved, Words};
use anycast_userspace::writer::{self, Plane};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::servers;

/// Takes every write, and has counted a few packets.
struct NoPlane {
    services: usize,
}

impl Plane for NoPlane {
    fn set_mode(&mut self, _service: usize, _mode: DataPlaneMode) -> Result<(), String> {
        Ok(())
    }

    fn prove(&mut self, _service: usize) -> Result<(), String> {
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, String> {
        let count = Count {
            packets: 1,
            bytes: 64,
        };
        let packets = ["served", "echo"].map(|reason| (reason.to_owned(), count));
        Ok(Counters {
            services: vec![packets.into(); self.services],
            ..Counters::default()
        })
    }

    fn follow(&mut self, _links: &[Link]) {}
}

struct NoPeers;

impl ShowPeers for NoPeers {
    fn show(&self) -> Pin<Box<dyn Future<Output = Vec<serde_json::Value>> + Send + '_>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

impl MeasurePeers for NoPeers {
    fn measure(&self) -> Pin<Box<dyn Future<Output = Vec<PeerSample>> + Send + '_>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

/// The running parts.
pub(crate) struct Node {
    pub(crate) checks: mpsc::Sender<Report>,
    pub(crate) metrics: SocketAddr,
}

impl Node {
    pub(crate) async fn start(config: &Config) -> Self {
        let (checks, check_reports) = mpsc::channel(REPORT_DEPTH);
        let (map_reports, maps) = mpsc::channel(REPORTS);
        let (scrapes, scraped) = mpsc::channel(SCRAPES);
        let (counters, counter_requests) = mpsc::channel(COUNTER_REQUESTS);
        let (modes, modes_seen) = watch::channel(Modes {
            generation: 0,
            decided_at: Instant::now(),
            modes: Arc::default(),
            prove: Arc::default(),
        });
        let channels = Channels {
            checks: check_reports,
            calls: mpsc::channel(1).1,
            maps,
            peers: mpsc::channel(1).1,
            modes,
            routes: watch::channel(Arc::new(DesiredRoutes::new(0))).0,
            files: mpsc::channel(1).1,
            words: watch::channel(Words::default()).0,
            saved: watch::channel(Saved::default()).1,
            counters,
            scrapes: scraped,
            hooks: Transitions::without_hooks(),
        };
        let plane = NoPlane {
            services: config.services.len(),
        };
        tokio::spawn(writer::run(
            plane,
            modes_seen,
            watch::channel(Links::default()).1,
            map_reports,
            counter_requests,
        ));
        let facts = Facts {
            node: config.node.name.clone(),
            interfaces: watch::channel(Vec::new()).1,
            peers: Arc::new(NoPeers),
            addresses: None,
        };
        let metrics = Arc::new(Metrics::new(&config.services));
        let settings = config.services.iter().zip(1..).map(settings).collect();
        let controller = Controller::new(settings, facts, Arc::clone(&metrics), channels);
        tokio::spawn(controller.run(futures_util::stream::pending()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a listener");
        let address = listener.local_addr().expect("its address");
        let source = Source {
            metrics,
            scrapes,
            peers: Arc::new(NoPeers),
        };
        tokio::spawn(serve(Listener::Tcp(listener), source));
        Self {
            checks,
            metrics: address,
        }
    }

    /// One more scrape.
    pub(crate) async fn page(&self) -> String {
        servers::scrape(self.metrics).await
    }
}

fn settings((service, id): (&Service, u32)) -> ServiceSettings {
    ServiceSettings {
        name: service.name.clone(),
        id,
        addresses: service.addresses.as_slice().into(),
        ports: Vec::new(),
        health: health::Settings::new(
            &service.checks,
            service.require,
            service.hold_down.0,
            service.damping,
        ),
        pace: Pace::default(),
        prefixes: Vec::new(),
        peers: None,
        orders: Orders::default(),
        maintenance_file: None,
        attributes: Default::default(),
    }
}
