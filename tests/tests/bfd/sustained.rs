//! 50 ms × 3 for as long as it is asked: no flap.

use std::time::Duration;

use anycast_tests::peers::in_namespace;
use anycast_userspace::bfd::State;
use anycast_userspace::config::Span;
use anycast_userspace::config::bfd::Bfd;

use crate::bird::Bird;
use crate::daemon::{ADDRESSES, BfdDaemon, router};
use crate::frr::Frr;
use crate::node::Node;

/// How long the sessions must hold; `ANYCAST_BFD_SECONDS` makes it longer.
fn how_long() -> Duration {
    let set = std::env::var("ANYCAST_BFD_SECONDS").ok();
    let seconds = set.and_then(|text| text.parse().ok()).unwrap_or(20);
    Duration::from_secs(seconds)
}

fn holds<D: BfdDaemon>() {
    in_namespace(|| {
        let router = router().expect("a router");
        let daemon = D::start(&router).expect("the daemon starts");
        let mut node = Node::start(ADDRESSES.len(), &Bfd::default()).expect("BFD starts");
        node.wait_until_up().expect("the sessions come up");
        let interval = Duration::from_millis(50);
        node.wait_for_status(|session| session.detection_time == Some(Span(interval * 3)))
            .expect("they agree on 50 ms × 3");
        let before = node.status();
        node.nothing_happens_for(how_long()).expect("they hold");
        let after = node.status();
        daemon
            .wait_for_all(|view| view.up && view.transmit == interval)
            .expect("the router agrees");
        // Each side sends every 37.5 to 50 ms.
        let least = u64::try_from(how_long().as_millis() / 50).expect("it fits") * 9 / 10;
        for (before, after) in before.sessions.iter().zip(&after.sessions) {
            assert_eq!((after.state, after.times_up), (State::Up, 1), "{after:?}");
            let (sent, received) = (
                after.packets.sent - before.packets.sent,
                after.packets.received - before.packets.received,
            );
            println!("{}: {sent} packets sent, {received} received", after.peer);
            assert!(
                sent >= least && received >= least,
                "{sent} and {received} of {least}"
            );
        }
    });
}

#[test]
fn bird_and_the_node_hold_50_ms_times_3() {
    holds::<Bird>();
}

#[test]
fn frr_and_the_node_hold_50_ms_times_3() {
    holds::<Frr>();
}
