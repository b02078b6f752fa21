//! The BFD control packet (RFC 5880 §4.1): parsing with every check that needs no session, and building.
//!
//! It knows bytes only: no session, no clock, no socket. No input makes it panic.

use std::num::{NonZeroU8, NonZeroU32};

use thiserror::Error;

use super::iana::{Diagnostic, State, VERSION};

/// Octets of the mandatory section (RFC 5880 §4.1).
pub const LEN: usize = 24;
/// The least length of a packet with an authentication section: its type and its length (RFC 5880 §4.1).
const LEN_WITH_AUTH: usize = LEN + 2;

const FLAG_POLL: u8 = 0b10_0000;
const FLAG_FINAL: u8 = 0b01_0000;
const FLAG_CONTROL_PLANE_INDEPENDENT: u8 = 0b00_1000;
const FLAG_AUTH: u8 = 0b00_0100;
const FLAG_DEMAND: u8 = 0b00_0010;
const FLAG_MULTIPOINT: u8 = 0b00_0001;

/// A span in whole microseconds, as BFD counts time on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u32);

impl Micros {
    /// One second: the fastest that a session may send while it is not up (RFC 5880 §6.8.3).
    pub const SECOND: Self = Self(1_000_000);

    /// `duration` in whole microseconds; what does not fit becomes the largest value (about 71 minutes).
    pub fn saturating_from(duration: std::time::Duration) -> Self {
        Self(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX))
    }

    /// The same span as a `Duration`.
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0 as u64)
    }
}

/// The mandatory section of a control packet. Multipoint, version and length are implied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Why the sender last left a state.
    pub diagnostic: Diagnostic,
    /// The sender's session state.
    pub state: State,
    /// P: the sender asks for an answer with F.
    pub poll: bool,
    /// F: the sender answers a packet with P.
    pub last: bool,
    /// C: the sender's BFD does not share fate with its control plane.
    pub control_plane_independent: bool,
    /// D: the sender asks not to be sent periodic packets.
    pub demand: bool,
    /// The detection time multiplier of the sender.
    pub multiplier: NonZeroU8,
    /// The sender's discriminator of this session.
    pub my_discriminator: NonZeroU32,
    /// The receiver's discriminator; `None` while the sender does not know it.
    pub your_discriminator: Option<NonZeroU32>,
    /// The fastest that the sender would send.
    pub desired_min_tx: Micros,
    /// The fastest that the sender can receive; zero asks for no periodic packets.
    pub required_min_rx: Micros,
    /// The fastest echo that the sender supports; zero for none.
    pub required_min_echo_rx: Micros,
}

/// A packet that passed the checks of the codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The mandatory section.
    pub control: Control,
    /// All of its octets, up to its Length field.
    pub packet: &'a [u8],
    /// The authentication section, type and length octets included, when the A bit is set.
    pub authentication: Option<&'a [u8]>,
}

/// Why a packet is discarded before any session is looked for (RFC 5880 §6.8.6, in its order).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum ParseError {
    /// Fewer octets than a mandatory section has.
    #[error("{len} octets are less than a control packet has")]
    Short {
        /// Octets that arrived.
        len: usize,
    },
    /// Another version than 1.
    #[error("version {version} is not {VERSION}")]
    Version {
        /// The version field.
        version: u8,
    },
    /// The Length field is below the minimum, or above what arrived.
    #[error("length field says {length}, and {payload} octets arrived")]
    Length {
        /// The length field.
        length: u8,
        /// Octets that arrived.
        payload: usize,
    },
    /// Detect Mult is zero.
    #[error("detection multiplier is zero")]
    ZeroMultiplier,
    /// The M bit is set.
    #[error("multipoint bit is set")]
    Multipoint,
    /// My Discriminator is zero.
    #[error("the sender's discriminator is zero")]
    ZeroDiscriminator,
    /// Your Discriminator is zero in a state that only a system that hears us can be in.
    #[error("our discriminator is zero in state {state}")]
    NoYourDiscriminator {
        /// The state field.
        state: State,
    },
}

