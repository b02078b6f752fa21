//! One service as the controller keeps it: settings, health, life, and what has been published of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::decision::{DataPlaneMode, Lifecycle, Orders, Pace, Plan, RouteState};
use crate::health::{self, Health};
use crate::rib::{Attributes, Route};

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
    pub attributes: [Arc<Attributes>; 3],
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
    /// What the operator has said.
    pub(super) orders: Orders,
    /// How long the last run of each check took, by index.
    pub(super) took: BTreeMap<usize, Duration>,
    service_name: Arc<str>,
}

impl Service {
    pub(super) fn new(settings: ServiceSettings, now: Instant) -> Self {
        Self {
            health: Health::new(settings.health.clone(), now),
            life: Lifecycle::new(settings.pace.clone(), now),
            published: None,
            proof_from: None,
            routed_at: 0,
            orders: settings.orders.clone(),
            took: BTreeMap::new(),
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

    pub(super) fn routes(&self) -> impl Iterator<Item = (IpNet, Route)> {
        let [up, degraded, draining] = &self.settings.attributes;
        let attributes = match self.life.plan().route {
            Some(RouteState::Up) => Some(up),
            Some(RouteState::Degraded) => Some(degraded),
            Some(RouteState::Draining) => Some(draining),
            None => None,
        };
        attributes.into_iter().flat_map(move |attributes| {
            self.settings.prefixes.iter().map(move |prefix| {
                let route = Route {
                    service: Arc::clone(&self.service_name),
                    attributes: Arc::clone(attributes),
                    peers: self.settings.peers.clone(),
                };
                (*prefix, route)
            })
        })
    }
}
