//! The failover scenario: every step done to a running lab, measured, and checked.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::Lab;
use super::inspect;
use super::load::{Load, Report};
use super::node::{HOLD_DOWN, SERVICE};
use super::probe::{Family, Tool, answers_ping_of_node};
use super::sudden;
use super::timeline::{Timeline, millis, plural};
use super::topology::{City, RouterName, SERVICE_V4, SERVICE_V6, TO_NODE};
use crate::clock::Monotonic;
use crate::feed::Mark;
use crate::interrupt;
use crate::wait;

/// From the death of a server to the end of its route, with a check every 100 ms. It takes some 100 ms, as is told; this
/// happens once, and the machine may stand still just then.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(5);
/// For sessions, adjacencies and hold-downs to come up.
const SETTLE: Duration = Duration::from_secs(30);
/// Of load before something is done to it.
const STEADY: Duration = Duration::from_millis(500);
const ROUTER_A: RouterName = RouterName::Of(City::A);
const SERVICES: [&str; 2] = [SERVICE_V4, SERVICE_V6];

/// Starts a lab around `binary`, runs the scenario, prints its timeline to `out`, and takes the lab down.
///
/// # Errors
/// When the lab cannot be started, or a step does not hold: with what the controllers have logged.
pub fn run(binary: &Path, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut timeline = Timeline::start(out);
    timeline.heading(&format!(
        "Two cities, one address: {SERVICE_V4} and {SERVICE_V6}"
    ))?;
    let mut lab = Lab::start(binary)?;
    timeline.note("four routers (BIRD), two nodes (anycast, NSD, nginx) and a client are started");
    let held = steps(&mut lab, &mut timeline).and_then(|()| timeline.finish());
    if held.is_err() && !interrupt::requested() {
        eprintln!("{}", logs(&lab));
    }
    held
}

fn logs(lab: &Lab) -> String {
    City::ALL
        .map(|city| {
            format!(
                "the log of anycast in {city} ends:\n{}\n",
                lab.node(city).log_tail("anycast", 30)
            )
        })
        .join("")
}

fn steps(lab: &mut Lab, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
    both_cities_come_up(lab, timeline)?;
    if let Err(error) = the_kernel_agrees(lab, timeline) {
        timeline.check(false, &format!("{error:#}"));
    }
    let down = a_dead_server_loses_its_route(lab, timeline)?;
    a_server_that_returns_gets_its_route_back(lab, down, timeline)?;
    a_drain_loses_nothing(lab, timeline)?;
    an_undrain_brings_the_client_back(lab, timeline)?;
    a_stop_is_clean(lab, timeline)?;
    sudden::servers_die_and_hang(lab, timeline)
}

fn both_cities_come_up(lab: &Lab, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
    timeline.heading("Both cities come up; the client reaches the nearer one")?;
    for city in City::ALL {
        for service in SERVICES {
            let watch = lab.watch(RouterName::Of(city));
            let at = watch.led_to(Mark::START, service, TO_NODE, SETTLE)?;
            timeline.note_at(
                at,
                &format!("{}: {service} → {city}", RouterName::Of(city).name()),
            );
        }
    }
    router_a_knows_both_ways(lab)?;
    timeline.note("router-a knows the way to both cities");
    client_reaches(lab, City::A, timeline)?;
    for family in Family::ALL {
        let answers = answers_ping_of_node(lab.topology().router(ROUTER_A), family)?;
        timeline.check(
            answers,
            &format!("ping of {} at node-a itself is answered", family.service()),
        );
    }
    Ok(())
}

fn the_kernel_agrees(lab: &Lab, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
    timeline.heading("What the kernel says of the data plane in city-a")?;
    let node = lab.node(City::A);
    let namespace = lab.topology().node(City::A);
    let link = inspect::xdp(namespace)?;
    timeline.check(link.native, &format!("ip link: {}", link.text));
    for map in inspect::maps(node, namespace)? {
        timeline.check(map.good, &format!("bpftool map dump: {}", map.text));
    }
    let counters = inspect::counters(node)?;
    timeline.check(
        counters.good,
        &format!("status and bpftool count alike: {}", counters.text),
    );
    Ok(())
}

