//! Signs of life for systemd.

use std::os::unix::net::UnixDatagram;

use anyhow::{Context as _, Result, ensure};

use crate::site::{SOON, Site};

#[test]
fn under_a_watchdog_the_daemon_says_that_it_is_ready_and_then_that_it_lives() -> Result<()> {
    let mut site = Site::new("word-watchdog")?;
    let path = site.path("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(SOON))?;
    site.set("NOTIFY_SOCKET", &path.to_string_lossy());
    site.set("WATCHDOG_USEC", "400000");
    site.start()?;
    let next = || -> Result<String> {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).context("no message")?;
        Ok(String::from_utf8_lossy(&message[..length])
            .trim()
            .to_owned())
    };
    let ready = next()?;
    ensure!(ready == "READY=1", "{ready}");
    for _ in 0..5 {
        let message = next()?;
        ensure!(message == "WATCHDOG=1", "{message}");
    }
    site.stop()?;
    let mut rest = Vec::new();
    socket.set_nonblocking(true)?;
    while let Ok(message) = next() {
        rest.push(message);
    }
    ensure!(
        rest.last().is_some_and(|last| last == "STOPPING=1"),
        "{rest:?}"
    );
    Ok(())
}
