//! One TCP connection's worth of BGP, without I/O: octets and moments in, octets and happenings out.
//!
//! Wraps the state machine and the codec, and adds what they leave to us: timers with jitter, the send
//! hold timer (RFC 9687), and the subcodes of RFC 6608. Octets become messages in `framing`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rustbgpd_fsm::{Action, Event, NegotiatedSession, Session, SessionState, TimerType};
use rustbgpd_wire::notification::update_subcode;
use rustbgpd_wire::{
    Afi, Capability, DecodeError, ExtendedNextHopFamily, Message, NotificationCode,
    NotificationMessage, OpenMessage, RouteRefreshMessage, Safi, UpdateMessage, encode_message,
};

use super::backoff::Random;
use super::collision::Origin;
use super::framing::{Inbox, Incoming};
use super::notification::invalid_refresh_length;
use super::status::{MessageCounts, State};

/// IPv6 next hops for IPv4 prefixes.
const IPV4_OVER_IPV6: ExtendedNextHopFamily = ExtendedNextHopFamily {
    nlri_afi: Afi::Ipv4,
    nlri_safi: Safi::Unicast,
    next_hop_afi: Afi::Ipv6,
};

/// What came of octets or of time.
#[derive(Debug)]
pub(super) enum Happening {
    /// The session is up.
    Established(Box<NegotiatedSession>),
    /// The peer asks for our routes again.
    Refresh(RouteRefreshMessage),
    /// The connection is over; what is in the outbox is still to be sent.
    Closed(Ending),
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// We sent a NOTIFICATION.
    Sent(NotificationMessage),
    /// The peer sent one.
    Received(NotificationMessage),
    /// The peer takes nothing from us any more; a NOTIFICATION could not reach it.
    SendHoldExpired,
    /// TCP ended without a word, or the peer's NOTIFICATION was unreadable.
    Lost(String),
}

/// A connection between TCP and the session.
#[derive(Debug)]
pub(super) struct Connection {
    machine: Session,
    external: bool,
    four_octet_as: bool,
    inbox: Inbox,
    pub(super) outbox: BytesMut,
    hold: Option<Instant>,
    keepalive: Option<Instant>,
    send_hold: Option<Instant>,
    send_hold_time: Duration,
    random: Random,
    pending: VecDeque<Happening>,
    closed: bool,
    pub(super) counts: MessageCounts,
}

impl Connection {
    /// A connection that TCP has just set up; our OPEN is in the outbox.
    pub(super) fn new(
        config: rustbgpd_fsm::PeerConfig,
        origin: Origin,
        random: Random,
        now: Instant,
    ) -> Self {
        let send_hold_time = Duration::from_secs(u64::from(config.send_hold_time));
        let mut connection = Self {
            external: config.local_asn != config.remote_asn,
            machine: Session::new(config),
            four_octet_as: false,
            inbox: Inbox::default(),
            outbox: BytesMut::new(),
            hold: None,
            keepalive: None,
            send_hold: None,
            send_hold_time,
            random,
            pending: VecDeque::new(),
            closed: false,
            counts: MessageCounts::default(),
        };
        connection.advance(Event::ManualStart, now);
        let connected = match origin {
            Origin::Ours => Event::TcpConnectionConfirmed,
            Origin::Theirs => Event::TcpConnectionAcknowledged,
        };
        connection.advance(connected, now);
        connection
    }

    /// The state of RFC 4271 §8.2.2.
    pub(super) fn state(&self) -> State {
        if self.closed {
            return State::Idle;
        }
        match self.machine.state() {
            SessionState::Idle => State::Idle,
            SessionState::Connect => State::Connect,
            SessionState::Active => State::Active,
            SessionState::OpenSent => State::OpenSent,
            SessionState::OpenConfirm => State::OpenConfirm,
            SessionState::Established => State::Established,
        }
    }

    /// What the OPENs agreed on, from OpenConfirm on.
    pub(super) fn negotiated(&self) -> Option<&NegotiatedSession> {
        self.machine.negotiated()
    }

    /// Takes octets that TCP delivered.
    pub(super) fn receive(&mut self, octets: &[u8]) {
        if !self.closed {
            self.inbox.push(octets);
        }
    }

