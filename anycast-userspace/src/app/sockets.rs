//! What the socket watchers must follow, and their reports on their way to the controller.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anycast_common::abi;
use tokio::sync::mpsc;

use crate::checks;
use crate::config::{Check, Config};
use crate::controller::ServiceSettings;
use crate::listener::{self, Report, Settings, Watched, Watcher};

/// Starts a watcher for each cgroup that `listener` checks name.
pub(super) fn watch(
    config: &Config,
    services: &[ServiceSettings],
    reports: &mpsc::Sender<checks::Report>,
) -> anyhow::Result<Vec<Watcher>> {
    watched(config, services)?
        .into_iter()
        .map(|(cgroup, watched)| {
            let settings = Settings {
                watched,
                cgroup,
                services_pin: Some(config.dataplane.pin.join(abi::map::SERVICES)),
            };
            let (sender, received) = mpsc::channel(listener::REPORT_DEPTH);
            let watcher = Watcher::spawn(settings, sender)?;
            tokio::spawn(carry(received, reports.clone()));
            Ok(watcher)
        })
        .collect()
}

fn watched(
    config: &Config,
    services: &[ServiceSettings],
) -> anyhow::Result<BTreeMap<Option<PathBuf>, Vec<Watched>>> {
    let mut by_cgroup: BTreeMap<Option<PathBuf>, Vec<Watched>> = BTreeMap::new();
    for (index, (service, settings)) in config.services.iter().zip(services).enumerate() {
        for (check_index, check) in service.running_checks().iter().enumerate() {
            if let Check::Listener(check) = check {
                let watched = Watched::new(index, check_index, service, check, settings.id)
                    .map_err(anyhow::Error::msg)?;
                by_cgroup
                    .entry(check.cgroup.clone())
                    .or_default()
                    .push(watched);
            }
        }
    }
    Ok(by_cgroup)
}

async fn carry(mut received: mpsc::Receiver<Report>, reports: mpsc::Sender<checks::Report>) {
    while let Some(report) = received.recv().await {
        if reports.send(report.into()).await.is_err() {
            return;
        }
    }
}
