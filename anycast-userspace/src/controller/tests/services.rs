//! What is kept of touched services is what a look at all of them finds.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::needs::{controller, report};
use crate::controller::service::Service;
use crate::decision::{Away, Order};
use crate::planes::MapReport;
use crate::words::FileReport;

#[derive(Clone, Debug)]
enum Step {
    Check(usize, bool),
    File(usize, Option<Away>, Option<u64>),
    Maps(usize),
    Passes(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let away = prop_oneof![
        Just(None),
        Just(Some(Away::Drained)),
        Just(Some(Away::Disabled))
    ];
    let step = prop_oneof![
        (0..4_usize, any::<bool>()).prop_map(|(service, passed)| Step::Check(service, passed)),
        (0..4_usize, away, prop::option::of(0..5_000_u64))
            .prop_map(|(service, away, lasts)| Step::File(service, away, lasts)),
        (0..4_usize).prop_map(Step::Maps),
        (0..5_000_u64).prop_map(Step::Passes),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    #[test]
    fn deadlines_and_plans_are_those_that_a_look_at_every_service_finds(steps in steps()) {
        let mut controller = controller(&[("web", &["api"]), ("api", &[]), ("dns", &[]), ("ntp", &[])]);
        let mut now = Instant::now();
        for step in steps {
            match step {
                Step::Check(service, passed) => controller.on_check(report(service, passed)),
                Step::File(service, away, lasts) => {
                    let order = away.map(|away| Order {
                        away,
                        reason: "work".to_owned(),
                        until: lasts.map(|lasts| now + Duration::from_millis(lasts)),
                    });
                    controller.on_file(FileReport { service, order });
                }
                Step::Maps(service) => controller.on_map_report(MapReport {
                    generation: controller.generation,
                    writes: 1,
                    at: now,
                    proofs: vec![(service, Ok(()))],
                    failures: Vec::new(),
                }),
                Step::Passes(milliseconds) => {
                    now += Duration::from_millis(milliseconds);
                    controller.on_time(now);
                }
            }
            controller.publish();
            let earliest = controller.services.iter().filter_map(Service::deadline).min();
            prop_assert_eq!(controller.services.deadline(), earliest);
            let quiet = controller.services.iter().any(|service| service.life.awaits_quiet());
            prop_assert_eq!(controller.services.any_awaits_quiet(), quiet);
            for service in controller.services.iter() {
                prop_assert_eq!(service.published, Some(service.life.plan()));
            }
        }
    }
}