    /// Octets that wait for the rest of their message.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn inbox_len(&self) -> usize {
        self.inbox.len()
    }

    /// The next whole message, or the error that its octets are; `None` when there is none yet.
    pub(super) fn next_incoming(&mut self) -> Option<Incoming> {
        if self.closed {
            return None;
        }
        self.inbox.next()
    }

    /// Acts on a message.
    pub(super) fn handle(&mut self, incoming: Incoming, now: Instant) {
        match incoming {
            Incoming::Malformed(error) => self.advance(Event::DecodeError(error), now),
            // RFC 4271 §6.4: no NOTIFICATION answers a NOTIFICATION.
            Incoming::MalformedNotification => {
                self.lost("the peer sent a NOTIFICATION that cannot be read".to_owned());
            }
            Incoming::MisshapenMarker { octets, otherwise } => {
                if self.knows_markers() {
                    self.counts.received.route_refresh += 1;
                    self.cease(invalid_refresh_length(&octets));
                } else {
                    self.handle(*otherwise, now);
                }
            }
            Incoming::Message(message) => self.handle_message(message, now),
        }
    }

    /// Whether BoRR and EoRR mean something: the session is up, and both sides have offered them.
    fn knows_markers(&self) -> bool {
        self.state() == State::Established
            && self
                .negotiated()
                .is_some_and(|negotiated| negotiated.peer_enhanced_route_refresh)
    }

    fn handle_message(&mut self, message: Message, now: Instant) {
        let received = &mut self.counts.received;
        match message {
            Message::Open(open) => {
                received.open += 1;
                self.advance(Event::OpenReceived(open), now);
                self.four_octet_as = self.negotiated().is_some_and(|n| n.four_octet_as);
            }
            Message::Update(update) => {
                received.update += 1;
                let event = match self.fault(&update) {
                    Some(error) if self.state() == State::Established => {
                        let (code, subcode, data) = error.to_notification();
                        Event::UpdateValidationError(NotificationMessage::new(code, subcode, data))
                    }
                    Some(_) | None => Event::UpdateReceived,
                };
                self.advance(event, now);
            }
            Message::Notification(notification) => {
                received.notification += 1;
                self.close(Ending::Received(notification));
            }
            Message::Keepalive => {
                received.keepalive += 1;
                self.advance(Event::KeepaliveReceived, now);
            }
            Message::RouteRefresh(refresh) => {
                received.route_refresh += 1;
                // RFC 2918 §4: an unknown family is ignored; the hold timer is fed all the same.
                let event = match (refresh.afi(), refresh.safi()) {
                    (Some(afi), Some(safi)) => Event::RouteRefreshReceived { afi, safi },
                    _ => Event::RouteRefreshReceived {
                        afi: Afi::Ipv4,
                        safi: Safi::Unicast,
                    },
                };
                self.advance(event, now);
                if self.state() == State::Established {
                    self.pending.push_back(Happening::Refresh(refresh));
                }
            }
            // The codec's enum is open; what it adds is not offered by our OPEN.
            _ => {}
        }
    }

    /// What in an UPDATE ends the session. RFC 7606: an attribute in error makes routes unusable, and we use
    /// none, so that even the MP attributes may be what they like, for which it leaves the choice (§5.3, §7.11).
    /// Prefixes of the message's own fields that cannot be told are an error still (§5.3), and so are two MP
    /// attributes of a kind (§3 g).
    fn fault(&self, update: &UpdateMessage) -> Option<DecodeError> {
        let parsed = update.parse_revised_observed_with_error_context(
            self.four_octet_as,
            !self.external,
            false,
            &[],
        );
        let fault = parsed.err()?;
        let twice = match &fault.error {
            DecodeError::UpdateAttributeError { subcode, .. } => {
                *subcode == update_subcode::MALFORMED_ATTRIBUTE_LIST
            }
            // The codec's enum is open.
            _ => false,
        };
        if twice || fault.type_code.is_none() {
            return Some(fault.error);
        }
        // The decoder has stopped at the attribute, before it came to the prefixes.
        let rest = UpdateMessage {
            path_attributes: Bytes::new(),
            ..update.clone()
        };
        rest.parse_revised(self.four_octet_as, !self.external, false, &[])
            .err()
    }

    /// What has happened since the last call.
    pub(super) fn next_happening(&mut self) -> Option<Happening> {
        self.pending.pop_front()
    }

    /// TCP ended, or delivered what cannot be answered.
    pub(super) fn lost(&mut self, why: String) {
        self.close(Ending::Lost(why));
    }

    /// Ends the connection with a NOTIFICATION of our choice.
    pub(super) fn cease(&mut self, notification: NotificationMessage) {
        if self.closed {
            return;
        }
        self.send(&Message::Notification(notification.clone()));
        self.close(Ending::Sent(notification));
    }

    /// Puts UPDATEs that are already encoded into the outbox. Nothing follows a NOTIFICATION.
    pub(super) fn send_updates(&mut self, octets: &BytesMut, count: u64) {
        if !self.closed {
            self.outbox.extend_from_slice(octets);
            self.counts.sent.update += count;
        }
    }

    /// Puts a ROUTE-REFRESH into the outbox.
    pub(super) fn send_refresh(&mut self, refresh: RouteRefreshMessage) {
        if !self.closed {
            self.send(&Message::RouteRefresh(refresh));
        }
    }

    /// The kernel has taken `count` octets of the outbox.
    pub(super) fn sent(&mut self, count: usize, now: Instant) {
        let _ = self.outbox.split_to(count);
        self.send_hold = None;
        self.arm_send_hold(now);
    }

    /// Starts the send hold timer if something waits to be sent and it does not run yet.
    pub(super) fn arm_send_hold(&mut self, now: Instant) {
        if self.outbox.is_empty() || self.closed {
            self.send_hold = None;
        } else if self.send_hold.is_none() {
            self.send_hold = Some(now + self.send_hold_time);
        }
    }

    /// When `tick` wants to be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.hold, self.keepalive, self.send_hold]
            .into_iter()
            .flatten()
            .min()
    }

    /// Lets the timers that are due expire.
    pub(super) fn tick(&mut self, now: Instant) {
        let due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        if due(self.send_hold) {
            self.outbox.clear();
            self.close(Ending::SendHoldExpired);
        }
        if due(self.hold) {
            self.hold = None;
            self.advance(Event::HoldTimerExpires, now);
        }
        if due(self.keepalive) {
            self.keepalive = None;
            self.advance(Event::KeepaliveTimerExpires, now);
        }
    }

    fn advance(&mut self, event: Event, now: Instant) {
        if self.closed {
            return;
        }
        let before = self.machine.state();
        for action in self.machine.handle_event(event) {
            self.perform(action, before, now);
        }
    }

    fn perform(&mut self, action: Action, before: SessionState, now: Instant) {
        match action {
            Action::SendOpen(open) => self.send(&Message::Open(offered(open))),
            Action::SendKeepalive => self.send(&Message::Keepalive),
            Action::SendNotification(mut notification) => {
                if notification.code == NotificationCode::FsmError {
                    notification.subcode = unexpected_message_subcode(before);
                }
                self.cease(notification);
            }
            Action::StartTimer(timer, seconds) => {
                let wait = Duration::from_secs(u64::from(seconds));
                match timer {
                    TimerType::Hold => self.hold = Some(now + wait),
                    // RFC 4271 §10: keepalives are spread.
                    TimerType::Keepalive => self.keepalive = Some(now + self.random.jitter(wait)),
                    // The peer task decides when to connect.
                    _ => {}
                }
            }
            Action::StopTimer(timer) => match timer {
                TimerType::Hold => self.hold = None,
                TimerType::Keepalive => self.keepalive = None,
                _ => {}
            },
            Action::CloseTcpConnection => self.close(Ending::Lost("closed".to_owned())),
            Action::SessionEstablished(negotiated) => {
                self.pending.push_back(Happening::Established(negotiated));
            }
            // States are read from the machine; connecting and telemetry are not this type's part. The
            // machine's enum is open, and so cannot be matched without a rest.
            _ => {}
        }
    }

    fn send(&mut self, message: &Message) {
        let sent = &mut self.counts.sent;
        match message {
            Message::Open(_) => sent.open += 1,
            Message::Update(_) => sent.update += 1,
            Message::Notification(_) => sent.notification += 1,
            Message::Keepalive => sent.keepalive += 1,
            Message::RouteRefresh(_) => sent.route_refresh += 1,
            _ => {}
        }
        match encode_message(message) {
            Ok(octets) => self.outbox.extend_from_slice(&octets),
            Err(error) => tracing::error!(%error, "a BGP message could not be encoded"),
        }
    }

    fn close(&mut self, ending: Ending) {
        if !self.closed {
            self.closed = true;
            self.hold = None;
            self.keepalive = None;
            self.send_hold = None;
            self.pending.push_back(Happening::Closed(ending));
        }
    }
}

