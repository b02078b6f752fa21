//! What the stories need of a router's BFD daemon.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anycast_tests::peers::{Router, wait_until};
use anycast_userspace::config::bfd::Bfd;
use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The number of the link that every test uses.
pub(crate) const LINK: u8 = 1;
/// Ours and the router's addresses of each session: IPv4, IPv6, link-local.
pub(crate) const ADDRESSES: [(&str, &str); 3] = [
    ("10.0.1.1", "10.0.1.2"),
    ("fd00:1::1", "fd00:1::2"),
    ("fe80::1", "fe80::2"),
];

/// Of intervals until a side that is silent is taken for dead. Both sides of the stories have it: a test machine may
/// stand still for a second or two, and what they are about is not how fast BFD can be. `sustained` is.
pub(crate) const PATIENT: u8 = 60;
/// The one that is the default.
pub(crate) const QUICK: u8 = 3;

/// Our side's settings: 50 ms × [`PATIENT`].
pub(crate) fn patient() -> Bfd {
    Bfd {
        multiplier: PATIENT,
        ..Bfd::default()
    }
}

/// A session as the router sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) up: bool,
    /// The interval of its packets.
    pub(crate) transmit: Duration,
    /// How long it waits for ours.
    pub(crate) detection: Duration,
}

/// A running BFD daemon with the sessions of [`ADDRESSES`], at 50 ms × a multiplier.
pub(crate) trait BfdDaemon: Sized {
    /// Starts it.
    fn start(router: &Router, multiplier: u8) -> Result<Self>;

    /// Kills it as a crash would.
    fn kill(&mut self);

    /// Starts it again.
    fn restart(&mut self) -> Result<()>;

    /// The process that runs BFD.
    fn pid(&self) -> Result<u32>;

    /// What it says of its sessions, by our address.
    fn views(&self) -> Result<BTreeMap<IpAddr, View>>;

    /// Changes the interval of all sessions while they run.
    fn set_interval(&self, interval: Duration) -> Result<()>;

    /// Sends a signal to the process that runs BFD.
    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()?)?;
        kill(Pid::from_raw(pid), signal).context("the daemon is gone")
    }

    /// Waits until every session is as wanted in its eyes.
    fn wait_for_all(&self, wanted: impl Fn(View) -> bool) -> Result<()> {
        let mut last = None;
        let found = wait_until("the router's view", Duration::from_secs(15), || {
            last = Some(self.views());
            let views = last.as_ref()?.as_ref().ok()?;
            let all = views.len() == ADDRESSES.len() && views.values().all(|view| wanted(*view));
            all.then_some(())
        });
        found.with_context(|| format!("last seen: {last:?}"))
    }
}

/// The router at the other end of the link, with link-local addresses that are known beforehand.
pub(crate) fn router() -> Result<Router> {
    let router = Router::new(LINK)?;
    let [_, _, (ours, theirs)] = ADDRESSES;
    let ours = format!("{ours}/64");
    let arguments = ["address", "add", &ours, "dev", "node1", "nodad"];
    anycast_tests::peers::run("ip", &arguments)?;
    let theirs = format!("{theirs}/64");
    router.ip(&["address", "add", &theirs, "dev", "router1", "nodad"])?;
    Ok(router)
}
