//! What operators have said before the start: in the configuration, by command, by maintenance files.

use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::{Config, OnDisabled, OnMaintenance};
use crate::decision::{Away, Order, Orders, Source};
use crate::words::clocks::Moment;
use crate::words::keeper::{self, Found, Store};
use crate::words::maintenance::{Files, Maintenance};
use crate::words::{FileReport, Saved, Spoken, Words, unknown};

/// The words of the start, and those who will hear and keep the later ones.
pub(super) struct OperatorsWords {
    orders: Vec<Orders>,
    store: Store,
    /// What the disk should hold now, if it held anything.
    to_save: Option<Vec<Spoken>>,
    files: Files,
}

impl OperatorsWords {
    /// Reads all of them; what cannot be read holds the services that it may be about.
    pub(super) async fn gather(config: &Config) -> Self {
        let from_systemd = std::env::var("STATE_DIRECTORY").ok();
        let directory = config.node.state_directory(from_systemd.as_deref());
        let mut store = Store::new(&directory);
        let found = store.open(&Moment::now(), Instant::now());
        let to_save = to_save(config, found);
        let mut orders: Vec<Orders> = config
            .services
            .iter()
            .map(|service| {
                let mut orders = Orders::default();
                let off = service.disabled && service.on_disabled == OnDisabled::Withdraw;
                orders.set(Source::Configuration, off.then(switched_off));
                let said = to_save
                    .iter()
                    .flatten()
                    .find(|spoken| spoken.service == service.name);
                orders.set(Source::Command, said.map(|spoken| spoken.order.clone()));
                orders
            })
            .collect();
        let (files, reports) = Files::open(maintenance_files(config)).await;
        for report in reports {
            orders[report.service].set(Source::MaintenanceFile, report.order);
        }
        Self {
            orders,
            store,
            to_save,
            files,
        }
    }

    /// The words for each service, in the order of the configuration.
    pub(super) fn take_orders(&mut self) -> Vec<Orders> {
        std::mem::take(&mut self.orders)
    }

    /// Starts the keeper and the look-out for maintenance files.
    pub(super) fn start(
        self,
        words: watch::Receiver<Words>,
        reports: &mpsc::Sender<FileReport>,
    ) -> (JoinHandle<()>, watch::Receiver<Saved>) {
        // They end with the controller's end of the channel.
        self.files.watch(reports);
        keeper::spawn(self.store, self.to_save, words)
    }
}

/// The words that still are about a service; every service's when nobody knows what was said.
fn to_save(config: &Config, found: Found) -> Option<Vec<Spoken>> {
    let spoken = match found {
        Found::Nothing => return None,
        Found::Words(spoken) => spoken,
        Found::Unreadable(why) => {
            tracing::error!(why, "every service is held drained");
            let held = config.services.iter().map(|service| Spoken {
                service: service.name.clone(),
                order: unknown(&service.name, &why),
            });
            held.collect()
        }
    };
    let (known, gone): (Vec<_>, Vec<_>) = spoken.into_iter().partition(|spoken| {
        let name = &spoken.service;
        config.services.iter().any(|service| service.name == *name)
    });
    for Spoken { service, order } in gone {
        let (word, reason) = (order.away.as_str(), order.reason);
        tracing::warn!(
            service,
            word,
            reason,
            "no such service is configured any more: its word is dropped"
        );
    }
    Some(known)
}

fn switched_off() -> Order {
    Order {
        away: Away::Disabled,
        reason: "disabled in the configuration".to_owned(),
        until: None,
    }
}

fn maintenance_files(config: &Config) -> Vec<Maintenance> {
    let of_service = config
        .services
        .iter()
        .enumerate()
        .filter_map(|(index, service)| {
            Some(Maintenance {
                service: index,
                path: service.maintenance_file.clone()?,
                away: match service.on_maintenance {
                    OnMaintenance::Drain => Away::Drained,
                    OnMaintenance::Disable => Away::Disabled,
                },
            })
        });
    of_service.collect()
}
