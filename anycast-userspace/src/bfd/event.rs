//! What BFD tells its client, and the queue for when the client does not listen.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::iana::{Diagnostic, State};
use super::machine::{Cause, Transition};

/// A change of a session that its client must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The peer's name, as it was added.
    pub peer: Arc<str>,
    /// The peer's address.
    pub address: IpAddr,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: Instant,
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Both sides hear each other.
    Up,
    /// A session that was up has failed: act on it (RFC 5882 §4.2).
    Down(DownReason),
    /// A session that was up was taken down by the peer's operator: not a failure, and nothing is to be torn
    /// down for it (RFC 5882 §4.2).
    PeerAdminDown,
}

/// Why a session that was up went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// Nothing was heard for this long.
    DetectionTimeExpired(Duration),
    /// The peer says that its side is down, and why.
    NeighborSignaledDown(Diagnostic),
}

impl DownReason {
    /// The diagnostic that our packets then carry (RFC 5880 §4.1).
    pub fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::DetectionTimeExpired(_) => Diagnostic::DETECTION_TIME_EXPIRED,
            Self::NeighborSignaledDown(_) => Diagnostic::NEIGHBOR_SIGNALED_DOWN,
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DetectionTimeExpired(silence) => {
                write!(f, "nothing was heard from the peer for {silence:?}")
            }
            Self::NeighborSignaledDown(Diagnostic::NONE) => f.write_str("the peer signaled down"),
            Self::NeighborSignaledDown(diagnostic) => {
                write!(f, "the peer signaled down: {diagnostic}")
            }
        }
    }
}

impl EventKind {
    /// What a transition means to the client; `None`: nothing. What its own side has done, it knows, and a
    /// session that never was up cannot fail.
    pub(super) fn of(transition: Transition) -> Option<Self> {
        match (transition.from, transition.to, transition.cause) {
            (_, State::Up, _) => Some(Self::Up),
            (State::Up, State::Down, Cause::Peer(State::AdminDown, _)) => Some(Self::PeerAdminDown),
            (
                State::Up,
                State::Down,
                Cause::Peer(State::Down | State::Init | State::Up, diagnostic),
            ) => Some(Self::Down(DownReason::NeighborSignaledDown(diagnostic))),
            (State::Up, State::Down, Cause::DetectionTimeExpired(silence)) => {
                Some(Self::Down(DownReason::DetectionTimeExpired(silence)))
            }
            (
                State::Up,
                State::AdminDown | State::Init | State::Down,
                Cause::Administrator | Cause::Peer(..) | Cause::DetectionTimeExpired(_),
            )
            | (
                State::AdminDown | State::Down | State::Init,
                State::AdminDown | State::Down | State::Init,
                _,
            ) => None,
        }
    }

    fn is_failure(&self) -> bool {
        match self {
            Self::Down(_) => true,
            Self::Up | Self::PeerAdminDown => false,
        }
    }
}

/// Events that wait for room in the client's queue. It stays small whatever the peers do: for each peer it
/// keeps the first failure, which the client must act on, and the latest event.
#[derive(Debug, Default)]
pub(super) struct Backlog(VecDeque<Event>);

impl Backlog {
    pub(super) fn push(&mut self, event: Event) {
        let of_peer = |other: &Event| other.peer == event.peer;
        let first_failure = self
            .0
            .iter()
            .position(|other| of_peer(other) && other.kind.is_failure());
        let mut index = 0;
        self.0.retain(|other| {
            index += 1;
            !of_peer(other) || Some(index - 1) == first_failure
        });
        self.0.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: EventKind =
        EventKind::Down(DownReason::DetectionTimeExpired(Duration::from_millis(150)));
    const SIGNALED: EventKind = EventKind::Down(DownReason::NeighborSignaledDown(Diagnostic::NONE));

    fn event(peer: &str, kind: EventKind, at: Instant) -> Event {
        Event {
            peer: peer.into(),
            address: IpAddr::from([10, 0, 0, 1]),
            kind,
            at,
        }
    }

    #[test]
    fn the_first_failure_and_the_latest_event_survive_a_client_that_does_not_listen() {
        use EventKind::{PeerAdminDown, Up};
        let table: [(&[EventKind], &[EventKind]); 6] = [
            (&[Up], &[Up]),
            (&[Up, FAILED], &[FAILED]),
            (&[FAILED, Up], &[FAILED, Up]),
            (&[Up, FAILED, Up, SIGNALED, Up], &[FAILED, Up]),
            (&[FAILED, Up, SIGNALED], &[FAILED, SIGNALED]),
            (&[Up, PeerAdminDown, Up], &[Up]),
        ];
        for (pushed, kept) in table {
            let now = Instant::now();
            let mut backlog = Backlog::default();
            backlog.push(event("other", Up, now));
            for kind in pushed {
                backlog.push(event("peer", *kind, now));
            }
            assert_eq!(backlog.pop(), Some(event("other", Up, now)));
            let left: Vec<_> = std::iter::from_fn(|| backlog.pop())
                .map(|event| event.kind)
                .collect();
            assert_eq!(left, kept, "{pushed:?}");
        }
    }

    #[test]
    fn only_a_session_that_was_up_can_fail() {
        let expired = Cause::DetectionTimeExpired(Duration::from_millis(150));
        let says = |state| Cause::Peer(state, Diagnostic::NONE);
        let table = [
            (State::Init, State::Up, says(State::Up), Some(EventKind::Up)),
            (
                State::Down,
                State::Up,
                says(State::Init),
                Some(EventKind::Up),
            ),
            (State::Up, State::Down, expired, Some(FAILED)),
            (State::Up, State::Down, says(State::Down), Some(SIGNALED)),
            (
                State::Up,
                State::Down,
                says(State::AdminDown),
                Some(EventKind::PeerAdminDown),
            ),
            (State::Up, State::AdminDown, Cause::Administrator, None),
            (State::Init, State::Down, expired, None),
            (State::Init, State::Down, says(State::AdminDown), None),
            (State::Down, State::Init, says(State::Down), None),
        ];
        for (from, to, cause, want) in table {
            let transition = Transition { from, to, cause };
            assert_eq!(EventKind::of(transition), want, "{transition:?}");
        }
    }
}
