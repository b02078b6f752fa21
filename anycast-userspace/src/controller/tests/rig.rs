//! A controller over planes that write down what they are told.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::{Announcement, Channels, Controller, Facts, ServiceSettings};
use crate::checks::Report;
use crate::config::Config;
use crate::control::protocol::{Count, Operation, Request, Response};
use crate::control::server::{Answer, Call};
use crate::controller::status::ShowPeers;
use crate::decision::{DataPlaneMode, Orders, Pace};
use crate::events::{Event, EventKind};
use crate::health::{self, FailureKind, Outcome};
use crate::hooks::Transitions;
use crate::links::{Link, Links};
use crate::metrics::Metrics;
use crate::planes::{Counters, Modes, PeerNews, PeerReport};
use crate::rib::DesiredRoutes;
use crate::state::ServiceState;
use crate::words::{FileReport, Saved, Words};
use crate::writer::{self, Plane};

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What both planes were seen to do, in one order.
pub(super) type Log = Arc<Mutex<Vec<String>>>;

pub(super) struct FakePlane {
    pub(super) log: Log,
    pub(super) refuse: Arc<Mutex<bool>>,
}

impl Plane for FakePlane {
    fn set_mode(&mut self, _service: usize, mode: DataPlaneMode) -> Result<(), String> {
        self.log.lock().unwrap().push(format!("map {mode:?}"));
        Ok(())
    }

    fn prove(&mut self, _service: usize) -> Result<(), String> {
        let refuse = *self.refuse.lock().unwrap();
        self.log.lock().unwrap().push(format!("proof {}", !refuse));
        if refuse {
            return Err("dropped: unlisted".to_owned());
        }
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, String> {
        let packets = [(
            "served".to_owned(),
            Count {
                packets: 7,
                bytes: 700,
            },
        )];
        Ok(Counters {
            services: vec![packets.into()],
            unowned: Default::default(),
        })
    }

    fn follow(&mut self, _links: &[Link]) {}
}

pub(super) struct NoPeers;

impl ShowPeers for NoPeers {
    fn show(&self) -> Pin<Box<dyn Future<Output = Vec<serde_json::Value>> + Send + '_>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

/// One service, one check, the real writer over a recording plane, and a peer that applies at once.
pub(super) struct Rig {
    pub(super) log: Log,
    pub(super) refuse: Arc<Mutex<bool>>,
    pub(super) checks: mpsc::Sender<Report>,
    pub(super) calls: mpsc::Sender<Call>,
    pub(super) files: mpsc::Sender<FileReport>,
    pub(super) said: watch::Receiver<Words>,
    pub(super) disk: watch::Sender<Saved>,
    pub(super) events: broadcast::Receiver<Event>,
    pub(super) stop: mpsc::Sender<String>,
    pub(super) controller: JoinHandle<()>,
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(settings()).await
    }

    pub(super) async fn with(settings: ServiceSettings) -> Self {
        let log = Log::default();
        let metrics = Arc::new(Metrics::new(&config().services));
        let refuse = Arc::new(Mutex::new(false));
        let (checks, check_reports) = mpsc::channel(16);
        let (calls, requests) = mpsc::channel(16);
        let (map_reports, maps) = mpsc::channel(16);
        let (peer_reports, peers) = mpsc::channel(16);
        let (modes, modes_seen) = watch::channel(Modes {
            generation: 0,
            decided_at: Instant::now(),
            modes: Arc::default(),
            prove: Arc::default(),
        });
        let (routes, routes_seen) = watch::channel(Arc::new(DesiredRoutes::new(0)));
        let (counters, counter_requests) = mpsc::channel(4);
        let (file_reports, files) = mpsc::channel(4);
        let (words, said) = watch::channel(Words::default());
        let (disk, saved) = watch::channel(Saved {
            generation: u64::MAX,
            error: None,
        });
        let plane = FakePlane {
            log: Arc::clone(&log),
            refuse: Arc::clone(&refuse),
        };
        tokio::spawn(writer::run(
            plane,
            modes_seen,
            watch::channel(Links::default()).1,
            map_reports,
            counter_requests,
        ));
        tokio::spawn(fake_peer(routes_seen, peer_reports, Arc::clone(&log)));
        let channels = Channels {
            checks: check_reports,
            calls: requests,
            maps,
            peers,
            modes,
            routes,
            files,
            words,
            saved,
            counters,
            scrapes: mpsc::channel(1).1,
            hooks: Transitions::without_hooks(),
        };
        let facts = Facts {
            node: "test".to_owned(),
            interfaces: watch::channel(Vec::new()).1,
            peers: Arc::new(NoPeers),
            addresses: None,
        };
        let controller = Controller::new(vec![settings], facts, Arc::clone(&metrics), channels);
        let (stop, mut reasons) = mpsc::channel::<String>(2);
        let reasons = stream::poll_fn(move |context| reasons.poll_recv(context));
        let running = tokio::spawn(async move {
            controller.run(reasons).await;
        });
        let mut rig = Self {
            log,
            refuse,
            checks,
            calls,
            files: file_reports,
            said,
            disk,
            events: broadcast::channel(1).1,
            stop,
            controller: running,
        };
        rig.events = rig.follow().await;
        rig
    }

