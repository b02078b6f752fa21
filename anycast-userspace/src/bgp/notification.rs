//! NOTIFICATION messages in words, and the ones that end a session on purpose.

use std::fmt;

use bytes::Bytes;
use rustbgpd_wire::notification::{
    cease_subcode, description, encode_shutdown_communication, extract_shutdown_communication,
};
use rustbgpd_wire::{NotificationCode, NotificationMessage};
use serde::Serialize;

use super::wire::MAX_MESSAGE;

/// Subcode of a ROUTE-REFRESH Message Error (RFC 7313 §5).
const INVALID_MESSAGE_LENGTH: u8 = 1;
/// What a NOTIFICATION can hold beside its header, code and subcode.
const MAX_DATA: usize = MAX_MESSAGE - 19 - 2;

/// A NOTIFICATION (RFC 4271 §4.5) that one side sent the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// The registered name of code and subcode.
    pub meaning: String,
    /// What the operator of the other side wrote (RFC 9003), made safe to print.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communication: Option<String>,
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}/{})", self.meaning, self.code, self.subcode)?;
        match &self.communication {
            Some(text) => write!(f, ": \"{text}\""),
            None => Ok(()),
        }
    }
}

impl Notification {
    /// One on the wire, in words.
    pub(super) fn of(message: &NotificationMessage) -> Self {
        let communication = extract_shutdown_communication(message)
            .ok()
            .flatten()
            .filter(|text| !text.is_empty());
        Self {
            code: message.code.as_u8(),
            subcode: message.subcode,
            meaning: meaning(message),
            communication: communication.map(printable),
        }
    }
}

/// The registered name; for a Hard Reset, also of the NOTIFICATION inside (RFC 8538 §3.1).
fn meaning(message: &NotificationMessage) -> String {
    let outer = description(message.code, message.subcode);
    match message.data[..] {
        [code, subcode, ..]
            if message.code == NotificationCode::Cease
                && message.subcode == cease_subcode::HARD_RESET =>
        {
            let inner = description(NotificationCode::from_u8(code), subcode);
            format!("{outer}, {inner}")
        }
        _ => outer.to_owned(),
    }
}

/// The peer's text without control characters: it ends in logs and on terminals.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

/// The answer to a BoRR or EoRR of a wrong length: it holds the whole message (RFC 7313 §5), as far as there
/// is room.
pub(super) fn invalid_refresh_length(octets: &Bytes) -> NotificationMessage {
    NotificationMessage::new(
        NotificationCode::RouteRefreshMessage,
        INVALID_MESSAGE_LENGTH,
        octets.slice(..octets.len().min(MAX_DATA)),
    )
}

/// Why we end a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cease {
    /// The daemon stops, or an operator stops the peer.
    AdministrativeShutdown,
    /// The peer cannot be told what has changed: only without the session it holds nothing that is wrong.
    AdministrativeReset,
    /// The other connection won (RFC 4271 §6.8).
    CollisionResolution,
    /// BFD says that the peer cannot be reached (RFC 9384).
    BfdDown,
}

/// The Cease for a reason. `hard_reset`: the session has graceful restart for NOTIFICATIONs, so only a
/// Hard Reset makes the peer forget our routes at once (RFC 8538 §3.1).
pub(super) fn cease(
    reason: Cease,
    communication: Option<&str>,
    hard_reset: bool,
) -> NotificationMessage {
    let (subcode, data) = match reason {
        Cease::AdministrativeShutdown => (
            cease_subcode::ADMINISTRATIVE_SHUTDOWN,
            communication
                .map(encode_shutdown_communication)
                .unwrap_or_default(),
        ),
        Cease::AdministrativeReset => (
            cease_subcode::ADMINISTRATIVE_RESET,
            communication
                .map(encode_shutdown_communication)
                .unwrap_or_default(),
        ),
        Cease::CollisionResolution => {
            (cease_subcode::CONNECTION_COLLISION_RESOLUTION, Bytes::new())
        }
        Cease::BfdDown => (cease_subcode::BFD_DOWN, Bytes::new()),
    };
    if !hard_reset {
        return NotificationMessage::new(NotificationCode::Cease, subcode, data);
    }
    let mut wrapped = vec![NotificationCode::Cease.as_u8(), subcode];
    wrapped.extend_from_slice(&data);
    NotificationMessage::new(
        NotificationCode::Cease,
        cease_subcode::HARD_RESET,
        wrapped.into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(reason: Cease, communication: Option<&str>, hard: bool) -> String {
        Notification::of(&cease(reason, communication, hard)).to_string()
    }

    #[test]
    fn a_cease_is_told_in_words() {
        let shutdown = Cease::AdministrativeShutdown;
        assert_eq!(
            shown(shutdown, None, false),
            "Administrative Shutdown (6/2)"
        );
        assert_eq!(
            shown(shutdown, Some("maintenance"), false),
            "Administrative Shutdown (6/2): \"maintenance\""
        );
        assert_eq!(
            shown(shutdown, Some("maintenance"), true),
            "Hard Reset, Administrative Shutdown (6/9): \"maintenance\""
        );
        assert_eq!(
            shown(Cease::AdministrativeReset, Some("a fault"), false),
            "Administrative Reset (6/4): \"a fault\""
        );
        assert_eq!(
            shown(Cease::CollisionResolution, None, false),
            "Connection Collision Resolution (6/7)"
        );
    }

    #[test]
    fn a_long_communication_is_cut_at_a_character() {
        let message = cease(Cease::AdministrativeShutdown, Some(&"ä".repeat(100)), false);
        let text = Notification::of(&message).communication.unwrap();
        assert_eq!(text, "ä".repeat(64));
    }

    #[test]
    fn control_characters_of_the_peer_do_not_reach_the_terminal() {
        let message = cease(Cease::AdministrativeShutdown, Some("a\u{1b}[2Jb\n"), false);
        let text = Notification::of(&message).communication.unwrap();
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }

    #[test]
    fn a_malformed_communication_is_left_out() {
        let message = NotificationMessage::new(
            NotificationCode::Cease,
            cease_subcode::ADMINISTRATIVE_SHUTDOWN,
            Bytes::from_static(&[9, b'x']),
        );
        assert_eq!(Notification::of(&message).communication, None);
    }
}
