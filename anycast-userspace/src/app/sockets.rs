//! What the socket watcher must follow, and its reports on their way to the controller.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::checks;
use crate::config::{Check, Config, Require, Service};
use crate::controller::ServiceSettings;
use crate::health::{self, FailureKind};
use crate::listener::{Outcome, Report, Watched};

/// One entry for each `listener` check.
pub(super) fn watched(config: &Config, settings: &[ServiceSettings]) -> Vec<Watched> {
    let mut watched = Vec::new();
    for (index, (service, settings)) in config.services.iter().zip(settings).enumerate() {
        for (check_index, check) in service.checks.iter().enumerate() {
            if let Check::Listener(check) = check {
                watched.push(Watched {
                    service: index,
                    check: check_index,
                    dataplane: alone_decides(service).then_some(settings.id),
                    addresses: service.addresses.clone(),
                    ports: check.watched(&service.ports),
                });
            }
        }
    }
    watched
}

/// Whether one failed check takes the service down at once, so that the kernel may do it by itself.
fn alone_decides(service: &Service) -> bool {
    let all = match service.require {
        Require::All => true,
        Require::Any | Require::AtLeast(_) | Require::Weight(_) => false,
    };
    all && service.linger.0 == Duration::ZERO
}

/// Translates the watcher's reports into those of a check.
pub(super) async fn carry(
    mut received: mpsc::Receiver<Report>,
    reports: mpsc::Sender<checks::Report>,
) {
    while let Some(report) = received.recv().await {
        let outcome = match report.outcome {
            Outcome::Pass(detail) => health::Outcome::pass(detail),
            Outcome::Fail(detail) => health::Outcome::fail(FailureKind::Refused, detail),
        };
        let report = checks::Report {
            service: report.service,
            check: report.check,
            outcome,
            output: None,
            at: report.at,
            took: Duration::ZERO,
            late: Duration::ZERO,
        };
        if reports.send(report).await.is_err() {
            return;
        }
    }
}
