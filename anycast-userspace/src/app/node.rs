//! The node: its parts in the order in which they come up, and the reverse.
//!
//! Up: the program is attached with every service down, then the addresses are put on the host, then
//! sessions and checks start. Down: routes are withdrawn and sessions closed, then the addresses go that
//! neighbours ask for, then the program is detached, then the other addresses go.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Options;
use super::announcements::announcements;
use super::interfaces::statuses;
use super::maps::in_the_maps;
use super::peers::Peers;
use super::plane::{CountedAddresses, LoadedPlane};
use super::signals::Signals;
use super::sockets;
use super::verdicts::VerdictReader;
use super::words::OperatorsWords;
use crate::addresses::{ManagedAddresses, Wanted};
use crate::checks::{self, RunningChecks, Subject};
use crate::config::bgp::Peer;
use crate::config::{Announcer, Config, Hook, ManageAddresses, OnDisabled, Service};
use crate::control::protocol::InterfaceStatus;
use crate::control::server::{self, Server};
use crate::controller::{Channels, Controller, Facts, ServiceSettings, ShowAddresses, ShowPeers};
use crate::dataplane::DataPlane;
use crate::decision::{DataPlaneMode, Orders, Pace};
use crate::health;
use crate::hooks::{self, RunningHooks};
use crate::links;
use crate::listener::Watcher;
use crate::metrics::server::{self as metrics_server, Listener};
use crate::metrics::{self, MeasurePeers, Metrics};
use crate::planes::{self, Modes};
use crate::rib::DesiredRoutes;
use crate::words::{self, Words};
use crate::writer;

/// The most time that hooks of the last transitions get before they are killed.
const LAST_HOOKS: Duration = Duration::from_secs(10);

/// The most time that the disk gets for the operator's last words.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The parts that must be taken down.
#[derive(Default)]
pub(super) struct Node {
    addresses: Option<ManagedAddresses>,
    peers: Arc<Peers>,
    checks: Vec<RunningChecks>,
    writer: Option<JoinHandle<LoadedPlane>>,
    idle_plane: Option<DataPlane>,
    sockets: Vec<Watcher>,
    hooks: Option<RunningHooks>,
    verdicts: Option<VerdictReader>,
    neighbors: Neighbors,
}

/// The services with `neighbor = true`, by place, and their addresses.
#[derive(Default)]
struct Neighbors {
    services: Vec<usize>,
    addresses: HashSet<IpAddr>,
}

impl Neighbors {
    fn of(services: &[Service]) -> Self {
        let asked_for = || services.iter().enumerate().filter(|(_, one)| one.neighbor);
        Self {
            services: asked_for().map(|(place, _)| place).collect(),
            addresses: asked_for()
                .flat_map(|(_, service)| service.addresses.iter().copied())
                .collect(),
        }
    }
}

