//! What kernel and controller share: the map ABI, header parsing, the verdict function, checksums.
//!
//! Everything here is `no_std`, allocates nothing, and runs unchanged in the kernel, in tests and in
//! fuzzers. It must not know where a packet's bytes or a table's entries come from.
#![no_std]

pub mod abi;
pub mod listener;
