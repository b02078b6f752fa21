//! The BFD Control packet (RFC 5880 §4.1), without authentication.

use std::time::Duration;

use super::machine::State;

/// Length of a packet without authentication.
pub(super) const LENGTH: usize = 24;
/// The same, as the packet carries it.
const LENGTH_FIELD: u8 = 24;
const _: () = assert!(LENGTH_FIELD as usize == LENGTH);
/// The version of RFC 5880.
const VERSION: u8 = 1;

/// Flag bits of the second octet.
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const AUTHENTICATION: u8 = 0x04;
const MULTIPOINT: u8 = 0x01;

/// A BFD Control packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) diagnostic: u8,
    pub(super) state: State,
    pub(super) poll: bool,
    pub(super) is_final: bool,
    pub(super) detect_multiplier: u8,
    pub(super) my_discriminator: u32,
    pub(super) your_discriminator: u32,
    pub(super) desired_min_tx: Duration,
    pub(super) required_min_rx: Duration,
}

/// Why a packet is discarded (RFC 5880 §6.8.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the version is not 1")]
    Version,
    #[error("the length field does not fit")]
    Length,
    #[error("the detection multiplier is 0")]
    Multiplier,
    #[error("the multipoint bit is set")]
    Multipoint,
    #[error("My Discriminator is 0")]
    MyDiscriminator,
    #[error("Your Discriminator is 0 in a state that has one")]
    YourDiscriminator,
    #[error("authentication is not in use here")]
    Authentication,
}

fn micros(octets: [u8; 4]) -> Duration {
    Duration::from_micros(u32::from_be_bytes(octets).into())
}

fn field(interval: Duration) -> [u8; 4] {
    u32::try_from(interval.as_micros())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
}

fn word(octets: &[u8; LENGTH], at: usize) -> [u8; 4] {
    [octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]
}

impl Packet {
    /// The octets on the wire.
    pub(super) fn encode(&self) -> [u8; LENGTH] {
        let mut octets = [0; LENGTH];
        octets[0] = VERSION << 5 | self.diagnostic & 0x1F;
        octets[1] = self.state.code() << 6;
        if self.poll {
            octets[1] |= POLL;
        }
        if self.is_final {
            octets[1] |= FINAL;
        }
        octets[2] = self.detect_multiplier;
        octets[3] = LENGTH_FIELD;
        octets[4..8].copy_from_slice(&self.my_discriminator.to_be_bytes());
        octets[8..12].copy_from_slice(&self.your_discriminator.to_be_bytes());
        octets[12..16].copy_from_slice(&field(self.desired_min_tx));
        octets[16..20].copy_from_slice(&field(self.required_min_rx));
        // Required Min Echo RX Interval stays 0: no echo packets are wanted.
        octets
    }

    /// Reads a datagram, with the checks that need no session.
    pub(super) fn decode(datagram: &[u8]) -> Result<Self, Malformed> {
        let octets: &[u8; LENGTH] = datagram.first_chunk().ok_or(Malformed::Length)?;
        let [first, flags, detect_multiplier, length, ..] = *octets;
        if first >> 5 != VERSION {
            return Err(Malformed::Version);
        }
        if flags & AUTHENTICATION != 0 {
            return Err(Malformed::Authentication);
        }
        let length = usize::from(length);
        if length < LENGTH || length > datagram.len() {
            return Err(Malformed::Length);
        }
        if detect_multiplier == 0 {
            return Err(Malformed::Multiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(Malformed::Multipoint);
        }
        let packet = Self {
            diagnostic: first & 0x1F,
            state: State::from_code(flags >> 6),
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            detect_multiplier,
            my_discriminator: u32::from_be_bytes(word(octets, 4)),
            your_discriminator: u32::from_be_bytes(word(octets, 8)),
            desired_min_tx: micros(word(octets, 12)),
            required_min_rx: micros(word(octets, 16)),
        };
        if packet.my_discriminator == 0 {
            return Err(Malformed::MyDiscriminator);
        }
        let knows_us = matches!(packet.state, State::Init | State::Up);
        if packet.your_discriminator == 0 && knows_us {
            return Err(Malformed::YourDiscriminator);
        }
        Ok(packet)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Packet {
        Packet {
            diagnostic: 0,
            state: State::Up,
            poll: true,
            is_final: false,
            detect_multiplier: 3,
            my_discriminator: 0x0102_0304,
            your_discriminator: 0x0506_0708,
            desired_min_tx: Duration::from_millis(50),
            required_min_rx: Duration::from_millis(100),
        }
    }

    #[test]
    fn a_packet_has_the_layout_of_the_rfc() {
        let want = [
            0x20, 0xE0, 3, 24, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0xC3, 0x50, 0, 1, 0x86, 0xA0, 0, 0, 0,
            0,
        ];
        assert_eq!(sample().encode(), want);
        assert_eq!(Packet::decode(&want), Ok(sample()));
    }

    #[test]
    fn what_must_be_discarded_is() {
        let cases: [(&str, usize, u8, Malformed); 8] = [
            ("version 0", 0, 0x00, Malformed::Version),
            ("length 23", 3, 23, Malformed::Length),
            ("length over the datagram", 3, 25, Malformed::Length),
            ("multiplier 0", 2, 0, Malformed::Multiplier),
            ("multipoint", 1, 0xC1, Malformed::Multipoint),
            ("authentication", 1, 0xC4, Malformed::Authentication),
            ("My Discriminator 0", 7, 0, Malformed::MyDiscriminator),
            (
                "Your Discriminator 0 in Up",
                11,
                0,
                Malformed::YourDiscriminator,
            ),
        ];
        for (name, at, value, want) in cases {
            let mut packet = sample();
            packet.my_discriminator = 4;
            packet.your_discriminator = 8;
            let mut octets = packet.encode();
            octets[at] = value;
            assert_eq!(Packet::decode(&octets), Err(want), "{name}");
        }
        assert_eq!(
            Packet::decode(&sample().encode()[..23]),
            Err(Malformed::Length)
        );
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused_and_what_is_read_encodes_again(
            octets in prop::collection::vec(any::<u8>(), 0..64)
        ) {
            if let Ok(packet) = Packet::decode(&octets) {
                prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
            }
        }
    }
}
