//! What is signed is accepted once, and what was signed otherwise is not.

use std::num::{NonZeroU8, NonZeroU32};

use super::*;
use crate::bfd::iana::{Diagnostic, State};
use crate::bfd::packet::Micros;

const DETECTION: Duration = Duration::from_millis(150);
const KINDS: [AuthType; 5] = [
    AuthType::Simple,
    AuthType::KeyedMd5,
    AuthType::MeticulousKeyedMd5,
    AuthType::KeyedSha1,
    AuthType::MeticulousKeyedSha1,
];

fn control() -> Control {
    Control {
        diagnostic: Diagnostic::NONE,
        state: State::Up,
        poll: true,
        last: false,
        control_plane_independent: false,
        demand: false,
        multiplier: NonZeroU8::new(3).unwrap(),
        my_discriminator: NonZeroU32::new(0x0102_0304).unwrap(),
        your_discriminator: NonZeroU32::new(0x0506_0708),
        desired_min_tx: Micros(50_000),
        required_min_rx: Micros(50_000),
        required_min_echo_rx: Micros(0),
    }
}

fn authenticator(kind: AuthType, id: u8, secret: &str, sequence: u32) -> Authenticator {
    let key = Key::new(kind, id, secret.as_bytes()).unwrap();
    Authenticator::new(Some(key), sequence)
}

fn check(to: &mut Authenticator, octets: &[u8], now: Instant) -> Result<(), AuthError> {
    let parsed = Control::parse(octets).unwrap();
    assert_eq!(parsed.control, control());
    to.check(&parsed, DETECTION, now)
}

#[test]
fn what_one_side_signs_the_other_accepts() {
    for kind in KINDS {
        let now = Instant::now();
        let (mut from, mut to) = (
            authenticator(kind, 7, "sesame", u32::MAX),
            authenticator(kind, 7, "sesame", 1),
        );
        // The sequence number passes zero on the way.
        for _ in 0..20 {
            let octets = from.encode(&control());
            assert_eq!(usize::from(octets[3]), octets.len(), "{kind}");
            assert_eq!(check(&mut to, &octets, now), Ok(()), "{kind}");
        }
    }
}

#[test]
fn a_section_has_the_octets_of_the_rfc() {
    let simple = authenticator(AuthType::Simple, 7, "sesame", 0).encode(&control());
    assert_eq!(simple[24..], *b"\x01\x09\x07sesame");
    let table = [
        (AuthType::KeyedMd5, 2, 24),
        (AuthType::MeticulousKeyedMd5, 3, 24),
        (AuthType::KeyedSha1, 4, 28),
        (AuthType::MeticulousKeyedSha1, 5, 28),
    ];
    for (kind, code, length) in table {
        let octets = authenticator(kind, 7, "sesame", 0x0A0B_0C0D).encode(&control());
        assert_eq!(
            octets[24..32],
            [code, length, 7, 0, 0x0A, 0x0B, 0x0C, 0x0D],
            "{kind}"
        );
        assert_eq!(octets.len(), 24 + usize::from(length), "{kind}");
        // A bit.
        assert_eq!(octets[1] & 0b100, 0b100, "{kind}");
    }
}

#[test]
fn every_difference_is_refused_with_its_reason() {
    let md5 = AuthType::KeyedMd5;
    let table = [
        ("another secret", md5, 7, "simsalabim", AuthError::Secret),
        ("another id", md5, 8, "sesame", AuthError::KeyId(8)),
        (
            "another type",
            AuthType::KeyedSha1,
            7,
            "sesame",
            AuthError::Type(4),
        ),
    ];
    for (name, kind, id, secret, want) in table {
        let mut to = authenticator(md5, 7, "sesame", 0);
        let octets = authenticator(kind, id, secret, 0).encode(&control());
        assert_eq!(check(&mut to, &octets, Instant::now()), Err(want), "{name}");
    }
    let mut to = authenticator(AuthType::Simple, 7, "sesame", 0);
    for secret in ["sesam", "sesames", "Sesame"] {
        let octets = authenticator(AuthType::Simple, 7, secret, 0).encode(&control());
        assert_eq!(
            check(&mut to, &octets, Instant::now()),
            Err(AuthError::Secret)
        );
    }
}

#[test]
fn authentication_on_one_side_alone_is_refused() {
    let now = Instant::now();
    let mut without = Authenticator::new(None, 0);
    let plain = without.encode(&control());
    for kind in KINDS {
        let mut with = authenticator(kind, 1, "sesame", 0);
        let signed = with.encode(&control());
        assert_eq!(
            check(&mut with, &plain, now),
            Err(AuthError::Missing),
            "{kind}"
        );
        assert_eq!(
            check(&mut without, &signed, now),
            Err(AuthError::Unexpected),
            "{kind}"
        );
    }
}

