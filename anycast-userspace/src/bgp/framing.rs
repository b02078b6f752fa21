//! From a stream of octets to whole messages. Pure; it knows no session.

use bytes::{Bytes, BytesMut};
use rustbgpd_wire::{
    DecodeError, Message, MessageType, RouteRefreshSubtype, decode_message, peek_message_length,
};

use super::wire::MAX_MESSAGE;

/// The longest message, as the codec wants it.
pub(super) const MAX_LENGTH: u16 = 4096;
const _: () = assert!(MAX_LENGTH as usize == MAX_MESSAGE);
/// Lengths of RFC 4271 §4 and RFC 2918 §3: below it, a message of the type cannot be.
const HEADER: u16 = 19;
const MIN_OPEN: u16 = 29;
const MIN_UPDATE: u16 = 23;
const MIN_NOTIFICATION: u16 = 21;
const MIN_ROUTE_REFRESH: u16 = 23;
/// Where the subtype of a ROUTE-REFRESH stands (RFC 7313 §3.2).
const SUBTYPE: u16 = HEADER + 2;

/// A message, decoded but not acted on.
#[derive(Debug)]
pub(super) enum Incoming {
    Message(Message),
    Malformed(DecodeError),
    MalformedNotification,
    /// A BoRR or EoRR with more or less than a family in it (RFC 7313 §5); `otherwise` is what it means
    /// where the two sides have not agreed on these markers.
    MisshapenMarker {
        octets: Bytes,
        otherwise: Box<Incoming>,
    },
}

/// Octets that have come and are not yet a message.
#[derive(Debug, Default)]
pub(super) struct Inbox(BytesMut);

impl Inbox {
    /// Takes octets that TCP delivered.
    pub(super) fn push(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The next whole message, or the error that its octets are; `None` when there is none yet.
    pub(super) fn next(&mut self) -> Option<Incoming> {
        let length = match peek_message_length(&self.0, MAX_LENGTH) {
            Ok(length) => length?,
            Err(error) => return Some(Incoming::Malformed(error)),
        };
        let kind = MessageType::from_u8(self.0[18])?;
        if kind == MessageType::RouteRefresh && length != MIN_ROUTE_REFRESH && length > SUBTYPE {
            return self.next_odd_refresh(length);
        }
        if !length_is_possible(kind, length) {
            return Some(match kind {
                MessageType::Notification => Incoming::MalformedNotification,
                _ => Incoming::Malformed(DecodeError::InvalidLength { length }),
            });
        }
        if self.0.len() < usize::from(length) {
            return None;
        }
        let mut octets = self.0.split_to(usize::from(length)).freeze();
        Some(match decode_message(&mut octets, MAX_LENGTH) {
            Ok(message) => Incoming::Message(message),
            Err(_) if kind == MessageType::Notification => Incoming::MalformedNotification,
            Err(error) => Incoming::Malformed(error),
        })
    }

    /// A ROUTE-REFRESH that is long enough to have a subtype, and is not of the usual length.
    fn next_odd_refresh(&mut self, length: u16) -> Option<Incoming> {
        if self.0.len() < usize::from(length) {
            return None;
        }
        let octets = self.0.split_to(usize::from(length)).freeze();
        let meaning = if length < MIN_ROUTE_REFRESH {
            Err(DecodeError::InvalidLength { length })
        } else {
            decode_message(&mut octets.clone(), MAX_LENGTH)
        };
        let otherwise = meaning.map_or_else(Incoming::Malformed, Incoming::Message);
        Some(
            match RouteRefreshSubtype::from_u8(octets[usize::from(SUBTYPE)]) {
                RouteRefreshSubtype::BoRR | RouteRefreshSubtype::EoRR => {
                    Incoming::MisshapenMarker {
                        octets,
                        otherwise: Box::new(otherwise),
                    }
                }
                // The codec's enum is open.
                _ => otherwise,
            },
        )
    }
}

/// RFC 4271 §4 and §6.1: whether a message of this type can have this length.
fn length_is_possible(kind: MessageType, length: u16) -> bool {
    match kind {
        MessageType::Open => length >= MIN_OPEN,
        MessageType::Update => length >= MIN_UPDATE,
        MessageType::Notification => length >= MIN_NOTIFICATION,
        MessageType::Keepalive => length == HEADER,
        MessageType::RouteRefresh => length >= MIN_ROUTE_REFRESH,
        // The codec's enum is open.
        _ => true,
    }
}
