//! What the data plane does with a packet, and why.

use crate::abi::NO_SERVICE;
pub use crate::abi::Reason;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on to the kernel's stack, untouched.
    Pass,
    /// It ends here.
    Drop,
    /// It goes back out of the interface it came from, rewritten.
    Answer(Answer),
}

/// How a packet is rewritten into its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// ICMP echo reply (RFC 792).
    EchoV4(Place),
    /// ICMPv6 echo reply (RFC 4443 §4.2).
    EchoV6(Place),
    /// ARP reply (RFC 826).
    Arp(Place),
    /// Neighbour advertisement (RFC 4861 §4.4).
    Advertisement(Place),
    /// TCP RST over IPv4 (RFC 9293 §3.10.7.1) to a segment of `length` in sequence space.
    ResetV4(Place, u32),
    /// TCP RST over IPv6.
    ResetV6(Place, u32),
    /// ICMP port unreachable (RFC 792).
    UnreachableV4(Place),
    /// ICMPv6 port unreachable (RFC 4443 §3.1).
    UnreachableV6(Place),
    /// The node's identity, over IPv4 (RFC 4892).
    IdentityV4(Place, Question),
    /// The node's identity, over IPv6.
    IdentityV6(Place, Question),
}

/// Offsets of headers, in bytes from the frame's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The IP or ARP header.
    pub network: usize,
    /// What follows the IP header and its extensions.
    pub transport: usize,
}

/// A question for the node's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whether it is the longer one, `hostname.bind`, instead of `id.server`.
    pub long: bool,
    /// Whether it came with EDNS.
    pub edns: bool,
    /// The half of the EDNS flags that has DO, which the answer's are (RFC 3225 §3). Not a condition, which the
    /// verifier would follow both ways.
    pub flags: u8,
}

/// An action, its reason, and the service it is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What to do.
    pub action: Action,
    /// Why; each packet is counted under exactly one reason.
    pub reason: Reason,
    /// The service that owns the destination; [`NO_SERVICE`] if none does.
    pub service: u32,
}

impl Verdict {
    /// A packet that is none of ours.
    #[inline(always)]
    #[must_use]
    pub const fn not_ours(reason: Reason) -> Self {
        Self {
            action: Action::Pass,
            reason,
            service: NO_SERVICE,
        }
    }

    /// A packet to the address of a service that has no entry. It has no counters either, so that the packet is
    /// counted under [`NO_SERVICE`].
    pub const WITHOUT_SERVICE: Self = Self::drop(NO_SERVICE, Reason::NoService);

    /// A packet to `service` that goes on to the stack.
    #[inline(always)]
    #[must_use]
    pub const fn pass(service: u32, reason: Reason) -> Self {
        Self {
            action: Action::Pass,
            reason,
            service,
        }
    }

    /// A packet to `service` that ends here.
    #[inline(always)]
    #[must_use]
    pub const fn drop(service: u32, reason: Reason) -> Self {
        Self {
            action: Action::Drop,
            reason,
            service,
        }
    }

    /// A packet to `service` that is answered.
    #[inline(always)]
    #[must_use]
    pub const fn answer(service: u32, reason: Reason, answer: Answer) -> Self {
        Self {
            action: Action::Answer(answer),
            reason,
            service,
        }
    }

    /// Whether the packet is passed, dropped or answered.
    #[inline(always)]
    #[must_use]
    pub const fn disposition(&self) -> crate::abi::Disposition {
        match self.action {
            Action::Pass => crate::abi::Disposition::Pass,
            Action::Drop => crate::abi::Disposition::Drop,
            Action::Answer(_) => crate::abi::Disposition::Answer,
        }
    }
}
