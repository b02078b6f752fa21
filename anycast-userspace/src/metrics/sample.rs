//! What is, at the moment of a scrape.

use std::pin::Pin;
use std::sync::Arc;

use super::process::Process;
use crate::control::protocol::Status;
use crate::{bfd, bgp};

/// One BGP peer, without its routes: there may be many.
#[derive(Clone, Debug)]
pub struct PeerSample {
    /// Its name.
    pub name: Arc<str>,
    /// Its session and counters.
    pub bgp: bgp::Summary,
    /// Its BFD session, if it has one.
    pub bfd: Option<bfd::SessionStatus>,
}

/// Who can tell of the peers.
pub trait MeasurePeers: Send + Sync {
    /// The peers, in the order of the configuration.
    fn measure(&self) -> Pin<Box<dyn Future<Output = Vec<PeerSample>> + Send + '_>>;
}

/// The whole node.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) status: Status,
    pub(super) peers: Vec<PeerSample>,
    pub(super) process: Process,
}
