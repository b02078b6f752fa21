//! What must hold for any octets and any order of events, as functions that fuzzers and property tests
//! call: they panic where a promise is broken.

use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::{Bytes, BytesMut};
use rustbgpd_fsm::PeerConfig;
use rustbgpd_wire::{Afi, Message, MessageType, Safi, decode_message, encode_message};

use super::backoff::Random;
use super::collision::Origin;
use super::connection::{Connection, Ending, Happening};
use super::notification::{Cease, Notification, cease};
use super::status::State;
use super::wire::MAX_MESSAGE;

const LOCAL_AS: u32 = 64512;
const REMOTE_AS: u32 = 65001;
/// The codec's own type of length.
const MAX_LENGTH: u16 = 4096;
/// More than this is never kept of what a peer sends: a whole message, and what one read adds.
const INBOX_BOUND: usize = MAX_MESSAGE + READ;
/// The most that one step hands to a connection at once.
const READ: usize = 16 * 1024;
/// OPEN, KEEPALIVEs and a NOTIFICATION: a peer cannot make us write more than that unread.
const OUTBOX_BOUND: usize = 16 * MAX_MESSAGE;

/// One message of any type: it decodes or it does not, and what decodes is written as it was read.
pub fn messages(data: &[u8]) {
    let Some((&kind, body)) = data.split_first() else {
        return;
    };
    let body = &body[..body.len().min(MAX_MESSAGE - 19)];
    let kind = 1 + kind % 6;
    let mut octets = Bytes::from(frame(kind, body));
    if let Ok(message) = decode_message(&mut octets, MAX_LENGTH) {
        is_written_as_it_was_read(&message);
        is_shown(&message);
    }
    for mut connection in [
        established(),
        Connection::new(config(), Origin::Ours, Random::new(1), now()),
    ] {
        connection.receive(&frame(kind, body));
        drain(&mut connection, now());
        assert!(connection.inbox_len() <= INBOX_BOUND);
        assert!(connection.outbox.len() <= OUTBOX_BOUND);
    }
}

fn is_written_as_it_was_read(message: &Message) {
    let Ok(octets) = encode_message(message) else {
        return;
    };
    assert!(
        octets.len() <= MAX_MESSAGE,
        "{message:?} grew beyond a message"
    );
    let again =
        decode_message(&mut octets.freeze(), MAX_LENGTH).expect("what we write can be read");
    assert_eq!(&again, message);
}

/// What people see of a message is free of control characters.
fn is_shown(message: &Message) {
    match message {
        Message::Notification(notification) => {
            let shown = Notification::of(notification).to_string();
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
        }
        Message::Open(open) => {
            for capability in &open.capabilities {
                assert!(!super::record::capability(capability).is_empty());
            }
        }
        Message::Update(update) => {
            for four_octet_as in [false, true] {
                // Whether it can be used does not matter: it must only not panic.
                let _ = update.parse_revised(four_octet_as, true, false, &[]);
                let _ = update.parse(four_octet_as, true, &[]);
            }
        }
        _ => {}
    }
}

/// Any sequence of octets, moments and wishes of ours.
///
/// # Errors
/// `data` says nothing more.
pub fn session(data: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(data);
    let mut config = config();
    config.hold_time = *input.choose(&[0, 3, 90])?;
    if input.arbitrary()? {
        config.remote_asn = LOCAL_AS;
    }
    let origin = if input.arbitrary()? {
        Origin::Ours
    } else {
        Origin::Theirs
    };
    let mut now = now();
    let mut connection = Connection::new(config, origin, Random::new(input.arbitrary()?), now);
    let mut history = History::default();
    history.note(&mut connection);
    while !input.is_empty() {
        step(&mut connection, &mut now, &mut input)?;
        history.note(&mut connection);
        assert!(connection.inbox_len() <= INBOX_BOUND);
    }
    Ok(())
}

#[derive(Debug, Arbitrary)]
enum Step {
    Octets(Vec<u8>),
    Message(u8, Vec<u8>),
    Open {
        version_is_4: bool,
        asn: u32,
        hold: u16,
        parameters: Vec<u8>,
    },
    GoodOpen,
    Keepalive,
    Update {
        withdrawn: Vec<u8>,
        attributes: Vec<u8>,
        nlri: Vec<u8>,
    },
    Passes {
        milliseconds: u16,
    },
    Due,
    Send(u8),
    Taken(u16),
    Cease,
    Lost,
}

