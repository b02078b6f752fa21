//! What the controller asks of the two planes, and what they report back.
//!
//! Desired state goes out over `watch`: a slow plane sees the latest, never a queue. Reports come back
//! over bounded `mpsc` of [`REPORTS`]; a plane whose report finds no room waits, since a lost one
//! would leave an order of the two planes unfinished.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::control::protocol::Packets;
use crate::decision::DataPlaneMode;

/// Depth of the channels on which planes report.
pub const REPORTS: usize = 256;

/// Depth of the channel on which counters are asked for; who finds it full waits.
pub const COUNTER_REQUESTS: usize = 8;

/// The mode of every service, in the order of the configuration.
#[derive(Clone, Debug)]
pub struct Modes {
    /// Grows with every decision.
    pub generation: u64,
    /// When it was decided.
    pub decided_at: Instant,
    /// The modes.
    pub modes: Arc<[DataPlaneMode]>,
    /// The services, by index, whose entry must be proved before they are announced.
    pub prove: Arc<[usize]>,
}

/// What the data plane's writer reports.
#[derive(Debug)]
pub struct MapReport {
    /// The generation that the maps hold now, as far as `proofs` and `failure` say.
    pub generation: u64,
    /// Map writes that it took.
    pub writes: u64,
    /// When the last write was done.
    pub at: Instant,
    /// Services that now serve, by index, and whether the loaded program was seen to serve them.
    pub proofs: Vec<(usize, Result<(), String>)>,
    /// Services whose entry could not be written, by index, and why.
    pub failures: Vec<(usize, String)>,
}

/// Asks for the counters of all services: one set of packets for each service of the configuration,
/// then the one of no service.
#[derive(Debug)]
pub struct CountersRequest {
    /// Where they go.
    pub reply: oneshot::Sender<Counters>,
}

/// Packets by reason.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// By service, in the order of the configuration.
    pub services: Vec<Packets>,
    /// Of no service.
    pub unowned: Packets,
}

/// What an announcer reports of one peer.
#[derive(Debug)]
pub struct PeerReport {
    /// The peer's name.
    pub peer: String,
    /// What happened.
    pub news: PeerNews,
}

/// What happened with a peer.
#[derive(Debug)]
pub enum PeerNews {
    /// It can be told of routes.
    Up,
    /// It can no longer be told of routes, and has been made to forget them.
    Down {
        /// Why.
        reason: String,
    },
    /// A generation has been written to it in full.
    Applied {
        /// The generation.
        generation: u64,
        /// Prefixes announced for it.
        announced: u64,
        /// Prefixes withdrawn for it.
        withdrawn: u64,
        /// When the last byte was handed to the kernel.
        at: Instant,
    },
}
