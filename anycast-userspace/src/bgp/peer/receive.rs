//! Acting on what the peer sends, collisions of connections included.

use std::io;
use std::time::Instant;

use rustbgpd_wire::notification::open_subcode;
use rustbgpd_wire::{Message, NotificationCode, NotificationMessage, OpenMessage};
use tokio::io::Ready;

use super::Peer;
use crate::bgp::collision::{self, Origin, survivor};
use crate::bgp::connection::Happening;
use crate::bgp::framing::Incoming;
use crate::bgp::notification::{Cease, cease};
use crate::bgp::status::State;

/// Octets taken from the kernel at a time, and how often before others get their turn.
const READ_SIZE: usize = 16 * 1024;
const READS_PER_TURN: usize = 4;

impl Peer {
    /// Reads what has come, message by message; says whether there may be more.
    pub(super) fn transfer(&mut self, origin: Origin, ready: io::Result<Ready>) -> bool {
        let now = Instant::now();
        let Some(link) = self.link(origin) else {
            return false;
        };
        let readable = match ready {
            Ok(ready) => ready.is_readable() || ready.is_read_closed() || ready.is_error(),
            Err(error) => {
                link.connection.lost(error.to_string());
                return false;
            }
        };
        if !readable {
            return false;
        }
        let mut buffer = [0; READ_SIZE];
        for _ in 0..READS_PER_TURN {
            let Some(link) = self.link(origin) else {
                return false;
            };
            match link.stream.try_read(&mut buffer) {
                Ok(0) => link
                    .connection
                    .lost("the peer closed the connection".to_owned()),
                Ok(count) => {
                    link.connection.receive(&buffer[..count]);
                    self.handle_messages(origin, now);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => link.connection.lost(error.to_string()),
            }
            return false;
        }
        true
    }

    pub(super) fn handle_messages(&mut self, origin: Origin, now: Instant) {
        while let Some(incoming) = self
            .link(origin)
            .as_mut()
            .and_then(|link| link.connection.next_incoming())
        {
            let refusal = match &incoming {
                Incoming::Message(Message::Open(open)) => self.refusal(origin, open),
                Incoming::Message(_)
                | Incoming::Malformed(_)
                | Incoming::MalformedNotification
                | Incoming::MisshapenMarker { .. } => None,
            };
            if let Some(link) = self.link(origin) {
                match refusal {
                    Some(notification) => link.connection.cease(notification),
                    None => link.connection.handle(incoming, now),
                }
            }
            self.act_on_happenings(now);
        }
    }

    /// Why an OPEN is refused for what only the peer's task knows: the AS numbers that may be there
    /// (RFC 4271 §6.2), and the other connection.
    fn refusal(&mut self, origin: Origin, open: &OpenMessage) -> Option<NotificationMessage> {
        if !self.settings.accepts_as(open.four_byte_as()) {
            return Some(NotificationMessage::new(
                NotificationCode::OpenMessage,
                open_subcode::BAD_PEER_AS,
                bytes::Bytes::new(),
            ));
        }
        self.loses_collision(origin, open)
            .then(|| cease(Cease::CollisionResolution, None, false))
    }

    /// RFC 4271 §6.8: an OPEN has come on one connection while there is another. Says whether the one
    /// of the OPEN is to be closed; if it is the other one, closes that.
    fn loses_collision(&mut self, origin: Origin, open: &OpenMessage) -> bool {
        let (other, other_origin) = match origin {
            Origin::Ours => (&mut self.theirs, Origin::Theirs),
            Origin::Theirs => (&mut self.ours, Origin::Ours),
        };
        let Some(other) = other else { return false };
        match other.connection.state() {
            State::Established => true,
            State::OpenConfirm => {
                let local = collision::Speaker {
                    identifier: self.settings.router_id,
                    asn: self.settings.local_as,
                };
                let remote = collision::Speaker {
                    identifier: open.bgp_identifier,
                    asn: open.four_byte_as(),
                };
                if survivor(local, remote) == other_origin {
                    return true;
                }
                other
                    .connection
                    .cease(cease(Cease::CollisionResolution, None, false));
                false
            }
            State::Idle | State::Connect | State::Active | State::OpenSent => false,
        }
    }

    pub(super) fn act_on_happenings(&mut self, now: Instant) {
        for origin in [Origin::Ours, Origin::Theirs] {
            while let Some(happening) = self
                .link(origin)
                .as_mut()
                .and_then(|link| link.connection.next_happening())
            {
                match happening {
                    Happening::Established(negotiated) => self.established(origin, &negotiated),
                    Happening::Refresh(refresh) => self.refresh_asked(&refresh),
                    Happening::Closed(ending) => self.closed(origin, ending, now),
                }
            }
        }
    }
}
