//! What the benchmarks' own programs share with the program that measures. No part of the data plane.

/// Words of a frame that are restored before each run.
pub const WORDS: usize = 11;
/// How many of them are restored in a short frame.
pub const SHORT_WORDS: usize = 8;

/// Names in the benchmarks' object.
pub mod name {
    /// Program: drops.
    pub const DROP: &str = "bench_drop";
    /// Program: parses Ethernet and IPv4, looks the destination up in `ADDRESSES_V4`, drops.
    pub const FLOOR: &str = "bench_floor";
    /// Program: restores the frame, which has kept its length, and calls the program under test.
    pub const RESTORE: &str = "bench_restore";
    /// Program: as `RESTORE`, and restores the length first.
    pub const RESTORE_LENGTH: &str = "bench_restore_length";
    /// Program: aims the frame at another address each time, and calls the program under test.
    pub const SPREAD: &str = "bench_spread";
    /// Program: restores the frame and sends it out of the interface that it came from.
    pub const SEND: &str = "bench_send";
    /// Classifier: as `FLOOR`, and counts in [`super::Kept::state`].
    pub const CLASSIFY: &str = "bench_classify";
    /// Map: one [`super::Kept`].
    pub const KEPT: &str = "KEPT";
    /// Map: the program under test.
    pub const TARGET: &str = "TARGET";
}

/// Value of `KEPT`: the frame as it shall be before each run.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its bytes.
    pub length: u32,
    /// Bytes that the program under test puts before it.
    pub prepended: u32,
    /// Runs so far, or the state of the sequence of addresses.
    pub state: u64,
    /// The first of the addresses that `SPREAD` aims at, as a number.
    pub first: u32,
    /// How many addresses it aims at.
    pub count: u32,
    /// The frame's start, in the order of memory.
    pub words: [u64; WORDS],
}

const _: () = assert!(size_of::<Kept>() == 24 + 8 * WORDS);

#[cfg(feature = "user")]
// SAFETY: repr(C), integers and an array of them alone, no implicit padding.
unsafe impl aya::Pod for Kept {}
