//! Steps of the wall clock, made by libfaketime from a file that the test rewrites: the daemon's
//! `CLOCK_REALTIME` jumps, the host's does not.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anycast_tests::feed::Mark;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::restart::goes_on;
use crate::site::{HOLD_DOWN, SOON, Site};

/// Where Debian keeps the library.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// More than a timer is late on a machine that stands still for a second or two; a clock that goes wrong here is wrong by
/// years.
const SLACK: Duration = Duration::from_secs(10);

/// A site whose daemon takes the wall clock's offset from a file.
fn site(name: &str) -> Result<Site> {
    ensure!(
        Path::new(LIBRARY).exists(),
        "{LIBRARY} is missing: install the package libfaketime"
    );
    let mut site = Site::new(name)?;
    step(&site, "+0")?;
    let file = site.path("offset").display().to_string();
    for (name, value) in [
        ("LD_PRELOAD", LIBRARY),
        ("FAKETIME_TIMESTAMP_FILE", file.as_str()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ] {
        site.set(name, value);
    }
    Ok(site)
}

fn step(site: &Site, offset: &str) -> Result<()> {
    let aside = site.path("offset.new");
    fs::write(&aside, format!("{offset}\n"))?;
    Ok(fs::rename(&aside, site.path("offset"))?)
}

/// The year in which the daemon believes that its last event happened.
fn year_of_last_event(site: &Site) -> Result<i32> {
    let lines = site.control.run(&["events", "--json"])?;
    let last: Value = serde_json::from_str(lines.lines().last().context("an event")?)?;
    let at = last["at"].as_str().context("a time")?;
    Ok(at.split('-').next().context("a year")?.parse()?)
}

fn within(what: &str, took: Duration, want: Duration) -> Result<()> {
    ensure!(
        took + Duration::from_millis(100) >= want && took <= want + SLACK,
        "{what} took {took:?}, not {want:?}"
    );
    println!("{what}: {took:?}");
    Ok(())
}

#[test]
fn steps_of_the_wall_clock_change_nothing_in_checks_hold_down_damping_and_drain() -> Result<()> {
    let mut site = site("word-clock")?;
    let damped =
        "damping = { half_life = \"4s\", suppress = 1500, reuse = 500, max_suppress = \"20s\" }";
    site.configure(&[("dns", String::new()), ("web", damped.to_owned())])?;
    site.start()?;
    site.announced(&["dns", "web"])?;
    let this_year = year_of_last_event(&site)?;

    // Nothing happens while the clock jumps and the checks go on.
    for service in ["dns", "web"] {
        site.enters(Mark::START, service, "up")?;
    }
    let events = site.events();
    events.wait(Mark::START, "the session", SOON, |event| {
        event.kind == "peer_up"
    })?;
    let mark = site.events().mark();
    for offset in ["+10y", "-10y", "+1h", "-1h"] {
        step(&site, offset)?;
        std::thread::sleep(Duration::from_millis(300));
    }
    site.nothing_has_changed(mark)?;

    // A failure is noticed, and its hold-down lasts as long as ever, whichever way the clock goes.
    for offset in ["+10y", "-10y"] {
        let mark = site.events().mark();
        fs::remove_file(site.health("dns"))?;
        let down = site.enters(mark, "dns", "down")?;
        step(&site, offset)?;
        fs::write(site.health("dns"), "")?;
        let up = site.enters(mark, "dns", "up")?;
        within("the hold-down", up.at().since(down.at()), HOLD_DOWN)?;
        let jumped = year_of_last_event(&site)? - this_year;
        ensure!(
            (9..=11).contains(&jumped.abs()),
            "the daemon's clock went {jumped} years"
        );
    }

    // The penalty decays by the monotonic clock: two withdrawals are suppressed until it is at `reuse`.
    let mark = site.events().mark();
    fs::remove_file(site.health("web"))?;
    let first = site.enters(mark, "web", "down")?.at();
    fs::write(site.health("web"), "")?;
    site.enters(mark, "web", "up")?;
    let mark = site.events().mark();
    fs::remove_file(site.health("web"))?;
    let second = site.enters(mark, "web", "down")?.at();
    step(&site, "+10y")?;
    fs::write(site.health("web"), "")?;
    let up = site.enters(mark, "web", "up")?.at();
    let left_of_first = 1000.0 * (-second.since(first).as_secs_f64() / 4.0).exp2();
    let penalty = 1000.0 + left_of_first;
    let half_lives = if penalty > 1500.0 {
        (penalty / 500.0).log2()
    } else {
        0.0
    };
    let suppressed = Duration::from_secs_f64(4.0 * half_lives).max(HOLD_DOWN);
    within("the suppression", up.since(second), suppressed)?;

    // A drain with a time ends after that time, and the drain's own steps take theirs.
    let mark = site.events().mark();
    site.control.run(&["drain", "dns", "--for", "3s"])?;
    let draining = site.enters(mark, "dns", "draining")?.at();
    step(&site, "-10y")?;
    site.enters(mark, "dns", "down")?;
    step(&site, "+10y")?;
    let up = site.enters(mark, "dns", "up")?.at();
    within("the drain", up.since(draining), Duration::from_secs(3))
}

#[test]
fn a_saved_word_keeps_its_remaining_time_over_a_restart_and_a_step_of_the_wall_clock() -> Result<()>
{
    let mut site = site("word-step")?;
    site.start()?;
    site.announced(&["dns", "web"])?;
    for (offset, lasts) in [("+10y", "6s"), ("-10y", "6s")] {
        let mark = site.events().mark();
        site.control.run(&["drain", "dns", "--for", lasts])?;
        let draining = site.enters(mark, "dns", "draining")?.at();
        site.announced(&["web"])?;
        site.stop()?;
        step(&site, offset)?;
        site.start()?;
        goes_on(&site, draining, Duration::from_secs(6))?;
        let up = site.enters(Mark::START, "dns", "up")?.at();
        within("the drain", up.since(draining), Duration::from_secs(6))?;
        site.announced(&["dns", "web"])?;
    }
    Ok(())
}