    pub(super) async fn follow(&self) -> broadcast::Receiver<Event> {
        match self.call(Request::Events { follow: true }).await {
            Answer::Events(_, Some(live)) => live,
            other => panic!("not a stream: {other:?}"),
        }
    }

    pub(super) async fn call(&self, request: Request) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.calls.send(Call { request, reply }).await.unwrap();
        answer.await.unwrap()
    }

    pub(super) async fn operate(&self, operation: Operation, lasts: Option<Duration>) -> Response {
        let request = Request::Operate {
            service: "dns".to_owned(),
            operation,
            lasts: lasts.map(crate::config::Span),
            reason: None,
        };
        match self.call(request).await {
            Answer::One(response) => response,
            Answer::Events(..) => panic!("events instead of an answer"),
        }
    }

    pub(super) async fn result(&self, check: usize, outcome: Outcome) {
        self.checks.send(report(check, outcome)).await.unwrap();
    }

    pub(super) async fn pass(&self) {
        self.pass_of(0).await;
    }

    pub(super) async fn pass_of(&self, check: usize) {
        self.result(check, Outcome::pass("fine")).await;
    }

    pub(super) async fn fail(&self) {
        self.result(0, Outcome::fail(FailureKind::Refused, "refused"))
            .await;
    }

    /// Waits for the transition to a state.
    pub(super) async fn until(&mut self, state: ServiceState) {
        let seen = async {
            loop {
                match self.events.recv().await.expect("an event").kind {
                    EventKind::Transition { to, .. } if to == state => return,
                    _other => {}
                }
            }
        };
        timeout(PATIENCE, seen)
            .await
            .unwrap_or_else(|_| panic!("never {state}"));
    }

    /// Waits until the log holds `lines`, and gives what was logged since the last call.
    pub(super) async fn logged(&self, lines: &[&str]) -> Vec<String> {
        let found = async {
            loop {
                let holds =
                    |line: &&str| self.log.lock().unwrap().iter().any(|logged| logged == line);
                if lines.iter().all(holds) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("not {lines:?} in {:?}", self.log.lock().unwrap()));
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

pub(super) fn report(check: usize, outcome: Outcome) -> Report {
    Report {
        service: 0,
        check,
        outcome,
        output: Some("one\ntwo\n".into()),
        late: Duration::ZERO,
        dataplane_down: None,
        at: Instant::now(),
        took: Duration::from_millis(1),
    }
}

pub(super) async fn fake_peer(
    mut routes: watch::Receiver<Arc<DesiredRoutes>>,
    reports: mpsc::Sender<PeerReport>,
    log: Log,
) {
    let peer = "r1".to_owned();
    let up = PeerReport {
        peer: peer.clone(),
        news: PeerNews::Up,
    };
    if reports.send(up).await.is_err() {
        return;
    }
    let mut held = 0;
    while routes.changed().await.is_ok() {
        let desired = Arc::clone(&routes.borrow_and_update());
        let med = desired
            .iter()
            .next()
            .and_then(|(_, route)| route.attributes.med);
        log.lock()
            .unwrap()
            .push(format!("routes {} med {med:?}", desired.len()));
        let news = PeerNews::Applied {
            generation: desired.generation,
            announced: desired.len().saturating_sub(held) as u64,
            withdrawn: held.saturating_sub(desired.len()) as u64,
            at: Instant::now(),
        };
        held = desired.len();
        if reports
            .send(PeerReport {
                peer: peer.clone(),
                news,
            })
            .await
            .is_err()
        {
            return;
        }
    }
}

pub(super) const CONFIG: &str = r#"
    [node]
    name = "test"
    [dataplane]
    interfaces = ["lo"]
    [bgp]
    local_as = 64512
    router_id = "10.0.0.1"
    [[services]]
    name = "dns"
    addresses = ["192.0.2.1", "2001:db8::1"]
    hold_down = "0s"
    [services.attributes.up]
    med = 10
    [[services.checks]]
    name = "tcp"
    type = "tcp"
    port = 53
    rise = 1
    fall = 1
"#;

pub(super) fn config() -> Config {
    Config::parse(CONFIG).expect("a valid configuration")
}

pub(super) fn settings() -> ServiceSettings {
    settings_of(CONFIG)
}

/// The settings of the one service of a configuration.
pub(super) fn settings_of(config: &str) -> ServiceSettings {
    let config = Config::parse(config).expect("a valid configuration");
    let service = &config.services[0];
    let addresses: Vec<IpAddr> = service.addresses.clone();
    ServiceSettings {
        name: service.name.clone(),
        id: 1,
        addresses: addresses.into(),
        ports: Vec::new(),
        health: health::Settings::new(
            &service.checks,
            service.require,
            service.hold_down.0,
            service.damping,
        ),
        pace: Pace {
            drain_delay: Duration::from_millis(20),
            drain_quiet: Duration::from_millis(20),
            install_retry: Duration::from_millis(20),
            ..Pace::default()
        },
        orders: Orders::default(),
        maintenance_file: Some("/etc/dns.maintenance".into()),
        prefixes: service.announced(),
        peers: None,
        attributes: [
            service.attributes.up.clone(),
            service.attributes.degraded(),
            service.attributes.draining(),
        ]
        .map(|attributes| Announcement {
            attributes: Arc::new(attributes),
            by_peer: None,
        }),
    }
}
