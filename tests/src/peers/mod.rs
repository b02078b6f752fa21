//! Real routing daemons as peers, each in a network namespace of its own.
//!
//! Namespaces here have no name: the test's thread gets one, each router another.

mod bird;
mod dissect;
mod exabgp;
mod exabgp_decode;
mod frr;
mod frr_daemons;
mod gobgp;
mod router;
mod vty;

use std::collections::BTreeMap;

use anyhow::Result;

pub use bird::Bird;
pub use dissect::{Dissected, dissect};
pub use exabgp::ExaBgp;
pub use exabgp_decode::exabgp_decode;
pub use frr::Frr;
pub use frr_daemons::FrrDaemons;
pub use gobgp::GoBgp;
pub use router::Router;

pub use crate::netns::in_namespace;
pub use crate::process::{Process as Daemon, run};
pub use crate::scratch::Scratch;
pub use crate::wait::until_found as wait_until;

/// What a daemon has learnt: each prefix with everything that it says of its paths.
pub type Table = BTreeMap<String, String>;

/// How the session with the node is protected.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The TCP MD5 secret.
    pub password: Option<&'static str>,
    /// GTSM with one hop.
    pub ttl_security: bool,
}

/// What every routing daemon can do in a test. It is AS 65001, the node AS 64512; IPv4 and IPv6 travel in
/// one session over IPv4.
pub trait RoutingDaemon: Sized {
    /// Starts it in a router's namespace, and waits until it answers.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    fn start(router: &Router, options: &Options) -> Result<Self>;

    /// What it has learnt from the node.
    ///
    /// # Errors
    /// It does not answer.
    fn table(&self) -> Result<Table>;

    /// Makes it look at the node's routes again; those that can ask the node for them (RFC 2918).
    ///
    /// # Errors
    /// It does not answer.
    fn refresh(&self) -> Result<()>;

    /// Kills it, as a crash would.
    fn kill(&mut self);

    /// Starts it (again), and waits until it answers.
    ///
    /// # Errors
    /// It does not start.
    fn restart(&mut self) -> Result<()>;

    /// What it has logged.
    fn log(&self) -> String;
}