impl Node {
    /// Brings everything up and runs until a signal; returns with the routes withdrawn.
    pub(super) async fn run(
        &mut self,
        config: &Config,
        options: Options,
        socket: Server,
        metrics_listener: Option<Listener>,
        signals: Signals,
    ) -> anyhow::Result<()> {
        let (shown, interfaces) = watch::channel(self.load(config, options)?);
        let links = links::follow().await?;
        self.add_addresses(config).await?;
        let mut settings: Vec<ServiceSettings> = self.settings(config)?;
        let mut words = OperatorsWords::gather(config).await;
        for (settings, orders) in settings.iter_mut().zip(words.take_orders()) {
            settings.orders = orders;
        }

        let (check_reports, checks) = mpsc::channel(checks::REPORT_DEPTH);
        let (call_sender, calls) = mpsc::channel(server::DEPTH);
        let (map_reports, maps) = mpsc::channel(planes::REPORTS);
        let (peer_reports, peers) = mpsc::channel(planes::REPORTS);
        let (counters, counter_requests) = mpsc::channel(planes::COUNTER_REQUESTS);
        let (scrape_sender, scrapes) = mpsc::channel(metrics::SCRAPES);
        let metrics = Arc::new(Metrics::new(&config.services));
        let service_addresses = config
            .services
            .iter()
            .flat_map(|service| &service.addresses);
        let desired = DesiredRoutes::of_services(service_addresses.copied());
        let (routes, routes_seen) = watch::channel(Arc::new(desired));
        let (modes, modes_seen) = watch::channel(Modes {
            generation: 0,
            decided_at: Instant::now(),
            modes: Arc::default(),
            prove: Arc::default(),
        });

        let addresses = self.show_addresses(config);
        let (file_reports, files) = mpsc::channel(words::FILE_REPORTS);
        let (words_sender, words_seen) = watch::channel(Words::default());
        let (keeper, saved) = words.start(words_seen, &file_reports);

        self.peers.start(config, &routes_seen, peer_reports).await?;
        let plane = self.plane(&settings, shown)?;
        let writing = writer::run(plane, modes_seen, links, map_reports, counter_requests);
        self.writer = Some(tokio::spawn(writing));
        self.start_checks(config, &check_reports);
        self.sockets = sockets::watch(config, &settings, &check_reports)?;
        // The checks hold their own senders: the channel ends with the last of them.
        drop(check_reports);
        let serving = tokio::spawn(socket.serve(call_sender));

        let facts = Facts {
            node: config.node.name.clone(),
            interfaces,
            peers: Arc::clone(&self.peers) as Arc<dyn ShowPeers>,
            addresses,
        };
        let (transitions, hooks) = hooks::spawn(&config.node.name, hooks_of(config));
        self.hooks = Some(hooks);
        let channels = Channels {
            checks,
            calls,
            maps,
            peers,
            modes,
            routes,
            files,
            words: words_sender,
            saved,
            counters,
            scrapes,
            hooks: transitions,
        };
        let mut controller = Controller::new(settings, facts, Arc::clone(&metrics), channels);
        give_signs_of_life(&mut controller);
        let scraped = metrics_listener.map(|listener| {
            let source = metrics_server::Source {
                metrics,
                scrapes: scrape_sender,
                peers: Arc::clone(&self.peers) as Arc<dyn MeasurePeers>,
            };
            tokio::spawn(metrics_server::serve(listener, source))
        });
        notify(&[sd_notify::NotifyState::Ready]);
        let controller = controller.run(signals.names()).await;
        notify(&[sd_notify::NotifyState::Stopping]);

        self.peers.close().await;
        serving.abort();
        if let Some(scraped) = scraped {
            scraped.abort();
        }
        // The writer ends, and gives the data plane back, when the controller's channels are gone.
        drop(controller);
        if timeout(LAST_WORDS, keeper).await.is_err() {
            tracing::warn!("the disk does not answer: the operator's last words may be lost");
        }
        if let Some(hooks) = self.hooks.take() {
            hooks.finish(LAST_HOOKS).await;
        }
        Ok(())
    }

    /// Takes down what is there, in order; goes on after an error.
    pub(super) async fn take_down(mut self) -> anyhow::Result<()> {
        self.peers.close().await;
        for checks in self.checks.drain(..) {
            checks.stop().await;
        }
        for sockets in self.sockets.drain(..) {
            sockets.stop().await;
        }
        let mut plane = match self.writer.take() {
            Some(writer) => writer.await.ok().map(|plane| plane.maps),
            None => self.idle_plane.take(),
        };
        self.stop_answering_neighbors(plane.as_mut()).await;
        let unloaded = plane.map_or(Ok(()), DataPlane::unload);
        // After the program, so that its last lines are shown.
        drop(self.verdicts.take());
        if let Some(mut addresses) = self.addresses.take() {
            addresses.remove_all().await;
        }
        unloaded.context("the program is detached, but its pins are still there")
    }

    /// Without the program the kernel answers ARP for whatever address it has, on any interface: these go while
    /// the program still keeps it from that. Where the plane is lost with its task, so is the program.
    async fn stop_answering_neighbors(&mut self, plane: Option<&mut DataPlane>) {
        if let Some(plane) = plane {
            for &service in &self.neighbors.services {
                if let Err(error) = plane.flip(service, DataPlaneMode::Down) {
                    tracing::warn!(%error, "neighbours may be answered until the end");
                }
            }
        }
        if let Some(addresses) = &mut self.addresses {
            addresses.remove(&self.neighbors.addresses).await;
        }
    }

    fn load(&mut self, config: &Config, options: Options) -> anyhow::Result<Vec<InterfaceStatus>> {
        let plane = self.idle_plane.insert(match options.trace_verdicts {
            None => DataPlane::load(&config.dataplane)?,
            Some(one_of) => DataPlane::load_tracing(&config.dataplane, one_of)?,
        });
        plane.apply(&in_the_maps(config))?;
        if options.trace_verdicts.is_some() {
            self.verdicts = Some(VerdictReader::start(plane.verdict_log()?)?);
        }
        for interface in &config.dataplane.interfaces {
            plane.attach(interface, config.dataplane.mode)?;
        }
        let statuses = statuses(plane);
        for InterfaceStatus { name, mode, note } in &statuses {
            tracing::info!(interface = name, mode, note, "attached");
        }
        Ok(statuses)
    }

