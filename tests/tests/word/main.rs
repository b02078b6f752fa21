//! The operator's word over the whole daemon, with BIRD as the witness of what is announced: across restarts, by
//! maintenance file, by signal, and under steps of the wall clock; and what else the daemon tells of itself: a
//! degraded service to the router, signs of life to systemd.
//!
//! Needs root, BIRD, ip(8) and libfaketime. The binary under test is named by `ANYCAST_BIN`, which
//! `cargo xtask test` sets.

mod attributes;
mod clock;
mod ending;
mod files;
mod restart;
mod site;
mod watchdog;