fn step(
    connection: &mut Connection,
    now: &mut Instant,
    input: &mut Unstructured<'_>,
) -> Result<()> {
    let receive = |connection: &mut Connection, octets: &[u8], now| {
        connection.receive(&octets[..octets.len().min(READ)]);
        drain(connection, now);
    };
    match input.arbitrary()? {
        Step::Octets(octets) => receive(connection, &octets, *now),
        Step::Message(kind, body) => receive(connection, &frame(kind, &body), *now),
        Step::Open {
            version_is_4,
            asn,
            hold,
            parameters,
        } => {
            let version = if version_is_4 { 4 } else { 3 };
            receive(connection, &open(version, asn, hold, &parameters), *now);
        }
        Step::GoodOpen => receive(connection, &open(4, REMOTE_AS, 90, &[]), *now),
        Step::Keepalive => receive(connection, &frame(4, &[]), *now),
        Step::Update {
            withdrawn,
            attributes,
            nlri,
        } => {
            receive(
                connection,
                &frame(2, &update(&withdrawn, &attributes, &nlri)),
                *now,
            );
        }
        Step::Passes { milliseconds } => {
            *now += Duration::from_millis(milliseconds.into());
            connection.tick(*now);
        }
        Step::Due => {
            if let Some(at) = connection.deadline() {
                *now = at.max(*now);
                connection.tick(*now);
                assert!(
                    connection.deadline().is_none_or(|next| next > *now),
                    "a timer that is always due"
                );
            }
        }
        Step::Send(count) => {
            if connection.state() == State::Established {
                let end_of_rib = frame(2, &update(&[], &[], &[])).repeat(count.into());
                connection.send_updates(&BytesMut::from(&end_of_rib[..]), count.into());
                connection.arm_send_hold(*now);
            }
        }
        Step::Taken(count) => {
            let count = usize::from(count).min(connection.outbox.len());
            connection.sent(count, *now);
        }
        Step::Cease => connection.cease(cease(Cease::AdministrativeShutdown, Some("bye"), true)),
        Step::Lost => connection.lost("gone".to_owned()),
    }
    Ok(())
}

/// What a connection has told so far.
#[derive(Debug, Default)]
struct History {
    established: bool,
    closed: bool,
    furthest: Option<State>,
}

impl History {
    fn note(&mut self, connection: &mut Connection) {
        while let Some(happening) = connection.next_happening() {
            assert!(!self.closed, "{happening:?} after the end");
            match happening {
                Happening::Established(negotiated) => {
                    assert!(
                        !std::mem::replace(&mut self.established, true),
                        "established twice"
                    );
                    assert!(negotiated.hold_time == 0 || negotiated.hold_time >= 3);
                }
                Happening::Refresh(_) => assert!(self.established),
                Happening::Closed(ending) => {
                    self.closed = true;
                    ends_as_it_says(connection, &ending);
                }
            }
        }
        let state = connection.state();
        if self.closed {
            assert_eq!(state, State::Idle);
            assert_eq!(connection.deadline(), None, "timers run after the end");
        } else {
            assert!(
                self.furthest.is_none_or(|furthest| furthest <= state),
                "from {:?} back to {state}",
                self.furthest
            );
            self.furthest = Some(state);
            assert_eq!(self.established, state == State::Established);
        }
    }
}

/// RFC 4271 §6: our NOTIFICATION is the last word, and none answers the peer's.
fn ends_as_it_says(connection: &Connection, ending: &Ending) {
    match ending {
        Ending::Sent(notification) => {
            let octets = encode_message(&Message::Notification(notification.clone()))
                .expect("it can be written");
            assert!(octets.len() <= MAX_MESSAGE);
            assert!(connection.outbox.ends_with(&octets));
        }
        Ending::Received(_) => assert_eq!(connection.counts.sent.notification, 0),
        Ending::SendHoldExpired => assert!(connection.outbox.is_empty()),
        Ending::Lost(why) => assert!(!why.is_empty()),
    }
}

/// Acts on every whole message, as the peer task does.
fn drain(connection: &mut Connection, now: Instant) {
    while let Some(incoming) = connection.next_incoming() {
        connection.handle(incoming, now);
    }
}

fn established() -> Connection {
    let mut connection = Connection::new(config(), Origin::Ours, Random::new(1), now());
    connection.receive(&[open(4, REMOTE_AS, 90, &[]), frame(4, &[])].concat());
    drain(&mut connection, now());
    assert_eq!(connection.state(), State::Established);
    connection
}

fn config() -> PeerConfig {
    let mut config = PeerConfig::new(LOCAL_AS, REMOTE_AS, [10, 0, 0, 1].into());
    config.families = vec![(Afi::Ipv4, Safi::Unicast), (Afi::Ipv6, Safi::Unicast)];
    config
}

/// A moment; which one does not matter.
fn now() -> Instant {
    Instant::now()
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap_or(u16::MAX);
    [&[0xFF; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

fn open(version: u8, asn: u32, hold: u16, parameters: &[u8]) -> Vec<u8> {
    let parameters = &parameters[..parameters.len().min(255)];
    let asn = u16::try_from(asn).unwrap_or(23456);
    let length = u8::try_from(parameters.len()).unwrap_or(u8::MAX);
    let fields = [
        &[version][..],
        &asn.to_be_bytes(),
        &hold.to_be_bytes(),
        &[10, 0, 0, 2, length],
    ];
    frame(
        MessageType::Open.as_u8(),
        &[&fields.concat()[..], parameters].concat(),
    )
}

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes();
    [
        &length(withdrawn)[..],
        withdrawn,
        &length(attributes)[..],
        attributes,
        nlri,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_message_is_decoded_or_refused(data in prop::collection::vec(any::<u8>(), 0..600)) {
            super::messages(&data);
        }

        #[test]
        fn any_sequence_of_events_keeps_the_session_s_promises(data in prop::collection::vec(any::<u8>(), 0..2000)) {
            // Running out of data is how a sequence ends.
            let _ = super::session(&data);
        }
    }
}
