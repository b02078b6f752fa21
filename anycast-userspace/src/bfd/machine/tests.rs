//! States, detection, and what is sent when.

mod polls;

use proptest::prelude::*;

use super::*;

const MULTIPLIER: NonZeroU8 = NonZeroU8::new(3).unwrap();
const FAST: Settings = Settings {
    desired_min_tx: Micros(50_000),
    required_min_rx: Micros(50_000),
    multiplier: MULTIPLIER,
    passive: false,
};
/// The random number for which a packet follows after the whole interval (`jitter` gives 1000).
const NO_JITTER: u32 = 250;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn discriminator(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// A packet of a peer with 50 ms each way and multiplier 3 that knows us.
fn from_peer(state: State) -> Control {
    Control {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        last: false,
        control_plane_independent: false,
        demand: false,
        multiplier: MULTIPLIER,
        my_discriminator: discriminator(9),
        your_discriminator: Some(discriminator(7)),
        desired_min_tx: Micros(50_000),
        required_min_rx: Micros(50_000),
        required_min_echo_rx: Micros(0),
    }
}

/// A machine brought to `state` at `now` by what a peer may send, with nothing left to send.
fn machine_in(state: State, now: Instant) -> Machine {
    let mut machine = Machine::new(FAST, discriminator(7));
    drain(&mut machine, now);
    match state {
        State::Down => {}
        State::AdminDown => {
            machine.set_admin_down(true);
        }
        State::Init => {
            machine.on_packet(&from_peer(State::Down), now);
        }
        State::Up => {
            machine.on_packet(&from_peer(State::Init), now);
        }
    }
    drain(&mut machine, now);
    assert_eq!(machine.state(), state);
    machine
}

/// As `machine_in(Up)`, with the Poll Sequence of coming up answered.
fn machine_up_and_agreed(now: Instant) -> Machine {
    let mut machine = machine_in(State::Up, now);
    let answer = Control {
        last: true,
        ..from_peer(State::Up)
    };
    machine.on_packet(&answer, now);
    machine
}

fn drain(machine: &mut Machine, now: Instant) -> Vec<Control> {
    std::iter::from_fn(|| machine.transmit(now, NO_JITTER)).collect()
}

#[derive(Clone, Copy, Debug)]
enum Input {
    Packet(State),
    Silence,
    Hold,
    Release,
}

impl Input {
    fn apply(self, machine: &mut Machine, now: Instant) -> Option<Transition> {
        match self {
            Self::Packet(state) => machine.on_packet(&from_peer(state), now),
            Self::Silence => machine.on_deadline(now + Duration::from_secs(10)),
            Self::Hold => machine.set_admin_down(true),
            Self::Release => machine.set_admin_down(false),
        }
    }
}

#[test]
fn every_state_goes_where_the_rfc_sends_it() {
    use Input::{Hold, Packet, Release, Silence};
    use State::{AdminDown, Down, Init, Up};
    const NONE: Option<u8> = None;
    // (state, input, next state, the diagnostic that a change leaves)
    let table: [(State, Input, State, Option<u8>); 28] = [
        (AdminDown, Packet(AdminDown), AdminDown, NONE),
        (AdminDown, Packet(Down), AdminDown, NONE),
        (AdminDown, Packet(Init), AdminDown, NONE),
        (AdminDown, Packet(Up), AdminDown, NONE),
        (AdminDown, Silence, AdminDown, NONE),
        (AdminDown, Hold, AdminDown, NONE),
        (AdminDown, Release, Down, Some(0)),
        (Down, Packet(AdminDown), Down, NONE),
        (Down, Packet(Down), Init, Some(0)),
        (Down, Packet(Init), Up, Some(0)),
        (Down, Packet(Up), Down, NONE),
        (Down, Silence, Down, NONE),
        (Down, Hold, AdminDown, Some(7)),
        (Down, Release, Down, NONE),
        (Init, Packet(AdminDown), Down, Some(3)),
        (Init, Packet(Down), Init, NONE),
        (Init, Packet(Init), Up, Some(0)),
        (Init, Packet(Up), Up, Some(0)),
        (Init, Silence, Down, Some(1)),
        (Init, Hold, AdminDown, Some(7)),
        (Init, Release, Init, NONE),
        (Up, Packet(AdminDown), Down, Some(3)),
        (Up, Packet(Down), Down, Some(3)),
        (Up, Packet(Init), Up, NONE),
        (Up, Packet(Up), Up, NONE),
        (Up, Silence, Down, Some(1)),
        (Up, Hold, AdminDown, Some(7)),
        (Up, Release, Up, NONE),
    ];
    let now = Instant::now();
    for (state, input, next, diagnostic) in table {
        let mut machine = machine_in(state, now);
        let transition = input.apply(&mut machine, now);
        let case = format!("{state:?} + {input:?}");
        assert_eq!(machine.state(), next, "{case}");
        assert_eq!(
            transition.map(|change| (change.from, change.to)),
            (state != next).then_some((state, next)),
            "{case}"
        );
        if let Some(code) = diagnostic {
            assert_eq!(machine.diagnostic().code(), code, "{case}");
        }
        let told = drain(&mut machine, now);
        assert_eq!(
            told.iter().map(|packet| packet.state).collect::<Vec<_>>(),
            if state == next { vec![] } else { vec![next] },
            "{case}: a change is told at once, and only a change"
        );
    }
}

#[test]
fn a_session_sends_once_a_second_until_it_is_up_and_then_as_agreed() {
    let now = Instant::now();
    for (state, wait) in [
        (State::AdminDown, 1000),
        (State::Down, 1000),
        (State::Init, 1000),
        (State::Up, 50),
    ] {
        let mut machine = machine_in(state, now);
        let just_before = now + millis(wait) - Duration::from_micros(1);
        assert_eq!(drain(&mut machine, just_before), [], "{state:?}");
        assert_eq!(
            drain(&mut machine, now + millis(wait)).len(),
            1,
            "{state:?}"
        );
    }
}

#[test]
fn the_slower_of_both_sides_sets_the_pace() {
    let now = Instant::now();
    // (our tx, our rx, peer's tx, peer's rx) -> (transmit interval, detection time)
    let table = [
        ((50, 50, 50, 50), (50, 150)),
        ((50, 50, 50, 200), (200, 150)),
        ((50, 50, 300, 50), (50, 900)),
        ((100, 400, 50, 50), (100, 1200)),
        ((10, 20, 30, 40), (40, 90)),
    ];
    for ((tx, rx, peer_tx, peer_rx), (interval, detection)) in table {
        let settings = Settings {
            desired_min_tx: Micros(tx * 1000),
            required_min_rx: Micros(rx * 1000),
            ..FAST
        };
        let mut machine = Machine::new(settings, discriminator(7));
        let packet = Control {
            desired_min_tx: Micros(peer_tx * 1000),
            required_min_rx: Micros(peer_rx * 1000),
            ..from_peer(State::Init)
        };
        machine.on_packet(&packet, now);
        assert_eq!(machine.transmit_interval(), Some(Micros(interval * 1000)));
        assert_eq!(machine.detection_time(), Some(millis(detection)));
        drain(&mut machine, now);
        assert_eq!(
            machine.next_deadline(),
            Some(now + millis(detection.min(interval.into())))
        );
    }
}

#[test]
fn a_peer_is_taken_for_dead_at_its_detection_time_and_not_before() {
    let now = Instant::now();
    let mut machine = machine_up_and_agreed(now);
    assert_eq!(
        machine.on_deadline(now + millis(150) - Duration::from_nanos(1)),
        None
    );
    let transition = machine.on_deadline(now + millis(150));
    assert_eq!(
        transition.map(|change| change.cause),
        Some(Cause::DetectionTimeExpired(millis(150)))
    );
    assert_eq!(machine.remote_discriminator(), None);
    let told = drain(&mut machine, now + millis(150));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].diagnostic, Diagnostic::DETECTION_TIME_EXPIRED);
    assert_eq!(told[0].your_discriminator, None);
    assert_eq!(told[0].desired_min_tx, Micros::SECOND);
}

