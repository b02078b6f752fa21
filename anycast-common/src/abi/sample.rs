//! A verdict as the tracing program logs it.

/// A packet in short. What cannot be read is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Source address; IPv4 as IPv4-mapped (RFC 4291 §2.5.5.2). Of ARP: the sender's address.
    pub source: [u8; 16],
    /// Destination address; of ARP: the address that is asked for.
    pub destination: [u8; 16],
    /// EtherType behind the VLAN tags.
    pub kind: u16,
    /// Destination port, where the protocol has ports and the packet carries them.
    pub port: u16,
    /// IP protocol behind the extension headers.
    pub protocol: u8,
    /// Nothing.
    pub _padding: [u8; 3],
}

/// A line of the log of verdicts, in the byte order of the host.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The packet as it came.
    pub packet: Description,
    /// A [`Disposition`](super::Disposition).
    pub disposition: u32,
    /// A [`Reason`](super::Reason).
    pub reason: u32,
    /// The service it is counted for.
    pub service: u32,
    /// Length of the frame as it came.
    pub length: u32,
}

/// Value of `SAMPLER`: the state of one CPU's log.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampler {
    /// Verdicts since the last one that was logged.
    pub since: u32,
    /// Nothing.
    pub _padding: u32,
    /// The line in the making.
    pub sample: Sample,
}

/// Bytes of a [`Sample`].
pub const SAMPLE: usize = 56;

const _: () = {
    assert!(size_of::<Description>() == 40);
    assert!(size_of::<Sample>() == SAMPLE);
    assert!(size_of::<Sampler>() == 8 + SAMPLE);
};

impl Sample {
    /// The sample whose bytes these are.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; SAMPLE]) -> Self {
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let address = |at: usize| *bytes[at..].first_chunk().unwrap_or(&[0; 16]);
        Self {
            packet: Description {
                source: address(0),
                destination: address(16),
                kind: half(32),
                port: half(34),
                protocol: bytes[36],
                _padding: [0; 3],
            },
            disposition: word(40),
            reason: word(44),
            service: word(48),
            length: word(52),
        }
    }
}
