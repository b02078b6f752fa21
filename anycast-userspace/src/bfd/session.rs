//! One session at work: its state machine, its sending socket and its counters.
//!
//! It belongs to the engine, which tells it what arrived and what time it is.

use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU32};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::auth::{self, Authenticator};
use super::demux::Key;
use super::event::{Event, EventKind};
use super::iana::State;
use super::machine::{Machine, Settings, Transition};
use super::packet::{Micros, Parsed};
use super::socket::{Domain, Hops, Target, Transmitter};
use super::status::{self, LastDown, Packets, SessionStatus};
use crate::config::bfd::Bfd;

/// A peer to watch.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Its name, for events and status.
    pub name: String,
    /// Its address; a link-local one needs `interface`.
    pub address: IpAddr,
    /// The address that we send from; the kernel chooses when absent.
    pub source: Option<IpAddr>,
    /// The interface that packets leave and first packets arrive by; absent: any.
    pub interface: Option<String>,
    /// The VRF device of the session.
    pub vrf: Option<String>,
    /// How to watch it.
    pub settings: Bfd,
    /// The secret of both sides; absent: packets are not authenticated.
    pub key: Option<auth::Key>,
}

impl Peer {
    pub(super) fn domain(&self) -> Domain {
        Domain {
            hops: hops(&self.settings),
            ipv6: self.address.is_ipv6(),
            vrf: self.vrf.clone(),
        }
    }
}

fn hops(settings: &Bfd) -> Hops {
    if settings.multihop {
        Hops::Multi
    } else {
        Hops::Single
    }
}

/// The part of the settings that the state machine knows. A zero multiplier, which validation refuses,
/// counts as one.
pub(super) fn timers(settings: &Bfd) -> Settings {
    Settings {
        desired_min_tx: Micros::saturating_from(settings.transmit()),
        required_min_rx: Micros::saturating_from(settings.receive()),
        multiplier: NonZeroU8::new(settings.multiplier).unwrap_or(NonZeroU8::MIN),
        passive: settings.passive,
    }
}

/// A session of the engine.
pub(super) struct Session {
    peer: Peer,
    name: Arc<str>,
    machine: Machine,
    authenticator: Authenticator,
    transmitter: Transmitter,
    state: watch::Sender<State>,
    packets: Packets,
    up_since: Option<jiff::Timestamp>,
    last_down: Option<LastDown>,
    times_up: u64,
    send_error: Option<String>,
    /// Why the peer's last packet failed its authentication.
    auth_error: Option<auth::AuthError>,
}

