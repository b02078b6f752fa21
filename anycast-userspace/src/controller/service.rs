//! One service as the controller keeps it: settings, health, life, and what has been published of it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::course::{Course, Prompt};
use crate::decision::{DataPlaneMode, Lifecycle, Orders, Pace, Plan, RouteState};
use crate::events::Phases;
use crate::health::{self, Health};
use crate::rib::{Attributes, AttributesByPeer, DesiredRoutes, Route};

/// What the controller must know of a service.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// Its name.
    pub name: String,
    /// Its index in the maps.
    pub id: u32,
    /// Its Service Addresses.
    pub addresses: Arc<[IpAddr]>,
    /// Its ports, as the configuration writes them.
    pub ports: Vec<String>,
    /// The rules of its health.
    pub health: health::Settings,
    /// The pace of its withdrawal.
    pub pace: Pace,
    /// The prefixes to announce; none: the data plane alone.
    pub prefixes: Vec<IpNet>,
    /// The peers that get them; `None`: all.
    pub peers: Option<Arc<[String]>>,
    /// What the operator had said before the start.
    pub orders: Orders,
    /// The file that takes it away while it is there, to be named to operators.
    pub maintenance_file: Option<PathBuf>,
    /// Path attributes while up, degraded, draining.
    pub attributes: [Announcement; 3],
}

/// How a service is announced in one of its states.
#[derive(Clone, Debug, Default)]
pub struct Announcement {
    /// To every peer that is told nothing else.
    pub attributes: Arc<Attributes>,
    /// To those that are.
    pub by_peer: Option<Arc<AttributesByPeer>>,
}

pub(super) struct Service {
    pub(super) settings: ServiceSettings,
    pub(super) health: Health,
    pub(super) life: Lifecycle,
    pub(super) published: Option<Plan>,
    /// The first generation whose map report proves the service.
    pub(super) proof_from: Option<u64>,
    /// The generation that changed its routes last.
    pub(super) routed_at: u64,
    /// Why the next plan is about to change.
    pub(super) prompt: Option<Prompt>,
    /// The last change of the plan, until a transition takes it over.
    pub(super) course: Option<Course>,
    /// The phases of the last transition whose course has ended.
    pub(super) phases: Option<Phases>,
    /// What the operator has said.
    pub(super) orders: Orders,
    /// The last run of each check, by index.
    pub(super) runs: Vec<LastRun>,
    service_name: Arc<str>,
}

/// What `status` shows of a check's last run besides its outcome.
#[derive(Clone, Debug, Default)]
pub(super) struct LastRun {
    pub(super) took: Duration,
    /// What a command printed.
    pub(super) printed: Option<Box<str>>,
}

impl Service {
    pub(super) fn new(settings: ServiceSettings, now: Instant) -> Self {
        let health = Health::new(settings.health.clone(), now);
        Self {
            runs: vec![LastRun::default(); health.checks().count()],
            health,
            life: Lifecycle::new(settings.pace.clone(), now),
            published: None,
            proof_from: None,
            routed_at: 0,
            prompt: None,
            course: None,
            phases: None,
            orders: settings.orders.clone(),
            service_name: settings.name.as_str().into(),
            settings,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(super) fn mode(&self) -> DataPlaneMode {
        self.life.plan().data_plane
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [
            self.health.deadline(),
            self.life.deadline(),
            self.orders.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// How many prefixes are announced now.
    pub(super) fn announced(&self) -> usize {
        match self.life.plan().route {
            Some(RouteState::Up | RouteState::Degraded | RouteState::Draining) => {
                self.settings.prefixes.len()
            }
            None => 0,
        }
    }

    /// Brings its part of the routes up to date. No other service has the same prefixes.
    pub(super) fn update(&self, routes: &mut DesiredRoutes) {
        if self.announced() == 0 {
            for prefix in &self.settings.prefixes {
                routes.remove(*prefix);
            }
        }
        routes.extend(self.routes());
    }

    fn routes(&self) -> impl Iterator<Item = (IpNet, Route)> {
        let [up, degraded, draining] = &self.settings.attributes;
        let announcement = match self.life.plan().route {
            Some(RouteState::Up) => Some(up),
            Some(RouteState::Degraded) => Some(degraded),
            Some(RouteState::Draining) => Some(draining),
            None => None,
        };
        announcement.into_iter().flat_map(move |announcement| {
            self.settings.prefixes.iter().map(move |prefix| {
                let route = Route {
                    service: Arc::clone(&self.service_name),
                    attributes: Arc::clone(&announcement.attributes),
                    by_peer: announcement.by_peer.clone(),
                    peers: self.settings.peers.clone(),
                };
                (*prefix, route)
            })
        })
    }
}
