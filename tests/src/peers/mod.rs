//! Real routing daemons as peers, each in a network namespace of its own.
//!
//! Namespaces here have no name: the test's thread gets one, each router another, and the kernel
//! removes them when the thread and the daemons end, however they end.

mod bird;
mod namespace;
mod process;

pub use bird::Bird;
pub use namespace::{Router, in_namespace};
pub use process::{Daemon, Scratch, run, wait_until};
