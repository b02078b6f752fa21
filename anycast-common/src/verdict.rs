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

/// How a packet is rewritten into its answer; offsets are bytes from the frame's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// ICMP echo reply (RFC 792).
    EchoV4 {
        /// Offset of the IPv4 header.
        network: usize,
        /// Offset of the ICMP header.
        transport: usize,
    },
    /// ICMPv6 echo reply (RFC 4443 §4.2).
    EchoV6 {
        /// Offset of the IPv6 header.
        network: usize,
        /// Offset of the ICMPv6 header.
        transport: usize,
    },
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