#[test]
fn a_peer_in_demand_mode_is_sent_nothing_but_polls_and_answers() {
    let now = Instant::now();
    let demanding = Control {
        demand: true,
        last: true,
        ..from_peer(State::Up)
    };
    let mut machine = machine_in(State::Up, now);
    machine.on_packet(&demanding, now);
    assert_eq!(machine.transmit_interval(), None);
    assert_eq!(drain(&mut machine, now + millis(100)), []);
    assert!(
        machine.detection_time().is_some(),
        "it is still watched: we did not ask for demand mode"
    );

    machine.configure(Settings {
        desired_min_tx: Micros(80_000),
        ..FAST
    });
    let sent = drain(&mut machine, now + millis(100));
    assert!(sent.len() == 1 && sent[0].poll, "a change of timers polls");
    let leaves = Control {
        demand: false,
        ..demanding
    };
    machine.on_packet(&leaves, now + millis(101));
    assert_eq!(machine.transmit_interval(), Some(Micros(80_000)));
}

#[test]
fn a_peer_that_wants_no_periodic_packets_gets_changes_only() {
    let now = Instant::now();
    let mut machine = machine_up_and_agreed(now);
    let quiet = Control {
        required_min_rx: Micros(0),
        ..from_peer(State::Up)
    };
    machine.on_packet(&quiet, now);
    assert_eq!(drain(&mut machine, now + millis(140)), []);
    machine.set_admin_down(true);
    assert_eq!(drain(&mut machine, now + millis(140)).len(), 1);
}

