//! The state machine of a session (RFC 5880 §6.8), without I/O: packets and moments in, packets and
//! changes out.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::packet::Packet;

/// The slowest that a session that is not up may send, and the fastest (RFC 5880 §6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// The states of RFC 5880 §6.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Held down on purpose.
    AdminDown,
    /// Nothing is heard, or the peer says that it hears nothing.
    Down,
    /// The peer is heard; it does not say yet that it hears us.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }

    /// From the two bits of the packet; higher bits are cut off.
    pub(super) fn from_code(code: u8) -> Self {
        match code & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }
}

/// Why a session left a state (RFC 5880 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Diagnostic {
    /// Nothing has happened.
    None,
    /// Nothing was heard for the Detection Time.
    DetectionTimeExpired,
    /// The peer says that the session is down.
    NeighborSignaledDown,
    /// The peer, or we, took it down on purpose.
    AdministrativelyDown,
}

impl Diagnostic {
    fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::DetectionTimeExpired => 1,
            Self::NeighborSignaledDown => 3,
            Self::AdministrativelyDown => 7,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no diagnostic",
            Self::DetectionTimeExpired => "nothing heard for the detection time",
            Self::NeighborSignaledDown => "the neighbour says that the session is down",
            Self::AdministrativelyDown => "administratively down",
        })
    }
}

/// A change of state, with its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) to: State,
    pub(super) why: Diagnostic,
}

/// One session.
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    diagnostic: Diagnostic,
    local_discriminator: u32,
    remote_discriminator: u32,
    /// The configured interval, in both directions.
    interval: Duration,
    multiplier: u8,
    remote_min_rx: Duration,
    remote_desired_min_tx: Duration,
    remote_multiplier: u8,
    /// A Poll Sequence runs: every packet has the Poll bit until a Final comes (§6.5).
    polling: bool,
    /// When the peer counts as gone.
    detection: Option<Instant>,
    /// When the next periodic packet is due; `None`: the peer wants none.
    next_transmit: Option<Instant>,
    /// Thousandths of the interval to wait, 750 to 1000; the caller changes it with every packet.
    jitter: u32,
}

impl Machine {
    /// A session in state Down; the first packet is due at once.
    pub(super) fn new(
        discriminator: u32,
        interval: Duration,
        multiplier: u8,
        now: Instant,
    ) -> Self {
        Self {
            state: State::Down,
            diagnostic: Diagnostic::None,
            local_discriminator: discriminator,
            remote_discriminator: 0,
            interval,
            multiplier,
            remote_min_rx: Duration::from_micros(1),
            remote_desired_min_tx: Duration::ZERO,
            remote_multiplier: 0,
            polling: false,
            detection: None,
            next_transmit: Some(now),
            jitter: 1000,
        }
    }

