//! Limits and lists: their entries in a service and in their maps.

/// A rate limit; an `interval_ns` of 0 is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Nanoseconds between packets at the limit's rate.
    pub interval_ns: u64,
    /// Nanoseconds that packets may be ahead of the rate: what a burst takes up, but for its first packet.
    pub window_ns: u64,
}

impl Limit {
    /// No limit.
    pub const NONE: Self = Self {
        interval_ns: 0,
        window_ns: 0,
    };

    /// `rate` packets a second and `burst` at once; both at least 1.
    #[must_use]
    pub const fn new(rate: u32, burst: u32) -> Self {
        let rate = if rate == 0 { 1 } else { rate };
        let interval_ns = 1_000_000_000 / rate as u64;
        Self {
            interval_ns,
            window_ns: interval_ns * burst.saturating_sub(1) as u64,
        }
    }

    /// Whether there is a limit.
    #[inline(always)]
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.interval_ns != 0
    }
}

/// Value of `BUCKETS`: theoretical arrival times of a service's limits on one CPU, in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Echo replies.
    pub echo: u64,
    /// Rejections and answers about the node's identity.
    pub reject: u64,
    /// Packets of any kind.
    pub packets: u64,
}

/// Which of a service's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Echo replies.
    Echo,
    /// Rejections and answers about the node's identity.
    Reject,
    /// Packets of any kind.
    Packets,
}

/// Key of `SOURCES_V4`: a source prefix, as one service's limit sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceV4 {
    /// The address, with the bits behind the prefix cleared.
    pub prefix: [u8; 4],
    /// The service.
    pub service: u32,
}

/// Key of `SOURCES_V6`: as [`SourceV4`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceV6 {
    /// The address, with the bits behind the prefix cleared.
    pub prefix: [u8; 16],
    /// The service.
    pub service: u32,
}

/// Value of `SOURCES_V4` and `SOURCES_V6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Theoretical arrival time of the next packet, in nanoseconds.
    pub arrival_ns: u64,
}

/// Scope of list entries that hold for every service.
pub const EVERY_SERVICE: u32 = 0;
/// Scope of list entries that exempt from source limits.
pub const EXEMPT: u32 = u32::MAX;
/// Bits of a scope, which come before the address in a list's key.
pub const SCOPE_BITS: u32 = 32;

/// Key of `LIST_V4`, after its prefix length: a longest-prefix match within a scope.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListV4 {
    /// A service id, [`EVERY_SERVICE`] or [`EXEMPT`], high byte first.
    pub scope: [u8; 4],
    /// The address.
    pub address: [u8; 4],
}

/// Key of `LIST_V6`: as [`ListV4`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListV6 {
    /// A service id, [`EVERY_SERVICE`] or [`EXEMPT`], high byte first.
    pub scope: [u8; 4],
    /// The address.
    pub address: [u8; 16],
}

/// Value of `LIST_V4` and `LIST_V6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Listed {
    /// 1: allowed, 0: denied.
    pub allow: u32,
}

const _: () = {
    assert!(size_of::<Limit>() == 16);
    assert!(size_of::<Buckets>() == 24);
    assert!(size_of::<SourceV4>() == 8);
    assert!(size_of::<SourceV6>() == 20);
    assert!(size_of::<Source>() == 8);
    assert!(size_of::<ListV4>() == 8);
    assert!(size_of::<ListV6>() == 20);
    assert!(size_of::<Listed>() == 4);
};