#[test]
fn a_passive_session_waits_to_be_spoken_to() {
    let now = Instant::now();
    let settings = Settings {
        passive: true,
        ..FAST
    };
    let mut machine = Machine::new(settings, discriminator(7));
    assert_eq!(drain(&mut machine, now + Duration::from_secs(60)), []);
    assert_eq!(machine.next_deadline(), None);
    machine.on_packet(&from_peer(State::Down), now);
    assert_eq!(drain(&mut machine, now)[0].state, State::Init);
    machine.on_deadline(now + Duration::from_secs(60));
    assert_eq!(
        drain(&mut machine, now + Duration::from_secs(60)),
        [],
        "silent again once the peer is"
    );
}

#[test]
fn a_session_held_down_echoes_the_peers_discriminator_and_answers_nothing() {
    let now = Instant::now();
    let mut machine = machine_up_and_agreed(now);
    machine.set_admin_down(true);
    let sent = drain(&mut machine, now);
    assert_eq!(sent[0].state, State::AdminDown);
    assert_eq!(sent[0].diagnostic, Diagnostic::ADMINISTRATIVELY_DOWN);
    assert_eq!(sent[0].your_discriminator, Some(discriminator(9)));
    let later = drain(&mut machine, now + millis(1000));
    assert_eq!(later[0].state, State::AdminDown, "it goes on telling");
}

proptest! {
    #[test]
    fn jitter_stays_within_the_rfcs_bounds(random in any::<u32>(), multiplier in 1u8..) {
        let multiplier = NonZeroU8::new(multiplier).unwrap();
        let most = if multiplier.get() == 1 { 900 } else { 1000 };
        prop_assert!((750..=most).contains(&jitter(multiplier, random)));
    }

    /// Whatever the peer sends and whenever, both timers stay in the future once their events were handled, no
    /// packet breaks the rules of §6.8.7, and nothing is sent faster than agreed but changes and answers.
    #[test]
    fn no_sequence_of_events_breaks_the_rules(
        events in prop::collection::vec(
            (0u8..6, 0u8..4, any::<[bool; 3]>(), 1u8.., any::<(u32, u32)>(), 0u64..400_000),
            1..200,
        ),
        passive in any::<bool>(),
    ) {
        let mut now = Instant::now();
        let mut machine = Machine::new(Settings { passive, ..FAST }, discriminator(7));
        for (kind, state, [poll, last, demand], multiplier, (tx, rx), wait) in events {
            now += Duration::from_micros(wait);
            let before = machine.state();
            let changed = match kind {
                0..=2 => machine.on_packet(
                    &Control {
                        poll,
                        last,
                        demand,
                        multiplier: NonZeroU8::new(multiplier).unwrap(),
                        desired_min_tx: Micros(tx),
                        required_min_rx: Micros(rx % 1_000_000),
                        ..from_peer(State::from_bits(state))
                    },
                    now,
                ),
                3 => machine.on_deadline(now),
                4 => machine.set_admin_down(poll),
                _ => {
                    let desired_min_tx = Micros(10_000 + tx % 1_000_000);
                    machine.configure(Settings { desired_min_tx, passive, ..FAST });
                    None
                }
            };
            prop_assert_eq!(
                changed.map(|change| (change.from, change.to)),
                (before != machine.state()).then(|| (before, machine.state()))
            );
            machine.on_deadline(now);
            let mut sent = 0;
            while let Some(packet) = machine.transmit(now, tx) {
                sent += 1;
                prop_assert!(!(packet.poll && packet.last));
                prop_assert_eq!(packet.state, machine.state());
                prop_assert!(
                    packet.state == State::Up || packet.desired_min_tx >= Micros::SECOND
                );
                prop_assert!(!passive || machine.remote_discriminator().is_some());
                prop_assert!(Control::parse(&packet.encode()).is_ok() || packet.your_discriminator.is_none());
            }
            prop_assert!(sent <= 2);
            prop_assert!(machine.next_deadline().is_none_or(|at| at > now));
        }
    }
}
