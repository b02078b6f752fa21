//! The same stories, told to every daemon: up, down, held down, other timers.

use std::time::{Duration, Instant};

use anycast_tests::peers::{Router, in_namespace, run};
use anycast_userspace::bfd::{Diagnostic, DownReason, EventKind, State};
use anycast_userspace::config::Span;
use anycast_userspace::config::bfd::Bfd;
use anyhow::Result;
use nix::sys::signal::Signal;

use crate::bird::Bird;
use crate::child::NodeProcess;
use crate::daemon::{ADDRESSES, BfdDaemon, PATIENT, patient, router};
use crate::frr::Frr;
use crate::node::{NOTICED, Node};

/// IPv4, IPv6 and link-local.
const ALL: usize = ADDRESSES.len();
const INTERVAL: Duration = Duration::from_millis(50);
const DETECTION: Duration = Duration::from_secs(3);

fn told_to<D: BfdDaemon + 'static>(story: fn(&mut D, &mut Node) -> Result<()>) {
    in_namespace(move || {
        let router = router().expect("a router");
        let mut daemon = D::start(&router, PATIENT).expect("the daemon starts");
        let mut node = Node::start(ALL, &patient()).expect("BFD starts");
        node.wait_until_up().expect("the sessions come up");
        story(&mut daemon, &mut node).expect("the story holds");
    });
}

fn is_timeout(kind: EventKind) -> bool {
    kind == EventKind::Down(DownReason::DetectionTimeExpired(DETECTION))
}

fn sessions_agree_on_their_timers(daemon: &mut impl BfdDaemon, node: &mut Node) -> Result<()> {
    node.wait_for_status(|session| {
        session.state == State::Up
            && session.remote_state == State::Up
            && session.transmit_interval == Some(Span(INTERVAL))
            && session.receive_interval == Some(Span(INTERVAL))
            && session.detection_time == Some(Span(DETECTION))
    })?;
    daemon.wait_for_all(|view| view.up && view.transmit == INTERVAL)?;
    node.nothing_happens_for(Duration::from_secs(2))?;
    assert_eq!(node.states(), [State::Up; ALL]);
    Ok(())
}

fn a_stopped_daemon_is_noticed(daemon: &mut impl BfdDaemon, node: &mut Node) -> Result<()> {
    node.wait_for_status(|session| session.detection_time == Some(Span(DETECTION)))?;
    let stopped = Instant::now();
    daemon.signal(Signal::SIGSTOP)?;
    let events = node.wait_for_each(is_timeout, NOTICED);
    daemon.signal(Signal::SIGCONT)?;
    for event in events? {
        let took = event.at - stopped;
        println!("stopped: {} is down after {took:?}", event.peer);
    }
    node.wait_until_up()
}

fn a_killed_daemon_is_noticed_and_comes_back(
    daemon: &mut impl BfdDaemon,
    node: &mut Node,
) -> Result<()> {
    node.wait_for_status(|session| session.detection_time == Some(Span(DETECTION)))?;
    let killed = Instant::now();
    daemon.kill();
    for event in node.wait_for_each(is_timeout, NOTICED)? {
        let took = event.at - killed;
        println!("killed: {} is down after {took:?}", event.peer);
    }
    daemon.restart()?;
    node.wait_until_up()
}

fn loss_in_one_direction_is_noticed_on_both_sides(
    daemon: &mut impl BfdDaemon,
    node: &mut Node,
) -> Result<()> {
    node.wait_for_status(|session| session.detection_time == Some(Span(DETECTION)))?;
    // Our packets go to a station that is not there; the router's still arrive.
    let neighbors = |arguments: &[&str]| {
        ADDRESSES.iter().try_for_each(|(_, router)| {
            let mut all = vec!["neighbor", arguments[0], router, "dev", "node1"];
            all.extend(&arguments[1..]);
            run("ip", &all).map(|_| ())
        })
    };
    let lost = Instant::now();
    neighbors(&["replace", "lladdr", "02:00:00:00:00:99", "nud", "permanent"])?;
    let signaled = EventKind::Down(DownReason::NeighborSignaledDown(
        Diagnostic::DETECTION_TIME_EXPIRED,
    ));
    for event in node.wait_for_each(|kind| kind == signaled, NOTICED)? {
        let took = event.at - lost;
        println!("one-way loss: {} is down after {took:?}", event.peer);
    }
    daemon.wait_for_all(|view| !view.up)?;
    neighbors(&["delete"])?;
    node.wait_until_up()
}

fn holding_down_is_told_to_the_router(daemon: &mut impl BfdDaemon, node: &mut Node) -> Result<()> {
    node.set_admin_down(true);
    daemon.wait_for_all(|view| !view.up)?;
    node.nothing_happens_for(Duration::from_millis(500))?;
    assert_eq!(node.states(), [State::AdminDown; ALL]);
    node.set_admin_down(false);
    node.wait_until_up()
}

