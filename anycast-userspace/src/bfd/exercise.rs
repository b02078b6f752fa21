//! What must hold for any octets and any order of events, as functions that fuzzers and property tests
//! call: they panic where a promise is broken.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Result, Unstructured};

use super::auth::{Authenticator, Key};
use super::iana::{Diagnostic, State};
use super::machine::{Machine, Settings, Transition};
use super::packet::{Control, Micros, Parsed};
use crate::config::bfd::AuthType;

/// The payload of one datagram: it is refused, or written as it was read. No authentication takes it
/// without the secret; what is signed with it is taken, by the meticulous types once.
pub fn packet(data: &[u8]) {
    let Ok(parsed) = Control::parse(data) else {
        return;
    };
    let octets = parsed.control.encode();
    let again = Control::parse(&octets).expect("what we write can be read");
    assert_eq!(again.control, parsed.control);
    assert_eq!(again.authentication, None);
    for kind in KINDS {
        is_signed_as_it_is_checked(&parsed, kind);
    }
}

const KINDS: [AuthType; 5] = [
    AuthType::Simple,
    AuthType::KeyedMd5,
    AuthType::MeticulousKeyedMd5,
    AuthType::KeyedSha1,
    AuthType::MeticulousKeyedSha1,
];
/// Long enough that no input guesses it.
const SECRET: &[u8] = b"0123456789abcdef";

fn is_signed_as_it_is_checked(parsed: &Parsed<'_>, kind: AuthType) {
    let side = || Authenticator::new(Key::new(kind, 1, SECRET).ok(), 7);
    let (now, detection_time) = (Instant::now(), Duration::from_millis(150));
    let (mut ours, mut theirs) = (side(), side());
    assert!(
        theirs.check(parsed, detection_time, now).is_err(),
        "{kind}: taken without the secret"
    );
    let octets = ours.encode(&parsed.control);
    let signed = Control::parse(&octets).expect("what we sign can be read");
    assert_eq!(signed.control, parsed.control);
    assert_eq!(theirs.check(&signed, detection_time, now), Ok(()), "{kind}");
    let twice = theirs.check(&signed, detection_time, now);
    assert_eq!(
        twice.is_err(),
        kind.is_meticulous(),
        "{kind}: a second time"
    );
}

#[derive(Debug, Arbitrary)]
enum Step {
    Packet(Heard),
    Passes { microseconds: u32 },
    Due,
    Hold(bool),
    Configure(Wanted),
}

#[derive(Debug, Arbitrary)]
struct Heard {
    state: u8,
    poll: bool,
    last: bool,
    demand: bool,
    multiplier: NonZeroU8,
    discriminator: NonZeroU32,
    knows_us: bool,
    desired_min_tx: u32,
    required_min_rx: u32,
}

#[derive(Debug, Arbitrary)]
struct Wanted {
    tx: u32,
    rx: u32,
    multiplier: NonZeroU8,
    passive: bool,
}

impl Wanted {
    /// Validation lets nothing below 10 ms through.
    fn settings(&self) -> Settings {
        Settings {
            desired_min_tx: Micros(self.tx.max(10_000)),
            required_min_rx: Micros(self.rx.max(10_000)),
            multiplier: self.multiplier,
            passive: self.passive,
        }
    }
}

/// Any sequence of packets, moments and wishes of the operator.
///
/// # Errors
/// `data` says nothing more.
pub fn machine(data: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(data);
    let wanted: Wanted = input.arbitrary()?;
    let mut machine = Machine::new(wanted.settings(), NonZeroU32::MIN);
    let mut now = Instant::now();
    while !input.is_empty() {
        let before = machine.state();
        let transition = step(&mut machine, &mut now, &mut input)?;
        assert_eq!(
            machine.state(),
            transition.map_or(before, |transition| transition.to)
        );
        if let Some(transition) = transition {
            assert_eq!(transition.from, before);
            is_allowed(&transition);
        }
        send_all(&mut machine, now, &mut input)?;
    }
    Ok(())
}

