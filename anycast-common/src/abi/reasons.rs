//! Reasons of verdicts, and the counters that carry their names.

use super::Disposition;

/// Packets and bytes. Bytes are whole frames as received, without the frame check sequence.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Value of `ADDRESS_COUNTERS`: what became of the packets to one Service Address, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressCounters {
    /// Passed to the stack.
    pub passed: Count,
    /// Dropped.
    pub dropped: Count,
    /// Answered.
    pub answered: Count,
}

const _: () = assert!(size_of::<AddressCounters>() == 48);

impl AddressCounters {
    /// The count of a disposition.
    #[inline(always)]
    #[must_use]
    pub const fn get_mut(&mut self, disposition: Disposition) -> &mut Count {
        match disposition {
            Disposition::Pass => &mut self.passed,
            Disposition::Drop => &mut self.dropped,
            Disposition::Answer => &mut self.answered,
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $variant:ident,)+) => {
        /// Why a packet was passed, dropped or answered.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Reason {
            $($(#[$doc])* $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the counters.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in maps, metrics and on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($name),)+
                }
            }

            /// The reason with number `value`, as maps carry it.
            #[must_use]
            pub const fn from_number(value: u32) -> Option<Self> {
                let mut at = 0;
                while at < Self::ALL.len() {
                    if Self::ALL[at] as u32 == value {
                        return Some(Self::ALL[at]);
                    }
                    at += 1;
                }
                None
            }
        }

        /// Value of `COUNTERS`: one count per reason, of one service on one CPU.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Count,)+
        }

        impl Counters {
            /// The count of a reason.
            #[must_use]
            pub const fn get(&self, reason: Reason) -> Count {
                match reason {
                    $(Reason::$variant => self.$name,)+
                }
            }

            /// As [`Counters::get`], for writing.
            pub const fn get_mut(&mut self, reason: Reason) -> &mut Count {
                match reason {
                    $(Reason::$variant => &mut self.$name,)+
                }
            }
        }
    };
}

reasons! {
    /// Passed: neither IPv4 nor IPv6, or not readable as such.
    not_ip = NotIp,
    /// Passed: not to a Service Address.
    not_ours = NotOurs,
    /// Passed: to a served port.
    served = Served,
    /// Passed: an ICMP error about a flow of the service.
    icmp_error = IcmpError,
    /// Passed: a fragment whose ports are elsewhere.
    fragment = Fragment,
    /// Passed: an IP protocol that the service lists.
    protocol_listed = ProtocolListed,
    /// Passed: to a port that is not served, by the policy `unlisted`.
    unlisted_passed = UnlistedPassed,
    /// Passed: the service is not up, by the policy `on_down`.
    down_passed = DownPassed,
    /// Passed: to a served port of a service that went down a moment ago.
    lingering = Lingering,
    /// Passed: ARP request, or neighbour solicitation or advertisement, that is left to the stack.
    neighbor_passed = NeighborPassed,
    /// Answered: echo request.
    echo = Echo,
    /// Answered: ARP request or neighbour solicitation.
    neighbor = Neighbor,
    /// Answered: the node's identity in DNS.
    identity = Identity,
    /// Answered: to a port that is not served, with TCP RST or ICMP port unreachable.
    unlisted_rejected = UnlistedRejected,
    /// Answered: the service is not up, with TCP RST or ICMP port unreachable.
    down_rejected = DownRejected,
    /// Dropped: a header contradicts itself or the frame.
    malformed = Malformed,
    /// Dropped: an IPv6 header chain longer than the program follows, or one not for its last hop.
    header_chain = HeaderChain,
    /// Dropped: the service is not up.
    down = Down,
    /// Dropped: ARP request or neighbour solicitation while the service is not up.
    neighbor_down = NeighborDown,
    /// Dropped: the source is in a deny list.
    denied = Denied,
    /// Dropped: the source is over its limit.
    source_limited = SourceLimited,
    /// Dropped: the service is over its limit of packets.
    service_limited = ServiceLimited,
    /// Dropped: an echo request over the limit.
    echo_limited = EchoLimited,
    /// Dropped: what would be rejected, over the limit of rejections.
    reject_limited = RejectLimited,
    /// Dropped: an echo request that cannot be answered: from an address that no answer can go to, or in a
    /// frame to a link-layer group.
    bad_source = BadSource,
    /// Dropped: ICMP that is neither an echo request nor an error about a flow of the service.
    icmp_other = IcmpOther,
    /// Dropped: a fragment, by the policy `fragments`.
    fragment_dropped = FragmentDropped,
    /// Dropped: to a port that is not served.
    unlisted = Unlisted,
    /// Dropped: an IP protocol that the service does not list.
    protocol_unlisted = ProtocolUnlisted,
    /// Dropped: an answer could not be written.
    unanswerable = Unanswerable,
    /// Dropped: the address belongs to a service that has no entry. Counted under no service.
    no_service = NoService,
}

const _: () = {
    assert!(size_of::<Counters>() == size_of::<Count>() * Reason::ALL.len());
    let mut at = 0;
    while at < Reason::ALL.len() {
        // A reason's number is its place in `Counters`, so that the program can index it.
        assert!(Reason::ALL[at] as usize == at);
        at += 1;
    }
};
