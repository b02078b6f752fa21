//! Errors of RFC 4271 §6 and their NOTIFICATIONs, timers, and messages that nobody should send.

use proptest::prelude::*;
use rustbgpd_fsm::PeerConfig;
use rustbgpd_wire::{Afi, Safi, UpdateMessage, decode_message};

use crate::bgp::framing::MAX_LENGTH;
use crate::bgp::wire::MAX_MESSAGE;

use super::*;

mod opens;
mod refreshes;

/// A name, the message, the NOTIFICATION's code and subcode, and its data.
type BadMessage = (&'static str, Vec<u8>, (u8, u8), &'static [u8]);
/// A name, the body of the UPDATE, and the NOTIFICATION that it earns.
type UpdateCase = (&'static str, &'static [u8], Option<(u8, u8)>);

/// RFC 9687 §6: the default for a Hold Time of 90 seconds.
const SEND_HOLD: Duration = Duration::from_secs(8 * 60);
const MARKER: [u8; 16] = [0xFF; 16];

fn config() -> PeerConfig {
    let mut config = PeerConfig::new(64512, 65001, [10, 0, 0, 1].into());
    config.families = vec![(Afi::Ipv4, Safi::Unicast), (Afi::Ipv6, Safi::Unicast)];
    config
}

fn connection(now: Instant) -> Connection {
    Connection::new(config(), Origin::Ours, Random::new(1), now)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap();
    [&MARKER[..], &length.to_be_bytes(), &[kind], body].concat()
}

/// An OPEN of AS 65001 with the given fields and parameters.
fn open(version: u8, asn: u16, hold: u16, identifier: [u8; 4], parameters: &[u8]) -> Vec<u8> {
    let length = u8::try_from(parameters.len()).unwrap();
    let body = [
        &[version][..],
        &asn.to_be_bytes(),
        &hold.to_be_bytes(),
        &identifier,
        &[length],
        parameters,
    ]
    .concat();
    message(1, &body)
}

fn good_open() -> Vec<u8> {
    open(4, 65001, 90, [10, 0, 0, 2], &[])
}

fn keepalive() -> Vec<u8> {
    message(4, &[])
}

fn feed(connection: &mut Connection, octets: &[u8], now: Instant) -> Vec<Happening> {
    connection.receive(octets);
    while let Some(incoming) = connection.next_incoming() {
        connection.handle(incoming, now);
    }
    std::iter::from_fn(|| connection.next_happening()).collect()
}

fn established(now: Instant) -> Connection {
    let mut connection = connection(now);
    let happenings = feed(&mut connection, &[good_open(), keepalive()].concat(), now);
    assert!(
        matches!(happenings[..], [Happening::Established(_)]),
        "{happenings:?}"
    );
    connection.outbox.clear();
    connection
}

/// The NOTIFICATION that ended a connection.
fn sent(happenings: &[Happening]) -> Option<(u8, u8, Vec<u8>)> {
    happenings.iter().find_map(|happening| match happening {
        Happening::Closed(Ending::Sent(message)) => {
            Some((message.code.as_u8(), message.subcode, message.data.to_vec()))
        }
        Happening::Closed(_) | Happening::Established(_) | Happening::Refresh(_) => None,
    })
}