fn step(
    machine: &mut Machine,
    now: &mut Instant,
    input: &mut Unstructured<'_>,
) -> Result<Option<Transition>> {
    Ok(match input.arbitrary()? {
        Step::Packet(heard) => {
            let packet = Control {
                diagnostic: Diagnostic::NONE,
                state: State::from_bits(heard.state),
                poll: heard.poll,
                last: heard.last,
                control_plane_independent: false,
                demand: heard.demand,
                multiplier: heard.multiplier,
                my_discriminator: heard.discriminator,
                your_discriminator: heard.knows_us.then_some(NonZeroU32::MIN),
                desired_min_tx: Micros(heard.desired_min_tx),
                required_min_rx: Micros(heard.required_min_rx),
                required_min_echo_rx: Micros(0),
            };
            machine.on_packet(&packet, *now)
        }
        Step::Passes { microseconds } => {
            *now += Duration::from_micros(microseconds.into());
            machine.on_deadline(*now)
        }
        Step::Due => {
            if let Some(at) = machine.next_deadline() {
                *now = at.max(*now);
            }
            machine.on_deadline(*now)
        }
        Step::Hold(held) => machine.set_admin_down(held),
        Step::Configure(wanted) => {
            machine.configure(wanted.settings());
            None
        }
    })
}

/// RFC 5880 §6.8.6: Up is entered only by way of a peer that hears us, AdminDown only by our operator.
fn is_allowed(transition: &Transition) {
    let Transition { from, to, cause } = transition;
    let allowed = match (from, to) {
        (State::Down, State::Init | State::Up) | (State::Init, State::Up | State::Down) => true,
        (State::Up, State::Down) => true,
        (State::AdminDown, State::Down) => true,
        (State::Down | State::Init | State::Up, State::AdminDown) => true,
        (State::AdminDown, State::AdminDown | State::Init | State::Up)
        | (State::Down, State::Down)
        | (State::Init, State::Init)
        | (State::Up, State::Init | State::Up) => false,
    };
    assert!(allowed, "{from} -> {to} by {cause:?}");
}

/// What is due is sent, and what time brings is dealt with; then nothing is due: a loop would not spin.
fn send_all(machine: &mut Machine, now: Instant, input: &mut Unstructured<'_>) -> Result<()> {
    drain(machine, now, input)?;
    if machine.next_deadline().is_some_and(|at| at <= now) {
        if let Some(transition) = machine.on_deadline(now) {
            is_allowed(&transition);
        }
        drain(machine, now, input)?;
    }
    assert!(
        machine.next_deadline().is_none_or(|at| at > now),
        "a deadline that is always due"
    );
    Ok(())
}

fn drain(machine: &mut Machine, now: Instant, input: &mut Unstructured<'_>) -> Result<()> {
    let mut sent = 0;
    while let Some(packet) = machine.transmit(now, input.arbitrary()?) {
        sent += 1;
        assert!(
            sent <= 2,
            "an answer and one packet of our own are all that can be due"
        );
        let octets = packet.encode();
        let parsed = Control::parse(&octets).map(|parsed| parsed.control);
        // Before the peer's discriminator is known, Init and Up cannot be.
        assert_eq!(parsed, Ok(packet));
        assert_eq!(packet.state, machine.state());
        assert!(
            !(packet.poll && packet.last),
            "RFC 5880 §6.5: never both P and F"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_datagram_is_refused_or_written_as_it_was_read(data in prop::collection::vec(any::<u8>(), 0..80)) {
            super::packet(&data);
        }

        #[test]
        fn any_sequence_of_events_keeps_the_session_s_promises(data in prop::collection::vec(any::<u8>(), 0..2000)) {
            // Running out of data is how a sequence ends.
            let _ = super::machine(&data);
        }
    }
}
