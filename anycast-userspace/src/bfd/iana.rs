//! The numbers that the registries assign to BFD, each with its source.
//!
//! It only names numbers; what they mean to a session is decided elsewhere.

use std::fmt;

use serde::Serialize;

/// The protocol version (RFC 5880 §4.1).
pub const VERSION: u8 = 1;
/// Destination port of single-hop control packets (RFC 5881 §4).
pub const PORT_SINGLE_HOP: u16 = 3784;
/// Destination port of multihop control packets (RFC 5883 §5).
pub const PORT_MULTIHOP: u16 = 4784;
/// First and last source port that a control packet may have (RFC 5881 §4).
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;
/// The TTL or hop limit that single-hop packets are sent with and must arrive with (RFC 5881 §5).
pub const TTL: u8 = 255;
/// DSCP CS6, network control (RFC 4594 §3.1), as the byte of the IP header.
pub const TRAFFIC_CLASS_CS6: u8 = 0xc0;

/// Session state as the packet carries it (RFC 5880 §4.1, Sta).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Held down by an administrator.
    AdminDown = 0,
    /// Down, or just created.
    Down = 1,
    /// The remote system is heard, but it does not hear us yet.
    Init = 2,
    /// Both systems hear each other.
    Up = 3,
}

impl State {
    /// Every state, in the order of its number.
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    /// The state in the low two bits of `bits`; higher bits are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        Self::ALL[(bits & 0b11) as usize]
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdminDown => "administratively down",
            Self::Down => "down",
            Self::Init => "init",
            Self::Up => "up",
        })
    }
}

/// Why a system last changed its state (RFC 5880 §4.1, Diag; codes 9 and 10 from RFC 6428).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// 0: no diagnostic.
    pub const NONE: Self = Self(0);
    /// 1: control detection time expired.
    pub const DETECTION_TIME_EXPIRED: Self = Self(1);
    /// 3: neighbour signalled session down.
    pub const NEIGHBOR_SIGNALED_DOWN: Self = Self(3);
    /// 7: administratively down.
    pub const ADMINISTRATIVELY_DOWN: Self = Self(7);

    /// The diagnostic in the low five bits of `bits`; higher bits are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0b1_1111)
    }

    /// The five-bit code.
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "no diagnostic",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbor signaled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            9 => "mis-connectivity defect",
            10 => "loss of continuity defect",
            code => return write!(f, "unassigned diagnostic {code}"),
        })
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
