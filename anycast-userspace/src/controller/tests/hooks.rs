//! Operators' commands hear of every transition, however many come at once.

use std::time::{Duration, Instant};

use super::needs::{controller_with_hooks, report};
use crate::config::Hook;
use crate::hooks;
use crate::planes::MapReport;
use crate::state::ServiceState;

const SERVICES: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn every_one_of_a_thousand_services_gets_its_hook_with_its_last_state_when_all_stop() {
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..SERVICES).map(|index| format!("s{index}")).collect();
    let services: Vec<(&str, &[&str])> = names
        .iter()
        .map(|name| (name.as_str(), [].as_slice()))
        .collect();
    let script = format!(
        "echo $ANYCAST_STATE > {}/$ANYCAST_SERVICE",
        directory.path().display()
    );
    let hook: Hook =
        toml::from_str(&format!("command = [\"/bin/sh\", \"-c\", '{script}']")).unwrap();
    let hooked = names.iter().map(|name| (name.clone(), vec![hook.clone()]));
    let (transitions, running) = hooks::spawn("test", hooked);
    let mut controller = controller_with_hooks(&services, transitions);
    // Nothing else runs until the controller is gone: not one command may begin before.
    for service in 0..SERVICES {
        controller.on_check(report(service, true));
    }
    controller.on_map_report(MapReport {
        generation: controller.generation,
        writes: 1,
        at: Instant::now(),
        proofs: (0..SERVICES).map(|service| (service, Ok(()))).collect(),
        failures: Vec::new(),
    });
    for service in controller.services.iter() {
        assert_eq!(service.life.state(), ServiceState::Up);
    }
    controller.stop("SIGTERM");
    let last: Vec<&str> = controller
        .services
        .iter()
        .map(|service| service.life.state().as_str())
        .collect();
    drop(controller);
    running.finish(PATIENCE).await;
    let written: Vec<String> = names
        .iter()
        .map(|name| std::fs::read_to_string(directory.path().join(name)).unwrap_or_default())
        .collect();
    let written: Vec<&str> = written.iter().map(|state| state.trim()).collect();
    assert!(
        written == last,
        "{} of {SERVICES} hooks ran with the last state",
        written
            .iter()
            .zip(&last)
            .filter(|(got, want)| got == want)
            .count()
    );
}