    fn show_addresses(&self, config: &Config) -> Option<Arc<dyn ShowAddresses>> {
        let reader = self.idle_plane.as_ref()?.address_counters()?;
        let services = config
            .services
            .iter()
            .map(|service| service.name.clone())
            .collect();
        Some(Arc::new(CountedAddresses::new(reader, services)))
    }

    async fn add_addresses(&mut self, config: &Config) -> anyhow::Result<()> {
        let mut wanted = Wanted::default();
        for service in &config.services {
            let kind = match service.manage_addresses {
                ManageAddresses::Addresses => &mut wanted.addresses,
                ManageAddresses::Routes => &mut wanted.routes,
                ManageAddresses::No => continue,
            };
            kind.entry(service.interface.clone())
                .or_default()
                .extend(&service.addresses);
        }
        self.neighbors = Neighbors::of(&config.services);
        let addresses = self.addresses.insert(ManagedAddresses::open()?);
        Ok(addresses.ensure(&wanted).await?)
    }

    fn settings(&self, config: &Config) -> anyhow::Result<Vec<ServiceSettings>> {
        let plane = self
            .idle_plane
            .as_ref()
            .context("the data plane is loaded")?;
        let peers = config.bgp.as_ref().map_or(&[][..], |bgp| &bgp.peers);
        config
            .services
            .iter()
            .enumerate()
            .map(|(index, service)| {
                let id = plane.id(index).context("every service has an id")?;
                Ok(to_the_controller(service, id, peers))
            })
            .collect()
    }

    /// The loaded data plane, for the writer.
    fn plane(
        &mut self,
        settings: &[ServiceSettings],
        shown: watch::Sender<Vec<InterfaceStatus>>,
    ) -> anyhow::Result<LoadedPlane> {
        let plane = self.idle_plane.take().context("the data plane is loaded")?;
        let addresses = settings
            .iter()
            .map(|service| Arc::clone(&service.addresses));
        Ok(LoadedPlane::new(plane, addresses, shown))
    }

    fn start_checks(&mut self, config: &Config, reports: &mpsc::Sender<checks::Report>) {
        let started = tokio::time::Instant::now().into_std();
        self.checks = config
            .services
            .iter()
            .enumerate()
            .map(|(index, service)| {
                let subject = Subject {
                    node: &config.node.name,
                    service: index,
                    name: &service.name,
                    addresses: &service.addresses,
                    started,
                };
                checks::spawn(&subject, service.running_checks(), reports)
            })
            .collect();
    }
}

fn hooks_of(config: &Config) -> impl Iterator<Item = (String, Vec<Hook>)> {
    config
        .services
        .iter()
        .map(|service| (service.name.clone(), service.hooks.clone()))
}

fn to_the_controller(service: &Service, id: u32, peers: &[Peer]) -> ServiceSettings {
    let announces = service.announce.contains(&Announcer::Bgp);
    ServiceSettings {
        name: service.name.clone(),
        id,
        addresses: service.addresses.as_slice().into(),
        ports: service.ports.iter().map(ToString::to_string).collect(),
        health: health::Settings::new(
            &service.checks,
            service.require,
            service.hold_down.0,
            service.damping,
        )
        .with_needs(&service.needs)
        .unchecked_if(service.disabled && service.on_disabled == OnDisabled::Advertise),
        orders: Orders::default(),
        maintenance_file: service.maintenance_file.clone(),
        pace: Pace {
            linger: service.linger.0,
            drain_delay: service.drain_delay.0,
            drain_quiet: service.drain_quiet.0,
            drain_timeout: service.drain_timeout.0,
            ..Pace::default()
        },
        prefixes: if announces {
            service.announced()
        } else {
            Vec::new()
        },
        peers: service.peers.as_deref().map(Arc::from),
        attributes: announcements(service, peers),
    }
}

/// Where systemd has a watchdog on us (`WatchdogSec`), it hears of the controller's loop twice in its time.
fn give_signs_of_life(controller: &mut Controller) {
    if let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) {
        controller.beat_every(limit / 2, || notify(&[sd_notify::NotifyState::Watchdog]));
    }
}

/// Tells systemd, if it started us.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
