//! The scenario's last part: how soon a server that dies is noticed where the kernel tells of its sockets,
//! and one that hangs where a check fails twice.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;

use super::Lab;
use super::control::{Event, Events};
use super::node::Checks;
use super::spread::Spread;
use super::timeline::{Timeline, millis};
use super::topology::{City, RouterName, SERVICE_V4, SERVICE_V6, TO_NODE};
use crate::clock::Monotonic;
use crate::feed::Mark;

/// How often the server is killed.
const KILLS: usize = 20;
/// How often it hangs.
const HANGS: usize = 3;
/// From the kill to the state in the maps, at the median.
const DOWN_WITHIN: Duration = Duration::from_micros(100);
/// From the kill to the last withdrawal sent, at the median.
const WITHDRAWN_WITHIN: Duration = Duration::from_millis(2);
/// From the hang to the last withdrawal sent, at the median: 100 ms to the next run, and two that take 100 ms.
const HANG_WITHDRAWN_WITHIN: Duration = Duration::from_millis(350);
/// For a server, its service and its routes to come up.
const SETTLE: Duration = Duration::from_secs(30);
const SERVICES: [&str; 2] = [SERVICE_V4, SERVICE_V6];
/// The sessions over which the routes are withdrawn.
const PEERS: usize = 2;

/// What happened when.
struct Death {
    down: Option<Monotonic>,
    withdrawn: Monotonic,
    gone: Monotonic,
}

/// Starts the controller in city A, which must have been stopped, with a `listener` check, and kills the server
/// again and again; then once more with a query as well, and has the server hang.
///
/// # Errors
/// When something that has to happen does not.
pub(super) fn servers_die_and_hang(
    lab: &mut Lab,
    timeline: &mut Timeline<'_>,
) -> anyhow::Result<()> {
    timeline.heading("anycast in city-a starts again, with a `listener` check")?;
    start(lab, timeline, Checks::Listener)?;
    kills(lab, timeline)?;
    timeline.heading("anycast in city-a starts again, with a check as well that may fail twice")?;
    lab.node_mut(City::A).0.stop_controller()?;
    start(lab, timeline, Checks::ListenerAndQuery)?;
    hangs(lab, timeline)
}

fn start(lab: &mut Lab, timeline: &mut Timeline<'_>, checks: Checks) -> anyhow::Result<()> {
    let routes = lab.watch(RouterName::Of(City::A)).mark();
    let (node, namespace) = lab.node_mut(City::A);
    node.use_checks(checks)?;
    let started = Monotonic::now();
    node.start_controller(namespace)?;
    let back = routes_return(lab, routes)?;
    timeline.note_at(
        back,
        &format!(
            "router-a sends to city-a again, {} after the start",
            millis(back.since(started))
        ),
    );
    Ok(())
}

fn kills(lab: &mut Lab, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
    timeline.heading(&format!(
        "kill -9 of the DNS server in city-a, {KILLS} times: UDP and TCP sockets are watched by the kernel"
    ))?;
    let (mut down, mut withdrawn, mut gone) = <(Spread, Spread, Spread)>::default();
    for _ in 0..KILLS {
        let before = Before::now(lab)?;
        let killed = Monotonic::now();
        lab.node_mut(City::A).0.kill_dns()?;
        let death = before.wait_for_death(lab, true)?;
        let in_kernel = death.down.context("the kernel said when")?;
        down.add(in_kernel.since(killed));
        withdrawn.add(death.withdrawn.since(killed));
        gone.add(death.gone.since(killed));

        let (node, namespace) = lab.node_mut(City::A);
        node.start_dns(namespace)?;
        routes_return(lab, before.routes)?;
    }
    timeline.check(
        down.median() < DOWN_WITHIN,
        &format!("from the kill to down in the data plane: {down}"),
    );
    timeline.check(
        withdrawn.median() < WITHDRAWN_WITHIN,
        &format!("from the kill to both withdrawals sent: {withdrawn}"),
    );
    timeline.note(&format!("from the kill to no route in router-a: {gone}"));
    Ok(())
}

fn hangs(lab: &mut Lab, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
    timeline.heading(
        "The DNS server in city-a hangs (SIGSTOP): interval 100 ms, timeout 100 ms, fall 2",
    )?;
    let mut withdrawn = Spread::default();
    for _ in 0..HANGS {
        let before = Before::now(lab)?;
        let hung = Monotonic::now();
        lab.node_mut(City::A).0.hang_dns(true)?;
        let death = before.wait_for_death(lab, false)?;
        withdrawn.add(death.withdrawn.since(hung));

        lab.node_mut(City::A).0.hang_dns(false)?;
        routes_return(lab, before.routes)?;
    }
    timeline.check(
        withdrawn.median() < HANG_WITHDRAWN_WITHIN,
        &format!("from the hang to both withdrawals sent: {withdrawn}"),
    );
    timeline.note("SIGCONT each time: the server answers, and the routes return");
    Ok(())
}

/// Where the histories end before something is done to the server.
struct Before {
    events: Mark,
    routes: Mark,
}

impl Before {
    fn now(lab: &Lab) -> anyhow::Result<Self> {
        Ok(Self {
            events: lab.node(City::A).events()?.mark(),
            routes: lab.watch(RouterName::Of(City::A)).mark(),
        })
    }

    /// Waits until the service is down and its routes are gone; `in_kernel` if the kernel must have said so
    /// before the controller.
    fn wait_for_death(&self, lab: &Lab, in_kernel: bool) -> anyhow::Result<Death> {
        let events = lab.node(City::A).events()?;
        let down = if in_kernel {
            let what = "the kernel to take the service down";
            let event = events.wait(self.events, what, SETTLE, |event| event.down_ns.is_some())?;
            event.down_ns.map(Monotonic::from_nanos)
        } else {
            None
        };
        let withdrawn = self.withdrawn(events)?;
        let mut gone = Vec::new();
        for service in SERVICES {
            let watch = lab.watch(RouterName::Of(City::A));
            gone.push(watch.left(self.routes, service, TO_NODE, SETTLE)?);
        }
        Ok(Death {
            down,
            withdrawn,
            gone: gone.into_iter().max().context("there are addresses")?,
        })
    }

    /// When the last of the peers was sent its withdrawals.
    fn withdrawn(&self, events: &Events) -> anyhow::Result<Monotonic> {
        let mut peers = BTreeSet::new();
        let last = events.wait(self.events, "both withdrawals", SETTLE, |event: &Event| {
            event.kind == "route_withdrawn"
                && event.peer.clone().is_some_and(|peer| peers.insert(peer))
                && peers.len() == PEERS
        })?;
        Ok(last.at())
    }
}

/// Waits until router-a sends to city A again, after `mark`.
fn routes_return(lab: &Lab, mark: Mark) -> anyhow::Result<Monotonic> {
    let mut last = None;
    for service in SERVICES {
        let watch = lab.watch(RouterName::Of(City::A));
        last = last.max(Some(watch.led_to(mark, service, TO_NODE, SETTLE)?));
    }
    last.context("there are addresses")
}