#[test]
fn every_error_of_a_header_or_an_open_gets_its_notification() {
    let update = message(2, &[0, 0, 0, 0]);
    let mut unsynchronized = keepalive();
    unsynchronized[3] = 0;
    let mut long = keepalive();
    long[16..18].copy_from_slice(&4097u16.to_be_bytes());
    let mut short = keepalive();
    short[16..18].copy_from_slice(&18u16.to_be_bytes());
    let authentication = [1, 1, 0];
    let cases: [BadMessage; 18] = [
        ("marker not all ones (§6.1)", unsynchronized, (1, 1), &[]),
        ("length over 4096 (§6.1)", long, (1, 2), &[0x10, 0x01]),
        ("length under 19 (§6.1)", short, (1, 2), &[0, 18]),
        (
            "OPEN under 29 octets (§6.1)",
            message(1, &[4; 9]),
            (1, 2),
            &[0, 28],
        ),
        (
            "UPDATE under 23 octets (§6.1)",
            message(2, &[0; 3]),
            (1, 2),
            &[0, 22],
        ),
        (
            "KEEPALIVE with a body (§6.1)",
            message(4, &[0]),
            (1, 2),
            &[0, 20],
        ),
        ("unknown type (§6.1)", message(9, &[]), (1, 3), &[9]),
        (
            "version 3 (§6.2)",
            open(3, 65001, 90, [10, 0, 0, 2], &[]),
            (2, 1),
            &[0, 4],
        ),
        (
            "another AS (§6.2)",
            open(4, 65002, 90, [10, 0, 0, 2], &[]),
            (2, 2),
            &[],
        ),
        (
            "AS 0 (RFC 7607)",
            open(4, 0, 90, [10, 0, 0, 2], &[]),
            (2, 2),
            &[],
        ),
        (
            "identifier 0.0.0.0 (RFC 6286)",
            open(4, 65001, 90, [0; 4], &[]),
            (2, 3),
            &[],
        ),
        (
            "an unknown parameter (§6.2)",
            open(4, 65001, 90, [10, 0, 0, 2], &[99, 1, 0]),
            (2, 4),
            &[],
        ),
        (
            "the deprecated parameter 1 (§6.2)",
            open(4, 65001, 90, [10, 0, 0, 2], &authentication),
            (2, 4),
            &[],
        ),
        (
            "a parameter cut short (§6.2)",
            open(4, 65001, 90, [10, 0, 0, 2], &[2, 9, 0]),
            (2, 0),
            &[],
        ),
        (
            "Hold Time 1 (§6.2)",
            open(4, 65001, 1, [10, 0, 0, 2], &[]),
            (2, 6),
            &[],
        ),
        (
            "Hold Time 2 (§6.2)",
            open(4, 65001, 2, [10, 0, 0, 2], &[]),
            (2, 6),
            &[],
        ),
        ("KEEPALIVE before OPEN (RFC 6608)", keepalive(), (5, 1), &[]),
        ("UPDATE before OPEN (RFC 6608)", update, (5, 1), &[]),
    ];
    for (name, octets, (code, subcode), data) in cases {
        let now = Instant::now();
        let mut connection = connection(now);
        let happenings = feed(&mut connection, &octets, now);
        let got = sent(&happenings);
        assert_eq!(
            got,
            Some((code, subcode, data.to_vec())),
            "{name}: {happenings:?}"
        );
        // The NOTIFICATION is the last message in the outbox.
        let wire = message(3, &[&[code, subcode][..], data].concat());
        assert!(connection.outbox.ends_with(&wire), "{name}");
        assert_eq!(connection.state(), State::Idle, "{name}");
    }
}

#[test]
fn messages_that_a_state_does_not_expect_name_the_state() {
    let now = Instant::now();
    let mut confirming = connection(now);
    feed(&mut confirming, &good_open(), now);
    assert_eq!(confirming.state(), State::OpenConfirm);
    let update = message(2, &[0, 0, 0, 0]);
    assert_eq!(
        sent(&feed(&mut confirming, &update, now)),
        Some((5, 2, vec![]))
    );
    assert_eq!(
        sent(&feed(&mut established(now), &good_open(), now)),
        Some((5, 3, vec![]))
    );
}

#[test]
fn an_update_ends_the_session_only_when_its_prefixes_cannot_be_told() {
    let cases: [UpdateCase; 15] = [
        ("End-of-RIB", &[0, 0, 0, 0], None),
        (
            "withdrawn length beyond the message (§6.3)",
            &[0, 9, 0, 0],
            Some((3, 1)),
        ),
        (
            "attribute length beyond the message (§6.3)",
            &[0, 0, 0, 9],
            Some((3, 1)),
        ),
        (
            "prefix of 33 bits (§6.3)",
            &[0, 0, 0, 0, 33, 10, 0, 0, 0, 0],
            Some((3, 10)),
        ),
        (
            "ORIGIN 7 (RFC 7606 §7.1)",
            &[0, 0, 0, 4, 0x40, 1, 1, 7, 8, 10],
            None,
        ),
        (
            "ORIGIN of two octets (RFC 7606 §7.1)",
            &[0, 0, 0, 5, 0x40, 1, 2, 0, 0, 8, 10],
            None,
        ),
        (
            "nothing but a prefix (RFC 7606 §3 d)",
            &[0, 0, 0, 0, 8, 10],
            None,
        ),
        (
            "MED as well-known (RFC 7606 §3 c)",
            &[0, 0, 0, 7, 0x40, 4, 4, 0, 0, 0, 1, 8, 10],
            None,
        ),
        (
            "MP_REACH_NLRI of one octet (RFC 7606 §7.11)",
            &[0, 0, 0, 4, 0x80, 14, 1, 0],
            None,
        ),
        (
            "MP_UNREACH_NLRI of two octets (RFC 7606 §7.12)",
            &[0, 0, 0, 5, 0x80, 15, 2, 0, 2],
            None,
        ),
        (
            "MP_UNREACH_NLRI with a prefix of 129 bits (RFC 7606 §5.3)",
            &[0, 0, 0, 8, 0x80, 15, 5, 0, 2, 1, 129, 0],
            None,
        ),
        (
            "MP_REACH_NLRI as well-known (RFC 7606 §3 c)",
            &[0, 0, 0, 4, 0x40, 14, 1, 0],
            None,
        ),
        (
            "MP_REACH_NLRI beyond the attributes (RFC 7606 §4)",
            &[0, 0, 0, 4, 0x80, 14, 9, 0],
            None,
        ),
        (
            "the same, and a prefix of 33 bits (RFC 7606 §5.3)",
            &[0, 0, 0, 4, 0x80, 14, 1, 0, 33, 10, 0, 0, 0, 0],
            Some((3, 10)),
        ),
        (
            "MP_UNREACH_NLRI twice (RFC 7606 §3 g)",
            &[0, 0, 0, 12, 0x80, 15, 3, 0, 2, 1, 0x80, 15, 3, 0, 2, 1],
            Some((3, 1)),
        ),
    ];
    for (name, body, want) in cases {
        let now = Instant::now();
        let mut connection = established(now);
        let happenings = feed(&mut connection, &message(2, body), now);
        let got = sent(&happenings).map(|(code, subcode, _)| (code, subcode));
        assert_eq!(got, want, "{name}: {happenings:?}");
    }
}

