use proptest::prelude::*;

use super::*;

const UP: [u8; LEN] = [
    0x20, 0xc0, 3, 24, // version 1, no diagnostic; up; multiplier 3
    0, 0, 0, 1, 0, 0, 0, 2, // discriminators
    0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50, // 50 ms each way
    0, 0, 0, 0, // no echo
];

fn up() -> Control {
    Control {
        diagnostic: Diagnostic::NONE,
        state: State::Up,
        poll: false,
        last: false,
        control_plane_independent: false,
        demand: false,
        multiplier: NonZeroU8::new(3).unwrap(),
        my_discriminator: NonZeroU32::MIN,
        your_discriminator: NonZeroU32::new(2),
        desired_min_tx: Micros(50_000),
        required_min_rx: Micros(50_000),
        required_min_echo_rx: Micros(0),
    }
}

/// `UP` with some octets replaced.
fn with(changes: &[(usize, u8)]) -> Vec<u8> {
    let mut octets = UP.to_vec();
    for &(at, octet) in changes {
        octets[at] = octet;
    }
    octets
}

#[test]
fn a_packet_is_laid_out_as_the_rfc_draws_it() {
    assert_eq!(up().encode(), UP);
    assert_eq!(Control::parse(&UP).unwrap().control, up());
}

#[test]
fn each_flag_has_its_own_bit() {
    type Set = fn(&mut Control);
    let cases: [(&str, u8, Set); 4] = [
        ("poll", 0xe0, |c| c.poll = true),
        ("final", 0xd0, |c| c.last = true),
        ("control plane independent", 0xc8, |c| {
            c.control_plane_independent = true;
        }),
        ("demand", 0xc2, |c| c.demand = true),
    ];
    for (name, octet, set) in cases {
        let mut control = up();
        set(&mut control);
        assert_eq!(control.encode()[1], octet, "{name}");
        let parsed = Control::parse(&with(&[(1, octet)])).unwrap().control;
        assert_eq!(parsed, control, "{name}");
    }
}

#[test]
fn what_the_rfc_discards_is_discarded_with_its_reason() {
    use ParseError as E;
    let length = |length, payload| E::Length { length, payload };
    let cases: &[(&str, Vec<u8>, E)] = &[
        ("nothing at all", vec![], E::Short { len: 0 }),
        ("one octet short", UP[..23].to_vec(), E::Short { len: 23 }),
        ("version 0", with(&[(0, 0x00)]), E::Version { version: 0 }),
        ("version 2", with(&[(0, 0x40)]), E::Version { version: 2 }),
        ("length below the minimum", with(&[(3, 23)]), length(23, 24)),
        ("length above the payload", with(&[(3, 25)]), length(25, 24)),
        (
            "A bit without room for it",
            with(&[(1, 0xc4)]),
            length(24, 24),
        ),
        ("multiplier zero", with(&[(2, 0)]), E::ZeroMultiplier),
        ("multipoint", with(&[(1, 0xc1)]), E::Multipoint),
        (
            "sender's discriminator zero",
            with(&[(7, 0)]),
            E::ZeroDiscriminator,
        ),
        (
            "up without our discriminator",
            with(&[(11, 0)]),
            E::NoYourDiscriminator { state: State::Up },
        ),
        (
            "init without our discriminator",
            with(&[(1, 0x80), (11, 0)]),
            E::NoYourDiscriminator { state: State::Init },
        ),
        (
            "two faults: the version is named first",
            with(&[(0, 0), (2, 0)]),
            E::Version { version: 0 },
        ),
    ];
    for (name, payload, want) in cases {
        assert_eq!(Control::parse(payload), Err(*want), "{name}");
    }
}

#[test]
fn the_first_packets_of_a_session_carry_no_discriminator_of_ours() {
    for (flags, state) in [(0x00, State::AdminDown), (0x40, State::Down)] {
        let parsed = Control::parse(&with(&[(1, flags), (11, 0)]))
            .unwrap()
            .control;
        assert_eq!((parsed.state, parsed.your_discriminator), (state, None));
    }
}

#[test]
fn octets_after_the_packet_are_ignored_and_the_authentication_section_ends_with_it() {
    let mut payload = with(&[(1, 0xc4), (3, 27)]);
    payload.extend([1, 3, 9, 0xff, 0xff]);
    let parsed = Control::parse(&payload).unwrap();
    assert_eq!(parsed.authentication, Some(&[1, 3, 9][..]));
}

fn any_control() -> impl Strategy<Value = Control> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let numbers = (
        1..=u8::MAX,
        1..=u32::MAX,
        1..=u32::MAX,
        any::<u32>(),
        any::<u32>(),
        any::<u32>(),
    );
    (0u8..32, 0u8..4, flags, numbers).prop_map(
        |(diagnostic, state, (poll, last, independent, demand), (m, my, your, tx, rx, echo))| {
            Control {
                diagnostic: Diagnostic::from_bits(diagnostic),
                state: State::from_bits(state),
                poll,
                last,
                control_plane_independent: independent,
                demand,
                multiplier: NonZeroU8::new(m).unwrap(),
                my_discriminator: NonZeroU32::new(my).unwrap(),
                your_discriminator: NonZeroU32::new(your),
                desired_min_tx: Micros(tx),
                required_min_rx: Micros(rx),
                required_min_echo_rx: Micros(echo),
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_parses_to_itself(control in any_control()) {
        let octets = control.encode();
        prop_assert_eq!(Control::parse(&octets).unwrap().control, control);
    }

    #[test]
    fn any_octets_are_parsed_or_refused(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(parsed) = Control::parse(&octets) {
            prop_assert_eq!(&parsed.control.encode()[4..], &octets[4..LEN]);
        }
    }

    #[test]
    fn a_mutated_packet_is_parsed_or_refused(
        control in any_control(),
        flips in prop::collection::vec((0..LEN, any::<u8>()), 1..6),
        cut in 0..=LEN,
    ) {
        let mut octets = control.encode();
        for (at, octet) in flips {
            octets[at] ^= octet;
        }
        // Parsing again what was parsed gives the same: no field is read from outside the packet.
        let first = Control::parse(&octets[..cut]);
        prop_assert_eq!(first, Control::parse(&octets[..cut]));
        prop_assert!(cut == LEN || first.is_err());
    }
}
