//! One service from end to end, over planes that write down what they are told.

mod heartbeat;
mod held;
mod hooks;
mod needs;
mod rig;
mod services;
mod transitions;
mod words;

use std::time::Duration;

use tokio::time::timeout;

use crate::control::protocol::{Operation, Request, Response};
use crate::control::server::Answer;
use crate::health::{FailureKind, Outcome};
use crate::state::ServiceState;
use rig::{PATIENCE, Rig, settings};

/// As the peer sees the routes of a service that is drained.
const WORST: &str = "routes 2 med Some(4294967295)";

#[tokio::test]
async fn a_service_is_written_then_proved_then_announced() {
    let mut rig = Rig::new().await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    assert_eq!(
        rig.logged(&["routes 2 med Some(10)"]).await,
        ["map Init", "map Up", "proof true", "routes 2 med Some(10)"]
    );
}

#[tokio::test]
async fn a_service_that_the_program_does_not_serve_is_not_announced_until_it_does() {
    let mut rig = Rig::new().await;
    *rig.refuse.lock().unwrap() = true;
    rig.pass().await;
    rig.until(ServiceState::Down).await;
    let log = rig.logged(&["map Down"]).await;
    assert!(
        log.iter().all(|line| !line.starts_with("routes")),
        "{log:?}"
    );
    *rig.refuse.lock().unwrap() = false;
    rig.until(ServiceState::Up).await;
    rig.logged(&["routes 2 med Some(10)"]).await;
}

#[tokio::test]
async fn a_failure_withdraws_and_stops_the_answers_at_once() {
    let mut rig = Rig::new().await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    rig.logged(&["routes 2 med Some(10)"]).await;
    rig.fail().await;
    rig.until(ServiceState::Down).await;
    let mut log = rig.logged(&["map Down", "routes 0 med None"]).await;
    log.sort();
    assert_eq!(log, ["map Down", "routes 0 med None"]);
}

#[tokio::test]
async fn a_drain_goes_through_the_worst_metric_the_withdrawal_and_quiet() {
    let mut rig = Rig::new().await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    rig.logged(&["routes 2 med Some(10)"]).await;
    assert!(matches!(
        rig.operate(Operation::Drain, None).await,
        Response::Done {
            state: ServiceState::Draining,
            ..
        }
    ));
    rig.until(ServiceState::Down).await;
    let log = rig.logged(&["map Down"]).await;
    let worst = format!("routes 2 med {:?}", Some(u32::MAX));
    let at = |line: &str| log.iter().position(|logged| logged == line);
    let (worst, withdrawn, down) = (at(&worst), at("routes 0 med None"), at("map Down"));
    assert!(
        worst.is_some() && worst < withdrawn && withdrawn < down,
        "{log:?}"
    );
    rig.operate(Operation::Undrain, None).await;
    rig.until(ServiceState::Up).await;
}

#[tokio::test]
async fn an_operator_s_word_with_a_time_ends_by_itself() {
    let mut rig = Rig::new().await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    rig.operate(Operation::Disable, Some(Duration::from_millis(30)))
        .await;
    rig.until(ServiceState::Disabled).await;
    rig.until(ServiceState::Up).await;
}

#[tokio::test]
async fn what_an_operator_gets_wrong_is_named() {
    let rig = Rig::new().await;
    let message = |response| match response {
        Response::Error { message } => message,
        other => panic!("no error: {other:?}"),
    };
    let request = Request::Operate {
        service: "web".to_owned(),
        operation: Operation::Drain,
        lasts: None,
        reason: None,
    };
    match rig.call(request).await {
        Answer::One(response) => assert_eq!(
            message(response),
            "no service is named `web`; there are: dns"
        ),
        Answer::Events(..) => panic!("events instead of an answer"),
    }
    rig.operate(Operation::Drain, None).await;
    let wrong = message(rig.operate(Operation::Enable, None).await);
    assert_eq!(wrong, "dns is drained, not disabled: `anycast undrain dns`");
}

#[tokio::test]
async fn status_shows_state_checks_and_the_planes_own_counters() {
    let mut rig = Rig::new().await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    let Answer::One(Response::Status(status)) = rig.call(Request::Status).await else {
        panic!("no status");
    };
    let service = &status.services[0];
    assert_eq!((service.state, service.announced), (ServiceState::Up, 2));
    assert_eq!(service.checks[0].output, "fine");
    assert_eq!(service.checks[0].printed.as_deref(), Some("one\ntwo\n"));
    assert_eq!(service.packets["served"].packets, 7);
}

#[tokio::test]
async fn stopping_makes_the_routes_the_worst_then_withdraws_and_leaves_the_data_plane_serving() {
    let mut rig = Rig::new().await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    rig.logged(&["routes 2 med Some(10)"]).await;
    rig.stop.send("SIGTERM".to_owned()).await.unwrap();
    timeout(PATIENCE, rig.controller).await.unwrap().unwrap();
    let log = rig.log.lock().unwrap().clone();
    let routes = log.iter().filter(|line| line.starts_with("routes"));
    let routes: Vec<_> = routes.map(String::as_str).collect();
    assert_eq!(routes, [WORST, "routes 0 med None"]);
    assert!(!log.contains(&"map Down".to_owned()));
}

#[tokio::test]
async fn a_second_signal_ends_the_wait() {
    let mut settings = settings();
    settings.pace.drain_delay = Duration::from_secs(3600);
    let mut rig = Rig::with(settings).await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    rig.stop.send("SIGTERM".to_owned()).await.unwrap();
    rig.logged(&[WORST]).await;
    rig.stop.send("SIGTERM".to_owned()).await.unwrap();
    timeout(PATIENCE, rig.controller).await.unwrap().unwrap();
    assert_eq!(*rig.log.lock().unwrap(), ["routes 0 med None"]);
}

#[tokio::test]
async fn a_service_that_fails_while_the_daemon_ends_is_withdrawn_at_once_and_does_not_come_back() {
    let mut settings = settings();
    settings.pace.drain_delay = Duration::from_secs(3600);
    let mut rig = Rig::with(settings).await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    rig.stop.send("SIGTERM".to_owned()).await.unwrap();
    rig.logged(&[WORST]).await;
    rig.result(0, Outcome::fail(FailureKind::Refused, "refused"))
        .await;
    timeout(PATIENCE, rig.controller).await.unwrap().unwrap();
    let log = rig.log.lock().unwrap().clone();
    assert!(log.contains(&"routes 0 med None".to_owned()), "{log:?}");
}