/// Says when the service went down.
fn a_dead_server_loses_its_route(
    lab: &mut Lab,
    timeline: &mut Timeline<'_>,
) -> anyhow::Result<Monotonic> {
    timeline.heading(
        "kill -9 of the DNS server in city-a, while the client asks 1,000 times a second",
    )?;
    let load = Load::start(&lab.topology().client, Family::V4)?;
    load.first_answer(City::A, Monotonic::now() + STEADY, SETTLE)?;
    let events = lab.node(City::A).events()?.mark();
    let routes = lab.watch(ROUTER_A).mark();

    let killed = Monotonic::now();
    lab.node_mut(City::A).0.kill_dns()?;
    timeline.note_at(killed, "the server is killed");

    let since = |at: Monotonic| format!("{} after the kill", millis(at.since(killed)));
    let down =
        lab.node(City::A)
            .events()?
            .wait(events, "the service to go down", SETTLE, |event| {
                event.enters("down")
            })?;
    let reason = down.reason.as_deref().unwrap_or("no reason given");
    timeline.note_at(
        down.at(),
        &format!(
            "{SERVICE} in city-a is down, {}: {reason}",
            since(down.at())
        ),
    );
    for (kind, what) in [
        ("data_plane_applied", "the maps say so too"),
        ("route_withdrawn", "the routes are withdrawn"),
    ] {
        let log = lab.node(City::A).events()?;
        let event = log.wait(events, what, SETTLE, |event| event.kind == kind)?;
        timeline.note_at(event.at(), &format!("{what}, {}", since(event.at())));
    }
    for service in SERVICES {
        let gone = lab.watch(ROUTER_A).left(routes, service, TO_NODE, SETTLE)?;
        timeline.check_at(
            gone,
            gone.since(killed) < WITHDRAWN_WITHIN,
            &format!(
                "the route to {service} is gone from router-a, {}",
                since(gone)
            ),
        );
    }
    let answered = load.first_answer(City::B, killed, SETTLE)?;
    timeline.note_at(answered, &format!("city-b answers, {}", since(answered)));
    for family in Family::ALL {
        let answers = answers_ping_of_node(lab.topology().router(ROUTER_A), family)?;
        timeline.check(
            !answers,
            &format!(
                "ping of {} at node-a itself is not answered",
                family.service()
            ),
        );
    }
    client_reaches(lab, City::B, timeline)?;
    let report = load.finish()?;
    timeline.check(report.answered_by(City::B) > 0, &tell(&report));
    Ok(down.at())
}

fn a_server_that_returns_gets_its_route_back(
    lab: &mut Lab,
    down: Monotonic,
    timeline: &mut Timeline<'_>,
) -> anyhow::Result<()> {
    timeline.heading("The DNS server in city-a returns")?;
    let load = Load::start(&lab.topology().client, Family::V6)?;
    let events = lab.node(City::A).events()?.mark();
    let routes = lab.watch(ROUTER_A).mark();
    let (node, namespace) = lab.node_mut(City::A);
    node.start_dns(namespace)?;
    let started = Monotonic::now();
    timeline.note_at(started, "the server is started");
    let up =
        lab.node(City::A)
            .events()?
            .wait(events, "the service to come up", SETTLE, |event| {
                event.enters("up")
            })?;
    let held = up.at().since(down);
    timeline.check_at(
        up.at(),
        held >= HOLD_DOWN,
        &format!(
            "{SERVICE} in city-a is up, {} after it went down (hold-down {HOLD_DOWN:?})",
            millis(held)
        ),
    );
    for service in SERVICES {
        let at = lab
            .watch(ROUTER_A)
            .led_to(routes, service, TO_NODE, SETTLE)?;
        timeline.check_at(at, true, &format!("router-a: {service} → city-a"));
    }
    client_reaches(lab, City::A, timeline)?;
    let report = load.finish()?;
    timeline.check(report.lost() == 0, &tell(&report));
    Ok(())
}

fn a_drain_loses_nothing(lab: &mut Lab, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
    timeline.heading("anycast drain in city-a, while the client asks 1,000 times a second")?;
    let load = Load::start(&lab.topology().client, Family::V4)?;
    load.first_answer(City::A, Monotonic::now() + STEADY, SETTLE)?;
    let routes = lab.watch(ROUTER_A).mark();
    let elsewhere = lab.watch(RouterName::Exchange).mark();

    let asked = Monotonic::now();
    lab.node(City::A).control().run(&["drain", SERVICE])?;
    timeline.note_at(asked, "anycast drain dns");
    let away = RouterName::Backbone.name();
    let moved = lab
        .watch(RouterName::Exchange)
        .led_to(elsewhere, SERVICE_V4, away, SETTLE)?;
    timeline.note_at(
        moved,
        "the exchange sends to city-b: the draining route has the worst metric",
    );
    for service in SERVICES {
        let gone = lab.watch(ROUTER_A).left(routes, service, TO_NODE, SETTLE)?;
        timeline.check_at(
            gone,
            gone > moved,
            &format!("only then is the route to {service} gone from router-a"),
        );
    }
    client_reaches(lab, City::B, timeline)?;
    let report = load.finish()?;
    let moved = report.answered_by(City::A) > 0 && report.answered_by(City::B) > 0;
    timeline.check(moved && report.lost() == 0, &tell(&report));
    Ok(())
}