#[test]
fn a_notification_is_never_answered() {
    for body in [&[6, 2][..], &[], &[6], &[6, 2, 200, 1], &[99, 99, 1, 2, 3]] {
        let now = Instant::now();
        let mut connection = established(now);
        let happenings = feed(&mut connection, &message(3, body), now);
        assert!(
            matches!(happenings[..], [Happening::Closed(_)]),
            "{body:?}: {happenings:?}"
        );
        assert_eq!(sent(&happenings), None, "{body:?}");
        assert!(connection.outbox.is_empty(), "{body:?}");
    }
}

#[test]
fn a_silent_peer_is_told_that_the_hold_time_is_over() {
    let now = Instant::now();
    let mut connection = established(now);
    connection.tick(now + Duration::from_secs(89));
    assert!(connection.next_happening().is_none());
    connection.tick(now + Duration::from_secs(90));
    let happenings: Vec<_> = std::iter::from_fn(|| connection.next_happening()).collect();
    assert_eq!(sent(&happenings), Some((4, 0, vec![])));
}

#[test]
fn any_message_of_the_peer_feeds_the_hold_timer() {
    let eor = message(2, &[0, 0, 0, 0]);
    let refresh = message(5, &[0, 1, 0, 1]);
    let unknown_refresh = message(5, &[0xFF, 0xFF, 0, 0xFF]);
    for octets in [keepalive(), eor, refresh, unknown_refresh] {
        let now = Instant::now();
        let mut connection = established(now);
        let later = now + Duration::from_secs(80);
        feed(&mut connection, &octets, later);
        connection.tick(now + Duration::from_secs(100));
        assert_eq!(connection.state(), State::Established);
        connection.tick(later + Duration::from_secs(90));
        assert_eq!(connection.state(), State::Idle);
    }
}

#[test]
fn keepalives_go_out_within_a_third_of_the_hold_time() {
    let now = Instant::now();
    let mut connection = established(now);
    let due = connection.deadline().unwrap();
    assert!(due > now + Duration::from_secs(22) && due <= now + Duration::from_secs(30));
    connection.tick(due);
    assert_eq!(connection.outbox[..], keepalive()[..]);
    assert!(connection.deadline().unwrap() > due);
}

#[test]
fn a_hold_time_of_zero_needs_no_keepalives() {
    let now = Instant::now();
    let mut connection = connection(now);
    feed(
        &mut connection,
        &[open(4, 65001, 0, [10, 0, 0, 2], &[]), keepalive()].concat(),
        now,
    );
    assert_eq!(connection.state(), State::Established);
    assert_eq!(connection.deadline(), None);
}

