//! Services that need others follow them, in the same step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::rig::{NoPeers, settings};
use crate::checks::Report;
use crate::controller::{Channels, Controller, Facts, ServiceSettings};
use crate::decision::{Away, Order};
use crate::events::EventKind;
use crate::health::{FailureKind, HealthVerdict, Outcome};
use crate::hooks::Transitions;
use crate::metrics::Metrics;
use crate::planes::{MapReport, Modes};
use crate::rib::DesiredRoutes;
use crate::words::{FileReport, Saved, Words};

/// Services by name, each with the names that it needs and one check; nobody hears what they decide.
pub(super) fn controller(services: &[(&str, &[&str])]) -> Controller {
    controller_with_hooks(services, Transitions::without_hooks())
}

pub(super) fn controller_with_hooks(
    services: &[(&str, &[&str])],
    hooks: Transitions,
) -> Controller {
    let services = services.iter().map(|(name, needs)| {
        let needs: Vec<String> = needs.iter().map(ToString::to_string).collect();
        let settings = settings();
        ServiceSettings {
            name: (*name).to_owned(),
            health: settings.health.clone().with_needs(&needs),
            ..settings
        }
    });
    let facts = Facts {
        node: "test".to_owned(),
        interfaces: watch::channel(Vec::new()).1,
        peers: Arc::new(NoPeers),
        addresses: None,
    };
    let modes = Modes {
        generation: 0,
        decided_at: Instant::now(),
        modes: Arc::default(),
        prove: Arc::default(),
    };
    let channels = Channels {
        checks: mpsc::channel(1).1,
        calls: mpsc::channel(1).1,
        maps: mpsc::channel(1).1,
        peers: mpsc::channel(1).1,
        modes: watch::channel(modes).0,
        routes: watch::channel(Arc::new(DesiredRoutes::new(0))).0,
        files: mpsc::channel(1).1,
        words: watch::channel(Words::default()).0,
        saved: watch::channel(Saved::default()).1,
        counters: mpsc::channel(1).0,
        scrapes: mpsc::channel(1).1,
        hooks,
    };
    Controller::new(
        services.collect(),
        facts,
        Arc::new(Metrics::new(&[])),
        channels,
    )
}

pub(super) fn report(service: usize, passed: bool) -> Report {
    let outcome = if passed {
        Outcome::pass("fine")
    } else {
        Outcome::fail(FailureKind::Refused, "refused")
    };
    Report {
        service,
        check: 0,
        outcome,
        output: None,
        at: Instant::now(),
        took: Duration::ZERO,
        late: Duration::ZERO,
        dataplane_down: None,
    }
}

#[test]
fn a_failure_goes_through_to_all_that_need_the_service_and_to_nobody_else() {
    use HealthVerdict::{Down, Init, Up};
    let mut controller = controller(&[
        ("web", &["api"]),
        ("api", &["dns"]),
        ("dns", &[]),
        ("ntp", &[]),
    ]);
    // which service's check passes or fails, and all verdicts after it
    let steps = [
        (0, true, [Init, Init, Init, Init]),
        (3, true, [Init, Init, Init, Up]),
        (2, true, [Init, Init, Up, Up]),
        (1, true, [Up, Up, Up, Up]),
        (2, false, [Down, Down, Down, Up]),
    ];
    for (service, passed, want) in steps {
        controller.on_check(report(service, passed));
        let got: Vec<_> = controller
            .services
            .iter()
            .map(|service| service.health.verdict())
            .collect();
        assert_eq!(got, want, "after service {service} passed: {passed}");
    }
    let reasons: Vec<String> = controller
        .events
        .recent()
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::Detected {
                service,
                verdict,
                reason,
                ..
            } if verdict == "down" => Some(format!("{service}: {reason}")),
            _other => None,
        })
        .collect();
    assert_eq!(
        reasons,
        [
            "dns: check tcp failed: refused",
            "api: the service needs dns, which is down",
            "web: the service needs api, which is down",
        ]
    );
}

#[test]
fn a_service_that_an_operator_keeps_away_is_down_to_those_that_need_it() {
    use HealthVerdict::{Down, Init, Up};
    let mut controller = controller(&[("web", &["api"]), ("api", &[])]);
    let order = |away| Order {
        away,
        reason: "new disks".to_owned(),
        until: None,
    };
    let disabled = Some(order(Away::Disabled));
    controller.on_check(report(0, true));
    // what the maintenance file of `api` says, whether its check passes, and both verdicts after it
    let steps = [
        (disabled.clone(), None, [Down, Init]),
        (disabled.clone(), Some(true), [Down, Up]),
        (None, None, [Up, Up]),
        (disabled, None, [Down, Up]),
        (None, Some(false), [Down, Down]),
    ];
    for (step, (order, passed, want)) in steps.into_iter().enumerate() {
        controller.on_file(FileReport { service: 1, order });
        if let Some(passed) = passed {
            controller.on_check(report(1, passed));
        }
        controller.on_map_report(MapReport {
            generation: controller.generation,
            writes: 1,
            at: Instant::now(),
            proofs: vec![(1, Ok(()))],
            failures: Vec::new(),
        });
        // A hold-down of no time at all is over.
        controller.on_time(Instant::now());
        let got: Vec<_> = controller
            .services
            .iter()
            .map(|service| service.health.verdict())
            .collect();
        assert_eq!(got, want, "step {step}");
    }
}
