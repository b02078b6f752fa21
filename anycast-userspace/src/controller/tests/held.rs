//! What keeps a service from getting better is shown, and a degraded one is announced as such.

use std::time::Duration;

use jiff::Timestamp;

use super::rig::{CONFIG, Rig, settings_of};
use crate::control::protocol::{Request, Response, ServiceStatus};
use crate::control::server::Answer;
use crate::health::{FailureKind, Outcome};
use crate::state::ServiceState;

async fn status(rig: &Rig) -> ServiceStatus {
    let Answer::One(Response::Status(mut status)) = rig.call(Request::Status).await else {
        panic!("no status");
    };
    status.services.remove(0)
}

/// Asserts that the service is held for at most that long, and that both clocks agree on it.
fn assert_held(service: &ServiceStatus, most: Duration) {
    let left = Duration::from_millis(service.held_left_ms.expect("held"));
    assert!(
        left > most - Duration::from_secs(20) && left <= most,
        "{left:?}"
    );
    let until = service.held_until.expect("held");
    let by_the_wall = until.duration_since(Timestamp::now()).unsigned_abs();
    let apart = left.abs_diff(by_the_wall);
    assert!(
        apart < Duration::from_secs(5),
        "{left:?} or {by_the_wall:?}"
    );
}

#[tokio::test]
async fn status_tells_until_when_a_service_is_held_down_while_its_checks_pass() {
    let config = CONFIG.replace("hold_down = \"0s\"", "hold_down = \"60s\"");
    let mut rig = Rig::with(settings_of(&config)).await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    let up = status(&rig).await;
    let none = (None, None, None, false);
    let shown = |service: &ServiceStatus| {
        let (until, left) = (service.held_until, service.held_left_ms);
        (until, left, service.penalty, service.suppressed)
    };
    assert_eq!(shown(&up), none);
    rig.fail().await;
    rig.until(ServiceState::Down).await;
    rig.pass().await;
    let held = status(&rig).await;
    assert_eq!(
        (held.state, held.checks[0].verdict.as_str()),
        (ServiceState::Down, "up")
    );
    assert_held(&held, Duration::from_secs(60));
    assert_eq!((held.penalty, held.suppressed), (None, false));
}

#[tokio::test]
async fn status_tells_the_flap_penalty_and_the_suppression() {
    let damping = "damping = { half_life = \"60s\", suppress = 1500, reuse = 500, max_suppress = \"5m\" }\n\
                   hold_down = \"0s\"";
    let config = CONFIG.replace("hold_down = \"0s\"", damping);
    let mut rig = Rig::with(settings_of(&config)).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        rig.pass().await;
        rig.until(ServiceState::Up).await;
        rig.fail().await;
        rig.until(ServiceState::Down).await;
        let service = status(&rig).await;
        seen.push((service.penalty.expect("damping"), service.suppressed));
    }
    let [(first, free), (second, suppressed)] = seen[..] else {
        panic!("{seen:?}");
    };
    assert!((800.0..=1000.0).contains(&first) && !free, "{seen:?}");
    assert!(
        (1600.0..=2000.0).contains(&second) && suppressed,
        "{seen:?}"
    );
    // 2000 decays to 500 in two half-lives.
    assert_held(&status(&rig).await, Duration::from_secs(120));
}

#[tokio::test]
async fn a_degraded_service_is_announced_with_the_attributes_for_that_until_its_hold_down_is_over()
{
    let config = CONFIG.replace("hold_down = \"0s\"", "hold_down = \"2s\"")
        + "
            [[services.checks]]
            name = \"database\"
            type = \"tcp\"
            port = 5432
            shared = true
            rise = 1
            fall = 1
        ";
    let config = config.replace(
        "[services.attributes.up]",
        "[services.attributes.degraded]\nmed = 200\n[services.attributes.up]",
    );
    let mut rig = Rig::with(settings_of(&config)).await;
    rig.pass().await;
    rig.pass_of(1).await;
    rig.until(ServiceState::Up).await;
    rig.logged(&["routes 2 med Some(10)"]).await;
    // However often the check of what it shares fails and passes: degraded at once, up after two seconds.
    for _ in 0..20 {
        let refused = Outcome::fail(FailureKind::Refused, "refused");
        rig.result(1, refused).await;
        rig.pass_of(1).await;
    }
    rig.until(ServiceState::Degraded).await;
    let held = status(&rig).await;
    assert_eq!(held.state, ServiceState::Degraded);
    assert!(
        held.held_left_ms.is_some_and(|left| left <= 2000),
        "{held:?}"
    );
    rig.until(ServiceState::Up).await;
    let log = rig.logged(&["routes 2 med Some(10)"]).await;
    let routes: Vec<&String> = log
        .iter()
        .filter(|line| line.starts_with("routes"))
        .collect();
    assert_eq!(routes, ["routes 2 med Some(200)", "routes 2 med Some(10)"]);
}