/// RFC 6608 §3: which state met a message that it does not expect.
fn unexpected_message_subcode(state: SessionState) -> u8 {
    match state {
        SessionState::OpenSent => 1,
        SessionState::OpenConfirm => 2,
        SessionState::Established => 3,
        SessionState::Idle | SessionState::Connect | SessionState::Active => 0,
    }
}

/// The OPEN without what we do not do: messages over 4096 octets (RFC 8654); and with IPv6 next hops for IPv4
/// (RFC 8950), which the state machine offers only beside the IPv6 family. What use is made of it depends on
/// the peer alone.
fn offered(mut open: OpenMessage) -> OpenMessage {
    open.capabilities
        .retain(|capability| !matches!(capability, Capability::ExtendedMessage));
    let offers = |wanted: fn(&Capability) -> bool| open.capabilities.iter().any(wanted);
    let ipv4 = |capability: &Capability| {
        *capability
            == Capability::MultiProtocol {
                afi: Afi::Ipv4,
                safi: Safi::Unicast,
            }
    };
    if offers(ipv4) && !offers(|capability| matches!(capability, Capability::ExtendedNextHop(_))) {
        let over_ipv6 = Capability::ExtendedNextHop(vec![IPV4_OVER_IPV6]);
        open.capabilities.push(over_ipv6);
    }
    open
}

/// Whether the peer takes IPv6 next hops for IPv4 prefixes (RFC 8950 §4).
pub(super) fn takes_ipv6_next_hops(negotiated: &NegotiatedSession) -> bool {
    negotiated.peer_capabilities.iter().any(
        |capability| matches!(capability, Capability::ExtendedNextHop(all) if all.contains(&IPV4_OVER_IPV6)),
    )
}

#[cfg(test)]
mod tests;