    /// When `tick` or `transmit` wants to be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.detection.into_iter().chain(self.next_transmit).min()
    }

    /// The time without a packet after which the peer counts as gone (§6.8.4).
    pub(super) fn detection_time(&self) -> Duration {
        let agreed = self.interval.max(self.remote_desired_min_tx);
        agreed * u32::from(self.remote_multiplier)
    }

    /// What we offer to send (§6.8.3): slowly unless the session is up.
    fn desired_min_tx(&self) -> Duration {
        match self.state {
            State::Up => self.interval,
            State::AdminDown | State::Down | State::Init => self.interval.max(SLOW),
        }
    }

    /// Time between periodic packets (§6.8.7), before jitter; `None`: the peer wants none.
    fn transmit_interval(&self) -> Option<Duration> {
        (!self.remote_min_rx.is_zero()).then(|| self.desired_min_tx().max(self.remote_min_rx))
    }

    /// Acts on a packet that has been found to be this session's (§6.8.6). Returns a change of state,
    /// and the packet that must be sent at once, if the peer polls.
    pub(super) fn receive(
        &mut self,
        packet: &Packet,
        now: Instant,
    ) -> (Option<Change>, Option<Packet>) {
        self.remote_discriminator = packet.my_discriminator;
        self.remote_desired_min_tx = packet.desired_min_tx;
        self.remote_multiplier = packet.detect_multiplier;
        if packet.is_final {
            self.polling = false;
        }
        let wanted_before = self.transmit_interval();
        self.remote_min_rx = packet.required_min_rx;
        if self.state == State::AdminDown {
            return (None, None);
        }
        let change = self.follow(packet);
        if self.transmit_interval() != wanted_before {
            self.hasten(now);
        }
        self.detection = match self.state {
            State::Init | State::Up => Some(now + self.detection_time()),
            State::AdminDown | State::Down => None,
        };
        let answer = packet.poll.then(|| Packet {
            poll: false,
            is_final: true,
            ..self.packet()
        });
        (change, answer)
    }

    /// The table of §6.8.6.
    fn follow(&mut self, packet: &Packet) -> Option<Change> {
        let (to, why) = match (self.state, packet.state) {
            (State::Init | State::Up, State::AdminDown) => {
                (State::Down, Diagnostic::AdministrativelyDown)
            }
            (State::Down, State::Down) => (State::Init, Diagnostic::None),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                (State::Up, Diagnostic::None)
            }
            (State::Up, State::Down) => (State::Down, Diagnostic::NeighborSignaledDown),
            (State::Down, State::AdminDown | State::Up)
            | (State::Init, State::Down)
            | (State::Up, State::Init | State::Up)
            | (State::AdminDown, _) => return None,
        };
        Some(self.enter(to, why))
    }

    fn enter(&mut self, to: State, why: Diagnostic) -> Change {
        self.state = to;
        // §6.8.6: towards the peer, its AdminDown is a neighbour that signalled down.
        self.diagnostic = match why {
            Diagnostic::AdministrativelyDown if to == State::Down => {
                Diagnostic::NeighborSignaledDown
            }
            other => other,
        };
        // §6.8.3: the interval that we offer changes with Up, and the peer must confirm it.
        self.polling = to == State::Up;
        Change { to, why }
    }

    /// A shorter interval takes effect at once (§6.8.7).
    fn hasten(&mut self, now: Instant) {
        let due = self
            .transmit_interval()
            .map(|interval| now + self.spread(interval));
        self.next_transmit = match (self.next_transmit, due) {
            (Some(planned), Some(due)) => Some(planned.min(due)),
            (_, due) => due,
        };
    }

    fn spread(&self, interval: Duration) -> Duration {
        interval * self.jitter / 1000
    }

    /// Lets the Detection Time expire (§6.8.4).
    pub(super) fn tick(&mut self, now: Instant) -> Option<Change> {
        if self.detection.is_none_or(|at| at > now) {
            return None;
        }
        self.detection = None;
        self.remote_discriminator = 0;
        match self.state {
            State::Init | State::Up => {
                Some(self.enter(State::Down, Diagnostic::DetectionTimeExpired))
            }
            State::AdminDown | State::Down => None,
        }
    }

    /// The periodic packet, if it is due. `jitter`: thousandths of the interval until the next one, 750 to
    /// 1000, or to 900 with a multiplier of 1 (§6.8.7).
    pub(super) fn transmit(&mut self, now: Instant, jitter: u32) -> Option<Packet> {
        if self.next_transmit.is_none_or(|at| at > now) {
            return None;
        }
        let most = if self.multiplier == 1 { 900 } else { 1000 };
        self.jitter = jitter.clamp(750, most);
        self.next_transmit = self
            .transmit_interval()
            .map(|interval| now + self.spread(interval));
        Some(self.packet())
    }

    /// Takes the session down on purpose; returns the packet that says so.
    pub(super) fn take_down(&mut self) -> Packet {
        self.state = State::AdminDown;
        self.diagnostic = Diagnostic::AdministrativelyDown;
        self.detection = None;
        self.polling = false;
        self.packet()
    }

    fn packet(&self) -> Packet {
        Packet {
            diagnostic: self.diagnostic.code(),
            state: self.state,
            poll: self.polling,
            is_final: false,
            detect_multiplier: self.multiplier,
            my_discriminator: self.local_discriminator,
            your_discriminator: self.remote_discriminator,
            desired_min_tx: self.desired_min_tx(),
            required_min_rx: self.interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(50);

    fn machine(now: Instant) -> Machine {
        Machine::new(7, INTERVAL, 3, now)
    }

    fn heard(state: State) -> Packet {
        Packet {
            diagnostic: 0,
            state,
            poll: false,
            is_final: false,
            detect_multiplier: 3,
            my_discriminator: 9,
            your_discriminator: 7,
            desired_min_tx: INTERVAL,
            required_min_rx: INTERVAL,
        }
    }

    fn in_state(state: State, now: Instant) -> Machine {
        let mut machine = machine(now);
        match state {
            State::Down => {}
            State::Init => drop(machine.receive(&heard(State::Down), now)),
            State::Up => drop(machine.receive(&heard(State::Init), now)),
            State::AdminDown => drop(machine.take_down()),
        }
        assert_eq!(machine.state, state);
        machine
    }

    #[test]
    fn every_pair_of_states_goes_where_the_rfc_says() {
        use State::{AdminDown, Down, Init, Up};
        // Rows: our state; columns: the peer's AdminDown, Down, Init, Up (§6.8.6).
        let table = [
            (AdminDown, [AdminDown, AdminDown, AdminDown, AdminDown]),
            (Down, [Down, Init, Up, Down]),
            (Init, [Down, Init, Up, Up]),
            (Up, [Down, Down, Up, Up]),
        ];
        for (from, row) in table {
            for (received, want) in [AdminDown, Down, Init, Up].into_iter().zip(row) {
                let now = Instant::now();
                let mut machine = in_state(from, now);
                let (change, _) = machine.receive(&heard(received), now);
                assert_eq!(machine.state, want, "{from:?} hears {received:?}");
                assert_eq!(change.map_or(from, |change| change.to), want);
            }
        }
    }

    #[test]
    fn silence_for_the_detection_time_takes_the_session_down() {
        let now = Instant::now();
        let mut machine = in_state(State::Up, now);
        assert_eq!(machine.detection_time(), Duration::from_millis(150));
        assert_eq!(machine.tick(now + Duration::from_millis(149)), None);
        let change = machine.tick(now + Duration::from_millis(150));
        let want = Change {
            to: State::Down,
            why: Diagnostic::DetectionTimeExpired,
        };
        assert_eq!(change, Some(want));
        assert_eq!(machine.packet().diagnostic, 1);
        assert_eq!(machine.packet().your_discriminator, 0);
    }

    #[test]
    fn a_peer_that_stops_on_purpose_is_not_a_failure() {
        let now = Instant::now();
        let mut machine = in_state(State::Up, now);
        let (change, _) = machine.receive(&heard(State::AdminDown), now);
        let want = Change {
            to: State::Down,
            why: Diagnostic::AdministrativelyDown,
        };
        assert_eq!(change, Some(want));
        // On the wire it is "neighbor signaled session down" (§6.8.6).
        assert_eq!(machine.packet().diagnostic, 3);
    }

    #[test]
    fn a_poll_is_answered_at_once_and_ours_ends_with_the_final() {
        let now = Instant::now();
        let mut machine = in_state(State::Up, now);
        assert!(
            machine.packet().poll,
            "the faster interval must be confirmed"
        );
        let poll = Packet {
            poll: true,
            ..heard(State::Up)
        };
        let (_, answer) = machine.receive(&poll, now);
        let answer = answer.expect("an answer");
        assert!(answer.is_final && !answer.poll, "§6.5: never both");
        machine.receive(
            &Packet {
                is_final: true,
                ..heard(State::Up)
            },
            now,
        );
        assert!(!machine.packet().poll);
    }

    #[test]
    fn packets_go_out_slowly_until_the_session_is_up() {
        let now = Instant::now();
        let mut machine = machine(now);
        assert_eq!(machine.transmit(now, 1000).unwrap().desired_min_tx, SLOW);
        assert_eq!(
            machine.transmit(now + Duration::from_millis(999), 1000),
            None
        );
        machine.receive(&heard(State::Init), now);
        // Up: the shorter interval holds at once.
        let packet = machine.transmit(now + INTERVAL, 1000).expect("due");
        assert_eq!((packet.state, packet.desired_min_tx), (State::Up, INTERVAL));
    }

    #[test]
    fn the_interval_is_jittered_within_its_bounds() {
        for (multiplier, asked, want) in
            [(3, 0, 750), (3, 800, 800), (3, 2000, 1000), (1, 1000, 900)]
        {
            let now = Instant::now();
            let mut machine = Machine::new(7, INTERVAL, multiplier, now);
            machine.receive(&heard(State::Init), now);
            let start = now + SLOW;
            machine.transmit(start, asked).expect("due");
            let wait = machine.next_transmit.unwrap() - start;
            assert_eq!(wait, INTERVAL * want / 1000);
        }
    }

    #[test]
    fn a_slower_peer_sets_the_pace_and_one_that_wants_nothing_gets_nothing() {
        let now = Instant::now();
        let mut machine = in_state(State::Up, now);
        let slow = Packet {
            required_min_rx: Duration::from_millis(300),
            desired_min_tx: Duration::from_millis(200),
            ..heard(State::Up)
        };
        machine.receive(&slow, now);
        assert_eq!(
            machine.transmit_interval(),
            Some(Duration::from_millis(300))
        );
        assert_eq!(machine.detection_time(), Duration::from_millis(600));
        machine.receive(
            &Packet {
                required_min_rx: Duration::ZERO,
                ..slow
            },
            now,
        );
        assert_eq!(machine.transmit(now + SLOW, 1000), None);
    }
}