impl Session {
    pub(super) fn new(
        peer: Peer,
        discriminator: NonZeroU32,
        random: u32,
        state: watch::Sender<State>,
    ) -> Self {
        let target = Target {
            address: peer.address,
            source: peer.source,
            interface: peer.interface.clone(),
            vrf: peer.vrf.clone(),
            hops: hops(&peer.settings),
        };
        Self {
            name: peer.name.as_str().into(),
            machine: Machine::new(timers(&peer.settings), discriminator),
            authenticator: Authenticator::new(peer.key.clone(), random),
            transmitter: Transmitter::new(target, random),
            state,
            packets: Packets::default(),
            up_since: None,
            last_down: None,
            times_up: 0,
            send_error: None,
            auth_error: None,
            peer,
        }
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// How to tell its first packets. The interface is looked up again, since its index may have changed.
    pub(super) fn key(&mut self) -> Key {
        if let Err(error) = self.transmitter.prepare() {
            self.note_send_error(&error);
        }
        // An interface that is not there yet has no index: zero is nobody's.
        let interface = self.peer.interface.as_ref();
        Key {
            domain: self.peer.domain(),
            address: self.peer.address,
            source: self.peer.source,
            interface: interface.map(|_| self.transmitter.interface.unwrap_or(0)),
            minimum_ttl: self.peer.settings.minimum_ttl.unwrap_or(1),
        }
    }

    pub(super) fn on_packet(&mut self, parsed: &Parsed<'_>, now: Instant) -> Option<Event> {
        // RFC 5880 §6.8.6: what fails here must change nothing.
        let detection_time = self.machine.detection_time_by(&parsed.control);
        if let Err(error) = self.authenticator.check(parsed, detection_time, now) {
            self.packets.authentication += 1;
            self.note_auth_error(error);
            return None;
        }
        self.auth_error = None;
        self.packets.received += 1;
        let transition = self.machine.on_packet(&parsed.control, now)?;
        self.note(transition, now)
    }

    pub(super) fn on_deadline(&mut self, now: Instant) -> Option<Event> {
        let transition = self.machine.on_deadline(now)?;
        self.note(transition, now)
    }

    pub(super) fn set_admin_down(&mut self, held: bool, now: Instant) -> Option<Event> {
        let transition = self.machine.set_admin_down(held)?;
        self.note(transition, now)
    }

    /// New timers. Whether the session is multihop, and its key, cannot change: that is another session.
    pub(super) fn configure(&mut self, settings: &Bfd) {
        self.machine.configure(timers(settings));
        self.peer.settings = Bfd {
            multihop: self.peer.settings.multihop,
            auth: self.peer.settings.auth.clone(),
            ..settings.clone()
        };
    }

    /// Sends what is due. Returns whether the interface's index has changed, and so the key.
    pub(super) fn transmit(&mut self, now: Instant, mut random: impl FnMut() -> u32) -> bool {
        let before = self.transmitter.interface;
        while let Some(packet) = self.machine.transmit(now, random()) {
            match self.transmitter.send(&self.authenticator.encode(&packet)) {
                Ok(()) => {
                    self.packets.sent += 1;
                    self.send_error = None;
                }
                Err(error) => {
                    self.packets.send_failed += 1;
                    self.note_send_error(&error);
                }
            }
        }
        self.transmitter.interface != before
    }

    /// Said once for a row of the same errors.
    fn note_send_error(&mut self, error: &std::io::Error) {
        let text = error.to_string();
        if self.send_error.as_ref() != Some(&text) {
            warn!(peer = %self.name, address = %self.peer.address, "cannot send BFD packets: {text}");
            self.send_error = Some(text);
        }
    }

    /// Said once for a row of the same kind: a peer, or somebody in its place, may send thousands.
    fn note_auth_error(&mut self, error: auth::AuthError) {
        let before = self.auth_error.replace(error);
        let known = before.is_some_and(|before| {
            std::mem::discriminant(&before) == std::mem::discriminant(&error)
        });
        if !known {
            warn!(peer = %self.name, address = %self.peer.address, "BFD packets are discarded: {error}");
        }
    }

    fn note(&mut self, transition: Transition, now: Instant) -> Option<Event> {
        debug!(peer = %self.name, "BFD: {transition:?}");
        // Only the handle may be waiting for it.
        self.state.send_replace(transition.to);
        self.up_since = (transition.to == State::Up).then(jiff::Timestamp::now);
        let kind = EventKind::of(transition)?;
        let (peer, address) = (&self.name, self.peer.address);
        match kind {
            EventKind::Up => {
                self.times_up += 1;
                info!(%peer, %address, "BFD session is up");
            }
            EventKind::Down(reason) => {
                warn!(%peer, %address, "BFD session is down: {reason}");
                self.note_down(reason.to_string());
            }
            EventKind::PeerAdminDown => {
                info!(%peer, %address, "BFD session was taken down by the peer's operator");
                self.note_down("the peer's operator took it down".to_owned());
            }
        }
        Some(Event {
            peer: self.name.clone(),
            address,
            kind,
            at: now,
        })
    }

    fn note_down(&mut self, reason: String) {
        self.last_down = Some(LastDown {
            at: jiff::Timestamp::now(),
            reason,
        });
    }

    pub(super) fn status(&self) -> SessionStatus {
        let machine = &self.machine;
        SessionStatus {
            peer: self.peer.name.clone(),
            address: self.peer.address,
            interface: self.peer.interface.clone(),
            multihop: self.peer.settings.multihop,
            state: machine.state(),
            remote_state: machine.remote_state(),
            discriminator: machine.discriminator().get(),
            remote_discriminator: machine.remote_discriminator().map(NonZeroU32::get),
            transmit_interval: machine.transmit_interval().map(status::span),
            receive_interval: machine.receive_interval().map(status::span),
            detection_time: machine.detection_time().map(crate::config::Span),
            diagnostic: machine.diagnostic(),
            remote_diagnostic: machine.remote_diagnostic(),
            up_since: self.up_since,
            last_down: self.last_down.clone(),
            times_up: self.times_up,
            packets: self.packets,
            authentication: self.authenticator.kind(),
            authentication_error: self.auth_error.map(|error| error.to_string()),
            send_error: self.send_error.clone(),
        }
    }
}