#[test]
fn one_changed_bit_anywhere_is_refused() {
    for kind in KINDS {
        let octets = authenticator(kind, 7, "sesame", 5).encode(&control());
        // A simple password protects only itself.
        let from = if kind == AuthType::Simple { LEN } else { 4 };
        for at in from..octets.len() {
            let mut changed = octets.clone();
            changed[at] ^= 1;
            let mut to = authenticator(kind, 7, "sesame", 0);
            if let Ok(parsed) = Control::parse(&changed) {
                let result = to.check(&parsed, DETECTION, Instant::now());
                assert!(result.is_err(), "{kind}: octet {at}");
            }
        }
    }
}

#[test]
fn sequence_numbers_keep_to_their_window() {
    let keyed = AuthType::KeyedSha1;
    let meticulous = AuthType::MeticulousKeyedSha1;
    // 3 * Detect Mult = 9.
    let table = [
        (keyed, 100, true),
        (keyed, 101, true),
        (keyed, 109, true),
        (keyed, 110, false),
        (keyed, 99, false),
        (meticulous, 100, false),
        (meticulous, 101, true),
        (meticulous, 109, true),
        (meticulous, 110, false),
        (meticulous, 99, false),
    ];
    for (kind, sequence, accepted) in table {
        let now = Instant::now();
        let mut to = authenticator(kind, 7, "sesame", 0);
        let first = authenticator(kind, 7, "sesame", 100).encode(&control());
        check(&mut to, &first, now).unwrap();
        let next = authenticator(kind, 7, "sesame", sequence).encode(&control());
        let got = check(&mut to, &next, now);
        let want = AuthError::Sequence {
            got: sequence,
            last: 100,
        };
        assert_eq!(
            got,
            if accepted { Ok(()) } else { Err(want) },
            "{kind}: {sequence} after 100"
        );
    }
}

#[test]
fn a_peer_that_starts_again_is_heard_after_twice_the_detection_time() {
    let now = Instant::now();
    let mut to = authenticator(AuthType::MeticulousKeyedMd5, 7, "sesame", 0);
    let old =
        authenticator(AuthType::MeticulousKeyedMd5, 7, "sesame", 1_000_000).encode(&control());
    check(&mut to, &old, now).unwrap();
    let mut restarted = authenticator(AuthType::MeticulousKeyedMd5, 7, "sesame", 5);
    let early = restarted.encode(&control());
    let almost = now + 2 * DETECTION - Duration::from_millis(1);
    assert!(check(&mut to, &early, almost).is_err());
    let late = restarted.encode(&control());
    assert_eq!(check(&mut to, &late, now + 2 * DETECTION), Ok(()));
}

#[test]
fn a_forged_packet_does_not_move_the_window() {
    let now = Instant::now();
    let mut to = authenticator(AuthType::MeticulousKeyedMd5, 7, "sesame", 0);
    let mut from = authenticator(AuthType::MeticulousKeyedMd5, 7, "sesame", 100);
    let forged = authenticator(AuthType::MeticulousKeyedMd5, 7, "wrong", 5000).encode(&control());
    assert_eq!(check(&mut to, &forged, now), Err(AuthError::Secret));
    for _ in 0..3 {
        let octets = from.encode(&control());
        assert_eq!(check(&mut to, &octets, now), Ok(()));
        let forged =
            authenticator(AuthType::MeticulousKeyedMd5, 7, "wrong", 105).encode(&control());
        assert_eq!(check(&mut to, &forged, now), Err(AuthError::Secret));
    }
}

#[test]
fn sections_cut_short_or_grown_are_refused() {
    for kind in KINDS {
        let octets = authenticator(kind, 7, "sesame", 5).encode(&control());
        for length in LEN + 2..octets.len() + 8 {
            let mut changed = octets.clone();
            changed.resize(length, 0);
            if length == octets.len() {
                continue;
            }
            for section in [section_octet(length - LEN), octets[LEN + 1]] {
                changed[3] = u8::try_from(length).unwrap();
                changed[LEN + 1] = section;
                let parsed = Control::parse(&changed).unwrap();
                let mut to = authenticator(kind, 7, "sesame", 0);
                assert!(
                    to.check(&parsed, DETECTION, Instant::now()).is_err(),
                    "{kind}: {length} octets, section says {section}"
                );
            }
        }
    }
}

#[test]
fn a_secret_has_the_length_that_its_type_takes_and_is_not_shown() {
    for kind in KINDS {
        let most = kind.longest_secret();
        assert!(Key::new(kind, 1, b"").is_err(), "{kind}");
        assert!(Key::new(kind, 1, &vec![b'x'; most]).is_ok(), "{kind}");
        let error = Key::new(kind, 1, &vec![b'x'; most + 1]).unwrap_err();
        assert!(
            error.to_string().contains(&format!("1 to {most}")),
            "{error}"
        );
    }
    let key = Key::new(AuthType::KeyedMd5, 1, b"sesame").unwrap();
    assert!(!format!("{key:?}").contains("sesame"));
}
