//! What a configuration asks of the data plane's maps.

use std::path::Path;

use crate::config::{Config, ConfigError, Service};
use crate::dataplane::{self, Desired, State};

/// Reads a configuration file, and refuses what the maps would have no room for.
pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
    Config::load_with(path, |config| {
        dataplane::faults(&config.dataplane, &in_the_maps(config))
    })
}

/// The maps at the start: no service is decided yet.
pub(super) fn in_the_maps(config: &Config) -> Desired {
    Desired {
        services: config.services.iter().map(service).collect(),
        identity: Some(config.node.name.clone()),
        allow: config.dataplane.allow.clone(),
        deny: config.dataplane.deny.clone(),
        exempt: config.dataplane.exempt.clone(),
    }
}

fn service(service: &Service) -> dataplane::Service {
    dataplane::Service {
        name: service.name.clone(),
        addresses: service.addresses.clone(),
        ports: service.ports.clone(),
        on_down: service.on_down,
        unlisted: service.unlisted,
        state: State::Init,
        protocols: service.protocols.clone(),
        fragments: service.fragments,
        neighbor: service.neighbor,
        identity: service.identity,
        allow: service.allow.clone(),
        deny: service.deny.clone(),
        limits: service.limits,
    }
}
