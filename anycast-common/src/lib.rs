//! What kernel and controller share: the map ABI, header parsing, the verdict function, checksums.
//!
//! Everything here is `no_std`, allocates nothing, and runs unchanged in the kernel, in tests and in
//! fuzzers. It must not know where a packet's bytes or a table's entries come from: [`Packet`] and
//! [`Tables`] say what it needs of them.
#![no_std]

#[cfg(any(test, feature = "user"))]
extern crate std;

pub mod abi;
pub mod answer;
pub mod bench;
pub mod checksum;
pub mod classify;
pub mod describe;
#[cfg(feature = "user")]
pub mod exercise;
#[cfg(feature = "user")]
pub mod host;
pub mod iana;
pub mod limit;
pub mod listener;
mod packet;
mod tables;
mod verdict;

pub use answer::{answer, answer_common};
pub use classify::classify;
pub use packet::{Packet, SliceFrame};
pub use tables::Tables;
pub use verdict::{Action, Answer, Place, Question, Reason, Verdict};