impl Control {
    /// Parses the payload of one UDP datagram. Octets after the packet's own length are ignored.
    ///
    /// # Errors
    /// The first check of RFC 5880 §6.8.6 that the payload fails, of those that need no session.
    pub fn parse(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
        let Some((header, _)) = payload.split_first_chunk::<LEN>() else {
            return Err(ParseError::Short { len: payload.len() });
        };
        let version = header[0] >> 5;
        if version != VERSION {
            return Err(ParseError::Version { version });
        }
        let flags = header[1];
        let has_auth = flags & FLAG_AUTH != 0;
        let least = if has_auth { LEN_WITH_AUTH } else { LEN };
        let length = header[3];
        let packet = payload
            .get(..usize::from(length))
            .filter(|packet| packet.len() >= least)
            .ok_or(ParseError::Length {
                length,
                payload: payload.len(),
            })?;
        let multiplier = NonZeroU8::new(header[2]).ok_or(ParseError::ZeroMultiplier)?;
        if flags & FLAG_MULTIPOINT != 0 {
            return Err(ParseError::Multipoint);
        }
        let my_discriminator =
            NonZeroU32::new(word(header, 4)).ok_or(ParseError::ZeroDiscriminator)?;
        let your_discriminator = NonZeroU32::new(word(header, 8));
        let state = State::from_bits(flags >> 6);
        match (your_discriminator, state) {
            (Some(_), _) | (None, State::AdminDown | State::Down) => {}
            (None, State::Init | State::Up) => {
                return Err(ParseError::NoYourDiscriminator { state });
            }
        }
        Ok(Parsed {
            control: Self {
                diagnostic: Diagnostic::from_bits(header[0]),
                state,
                poll: flags & FLAG_POLL != 0,
                last: flags & FLAG_FINAL != 0,
                control_plane_independent: flags & FLAG_CONTROL_PLANE_INDEPENDENT != 0,
                demand: flags & FLAG_DEMAND != 0,
                multiplier,
                my_discriminator,
                your_discriminator,
                desired_min_tx: Micros(word(header, 12)),
                required_min_rx: Micros(word(header, 16)),
                required_min_echo_rx: Micros(word(header, 20)),
            },
            packet,
            authentication: has_auth.then(|| &packet[LEN..]),
        })
    }

    /// The packet's octets, without an authentication section.
    pub fn encode(&self) -> [u8; LEN] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut octets = [0; LEN];
        octets[0] = VERSION << 5 | self.diagnostic.code();
        octets[1] = (self.state as u8) << 6
            | flag(self.poll, FLAG_POLL)
            | flag(self.last, FLAG_FINAL)
            | flag(
                self.control_plane_independent,
                FLAG_CONTROL_PLANE_INDEPENDENT,
            )
            | flag(self.demand, FLAG_DEMAND);
        octets[2] = self.multiplier.get();
        octets[3] = LEN_OCTET;
        let words = [
            self.my_discriminator.get(),
            self.your_discriminator.map_or(0, NonZeroU32::get),
            self.desired_min_tx.0,
            self.required_min_rx.0,
            self.required_min_echo_rx.0,
        ];
        for (chunk, word) in octets[4..].chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        octets
    }

    /// The octets of the mandatory section of a packet that ends with an authentication section of this
    /// length, which the caller appends.
    pub(super) fn encode_with_auth(&self, section: usize) -> Vec<u8> {
        let mut octets = self.encode().to_vec();
        octets[1] |= FLAG_AUTH;
        octets[3] = u8::try_from(LEN + section).expect("a packet is shorter than 256 octets");
        octets
    }
}

/// `LEN` as the length field carries it.
const LEN_OCTET: u8 = 24;
const _: () = assert!(LEN_OCTET as usize == LEN);

fn word(header: &[u8; LEN], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests;
