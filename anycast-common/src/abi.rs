//! The map ABI: the types behind the pinned maps, shared by kernel, controller and tests.
//!
//! Every type is `repr(C)` with its padding spelled out and its size asserted, and any bytes are a
//! valid value. Names here are the names that `bpftool map dump` prints.

pub mod index;
mod limits;
mod reasons;
mod sample;
mod service;

pub use limits::{
    Bucket, Buckets, EVERY_SERVICE, EXEMPT, Limit, ListV4, ListV6, Listed, SCOPE_BITS, Source,
    SourceV4, SourceV6,
};
pub use reasons::{AddressCounters, Count, Counters, Reason};
pub use sample::{Description, SAMPLE, Sample, Sampler};
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
    /// The index of the IPv4 Service Addresses: see [`super::index`].
    pub const INDEX_V4: &str = "INDEX_V4";
    /// The index of the IPv6 Service Addresses.
    pub const INDEX_V6: &str = "INDEX_V6";
    /// Services by id.
    pub const SERVICES: &str = "SERVICES";
    /// Packets and bytes by service id and reason, per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// Packets and bytes by Service Address, per CPU.
    pub const ADDRESS_COUNTERS: &str = "ADDRESS_COUNTERS";
    /// State of the services' limits, per CPU.
    pub const BUCKETS: &str = "BUCKETS";
    /// State of the source limits, IPv4.
    pub const SOURCES_V4: &str = "SOURCES_V4";
    /// State of the source limits, IPv6.
    pub const SOURCES_V6: &str = "SOURCES_V6";
    /// Allow and deny lists and exemptions, IPv4.
    pub const LIST_V4: &str = "LIST_V4";
    /// Allow and deny lists and exemptions, IPv6.
    pub const LIST_V6: &str = "LIST_V6";
    /// MAC addresses of the interfaces.
    pub const INTERFACES: &str = "INTERFACES";
    /// What the node calls itself in DNS.
    pub const IDENTITY: &str = "IDENTITY";
    /// The last verdict of a program loaded to explain.
    pub const EXPLANATION: &str = "EXPLANATION";
    /// Lines of the log of verdicts; in the tracing object alone.
    pub const AYA_LOGS: &str = "AYA_LOGS";
}

/// Read-only globals, set at load and constant from then on.
pub mod global {
    /// The set of [`super::feature`] bits.
    pub const FEATURES: &str = "FEATURES";
    /// How far a hash is shifted to a row of the index ([`super::index::shift`]).
    pub const INDEX_SHIFT: &str = "INDEX_SHIFT";
    /// Nanoseconds of a tick of the kernel's, by which the limits are kept.
    pub const TICK_NS: &str = "TICK_NS";
    /// One of how many verdicts is logged, on each CPU; in the tracing object alone.
    pub const TRACE_EVERY: &str = "TRACE_EVERY";
}

/// Features chosen at load: the verifier removes the code of those that are off.
pub mod feature {
    /// Write each verdict to the map `EXPLANATION` instead of counting it.
    pub const EXPLAIN: u64 = 1;
    /// Answer ARP and neighbour discovery for services that ask for it.
    pub const NEIGHBOR: u64 = 1 << 1;
    /// Look up sources in the allow and deny lists.
    pub const LISTS: u64 = 1 << 2;
    /// Keep the limits per source.
    pub const SOURCE_LIMITS: u64 = 1 << 3;
    /// Keep the limits per service of packets and echo replies. That of rejections is a part of [`REJECT`] and
    /// [`IDENTITY`].
    pub const SERVICE_LIMITS: u64 = 1 << 4;
    /// Answer with TCP RST and ICMP unreachable for services that ask for it.
    pub const REJECT: u64 = 1 << 5;
    /// Answer `CH TXT id.server` for services that ask for it.
    pub const IDENTITY: u64 = 1 << 6;
    /// Count packets by Service Address as well. Not in [`ALL`]: no service asks for it.
    pub const ADDRESS_COUNTERS: u64 = 1 << 7;
    /// Everything that services can ask for.
    pub const ALL: u64 = NEIGHBOR | LISTS | SOURCE_LIMITS | SERVICE_LIMITS | REJECT | IDENTITY;
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
    /// Index of the address in `ADDRESS_COUNTERS`; 0 where those are off.
    pub slot: u32,
}

/// Value of `INTERFACES`, by interface index.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Nothing.
    pub _padding: [u8; 2],
}

/// Room for the record of [`Identity`]: a TXT record of up to 63 bytes, and an OPT record.
pub const RECORD: usize = 96;

/// Value of `IDENTITY`: the answer to `CH TXT id.server`, ready to be copied behind the question.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Bytes of the TXT record; 0: no identity.
    pub txt: u16,
    /// Bytes of both records: what a question with EDNS gets.
    pub both: u16,
    /// Sum of the TXT record's 16-bit words, where it starts at an odd offset.
    pub txt_sum: u32,
    /// Sum of both records' 16-bit words, where they start at an odd offset.
    pub both_sum: u32,
    /// The records; zeros behind them.
    pub record: [u8; RECORD],
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
    assert!(size_of::<Interface>() == 8);
    assert!(size_of::<Identity>() == 12 + RECORD);
};

#[cfg(feature = "user")]
mod pod {
    use super::index::{RowV4, RowV6};
    use super::{
        AddressCounters, AddressV4, AddressV6, Buckets, Counters, Explanation, Identity, Interface,
        ListV4, ListV6, Listed, Owner, Service, Source, SourceV4, SourceV6,
    };

    /// Marks types of which any bytes are a valid value.
    macro_rules! pod {
        ($($type:ty),+ $(,)?) => {$(
            // SAFETY: repr(C), integers and arrays of them alone, no implicit padding.
            unsafe impl aya::Pod for $type {}
        )+};
    }

    pod!(
        AddressV4,
        AddressV6,
        Owner,
        Service,
        Counters,
        Explanation,
        AddressCounters
    );
    pod!(
        Buckets, SourceV4, SourceV6, Source, ListV4, ListV6, Listed, Interface, Identity
    );
    pod!(RowV4, RowV6);
}
