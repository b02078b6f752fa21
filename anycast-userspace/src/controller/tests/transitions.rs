//! Every transition is told once, and completed once, with the time of each step.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::rig::{PATIENCE, Rig, report};
use crate::checks::Report;
use crate::control::protocol::{Operation, Request, Response};
use crate::control::server::Answer;
use crate::events::{Completion, EventKind, MapWriter, PeerPhase, Phases, Sent};
use crate::health::{FailureKind, Outcome};
use crate::state::ServiceState;

/// The events until the completion of the transition to a state, that one last.
async fn until_completed(rig: &mut Rig, state: ServiceState) -> (Vec<EventKind>, Phases) {
    let mut seen = Vec::new();
    let found = async {
        loop {
            let kind = rig.events.recv().await.expect("an event").kind;
            seen.push(kind.clone());
            if let EventKind::Completed { to, phases, .. } = kind
                && to == state
            {
                return phases;
            }
        }
    };
    let phases = timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("{state} is never completed"));
    (seen, phases)
}

fn peer(phases: &Phases) -> PeerPhase {
    assert_eq!(phases.peers.len(), 1, "{phases:?}");
    phases.peers["r1"]
}

#[tokio::test]
async fn a_rise_and_a_fall_are_told_with_the_time_of_each_step() {
    let mut rig = Rig::new().await;
    rig.pass().await;
    let (events, up) = until_completed(&mut rig, ServiceState::Up).await;
    let map = up.data_plane.expect("the map was written");
    assert_eq!(map.by, MapWriter::Controller);
    let routes = peer(&up);
    assert_eq!(routes.sent, Sent::Announced);
    assert!(
        up.decided_us <= map.us && Some(map.us) <= routes.us,
        "{up:?}"
    );
    assert_eq!(Some(up.total_us), routes.us);
    let told = events.iter().find_map(|kind| match kind {
        EventKind::Transition {
            to: ServiceState::Up,
            check,
            transition,
            ..
        } => Some((check.clone(), *transition)),
        _other => None,
    });
    assert_eq!(told, Some((Some("tcp".to_owned()), 1)));

    rig.fail().await;
    let (_, down) = until_completed(&mut rig, ServiceState::Down).await;
    assert_eq!(peer(&down).sent, Sent::Withdrawn);
    assert!(down.data_plane.is_some() && down.detected_ns > up.detected_ns);
    let Answer::One(Response::Status(status)) = rig.call(Request::Status).await else {
        panic!("no status");
    };
    assert_eq!(status.services[0].last_change, Some(down));
}

#[tokio::test]
async fn what_the_kernel_did_first_is_the_data_plane_s_step() {
    let mut rig = Rig::new().await;
    rig.pass().await;
    until_completed(&mut rig, ServiceState::Up).await;
    let at = Instant::now();
    let result = Report {
        at,
        dataplane_down: Some(at + Duration::from_micros(3)),
        ..report(0, Outcome::fail(FailureKind::Refused, "released"))
    };
    rig.checks.send(result).await.unwrap();
    let (_, down) = until_completed(&mut rig, ServiceState::Down).await;
    let map = down.data_plane.expect("the map was written");
    assert_eq!((map.us, map.by), (3, MapWriter::Kernel));
}

#[tokio::test]
async fn a_transition_tells_what_the_check_s_command_printed() {
    let mut rig = Rig::new().await;
    let result = Report {
        output: Some("zone city.example is 9000 s old\n".into()),
        ..report(0, Outcome::fail(FailureKind::Exit, "exit code 1"))
    };
    rig.checks.send(result).await.unwrap();
    let (events, _) = until_completed(&mut rig, ServiceState::Down).await;
    let printed = events.iter().find_map(|kind| match kind {
        EventKind::Transition { output, .. } => output.clone(),
        _other => None,
    });
    assert_eq!(
        printed.as_deref(),
        Some("zone city.example is 9000 s old\n")
    );
}

#[tokio::test]
async fn each_transition_is_completed_exactly_once_whatever_comes_between() {
    let mut rig = Rig::new().await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    // Faster than the planes can follow.
    for _ in 0..5 {
        rig.fail().await;
        rig.pass().await;
    }
    rig.operate(Operation::Drain, None).await;
    rig.until(ServiceState::Down).await;
    rig.operate(Operation::Undrain, None).await;
    rig.operate(Operation::Disable, None).await;
    rig.operate(Operation::Enable, None).await;
    rig.until(ServiceState::Up).await;
    let Answer::Events(all, Some(mut live)) = rig.call(Request::Events { follow: true }).await
    else {
        panic!("no events");
    };
    rig.stop.send("SIGTERM".to_owned()).await.unwrap();
    timeout(PATIENCE, rig.controller).await.unwrap().unwrap();
    let mut kinds: Vec<EventKind> = all.into_iter().map(|event| event.kind).collect();
    while let Ok(event) = live.recv().await {
        kinds.push(event.kind);
    }
    let mut open: Vec<u64> = Vec::new();
    let mut outcomes = Vec::new();
    for kind in kinds {
        match kind {
            EventKind::Transition { transition, .. } => open.push(transition),
            EventKind::Completed {
                transition,
                outcome,
                ..
            } => {
                let at = open.iter().position(|open| *open == transition);
                open.remove(at.unwrap_or_else(|| panic!("{transition} is not open")));
                outcomes.push(outcome);
            }
            _other => {}
        }
    }
    assert!(open.is_empty(), "never completed: {open:?}");
    assert!(outcomes.len() >= 5, "{outcomes:?}");
    assert_eq!(outcomes.last(), Some(&Completion::Done));
}
