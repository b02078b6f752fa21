//! One BFD session as a state machine (RFC 5880 §6): states, timers, Poll Sequences, what to send and when.
//!
//! It does no I/O and reads no clock: `now` and the random numbers for the jitter are arguments. After every
//! call that takes an event, call [`Machine::transmit`] until it has nothing more to send, then sleep until
//! [`Machine::next_deadline`].
//!
//! Asynchronous mode only: a peer in Demand mode is respected (RFC 5880 §6.6), Echo is not offered, and this
//! system never asks for Demand mode itself.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use super::iana::{Diagnostic, State};
use super::packet::{Control, Micros};

/// What an operator sets for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The fastest that this system would send while up.
    pub desired_min_tx: Micros,
    /// The fastest that this system takes packets.
    pub required_min_rx: Micros,
    /// How many of its intervals the peer waits before it takes this system for dead.
    pub multiplier: NonZeroU8,
    /// Send nothing until the peer was heard (RFC 5880 §6.1).
    pub passive: bool,
}

/// What moved the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A packet in which the peer says this state and this diagnostic.
    Peer(State, Diagnostic),
    /// No packet for this long.
    DetectionTimeExpired(Duration),
    /// The operator's word on this side.
    Administrator,
}

/// A change of the session's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state that was left.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Why.
    pub cause: Cause,
}

/// What the peer last said; reset when it falls silent for a Detection Time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Remote {
    discriminator: Option<NonZeroU32>,
    state: State,
    diagnostic: Diagnostic,
    /// The multiplier, and when the peer was last heard; `None` while it is silent.
    heard: Option<(NonZeroU8, Instant)>,
    desired_min_tx: Micros,
    required_min_rx: Micros,
    demand: bool,
}

impl Remote {
    /// The initial values of RFC 5880 §6.8.1.
    const UNHEARD: Self = Self {
        discriminator: None,
        state: State::Down,
        diagnostic: Diagnostic::NONE,
        heard: None,
        desired_min_tx: Micros(0),
        required_min_rx: Micros(1),
        demand: false,
    };
}

/// A Poll Sequence (RFC 5880 §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    Idle,
    /// Packets carry P until an F comes.
    Active,
    /// As `Active`, and the timers changed again: the F may answer the values before, so one more sequence follows.
    ActiveThenAgain,
}

/// A pair of timer values in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timers {
    tx: Micros,
    rx: Micros,
}

/// The state variables of one session (RFC 5880 §6.8.1).
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    discriminator: NonZeroU32,
    state: State,
    diagnostic: Diagnostic,
    remote: Remote,
    /// What our packets say: `bfd.DesiredMinTxInterval` and `bfd.RequiredMinRxInterval`.
    advertised: Timers,
    /// What sending and detection go by; it trails `advertised` where the peer must agree first (§6.8.3).
    in_use: Timers,
    poll: Poll,
    last_sent: Option<Instant>,
    /// Thousandths of the interval until the next periodic packet.
    jitter: u32,
    /// The contents changed: tell the peer before the next periodic packet (§6.8.7).
    changed: bool,
    /// A packet with P awaits its answer.
    final_due: bool,
}

impl Machine {
    /// A session in state Down that has heard nothing. `discriminator` must be unique on this system.
    pub fn new(settings: Settings, discriminator: NonZeroU32) -> Self {
        let timers = timers(settings, State::Down);
        Self {
            settings,
            discriminator,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            remote: Remote::UNHEARD,
            advertised: timers,
            in_use: timers,
            poll: Poll::Idle,
            last_sent: None,
            jitter: 1000,
            changed: false,
            final_due: false,
        }
    }

    /// Our state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The peer's state as it last said; Down while it is not heard.
    pub fn remote_state(&self) -> State {
        self.remote.state
    }

    /// Why our state last changed, as our packets say it.
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// Why the peer's state last changed, as it says.
    pub fn remote_diagnostic(&self) -> Diagnostic {
        self.remote.diagnostic
    }

    /// Our discriminator.
    pub fn discriminator(&self) -> NonZeroU32 {
        self.discriminator
    }

    /// The peer's discriminator, while it is heard.
    pub fn remote_discriminator(&self) -> Option<NonZeroU32> {
        self.remote.discriminator
    }

