//! What a person or a metric wants to know of BFD. It only holds values.

use std::net::IpAddr;

use serde::Serialize;

use super::iana::{Diagnostic, State};
use super::packet::{Micros, ParseError};
use crate::config::Span;
use crate::config::bfd::AuthType;

/// All of BFD on this node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// One per session, by peer name.
    pub sessions: Vec<SessionStatus>,
    /// Packets that reached no session, by reason.
    pub discarded: Discarded,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionStatus {
    /// The peer's name.
    pub peer: String,
    /// The peer's address.
    pub address: IpAddr,
    /// The interface that it is bound to.
    pub interface: Option<String>,
    /// Whether the peer may be several hops away.
    pub multihop: bool,
    /// Our state.
    pub state: State,
    /// The peer's state as it says; down while it is not heard.
    pub remote_state: State,
    /// Our discriminator.
    pub discriminator: u32,
    /// The peer's discriminator, while it is heard.
    pub remote_discriminator: Option<u32>,
    /// The agreed interval of our packets, before jitter; none while the peer asks for silence.
    pub transmit_interval: Option<Span>,
    /// The agreed interval of the peer's packets.
    pub receive_interval: Option<Span>,
    /// How long the peer may be silent.
    pub detection_time: Option<Span>,
    /// Why our state last changed, as our packets say.
    pub diagnostic: Diagnostic,
    /// Why the peer's state last changed, as it says.
    pub remote_diagnostic: Diagnostic,
    /// When the session came up, while it is up.
    pub up_since: Option<jiff::Timestamp>,
    /// The last time that it was up and went down.
    pub last_down: Option<LastDown>,
    /// How often it has come up.
    pub times_up: u64,
    /// Packets of this session.
    pub packets: Packets,
    /// How packets are authenticated, if they are.
    pub authentication: Option<AuthType>,
    /// Why the peer's last packet failed its authentication, until one passes.
    pub authentication_error: Option<String>,
    /// Why the last packet could not be sent, until one can.
    pub send_error: Option<String>,
}

/// The end of a session that was up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LastDown {
    /// When.
    pub at: jiff::Timestamp,
    /// Why, in words.
    pub reason: String,
}

/// Packets of one session since it was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Packets {
    /// Handed to the kernel.
    pub sent: u64,
    /// Refused by the kernel.
    pub send_failed: u64,
    /// Received and taken.
    pub received: u64,
    /// Received and discarded: their authentication is missing, wrong or not expected.
    pub authentication: u64,
}

/// Packets that reached no session, by the first check of RFC 5880 §6.8.6 that they failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Discarded {
    /// Fewer octets than a packet has, or than its length field says.
    pub length: u64,
    /// Not version 1.
    pub version: u64,
    /// The detection multiplier is zero.
    pub zero_multiplier: u64,
    /// The multipoint bit is set.
    pub multipoint: u64,
    /// A discriminator is zero that must not be.
    pub zero_discriminator: u64,
    /// Arrived with too low a TTL or hop limit (GTSM).
    pub ttl: u64,
    /// No session has the discriminator, or expects the sender.
    pub unknown_session: u64,
    /// The kernel's queue was full.
    pub queue_full: u64,
}

impl Discarded {
    pub(super) fn count(&mut self, error: &ParseError) {
        *match error {
            ParseError::Short { .. } | ParseError::Length { .. } => &mut self.length,
            ParseError::Version { .. } => &mut self.version,
            ParseError::ZeroMultiplier => &mut self.zero_multiplier,
            ParseError::Multipoint => &mut self.multipoint,
            ParseError::ZeroDiscriminator | ParseError::NoYourDiscriminator { .. } => {
                &mut self.zero_discriminator
            }
        } += 1;
    }
}

pub(super) fn span(micros: Micros) -> Span {
    Span(micros.duration())
}
