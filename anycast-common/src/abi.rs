//! The map ABI: the types behind the pinned maps, shared by kernel, controller and tests.
//!
//! Every type is `repr(C)` with its padding spelled out and its size asserted, and any bytes are a
//! valid value. Names here are the names that `bpftool map dump` prints.

mod reasons;
mod service;

pub use reasons::{Count, Counters, Reason};
pub use service::{
    DEGRADED, DISABLED, DOWN, DRAINING, INIT, LINGERING, PORT_RANGES, PROTOCOLS, PortRange,
    Service, UP, policy,
};

/// Name of the XDP program for frames in one piece.
pub const PROGRAM: &str = "anycast_xdp";
/// Name of the XDP program that also takes multi-buffer frames.
pub const PROGRAM_FRAGS: &str = "anycast_xdp_frags";

/// Names of the maps, which are also the names of their pins.
pub mod map {
    /// IPv4 Service Addresses and their owners.
    pub const ADDRESSES_V4: &str = "ADDRESSES_V4";
    /// IPv6 Service Addresses and their owners.
    pub const ADDRESSES_V6: &str = "ADDRESSES_V6";
    /// Services by id.
    pub const SERVICES: &str = "SERVICES";
    /// Packets and bytes by service id and reason, per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// The last verdict of a program loaded to explain.
    pub const EXPLANATION: &str = "EXPLANATION";
}

/// Read-only globals, set at load and constant from then on.
pub mod global {
    /// The set of [`super::feature`] bits.
    pub const FEATURES: &str = "FEATURES";
}

/// Features chosen at load: the verifier removes the code of those that are off.
pub mod feature {
    /// Write each verdict to the map `EXPLANATION` instead of counting it.
    pub const EXPLAIN: u64 = 1;
}

/// Service id of packets that belong to no service.
pub const NO_SERVICE: u32 = 0;

/// Key of `ADDRESSES_V4`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressV4 {
    /// The address, first octet first.
    pub address: [u8; 4],
}

/// Key of `ADDRESSES_V6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressV6 {
    /// The address, first octet first.
    pub address: [u8; 16],
}

/// Value of `ADDRESSES_V4` and `ADDRESSES_V6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Id of the service that the address belongs to: its index in `SERVICES` and `COUNTERS`.
    pub service: u32,
    /// Index of the address in the per-address counters, where those are on.
    pub slot: u32,
}

/// What a verdict comes to, as a number in maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Disposition {
    /// Goes on to the stack.
    Pass = 0,
    /// Ends here.
    Drop = 1,
    /// Goes back rewritten.
    Answer = 2,
}

/// Value of `EXPLANATION`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// A [`Disposition`].
    pub disposition: u32,
    /// A [`Reason`].
    pub reason: u32,
    /// The service it is counted for.
    pub service: u32,
    /// Verdicts written so far: tells a fresh explanation from the one before.
    pub sequence: u32,
}

const _: () = {
    assert!(size_of::<AddressV4>() == 4);
    assert!(size_of::<AddressV6>() == 16);
    assert!(size_of::<Owner>() == 8);
    assert!(size_of::<Explanation>() == 16);
};

#[cfg(feature = "user")]
mod pod {
    use super::{AddressV4, AddressV6, Counters, Explanation, Owner, Service};

    /// Marks types of which any bytes are a valid value.
    macro_rules! pod {
        ($($type:ty),+ $(,)?) => {$(
            // SAFETY: repr(C), integers and arrays of them alone, no implicit padding.
            unsafe impl aya::Pod for $type {}
        )+};
    }

    pod!(AddressV4, AddressV6, Owner, Service, Counters, Explanation);
}