    /// The interval of our packets before jitter; `None` while the peer asks for no periodic packets.
    pub fn transmit_interval(&self) -> Option<Micros> {
        let silenced = self.remote.required_min_rx == Micros(0)
            || (self.remote_demand_is_active() && self.poll == Poll::Idle);
        (!silenced).then(|| self.in_use.tx.max(self.remote.required_min_rx))
    }

    /// The interval at which the peer may send; `None` while it is not heard.
    pub fn receive_interval(&self) -> Option<Micros> {
        self.remote
            .heard
            .map(|_| self.in_use.rx.max(self.remote.desired_min_tx))
    }

    /// How long the peer may be silent (RFC 5880 §6.8.4); `None` while it is not heard.
    pub fn detection_time(&self) -> Option<Duration> {
        let (multiplier, _) = self.remote.heard?;
        let interval = self.receive_interval()?.duration();
        Some(interval * u32::from(multiplier.get()))
    }

    /// The Detection Time once this packet of the peer's is taken.
    pub fn detection_time_by(&self, packet: &Control) -> Duration {
        let interval = self.in_use.rx.max(packet.desired_min_tx).duration();
        interval * u32::from(packet.multiplier.get())
    }

    /// Takes a packet that was demultiplexed to this session and passed every check (RFC 5880 §6.8.6).
    pub fn on_packet(&mut self, packet: &Control, now: Instant) -> Option<Transition> {
        self.remote = Remote {
            discriminator: Some(packet.my_discriminator),
            state: packet.state,
            diagnostic: packet.diagnostic,
            heard: Some((packet.multiplier, now)),
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            demand: packet.demand,
        };
        if packet.last {
            self.end_poll();
        }
        if self.state == State::AdminDown {
            return None;
        }
        self.final_due |= packet.poll;
        let next = match (self.state, packet.state) {
            (State::AdminDown | State::Down, State::AdminDown | State::Up) => None,
            (State::AdminDown, State::Down | State::Init) => None,
            (State::Down, State::Down) => Some((State::Init, self.diagnostic)),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                Some((State::Up, Diagnostic::NONE))
            }
            (State::Init, State::Down) | (State::Up, State::Init | State::Up) => None,
            (State::Init, State::AdminDown) | (State::Up, State::AdminDown | State::Down) => {
                Some((State::Down, Diagnostic::NEIGHBOR_SIGNALED_DOWN))
            }
        };
        let (to, diagnostic) = next?;
        Some(self.enter(to, diagnostic, Cause::Peer(packet.state, packet.diagnostic)))
    }

    /// Ends the session if the peer was silent for its Detection Time (RFC 5880 §6.8.4). Packets that have
    /// already arrived must have been handed to [`Machine::on_packet`] first.
    pub fn on_deadline(&mut self, now: Instant) -> Option<Transition> {
        let silence = self.detection_time()?;
        if now < self.detection_deadline()? {
            return None;
        }
        self.remote = Remote::UNHEARD;
        self.poll = Poll::Idle;
        match self.state {
            State::AdminDown | State::Down => None,
            State::Init | State::Up => Some(self.enter(
                State::Down,
                Diagnostic::DETECTION_TIME_EXPIRED,
                Cause::DetectionTimeExpired(silence),
            )),
        }
    }

    /// Holds the session down, or lets it come up again (RFC 5880 §6.8.16).
    pub fn set_admin_down(&mut self, held: bool) -> Option<Transition> {
        match (self.state, held) {
            (State::AdminDown, true) | (State::Down | State::Init | State::Up, false) => None,
            (State::Down | State::Init | State::Up, true) => Some(self.enter(
                State::AdminDown,
                Diagnostic::ADMINISTRATIVELY_DOWN,
                Cause::Administrator,
            )),
            (State::AdminDown, false) => {
                Some(self.enter(State::Down, Diagnostic::NONE, Cause::Administrator))
            }
        }
    }

    /// Changes the operator's settings; a session that is up stays up and agrees on them by a Poll Sequence.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
        self.advertise();
    }

    /// The next packet that is due at `now`, if any. `random` is any number; it sets the jitter of the packet
    /// after this one.
    pub fn transmit(&mut self, now: Instant, random: u32) -> Option<Control> {
        if self.remote.discriminator.is_none() && self.settings.passive {
            return None;
        }
        // The answer to P waits for nothing, and does not move the periodic timer (RFC 5880 §6.8.7).
        if std::mem::take(&mut self.final_due) {
            self.changed = false;
            return Some(self.packet(false, true));
        }
        let due = self.transmit_at().is_some_and(|at| at <= now)
            || (self.last_sent.is_none() && self.transmit_interval().is_some());
        if !due && !self.changed {
            return None;
        }
        self.changed = false;
        self.last_sent = Some(now);
        self.jitter = jitter(self.settings.multiplier, random);
        Some(self.packet(self.poll != Poll::Idle, false))
    }

    /// When something is due that no packet brings: the next periodic packet or the end of the Detection Time.
    pub fn next_deadline(&self) -> Option<Instant> {
        let silent = self.remote.discriminator.is_none() && self.settings.passive;
        let transmit = if silent { None } else { self.transmit_at() };
        transmit.into_iter().chain(self.detection_deadline()).min()
    }

    fn transmit_at(&self) -> Option<Instant> {
        let interval = self.transmit_interval()?.duration();
        Some(self.last_sent? + interval * self.jitter / 1000)
    }

    fn detection_deadline(&self) -> Option<Instant> {
        let (_, at) = self.remote.heard?;
        Some(at + self.detection_time()?)
    }

    /// RFC 5880 §6.6: the peer asked for it, and both sides are up.
    fn remote_demand_is_active(&self) -> bool {
        self.remote.demand && self.state == State::Up && self.remote.state == State::Up
    }

    fn packet(&self, poll: bool, last: bool) -> Control {
        Control {
            diagnostic: self.diagnostic,
            state: self.state,
            poll,
            last,
            // This BFD lives in the daemon that speaks BGP: they share fate.
            control_plane_independent: false,
            demand: false,
            multiplier: self.settings.multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx: self.advertised.tx,
            required_min_rx: self.advertised.rx,
            required_min_echo_rx: Micros(0),
        }
    }

    fn enter(&mut self, to: State, diagnostic: Diagnostic, cause: Cause) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        self.diagnostic = diagnostic;
        self.changed = true;
        self.advertise();
        Transition { from, to, cause }
    }

    /// Brings the advertised timers in line with the settings and the state (RFC 5880 §6.8.3).
    fn advertise(&mut self) {
        let wanted = timers(self.settings, self.state);
        let differs = wanted != self.advertised;
        self.advertised = wanted;
        // While up, the peer must first agree to hear us less often, or to be held to a faster pace.
        let up = self.state == State::Up;
        if !(up && wanted.tx > self.in_use.tx) {
            self.in_use.tx = wanted.tx;
        }
        if !(up && wanted.rx < self.in_use.rx) {
            self.in_use.rx = wanted.rx;
        }
        if self.remote.discriminator.is_none() {
            self.poll = Poll::Idle;
        } else if differs {
            self.poll = match self.poll {
                Poll::Idle => Poll::Active,
                Poll::Active | Poll::ActiveThenAgain => Poll::ActiveThenAgain,
            };
        }
    }

    /// F came (RFC 5880 §6.5).
    fn end_poll(&mut self) {
        match self.poll {
            Poll::Idle => {}
            Poll::Active => {
                self.poll = Poll::Idle;
                self.in_use = self.advertised;
            }
            Poll::ActiveThenAgain => self.poll = Poll::Active,
        }
    }
}

/// What to advertise in `state`: not faster than one packet a second unless up (RFC 5880 §6.8.3).
fn timers(settings: Settings, state: State) -> Timers {
    let tx = match state {
        State::Up => settings.desired_min_tx,
        State::AdminDown | State::Down | State::Init => settings.desired_min_tx.max(Micros::SECOND),
    };
    Timers {
        tx,
        rx: settings.required_min_rx,
    }
}

/// Thousandths of the interval: 75 to 100 %, or to 90 % if the peer waits for one packet only (RFC 5880 §6.8.7).
fn jitter(multiplier: NonZeroU8, random: u32) -> u32 {
    let most = if multiplier.get() == 1 { 900 } else { 1000 };
    750 + random % (most - 750 + 1)
}

#[cfg(test)]
mod tests;