#[test]
fn a_peer_that_takes_nothing_loses_the_session_after_the_send_hold_time() {
    let now = Instant::now();
    let mut connection = established(now);
    connection.send_updates(&BytesMut::from(&[0u8; 100][..]), 1);
    connection.arm_send_hold(now);
    // Progress starts the time again, and the peer's own messages do not.
    connection.sent(1, now + Duration::from_secs(100));
    connection.tick(now + SEND_HOLD);
    assert_eq!(
        connection.state(),
        State::Idle,
        "the peer's silence counts as well"
    );

    let mut config = config();
    config.hold_time = 0;
    let mut connection = Connection::new(config, Origin::Ours, Random::new(1), now);
    feed(&mut connection, &[good_open(), keepalive()].concat(), now);
    connection.arm_send_hold(now);
    connection.sent(1, now + Duration::from_secs(100));
    connection.tick(now + SEND_HOLD);
    assert_eq!(connection.state(), State::Established);
    connection.tick(now + Duration::from_secs(100) + SEND_HOLD);
    let happenings: Vec<_> = std::iter::from_fn(|| connection.next_happening()).collect();
    assert!(matches!(
        happenings[..],
        [Happening::Closed(Ending::SendHoldExpired)]
    ));
}

#[test]
fn our_open_offers_what_we_do_and_nothing_else() {
    let (ipv4, ipv6) = ((Afi::Ipv4, Safi::Unicast), (Afi::Ipv6, Safi::Unicast));
    // Multiprotocol for each family, route refresh, extended next hop with IPv4, four-octet AS, enhanced route
    // refresh: no graceful restart (64), extended messages (6) or additional paths (69).
    let cases: [(&[_], &[u8]); 3] = [
        (&[ipv4, ipv6], &[1, 1, 2, 5, 65, 70]),
        (&[ipv4], &[1, 2, 5, 65, 70]),
        (&[ipv6], &[1, 2, 65, 70]),
    ];
    for (families, want) in cases {
        let mut config = config();
        config.families = families.to_vec();
        config.disable_ipv4_unicast = !families.contains(&ipv4);
        let connection = Connection::new(config, Origin::Ours, Random::new(1), Instant::now());
        let mut octets = connection.outbox.clone().freeze();
        let Ok(Message::Open(open)) = decode_message(&mut octets, MAX_LENGTH) else {
            panic!("the outbox starts with an OPEN");
        };
        let mut codes: Vec<u8> = open.capabilities.iter().map(Capability::code).collect();
        codes.sort_unstable();
        assert_eq!(codes, want, "{families:?}");
        assert_eq!((open.my_as, open.hold_time), (64512, 90));
    }
}

#[test]
fn octets_may_come_one_at_a_time() {
    let now = Instant::now();
    let mut connection = connection(now);
    for octet in [good_open(), keepalive()].concat() {
        feed(&mut connection, &[octet], now);
    }
    assert_eq!(connection.state(), State::Established);
}

#[test]
fn nothing_is_kept_of_what_comes_after_the_end() {
    let now = Instant::now();
    let mut connection = established(now);
    feed(&mut connection, &message(9, &[]), now);
    feed(&mut connection, &vec![0xFF; 100_000], now);
    assert!(connection.inbox.len() <= MAX_MESSAGE);
}

/// A valid UPDATE, to be mutated.
fn valid_update() -> Vec<u8> {
    let mut octets = BytesMut::new();
    UpdateMessage {
        withdrawn_routes: vec![24, 10, 1, 2].into(),
        path_attributes: vec![
            0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xE9, 0x40, 3, 4, 10, 0, 0, 2, 0x80, 14,
            21, 0, 2, 1, 16, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0,
        ]
        .into(),
        nlri: vec![24, 10, 1, 3].into(),
    }
    .encode(&mut octets)
    .unwrap();
    octets.to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_messages_never_panic_or_pile_up(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        split in any::<prop::sample::Index>(),
        up in any::<bool>(),
    ) {
        let now = Instant::now();
        let mut octets = [good_open(), keepalive(), valid_update(), message(5, &[0, 1, 0, 1])].concat();
        for (at, value) in &edits {
            let at = at.index(octets.len());
            octets[at] = *value;
        }
        let mut connection = if up { established(now) } else { connection(now) };
        let (first, second) = octets.split_at(split.index(octets.len()));
        feed(&mut connection, first, now);
        feed(&mut connection, second, now);
        prop_assert!(connection.inbox.len() <= MAX_MESSAGE);
        prop_assert!(connection.outbox.len() <= 4 * MAX_MESSAGE);
    }

    #[test]
    fn noise_never_panics(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let now = Instant::now();
        for frame in [octets.clone(), message(1, &octets), message(2, &octets), message(3, &octets), message(5, &octets)] {
            feed(&mut established(now), &frame, now);
            feed(&mut connection(now), &frame, now);
        }
    }
}
