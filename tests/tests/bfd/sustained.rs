//! 50 ms × 3 for as long as it is asked: no flap, on a machine that goes on.

use std::time::{Duration, Instant};

use anycast_tests::peers::in_namespace;
use anycast_tests::stall;
use anycast_userspace::bfd::State;
use anycast_userspace::config::Span;
use anycast_userspace::config::bfd::Bfd;
use anyhow::{Context as _, Result, ensure};

use crate::bird::Bird;
use crate::daemon::{ADDRESSES, BfdDaemon, QUICK, router};
use crate::frr::Frr;
use crate::node::Node;

const INTERVAL: Duration = Duration::from_millis(50);
/// What two intervals leave of the Detection Time: what stands still for that long has missed its third packet.
const STALLED: Duration = INTERVAL;

/// How long the sessions must hold; `ANYCAST_BFD_SECONDS` makes it longer.
fn how_long() -> Duration {
    let set = std::env::var("ANYCAST_BFD_SECONDS").ok();
    let seconds = set.and_then(|text| text.parse().ok()).unwrap_or(20);
    Duration::from_secs(seconds)
}

/// With sessions to a router's daemon at 50 ms × 3, which may lose one only when the machine stands still.
fn at_the_default_pace<D: BfdDaemon + 'static>(test: fn(&D, &mut Node) -> Result<()>) {
    in_namespace(move || {
        stall::again_after(STALLED, || {
            let router = router()?;
            let daemon = D::start(&router, QUICK)?;
            let mut node = Node::start(ADDRESSES.len(), &Bfd::default())?;
            node.wait_until_up()?;
            node.wait_for_status(|session| session.detection_time == Some(Span(INTERVAL * 3)))?;
            test(&daemon, &mut node)
        })
        .expect("the sessions hold");
    });
}

fn sessions_hold<D: BfdDaemon>(daemon: &D, node: &mut Node) -> Result<()> {
    let before = node.status();
    node.nothing_happens_for(how_long())?;
    let after = node.status();
    daemon
        .wait_for_all(|view| view.up && view.transmit == INTERVAL)
        .context("the router agrees")?;
    // Each side sends every 37.5 to 50 ms.
    let least = u64::try_from(how_long().as_millis() / 50)? * 9 / 10;
    for (before, after) in before.sessions.iter().zip(&after.sessions) {
        ensure!(after.state == State::Up && after.times_up == 1, "{after:?}");
        let (sent, received) = (
            after.packets.sent - before.packets.sent,
            after.packets.received - before.packets.received,
        );
        println!("{}: {sent} packets sent, {received} received", after.peer);
        ensure!(
            sent >= least && received >= least,
            "{sent} and {received} of {least}"
        );
    }
    Ok(())
}

#[test]
fn bird_and_the_node_hold_50_ms_times_3() {
    at_the_default_pace::<Bird>(sessions_hold);
}

#[test]
fn frr_and_the_node_hold_50_ms_times_3() {
    at_the_default_pace::<Frr>(sessions_hold);
}

#[test]
fn a_busy_machine_loses_no_session() {
    at_the_default_pace::<Bird>(|_, node| {
        let until = Instant::now() + Duration::from_secs(5);
        let burners = std::thread::available_parallelism()?.get() * 2;
        let threads: Vec<_> = (0..burners)
            .map(|_| {
                std::thread::spawn(move || {
                    while Instant::now() < until {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        node.nothing_happens_for(Duration::from_secs(5))?;
        for thread in threads {
            thread.join().expect("a burner ends");
        }
        Ok(())
    });
}
