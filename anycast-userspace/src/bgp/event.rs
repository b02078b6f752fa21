//! What the speaker reports, each with the moment it happened.

use std::sync::Arc;
use std::time::Instant;

use super::notification::Notification;
use super::status::State;

/// One thing that happened with one peer.
#[derive(Debug, Clone)]
pub struct Event {
    /// The peer's name.
    pub peer: Arc<str>,
    /// When, on the monotonic clock.
    pub at: Instant,
    /// What.
    pub kind: EventKind,
}

/// What happened with a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The session's state changed.
    State {
        /// Before.
        from: State,
        /// After.
        to: State,
        /// Why, in words.
        reason: String,
    },
    /// Every message that a generation of the desired routes needs has been handed to the kernel.
    Applied {
        /// The generation.
        generation: u64,
        /// How many prefixes were announced for it.
        announced: usize,
        /// How many prefixes were withdrawn for it.
        withdrawn: usize,
    },
    /// We ended the session, or a connection, with a NOTIFICATION.
    NotificationSent(Notification),
    /// The peer ended the session with a NOTIFICATION.
    NotificationReceived(Notification),
    /// Routes are held back from this peer.
    Held {
        /// Why, in words.
        reason: String,
    },
}