fn timers_change_while_the_session_is_up(
    daemon: &mut impl BfdDaemon,
    node: &mut Node,
) -> Result<()> {
    let slower = Duration::from_millis(200);
    node.configure(&Bfd {
        interval: Span(slower),
        ..patient()
    });
    // Ours changes only once the router has answered the poll.
    node.wait_for_status(|session| session.transmit_interval == Some(Span(slower)))?;
    node.wait_for_status(|session| session.detection_time == Some(Span(slower * PATIENT.into())))?;
    node.configure(&patient());
    node.wait_for_status(|session| session.detection_time == Some(Span(DETECTION)))?;

    let theirs = Duration::from_millis(120);
    daemon.set_interval(theirs)?;
    node.wait_for_status(|session| {
        session.receive_interval == Some(Span(theirs))
            && session.transmit_interval == Some(Span(theirs))
    })?;
    node.nothing_happens_for(Duration::from_secs(1))?;
    assert_eq!(node.states(), [State::Up; ALL]);
    Ok(())
}

fn a_shutdown_is_no_failure(daemon: &mut impl BfdDaemon, node: &mut Node) -> Result<()> {
    let (began, limit) = (Instant::now(), Duration::from_secs(30));
    node.block_on(node.manager.shutdown(limit));
    assert!(
        began.elapsed() < limit,
        "it ends once the router has answered"
    );
    daemon.wait_for_all(|view| !view.up)?;
    Ok(())
}

fn a_lost_link_is_noticed<D: BfdDaemon>() {
    in_namespace(|| {
        let router = router().expect("a router");
        let _daemon = D::start(&router, PATIENT).expect("the daemon starts");
        let mut node = Node::start(ALL, &patient()).expect("BFD starts");
        node.wait_until_up().expect("the sessions come up");
        node.wait_for_status(|session| session.detection_time == Some(Span(DETECTION)))
            .expect("they find their pace");
        let lost = Instant::now();
        router
            .ip(&["link", "set", "router1", "down"])
            .expect("the router's interface");
        let events = node.wait_for_each(|kind| matches!(kind, EventKind::Down(_)), NOTICED);
        for event in events.expect("noticed") {
            let took = event.at - lost;
            println!("link lost: {} is down after {took:?}", event.peer);
        }
        // IPv6 addresses went with the link.
        restore(&router).expect("the link can be restored");
        node.wait_until_up().expect("the sessions come up again");
    });
}

fn restore(router: &Router) -> Result<()> {
    router.ip(&["link", "set", "router1", "up"])?;
    for (_, address) in &ADDRESSES[1..] {
        let address = format!("{address}/64");
        router.ip(&["address", "replace", &address, "dev", "router1", "nodad"])?;
    }
    Ok(())
}

fn a_killed_node_is_noticed<D: BfdDaemon>() {
    in_namespace(|| {
        let router = router().expect("a router");
        let daemon = D::start(&router, PATIENT).expect("the daemon starts");
        let mut node = NodeProcess::start(ALL).expect("the node starts");
        daemon
            .wait_for_all(|view| view.up && view.detection == DETECTION)
            .expect("the sessions come up");
        let killed = Instant::now();
        node.kill().expect("it can be killed");
        daemon.wait_for_all(|view| !view.up).expect("noticed");
        println!("killed: the router says down after {:?}", killed.elapsed());
    });
}

macro_rules! stories {
    ($module:ident, $daemon:ty) => {
        mod $module {
            use super::*;

            stories!(@each $daemon: sessions_agree_on_their_timers, a_stopped_daemon_is_noticed,
                a_killed_daemon_is_noticed_and_comes_back, loss_in_one_direction_is_noticed_on_both_sides,
                holding_down_is_told_to_the_router, timers_change_while_the_session_is_up,
                a_shutdown_is_no_failure);

            #[test]
            fn a_killed_node_is_noticed() {
                super::a_killed_node_is_noticed::<$daemon>();
            }

            #[test]
            fn a_lost_link_is_noticed() {
                super::a_lost_link_is_noticed::<$daemon>();
            }
        }
    };
    (@each $daemon:ty: $($story:ident),*) => {
        $(
            #[test]
            fn $story() {
                told_to::<$daemon>(|daemon, node| super::$story(daemon, node));
            }
        )*
    };
}

stories!(bird, Bird);
stories!(frr, Frr);

#[test]
fn a_router_that_is_held_down_by_its_operator_has_not_failed() {
    told_to::<Frr>(|frr, node| {
        frr.configure_peers("shutdown")?;
        node.wait_for_each(|kind| kind == EventKind::PeerAdminDown, NOTICED)?;
        node.nothing_happens_for(Duration::from_secs(1))?;
        frr.configure_peers("no shutdown")?;
        node.wait_until_up()
    });
}

#[test]
fn frr_understands_why_the_node_is_held_down() {
    told_to::<Frr>(|frr, node| {
        node.set_admin_down(true);
        frr.wait_for_all(|view| !view.up)?;
        assert_eq!(frr.remote_diagnostics()?, ["administratively down"; ALL]);
        Ok(())
    });
}
