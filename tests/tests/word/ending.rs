//! The daemon's end by signal, and who may talk to it before.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anycast_tests::wait;
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::site::{SERVICES, SOON, Site};

#[test]
fn every_signal_that_asks_for_an_end_withdraws_detaches_and_takes_the_addresses_away() -> Result<()>
{
    let mut site = Site::new("word-ending")?;
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        site.start()?;
        site.announced(&["dns", "web"])?;
        let running = site.links()?;
        ensure!(running.contains("prog/xdp"), "no program: {running}");
        for (_, route) in SERVICES {
            ensure!(running.contains(route), "no {route}: {running}");
        }

        let before = made_the_worst(&site)?;
        site.stop_by(signal)?;
        let after = made_the_worst(&site)?;
        ensure!(
            after == before.map(|count| count + 1),
            "{signal}: {before:?}, then {after:?}"
        );
        // BIRD keeps what it was told last: the session did not just break.
        let words = wait::until("BIRD to say why the session ended", SOON, || {
            let text = site.birdc(&["show", "protocols", "all", "node"])?;
            let error = text.lines().find(|line| line.contains("Last error:"));
            Ok(error.map(str::to_owned))
        })?;
        ensure!(words.contains("Received:"), "{signal}: {words}");
        site.announced(&[])?;
        let after = site.links()?;
        ensure!(!after.contains("prog/xdp"), "{signal}: {after}");
        for (_, route) in SERVICES {
            ensure!(!after.contains(route), "{signal}: {after}");
        }
        ensure!(!site.pin().exists(), "{signal}: pins are left");
        ensure!(
            !site.path("anycast.sock").exists(),
            "{signal}: a socket is left"
        );
    }
    Ok(())
}

/// How often BIRD has got each service's route with GRACEFUL_SHUTDOWN (RFC 8326).
fn made_the_worst(site: &Site) -> Result<[usize; 2]> {
    let log = fs::read_to_string(site.path("bird.log"))?;
    Ok(SERVICES.map(|(_, route)| log.matches(&format!("GRACEFUL_SHUTDOWN {route}")).count()))
}

#[test]
fn nobody_but_its_user_may_talk_to_the_daemon() -> Result<()> {
    let mut site = Site::new("word-mode")?;
    site.start()?;
    let socket = fs::metadata(site.path("anycast.sock")).context("the control socket")?;
    let mode = socket.permissions().mode() & 0o7777;
    ensure!(mode == 0o600, "mode {mode:o}");
    site.stop()
}