fn an_undrain_brings_the_client_back(
    lab: &mut Lab,
    timeline: &mut Timeline<'_>,
) -> anyhow::Result<()> {
    timeline.heading("anycast undrain in city-a")?;
    let load = Load::start(&lab.topology().client, Family::V4)?;
    let routes = lab.watch(ROUTER_A).mark();
    lab.node(City::A).control().run(&["undrain", SERVICE])?;
    for service in SERVICES {
        let at = lab
            .watch(ROUTER_A)
            .led_to(routes, service, TO_NODE, SETTLE)?;
        timeline.note_at(at, &format!("router-a: {service} → city-a"));
    }
    client_reaches(lab, City::A, timeline)?;
    let report = load.finish()?;
    timeline.check(report.lost() == 0, &tell(&report));
    Ok(())
}

fn a_stop_is_clean(lab: &mut Lab, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
    timeline.heading("SIGTERM to the controller in city-a")?;
    let load = Load::start(&lab.topology().client, Family::V4)?;
    load.first_answer(City::A, Monotonic::now() + STEADY, SETTLE)?;
    let routes = lab.watch(ROUTER_A).mark();
    let asked = Monotonic::now();
    let status = lab.node_mut(City::A).0.stop_controller()?;
    let took = millis(Monotonic::now().since(asked));
    timeline.check(
        status.success(),
        &format!("the controller ends with {status}, after {took}"),
    );
    for service in SERVICES {
        let gone = lab.watch(ROUTER_A).left(routes, service, TO_NODE, SETTLE)?;
        timeline.check_at(
            gone,
            true,
            &format!("the route to {service} is gone from router-a"),
        );
    }
    let namespace = lab.topology().node(City::A);
    let link = inspect::xdp(namespace)?;
    timeline.check(!link.attached, &format!("ip link: {}", link.text));
    let kept = inspect::service_addresses(namespace)?;
    timeline.check(
        kept.is_empty(),
        &format!("Service Addresses left on lo: {}", listed(&kept)),
    );
    client_reaches(lab, City::B, timeline)?;
    let report = load.finish()?;
    let moved = report.answered_by(City::B) > 0;
    timeline.check(moved && report.lost() == 0, &tell(&report));
    Ok(())
}

/// Waits until router-a has the way to city-b in reserve, so that a withdrawal need not wait for OSPF.
fn router_a_knows_both_ways(lab: &Lab) -> anyhow::Result<()> {
    let router = lab.router(ROUTER_A);
    wait::until("router-a to know the way to both cities", SETTLE, || {
        for service in SERVICES {
            // To have no route at all is an error to birdc.
            let Ok(routes) = router.ask(&format!("show route for {service}")) else {
                return Ok(None);
            };
            if !(routes.contains(" on node") && routes.contains(" on router-b")) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// Asks with every tool and family until all are answered by `city`.
fn client_reaches(lab: &Lab, city: City, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
    let client = &lab.topology().client;
    let mut seen = BTreeSet::new();
    let reached = wait::until(&format!("the client to reach {city}"), SETTLE, || {
        for tool in Tool::ALL {
            for family in Family::ALL {
                let answer = tool.ask(client, family)?;
                if answer != Some(city) {
                    seen.insert(format!("{} {}: {answer:?}", tool.name(), family.service()));
                    return Ok(None);
                }
            }
        }
        Ok(Some(()))
    });
    reached.with_context(|| format!("seen instead: {}", listed(&Vec::from_iter(seen))))?;
    timeline.check(
        true,
        &format!("ping, dig and curl reach {city}, over IPv4 and IPv6"),
    );
    Ok(())
}

fn tell(report: &Report) -> String {
    let lost = match report.lost() {
        0 => "none lost".into(),
        count => format!("{count} lost, sent within {}", millis(report.outage())),
    };
    format!(
        "{}: {} answered by city-a, {} by city-b, {lost}",
        plural(report.sent(), "query", "queries"),
        report.answered_by(City::A),
        report.answered_by(City::B),
    )
}

fn listed(items: &[String]) -> String {
    if items.is_empty() {
        "none".into()
    } else {
        items.join(", ")
    }
}
