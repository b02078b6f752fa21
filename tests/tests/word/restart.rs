//! What was said survives the daemon.

use std::fs;
use std::time::Duration;

use anycast_tests::clock::Monotonic;
use anycast_tests::wait;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::site::{SERVICES, SOON, Site};

/// How exact the daemon's times are, which it saves in whole milliseconds.
const ACCURACY: Duration = Duration::from_millis(200);

fn left(service: &Value) -> Option<Duration> {
    service["words"][0]["left_ms"]
        .as_u64()
        .map(Duration::from_millis)
}

#[test]
fn what_was_drained_or_disabled_stays_so_through_a_crash_and_is_never_announced_in_between()
-> Result<()> {
    let mut site = Site::new("word-crash")?;
    site.start()?;
    site.announced(&["dns", "web"])?;
    let drain = ["drain", "dns", "--for", "10m", "--reason", "kernel update"];
    site.control.run(&drain)?;
    site.announced(&["web"])?;
    site.control.run(&["disable", "web"])?;
    site.announced(&[])?;
    site.crash()?;
    site.start()?;

    // The checks have passed by now, and the session is up.
    let (dns, web) = (site.service("dns")?, site.service("web")?);
    ensure!(
        dns["checks"][0]["verdict"] == "up" && web["checks"][0]["verdict"] == "up",
        "{dns} {web}"
    );
    ensure!(
        dns["state"] == "down" && dns["reason"] == "kernel update",
        "{dns}"
    );
    ensure!(
        dns["words"][0]["source"] == "command" && dns["words"][0]["word"] == "drained",
        "{dns}"
    );
    let left = left(&dns).context("a time that is left")?;
    ensure!(
        left < Duration::from_secs(600) && left > Duration::from_secs(500),
        "{left:?} left"
    );
    ensure!(
        web["state"] == "disabled" && web["reason"] == "disabled by the operator",
        "{web}"
    );
    site.nothing_was_announced()?;

    site.control.run(&["undrain", "dns"])?;
    site.control.run(&["enable", "web"])?;
    site.announced(&["dns", "web"])?;
    site.stop()?;
    site.start()?;
    site.announced(&["dns", "web"])
}

/// What is left of the word about dns is what has not passed since it was said: its time did not begin anew.
pub(crate) fn goes_on(site: &Site, since: Monotonic, lasts: Duration) -> Result<()> {
    let asked = Monotonic::now();
    let dns = site.service("dns")?;
    let answered = Monotonic::now();
    let left = left(&dns).unwrap_or_default();
    let most = lasts.saturating_sub(asked.since(since)) + ACCURACY;
    let least = lasts.saturating_sub(answered.since(since) + ACCURACY);
    ensure!(
        (least..=most).contains(&left),
        "{left:?} left, and not {least:?} to {most:?}: {dns}"
    );
    Ok(())
}

#[test]
fn a_time_that_is_half_over_at_the_restart_ends_when_it_should() -> Result<()> {
    const LASTS: Duration = Duration::from_secs(6);
    let mut site = Site::new("word-time")?;
    site.start()?;
    site.announced(&["dns", "web"])?;
    let mark = site.events().mark();
    site.control.run(&["drain", "dns", "--for", "6s"])?;
    let drained = site.enters(mark, "dns", "draining")?.at();
    site.announced(&["web"])?;
    site.stop()?;
    site.start()?;
    goes_on(&site, drained, LASTS)?;
    let up = site
        .enters(anycast_tests::feed::Mark::START, "dns", "up")?
        .at();
    let took = up.since(drained);
    ensure!(took + ACCURACY > LASTS, "up after {took:?}");
    wait::until("the word to leave the disk", SOON, || {
        let saved = fs::read_to_string(site.state().join("words.json"))?;
        Ok((!saved.contains("dns")).then_some(()))
    })
}

#[test]
fn a_damaged_state_file_holds_every_service_until_the_operator_speaks() -> Result<()> {
    let mut site = Site::new("word-bad")?;
    site.start()?;
    site.control.run(&["drain", "dns"])?;
    site.announced(&["web"])?;
    site.stop()?;
    let file = site.state().join("words.json");
    let whole = fs::read(&file)?;
    let half = whole.get(..whole.len() / 2).unwrap_or_default();
    fs::write(&file, half)?;
    site.start()?;
    for (name, _) in SERVICES {
        let service = site.service(name)?;
        let reason = service["reason"].as_str().unwrap_or_default().to_owned();
        ensure!(service["state"] == "down", "{service}");
        ensure!(reason.contains("words.json cannot be read"), "{reason}");
        ensure!(
            reason.contains(&format!("anycast undrain {name}")),
            "{reason}"
        );
    }
    site.nothing_was_announced()?;
    ensure!(
        fs::read(site.state().join("words.json.unreadable"))? == half,
        "kept aside"
    );

    // One is given back; the other one stays held, after another restart as well.
    site.control.run(&["undrain", "web"])?;
    site.announced(&["web"])?;
    site.stop()?;
    site.start()?;
    site.announced(&["web"])
}

#[test]
fn the_word_for_a_service_that_is_gone_is_told_and_dropped() -> Result<()> {
    let mut site = Site::new("word-gone")?;
    site.start()?;
    site.control
        .run(&["disable", "dns", "--reason", "never again"])?;
    site.control.run(&["drain", "web"])?;
    site.stop()?;
    site.configure(&[("web", String::new())])?;
    site.start()?;
    ensure!(
        site.log().contains("its word is dropped") && site.log().contains("never again"),
        "{}",
        site.log()
    );
    ensure!(site.service("web")?["state"] == "down");
    site.stop()?;
    let saved = fs::read_to_string(site.state().join("words.json"))?;
    ensure!(saved.contains("web") && !saved.contains("dns"), "{saved}");
    Ok(())
}
